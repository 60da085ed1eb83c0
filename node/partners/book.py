"""The list of partners: who is one, and for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from node.audit.record import Event, deed_of
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import Rejected, UnknownDestination, UnknownPartner
from node.domain.ids import AETitle
from node.domain.partner import Partner, Role
from node.domain.principal import Action, Principal
from node.identity.gate import Gate


class PartnerBook:
    """Keeps the list of partners; every change of it is recorded."""

    def __init__(self, catalog: Catalog) -> None:
        """The partners of a site."""
        self._catalog = catalog

    def all(self) -> Sequence[Partner]:
        """All partners by AE title."""
        with self._catalog.reading() as unit:
            return unit.partners.all()

    def find(self, ae_title: AETitle, role: Role | None = None) -> Partner:
        """The partner of that AE title.

        Raises:
            UnknownPartner: there is none.
            Rejected: it is one, but not for this.
        """
        with self._catalog.reading() as unit:
            partner = unit.partners.find(ae_title)
        if partner is None:
            raise UnknownPartner(ae_title)
        if role is not None and not partner.is_for(role):
            raise Rejected(f"{ae_title} is a partner, but not a {role}; say so with `konzilium partner add`")
        return partner

    def add(self, principal: Principal, partner: Partner, *, replace_: bool = False) -> Partner:
        """Make a device a partner, or change what it is for; what is known of its copies stays.

        Raises:
            UnknownDestination: it is not on the device list, so nobody knows where it is.
            Rejected: it is a partner already and is not to be changed.
        """
        Gate(self._catalog).demand(principal, Action.ADMINISTER)

        def add(unit: Unit) -> Partner:
            if unit.devices.find(partner.ae_title) is None:
                raise UnknownDestination(partner.ae_title)
            known = unit.partners.find(partner.ae_title)
            if known is not None and not replace_:
                raise Rejected(f"{partner.ae_title} is a partner already; say --replace to change it")
            new = replace(partner, since_at=known.since_at if known else unit.now)
            unit.partners.put(new)
            roles = ",".join(sorted(new.roles))
            _record(unit, principal, f"partner {new.ae_title} is {roles}: {new.match}")
            return new

        return self._catalog.perform(add)

    def remove(self, principal: Principal, ae_title: AETitle) -> None:
        """Let a device be a partner no longer, and forget what is known of its copies.

        Raises:
            UnknownPartner: it is none.
        """
        Gate(self._catalog).demand(principal, Action.ADMINISTER)

        def remove(unit: Unit) -> None:
            if unit.partners.find(ae_title) is None:
                raise UnknownPartner(ae_title)
            unit.partners.remove(ae_title)
            _record(unit, principal, f"partner {ae_title} removed")

        self._catalog.perform(remove)


def _record(unit: Unit, principal: Principal, what: str) -> None:
    unit.audit.append(deed_of(principal, Event.CONFIGURED, what=what))
