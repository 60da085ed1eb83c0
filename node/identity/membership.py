"""Who is a member: a pure function of the facts about sites, in whatever order they came.

A site is known here because somebody here decided about it, or because a trusted member introduced it.

```
own decision              outranks everything: waiting, active, suspended, revoked
said goodbye              left, until somebody who is trusted lets it in again
revoked by a member       suspended, until somebody here decides later than that
introduced by a member    active, as long as one of those who introduced it was not revoked
```

A member introduces another by its metadata (MEMBER) together with the decision that it is active (STANDING).
Who introduced a site first vouches for its keys; from then on the site itself announces its changes, each
signed with a key that the announcement before it lists.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from node.domain.errors import MalformedIdentifier, Rejected
from node.domain.ids import SiteId
from node.domain.member import Standing
from node.domain.rule import NOTHING, Terms
from node.identity.metadata import Descriptor
from node.journal.entry import Entry, Fact

log = logging.getLogger(__name__)

Reader: TypeAlias = Callable[[str, tuple[str, ...] | None], Descriptor | None]
"""Reads metadata that is signed with one of these certificates (its own, if None); None where it is not."""

_UNCONFIRMED = frozenset({Standing.WAITING, Standing.REVOKED})
"""Own decisions after which a site's word counts for nothing."""
_DECIDED = frozenset({Standing.WAITING, Standing.SUSPENDED, Standing.REVOKED})
"""Own decisions that hold whatever others say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A site as the facts show it."""

    text: str
    """Its metadata as it signed it."""
    descriptor: Descriptor
    standing: Standing
    introduced_by: SiteId
    reason: str = ""
    export: Terms = NOTHING
    accept: Terms = NOTHING
    gives: Terms = NOTHING
    takes: Terms = NOTHING


def membership(here: SiteId, facts: Iterable[Entry], read: Reader) -> dict[SiteId, Seen]:
    """Every other site that the facts make known.

    Args:
        here: whose point of view it is.
        facts: MEMBER, STANDING and CONSENT facts of all sites, in any order.
        read: reads metadata.
    """
    return _Fold(here, facts).seen(read)


def is_well_formed(fact: Entry) -> bool:
    """Whether a fact about a site says what such facts say; others count for nothing."""
    try:
        says = fact.says
        site = SiteId(says["site"])
        if fact.kind is Fact.MEMBER:
            return isinstance(says["descriptor"], str)
        if fact.kind is Fact.STANDING:
            return bool(Standing(says["standing"])) and isinstance(says.get("reason", ""), str)
        return bool(site) and isinstance(says["export"], list) and isinstance(says["accept"], list)
    except (ValueError, KeyError, TypeError, MalformedIdentifier):
        return False


@dataclass(slots=True)
class _Said:
    """What one site says of another, each the latest last."""

    announced: list[Entry] = field(default_factory=list)
    decided: list[Entry] = field(default_factory=list)
    consented: list[Entry] = field(default_factory=list)

    def standing(self) -> Standing | None:
        """The latest decision."""
        return Standing(self.decided[-1].says["standing"]) if self.decided else None

    def last(self, standing: Standing) -> str:
        """The stamp of the latest decision of that kind; empty if there is none."""
        stamps = (fact.stamp for fact in reversed(self.decided) if fact.says["standing"] == standing)
        return next(stamps, "")

    @property
    def introduces(self) -> bool:
        """Whether it vouches for the site: here are its metadata, and it exchanges with it."""
        return bool(self.announced) and bool(self.last(Standing.ACTIVE))


