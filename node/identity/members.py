"""The other sites of the federation: who they are, where they stand with this one, and what somebody decides.

Every decision is a fact of this site's journal with a record in the audit ledger, in one unit of work, and
holds from that moment on: nothing about members is kept in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import LinkSuspended, Rejected, Unauthenticated, UnknownMember
from node.domain.ids import SiteId
from node.domain.member import Member, Standing
from node.domain.principal import Action, Principal
from node.domain.rule import EVERYTHING, Terms
from node.identity.gate import Gate
from node.identity.home import Home
from node.identity.statements import (
    agreed_with,
    come_back,
    derive_member,
    derive_members,
    has_left,
    record,
    state_consent,
    state_standing,
    vouch,
)

__all__ = [
    "Members",
    "agreed_with",
    "come_back",
    "derive_member",
    "derive_members",
    "has_left",
    "record",
    "state_consent",
    "state_standing",
    "vouch",
]

_KNOCKING = frozenset({Standing.ACTIVE, Standing.SUSPENDED, Standing.WAITING})
"""Where a certificate passes the door of TLS: those that are not active are told why they get no further."""


class Members:
    """Recognises the other nodes, and keeps what is decided about them."""

    def __init__(self, catalog: Catalog, home: Home, *, share_with_new: bool = False) -> None:
        """The members as one site sees them.

        Args:
            catalog: of this site.
            home: this site.
            share_with_new: whether studies go to and come from sites that a member has introduced.
        """
        self.home = home
        self._catalog = catalog
        self._share_with_new = share_with_new

    def recognise(self, fingerprint: str) -> Member:
        """The active member that may show this certificate now.

        Args:
            fingerprint: SHA-256 of the certificate (DER, hexadecimal).

        Raises:
            Unauthenticated: nobody may show it, or somebody whom this site does not trust yet or any more.
            LinkSuspended: the link with that member is cut.
        """
        with self._catalog.reading() as unit:
            member = unit.members.by_fingerprint(fingerprint)
        if member is None:
            raise Unauthenticated("its certificate is that of no member")
        if member.standing is Standing.SUSPENDED:
            raise LinkSuspended(self.home.site, member.site)
        if not member.is_active:
            raise Unauthenticated(f"{member.site} is not an active member: {_WHY[member.standing]}")
        return member

    def find(self, site: SiteId) -> Member:
        """A member, whatever its standing.

        Raises:
            UnknownMember: no site of that name is known here.
        """
        with self._catalog.reading() as unit:
            return _find(unit, site)

    def demand_active(self, site: SiteId) -> Member:
        """A member with which this site exchanges.

        Raises:
            UnknownMember: no site of that name is known here.
            LinkSuspended: nothing may go to or come from it now.
        """
        member = self.find(site)
        if not member.is_active:
            raise LinkSuspended(self.home.site, site)
        return member

    def all(self) -> Sequence[Member]:
        """All members by name, whatever their standing."""
        with self._catalog.reading() as unit:
            return unit.members.all()

    def active(self) -> Sequence[Member]:
        """The members with which this site exchanges, by name."""
        with self._catalog.reading() as unit:
            return unit.members.active()

    def certificates_of(self, site: SiteId) -> tuple[str, ...]:
        """The certificates (PEM) that a member may show now; none for one that is not active."""
        with self._catalog.reading() as unit:
            member = unit.members.find(site)
        return member.certificates if member and member.is_active else ()

    def trusted(self) -> tuple[str, ...]:
        """The certificates (PEM) with which a connection may be made.

        Those of suspended and waiting members are among them, so that they can be told what they wait for.
        """
        return tuple(
            pem for member in self.all() if member.standing in _KNOCKING for pem in member.certificates
        )

    def version(self) -> Hashable:
        """A value that changes when `trusted` does."""
        with self._catalog.reading() as unit:
            shown = unit.members.shown()
        return tuple([one for one, standing in shown if standing in _KNOCKING])

    def confirm(self, principal: Principal, site: SiteId) -> Member:
        """Let a site in that has used an invitation: the second of the two administrators agrees.

        Raises:
            Forbidden: the principal may not decide about the federation.
            UnknownMember: no site of that name is known here.
            Rejected: it does not wait for that.
        """

        def decide(unit: Unit) -> None:
            member = _find(unit, site)
            if member.standing is not Standing.WAITING:
                raise Rejected(f"{site} is {member.standing}, it does not wait to be confirmed")
            state_standing(unit, principal, site, Standing.ACTIVE, "confirmed")

        return self._decide(principal, site, decide)

    def suspend(self, principal: Principal, site: SiteId, reason: str) -> Member:
        """Cut the link: from now on nothing goes either way; nothing is forgotten.

        Raises:
            Forbidden: the principal may not decide about the federation.
            UnknownMember: no site of that name is known here.
            Rejected: it is not active.
        """

        def decide(unit: Unit) -> None:
            member = _find(unit, site)
            if member.standing not in {Standing.ACTIVE, Standing.SUSPENDED}:
                raise Rejected(f"{site} is {member.standing}, there is no link to cut")
            state_standing(unit, principal, site, Standing.SUSPENDED, reason)

        return self._decide(principal, site, decide)

    def resume(self, principal: Principal, site: SiteId, reason: str = "") -> Member:
        """Trust a member again, and vouch for it as it is known now.

        Raises:
            Forbidden: the principal may not decide about the federation.
            UnknownMember: no site of that name is known here.
            Rejected: it was never confirmed, or this site has left the federation.
        """

        def decide(unit: Unit) -> None:
            member = _find(unit, site)
            if member.standing is Standing.WAITING:
                raise Rejected(f"{site} is waiting; confirm it with `konzilium confirm`")
            if has_left(unit):
                raise Rejected("this site has left the federation; it has to be invited again, or to invite")
            vouch(unit, member)
            state_standing(unit, principal, site, Standing.ACTIVE, reason)

        return self._decide(principal, site, decide)

    def revoke(self, principal: Principal, site: SiteId, reason: str) -> Member:
        """Trust the keys of a site no more, and warn the others: they suspend it until they decide.

        Raises:
            Forbidden: the principal may not decide about the federation.
            UnknownMember: no site of that name is known here.
        """

        def decide(unit: Unit) -> None:
            vouch(unit, _find(unit, site))
            state_standing(unit, principal, site, Standing.REVOKED, reason)
            for invitation in unit.members.invitations():
                if invitation.site == site and invitation.state == "open":
                    unit.members.save_invitation(replace(invitation, state="spoiled"))

        return self._decide(principal, site, decide)

    def leave(self, principal: Principal, reason: str = "") -> Sequence[Member]:
        """Leave the federation: this site exchanges with nobody until it is invited again.

        Returns:
            The members that were active: they are still to be told.

        Raises:
            Forbidden: the principal may not decide about the federation.
        """
        Gate(self._catalog).demand(principal, Action.FEDERATE)

        def decide(unit: Unit) -> Sequence[Member]:
            active = unit.members.active()
            state_standing(unit, principal, self.home.site, Standing.LEFT, reason)
            derive_members(unit)
            return active

        return self._catalog.perform(decide)

    def goodbye(self, principal: Principal, reason: str = "") -> None:
        """Note that a member has left, as it says itself.

        Args:
            principal: somebody of that member.
            reason: why, in its words.

        Raises:
            UnknownMember: it is none.
        """

        def note(unit: Unit) -> None:
            if _find(unit, principal.site).standing is not Standing.LEFT:
                state_standing(unit, principal, principal.site, Standing.LEFT, reason)
                derive_members(unit)

        self._catalog.perform(note)

    def consent(
        self,
        principal: Principal,
        site: SiteId,
        *,
        export: Terms | None = None,
        accept: Terms | None = None,
    ) -> Member:
        """Say what this site gives a member and takes from it; what is not given stays as it is.

        Raises:
            Forbidden: the principal may not decide about the federation.
            UnknownMember: no site of that name is known here.
        """

        def decide(unit: Unit) -> None:
            member = _find(unit, site)
            state_consent(
                unit,
                principal,
                site,
                export=member.export if export is None else export,
                accept=member.accept if accept is None else accept,
            )

        return self._decide(principal, site, decide)

    def metadata(self, site: SiteId | None = None) -> str:
        """The signed metadata of a member, or of this site.

        Raises:
            UnknownMember: no site of that name is known here.
            UnusableKey: the key of the node cannot be used.
        """
        if site is not None and site != self.home.site:
            return self.find(site).descriptor
        with self._catalog.reading() as unit:
            known = self.home.announced(unit)
        return known[0] if known else self._catalog.perform(self.home.announce)

    def cut_by(self, site: SiteId, reason: str) -> None:
        """Note that a member says that it has cut the link; that changes no decision of this site."""
        why = f"{site} has cut the link{': ' if reason else ''}{reason}"

        def note(unit: Unit) -> None:
            known = unit.members.contact(site)
            unit.members.save_contact(replace(known, error=why, failed_at=unit.now, heard_at=unit.now))

        self._catalog.perform(note)

    def heard(self, site: SiteId, *, gives: Terms | None = None, takes: Terms | None = None) -> None:
        """Note that a member has called and exchanges with this site, on these terms if it says so.

        The terms are shown until its journal, which has the last word, brings them.
        """

        def note(unit: Unit) -> None:
            known, member = unit.members.contact(site), _find(unit, site)
            unit.members.save_contact(replace(known, error="", failed_at=0, heard_at=unit.now))
            if gives is not None and takes is not None and (gives, takes) != (member.gives, member.takes):
                unit.members.put(replace(member, gives=gives, takes=takes))

        self._catalog.perform(note)

    def announce(self) -> None:
        """Tell the others how this site is now, if they know it otherwise and there are others.

        Raises:
            UnusableKey: the key of the node cannot be used.
        """
        self._catalog.perform(lambda unit: self.home.announce(unit) if unit.members.all() else None)

    def share_with_introduced(self, principal: Principal) -> Sequence[SiteId]:
        """Consent to everything with members that were introduced, if the settings say so.

        Returns:
            The members to which that was new.
        """
        with self._catalog.reading() as unit:
            if not self._share_with_new or not _undecided(unit):
                return ()

        def consent(unit: Unit) -> Sequence[SiteId]:
            sites = _undecided(unit)
            for site in sites:
                state_consent(unit, principal, site, export=EVERYTHING, accept=EVERYTHING)
            derive_members(unit)
            return sites

        return self._catalog.perform(consent)

    def _decide(self, principal: Principal, site: SiteId, decide: Callable[[Unit], None]) -> Member:
        """Carry out a decision of somebody who may decide, and see what became of the member."""
        Gate(self._catalog).demand(principal, Action.FEDERATE)

        def change(unit: Unit) -> Member:
            decide(unit)
            derive_members(unit)
            return _find(unit, site)

        return self._catalog.perform(change)


_WHY = {
    Standing.WAITING: "somebody here has to confirm it with `konzilium confirm`",
    Standing.REVOKED: "its keys are not trusted any more",
    Standing.LEFT: "it has left the federation, and has to be invited again",
}


def _find(unit: Unit, site: SiteId) -> Member:
    member = unit.members.find(site)
    if member is None:
        raise UnknownMember(site)
    return member


def _undecided(unit: Unit) -> list[SiteId]:
    agreed = agreed_with(unit)
    return [member.site for member in unit.members.active() if member.site not in agreed]
