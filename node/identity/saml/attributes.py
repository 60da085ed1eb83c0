"""From what an identity provider says of a person to the principal that the node knows.

A name with a scope counts only where the metadata let the identity provider speak for that scope: the
identity provider of one hospital cannot make people of another (Shibboleth Metadata Extensions 1.0 §2.2.1).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from node.domain.errors import AttributeMissing, LoginRefused
from node.domain.ids import SiteId
from node.domain.principal import Attributes, Kind, Principal
from node.identity.providers.descriptor import Provider
from node.identity.saml.claims import Claims
from node.identity.saml.names import MFA

EPPN: Final = "eduPersonPrincipalName"
AFFILIATION: Final = "eduPersonScopedAffiliation"
ENTITLEMENT: Final = "eduPersonEntitlement"
HOME: Final = "schacHomeOrganization"
SUBJECT: Final = "subject-id"
PAIRWISE: Final = "pairwise-id"

OIDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "urn:oid:1.3.6.1.4.1.5923.1.1.1.6": EPPN,
        "urn:oid:1.3.6.1.4.1.5923.1.1.1.9": AFFILIATION,
        "urn:oid:1.3.6.1.4.1.5923.1.1.1.7": ENTITLEMENT,
        "urn:oid:1.3.6.1.4.1.25178.1.2.9": HOME,
        "urn:oid:1.3.6.1.4.1.5923.1.1.1.11": "eduPersonAssurance",
        "urn:oid:2.16.840.1.113730.3.1.241": "displayName",
        "urn:oid:2.5.4.42": "givenName",
        "urn:oid:2.5.4.4": "sn",
        "urn:oid:0.9.2342.19200300.100.1.3": "mail",
        "urn:oasis:names:tc:SAML:attribute:subject-id": SUBJECT,
        "urn:oasis:names:tc:SAML:attribute:pairwise-id": PAIRWISE,
    }
)
"""The attributes that are asked for: their names in SAML (MACE-Dir, SAML Subject Identifier Profile 1.0)."""
_NAMES: Final = frozenset(OIDS.values())
_SCOPED: Final = frozenset({EPPN, AFFILIATION, SUBJECT, PAIRWISE})
_UNIQUE: Final = (EPPN, SUBJECT, PAIRWISE)
"""What a person may be called by, the best first."""
_NAME = re.compile(r"[^\s@\x00-\x1f\x7f]{1,200}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,200}[A-Za-z0-9])?")
_LONGEST_NAME: Final = 200
_NOBODY: Final = "those who run it"


def person(claims: Claims, provider: Provider, *, site: SiteId, language: str = "en") -> Principal:
    """Who it is of whom an identity provider speaks.

    Args:
        claims: what it says; its signature holds.
        provider: who it is, and for whom it speaks.
        site: where the person comes in.
        language: of what errors call the identity provider.

    Raises:
        AttributeMissing: it does not say who it is.
        LoginRefused: it speaks of somebody for whom it does not speak, or of two people at once.
    """
    told = _told(claims.attributes)
    kept = {name: _within(name, values, provider) for name, values in told.items()}
    return Principal(
        kind=Kind.PERSON,
        name=_name_of(told, kept, provider, language),
        site=site,
        issuer=provider.entity,
        display=_display(kept),
        attributes=_ordered(kept),
        mfa=claims.context == MFA,
    )


def missing(provider: Provider, attribute: str, language: str = "en") -> AttributeMissing:
    """The error for an identity provider that does not tell what is needed: whom to ask for it."""
    return AttributeMissing(provider.name(language), attribute, provider.contact or _NOBODY)


def _told(attributes: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Values by the friendly name, whichever of its names the attribute was told by."""
    found: dict[str, tuple[str, ...]] = {}
    for name, values in attributes.items():
        friendly = OIDS.get(name) or (name if name in _NAMES else "")
        if friendly:
            found[friendly] = (*found.get(friendly, ()), *(value for value in values if value))
    return found


def _within(name: str, values: Sequence[str], provider: Provider) -> tuple[str, ...]:
    """The values that this identity provider may tell, each once."""
    kept: Sequence[str] = [value for value in values if value.isprintable()]
    if name in _SCOPED:
        kept = [value for value in kept if _NAME.fullmatch(value) and provider.speaks_for(_scope(value))]
    elif name == HOME:
        kept = [value for value in kept if provider.speaks_for(value)]
    return tuple(sorted(set(kept)))


def _name_of(
    told: Mapping[str, Sequence[str]], kept: Mapping[str, Sequence[str]], provider: Provider, language: str
) -> str:
    """What the person is called here: one name, in lower case."""
    for attribute in _UNIQUE:
        names = {unicodedata.normalize("NFC", value).lower() for value in kept.get(attribute, ())}
        if len({value.lower() for value in told.get(attribute, ())}) > 1:
            raise LoginRefused(f"{provider.name(language)} told more than one {attribute}")
        if told.get(attribute) and not names:
            raise LoginRefused(
                f"{provider.name(language)} told an {attribute} for which it does not speak; "
                f"ask {provider.contact or _NOBODY}"
            )
        for name in names:
            return name
    raise missing(provider, EPPN, language)


def _display(kept: Mapping[str, Sequence[str]]) -> str:
    """What people call the person, or nothing."""
    whole = next(iter(kept.get("displayName", ())), "")
    parts = [next(iter(kept.get(name, ())), "") for name in ("givenName", "sn")]
    return (whole or " ".join(part for part in parts if part))[:_LONGEST_NAME]


def _ordered(kept: Mapping[str, tuple[str, ...]]) -> Attributes:
    return tuple(sorted((name, values) for name, values in kept.items() if values))


def _scope(value: str) -> str:
    return value.rpartition("@")[2]