class _Fold:
    """The facts by who says what of whom, and what follows from them."""

    def __init__(self, here: SiteId, facts: Iterable[Entry]) -> None:
        self._here = here
        self._said: dict[tuple[str, str], _Said] = defaultdict(_Said)
        for fact in sorted(filter(is_well_formed, set(facts)), key=lambda fact: fact.stamp):
            said = self._said[fact.origin, fact.says["site"]]
            if fact.kind is Fact.MEMBER:
                said.announced.append(fact)
            elif fact.kind is Fact.STANDING:
                said.decided.append(fact)
            elif fact.kind is Fact.CONSENT:
                said.consented.append(fact)
        self._by_origin: dict[str, list[str]] = defaultdict(list)
        for origin, site in sorted(self._said):
            self._by_origin[origin].append(site)
        decided = {site for site in self._by_origin[here] if self._said[here, site].decided} - {here}
        standings = {site: self._own(site).standing() for site in decided}
        met = self._reach({site for site in decided if standings[site] is not Standing.WAITING})
        self._credible = self._reach({site for site in decided if standings[site] not in _UNCONFIRMED})
        self._known = sorted(decided | met | self._introduced_by(met))
        self._revoked = {site: by for site in self._known if (by := self._revoker(site))}
        roots = (decided & self._credible) - set(self._revoked)
        self._trusted = self._reach(roots, barred=self._revoked)
        self._vouching = (self._trusted, self._credible, met)

    def seen(self, read: Reader) -> dict[SiteId, Seen]:
        """Each known site whose metadata can be read."""
        found = {}
        for name in self._known:
            site = SiteId.trusted(name)
            introducers = self._introducers(name)
            current = self._metadata(site, introducers, read)
            if current is None:
                log.warning("the metadata of a site are not valid", extra={"member": name})
                continue
            found[site] = self._see(site, *current, introducers)
        return found

    def _see(self, site: SiteId, text: str, descriptor: Descriptor, introducers: list[str]) -> Seen:
        standing, reason = self._standing(site, introducers)
        export, accept = _terms(self._own(site))
        gives, takes = _terms(self._about(site, self._here))
        own = bool(self._own(site).announced)
        return Seen(
            text=text,
            descriptor=descriptor,
            standing=standing,
            reason=reason,
            introduced_by=self._here if own else SiteId.trusted(introducers[0]),
            export=export,
            accept=accept,
            gives=gives,
            takes=takes,
        )

    def _about(self, origin: str, site: str) -> _Said:
        return self._said.get((origin, site)) or _NOTHING_SAID

    def _own(self, site: str) -> _Said:
        return self._about(self._here, site)

    def _introduced_by(self, origins: Iterable[str]) -> set[str]:
        """The sites for which one of these vouches."""
        return {
            site
            for origin in origins
            for site in self._by_origin.get(origin, ())
            if site not in {origin, self._here} and self._about(origin, site).introduces
        }

    def _reach(self, roots: set[str], barred: Mapping[str, object] | None = None) -> set[str]:
        """The roots, the sites that they introduce, those that these introduce, and so on."""
        reached = set(roots)
        fresh = set(roots)
        while fresh:
            found = self._introduced_by(fresh) - reached - set(barred or ())
            fresh = {site for site in found if not self._own(site).decided}
            reached |= fresh
        return reached

    def _revoker(self, site: str) -> Entry | None:
        """The earliest revocation by a credible member that nobody here has overruled."""
        overruled = self._own(site).last(Standing.ACTIVE)
        found = [
            self._about(origin, site).decided[-1]
            for origin in self._credible
            if origin != site and self._about(origin, site).standing() is Standing.REVOKED
        ]
        return min(
            (fact for fact in found if fact.stamp > overruled), key=lambda fact: fact.stamp, default=None
        )

    def _introducers(self, site: str) -> list[str]:
        """The members that vouch for a site, the first one first; where none is trusted, those that were."""
        for members in self._vouching:
            found = [o for o in members if o not in {site, self._here} and self._about(o, site).introduces]
            if found:
                return sorted(found, key=lambda origin: self._about(origin, site).announced[0].stamp)
        return []

    def _standing(self, site: str, introducers: list[str]) -> tuple[Standing, str]:
        own = self._own(site)
        decided = own.standing()
        if decided in _DECIDED:
            return decided, own.decided[-1].says.get("reason", "")
        if self._own(self._here).standing() is Standing.LEFT:
            return Standing.SUSPENDED, "this site has left the federation"
        if goodbye := self._goodbye(site, introducers):
            return Standing.LEFT, goodbye.says.get("reason", "")
        if revoked := self._revoked.get(site):
            return Standing.SUSPENDED, f"revoked by {revoked.origin}: {revoked.says.get('reason', '')}"
        if decided is Standing.ACTIVE or self._trusted & set(introducers):
            return Standing.ACTIVE, own.decided[-1].says.get("reason", "") if own.decided else ""
        return Standing.SUSPENDED, f"introduced by {introducers[0]}, which is not trusted any more"

    def _goodbye(self, site: str, introducers: list[str]) -> Entry | None:
        """The fact by which it, or a member to which it said so, tells that it left; None if it came back."""
        witnesses = {self._here, site, *self._trusted}
        said = [self._about(one, site) for one in sorted(witnesses)]
        goodbyes = [one.decided[-1] for one in said if one.standing() is Standing.LEFT]
        if not goodbyes:
            return None
        back = [self._own(site), *(self._about(one, site) for one in introducers if one in self._trusted)]
        returned = max(one.last(Standing.ACTIVE) for one in back)
        latest = max(goodbyes, key=lambda fact: fact.stamp)
        return latest if latest.stamp > returned else None

    def _metadata(self, site: SiteId, introducers: list[str], read: Reader) -> tuple[str, Descriptor] | None:
        """Its metadata: those that were vouched for, then each change that it announced itself."""
        current = next(self._vouched(site, introducers, read), None)
        if current is None:
            return None
        for fact in self._about(site, site).announced:
            text = fact.says["descriptor"]
            changed = read(text, current[1].certificates)
            if changed and changed.site == site and changed.version > current[1].version:
                current = text, changed
        return current

    def _vouched(
        self, site: SiteId, introducers: list[str], read: Reader
    ) -> Iterator[tuple[str, Descriptor]]:
        """Metadata for which somebody vouches: this site's own word first, each time the latest."""
        for origin in (self._here, *introducers):
            for fact in reversed(self._about(origin, site).announced):
                text = fact.says["descriptor"]
                descriptor = read(text, None)
                if descriptor and descriptor.site == site:
                    yield text, descriptor


_NOTHING_SAID = _Said()


def _terms(said: _Said) -> tuple[Terms, Terms]:
    """What the latest consent gives and takes; nothing, where it says what is not known here."""
    if not said.consented:
        return NOTHING, NOTHING
    says = said.consented[-1].says
    try:
        return Terms.read(says["export"]), Terms.read(says["accept"])
    except (Rejected, TypeError, AttributeError):
        return NOTHING, NOTHING
