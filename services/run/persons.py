"""The ways by which persons prove themselves at the devices of a site."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from node.domain.principal import Principal
from node.identity.at_device import AtDevices, Proofs
from node.identity.person_certificates import PersonCertificates
from node.identity.token_issuers import read_issuers
from node.identity.tokens import Tokens
from node.wiring import Site

if TYPE_CHECKING:
    from node.identity.saml.login import Logins


def persons_at_devices(site: Site) -> AtDevices:
    """Knows the persons at the devices of a site, as its settings allow.

    Raises:
        BadSetting: the file of the issuers of tokens, or of the authorities of persons, is not in order.
    """
    settings = site.settings
    name = settings.site.name
    issuers = read_issuers(settings.login.tokens) if settings.login.tokens else ()
    proofs = Proofs(
        accounts=site.accounts,
        tokens=Tokens(issuers, name, site.clock).person if issuers else None,
        assertions=_assertions(site) if settings.web.port is not None else None,
        certificates=PersonCertificates(settings.web.person_ca, name, site.clock),
        plain=settings.login.plain,
        mfa=settings.login.mfa,
    )
    return AtDevices(site.catalog, proofs)


def _assertions(site: Site) -> Callable[[bytes], Principal]:
    """Assertions of the identity providers that the portal knows; what reads them is loaded for the first."""

    @lru_cache(maxsize=1)
    def logins() -> Logins:
        from node.identity.saml.login import Logins  # noqa: PLC0415
        from services.run.providers import providers_of, sp_of  # noqa: PLC0415

        name = site.settings.site.name
        return Logins(site.catalog, providers_of(site), sp_of(site), site=name, clock=site.clock)

    def person(xml: bytes) -> Principal:
        return logins().verify_assertion(xml, once=False).principal

    return person
