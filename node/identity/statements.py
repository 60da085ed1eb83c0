"""What this site states about members, and what all statements add up to in the rows of the catalog."""

from __future__ import annotations

from collections.abc import Iterable

from node.audit.record import Deed, Event
from node.catalog.unit import Unit
from node.domain.ids import SiteId
from node.domain.member import Member, Standing
from node.domain.principal import Principal
from node.domain.rule import Terms
from node.identity.certificates import known
from node.identity.home import read
from node.identity.membership import Seen, membership
from node.journal.entry import Entry, Fact


def derive_member(unit: Unit, site: SiteId) -> Member | None:
    """Let the facts about a site take effect; what it is now, or None if it is no member.

    A fact about one site may change what others are, for instance those that it introduced: they follow.
    """
    derive_members(unit)
    return unit.members.find(site)


def derive_members(unit: Unit) -> None:
    """Make the list of members what the facts add up to; what they owe follows."""
    facts: list[Entry] = []
    for kind in (Fact.MEMBER, Fact.STANDING, Fact.CONSENT):
        facts += unit.journal.of_kind(kind)
    found = membership(unit.origin, facts, read)
    before = {member.site: member for member in unit.members.all()}
    terms = _terms(before.values())
    for site in before.keys() - found.keys():
        unit.members.drop(site)
    for site, seen in found.items():
        member = _member(site, seen)
        if before.get(site) != member:
            unit.members.put(member)
    if _terms(unit.members.all()) != terms:
        unit.rules.changed()


def _terms(members: Iterable[Member]) -> set[tuple[SiteId, Standing, Terms]]:
    """What rules go by: who is a member, how it stands, and what this site gives it."""
    return {(member.site, member.standing, member.export) for member in members}


def state_standing(
    unit: Unit, principal: Principal, site: SiteId, standing: Standing, reason: str = ""
) -> None:
    """Write down a decision about a member, and who made it."""
    unit.journal.append(
        Fact.STANDING, {"site": site, "standing": standing, "reason": reason, "by": str(principal)}
    )
    record(unit, principal, f"member {site} {standing}{': ' if reason else ''}{reason}")


def state_consent(unit: Unit, principal: Principal, site: SiteId, *, export: Terms, accept: Terms) -> None:
    """Write down what this site gives a member and takes from it, and who said so."""
    unit.journal.append(
        Fact.CONSENT,
        {"site": site, "export": export.told(), "accept": accept.told(), "by": str(principal)},
    )
    record(unit, principal, f"member {site} is given {export}; taken from it: {accept}")


def come_back(unit: Unit, principal: Principal) -> None:
    """Take back that this site has left the federation, if it has."""
    if has_left(unit):
        state_standing(unit, principal, unit.origin, Standing.ACTIVE, "came back")


def has_left(unit: Unit) -> bool:
    """Whether this site has left the federation and was not invited again."""
    own = [
        fact
        for fact in unit.journal.about(f"site {unit.origin}")
        if fact.kind is Fact.STANDING and fact.origin == unit.origin
    ]
    return bool(own) and bool(own[-1].says["standing"] == Standing.LEFT)


def vouch(unit: Unit, member: Member) -> None:
    """Write down the metadata of a member as this site's own word, unless it has given that."""
    own = (fact for fact in unit.journal.about(f"site {member.site}") if fact.origin == unit.origin)
    if not any(fact.kind is Fact.MEMBER for fact in own):
        unit.journal.append(Fact.MEMBER, {"site": member.site, "descriptor": member.descriptor})


def record(unit: Unit, principal: Principal, what: str) -> None:
    """Record in the audit ledger that the list of members changed."""
    unit.audit.append(Deed(event=Event.CONFIGURED, who=str(principal), address=principal.address, what=what))


def agreed_with(unit: Unit) -> frozenset[str]:
    """The sites of which somebody here has said what is exchanged with them."""
    own = (fact for fact in unit.journal.of_kind(Fact.CONSENT) if fact.origin == unit.origin)
    return frozenset(fact.says["site"] for fact in own)


def _member(site: SiteId, seen: Seen) -> Member:
    shown = sorted((known(pem).fingerprint, pem) for pem in seen.descriptor.certificates)
    return Member(
        site=site,
        descriptor=seen.text,
        certificates=tuple(pem for _, pem in shown),
        fingerprints=tuple(fingerprint for fingerprint, _ in shown),
        version=seen.descriptor.version,
        url=seen.descriptor.url,
        ae_title=seen.descriptor.ae_title,
        standing=seen.standing,
        introduced_by=seen.introduced_by,
        reason=seen.reason,
        export=seen.export,
        accept=seen.accept,
        gives=seen.gives,
        takes=seen.takes,
    )
