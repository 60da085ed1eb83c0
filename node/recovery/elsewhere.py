"""The check of another site: what each of both lacks, and whether the copies there are whole.

```
fingerprints of what both ought to hold ──▶ what one of them lacks ──▶ compared again ──▶ findings
copies that the other site says it has, a sample or all ──▶ it reads them back ──▶ findings
```

What is on its way is no finding: what was received, or asked for, not long ago.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.finding import Finding, Trouble
from node.domain.ids import Digest, SiteId
from node.domain.replica import CopyState, Replica, Whereabouts
from node.journal.entry import Fact
from node.recovery.check import OVERDUE, WRITERS
from node.recovery.damage import found_whole
from node.replication.peer import Peer
from node.replication.reconcile import Difference, Reconciled, reconcile

MOST: Final = 100_000
"""Differences that are named."""
SAMPLE: Final = 64
"""Copies that are read back there, if not all."""
CALL, BYTES = 200, 64_000_000
"""Copies, and about how many bytes, that one call lets the other site read back."""
_LACKING_THERE = {
    Whereabouts.WANTED: "it is still to be fetched there",
    Whereabouts.WITHDRAWN: "somebody there has withdrawn it",
    Whereabouts.FOLDED: "another form is kept there in its place",
    Whereabouts.MISSING: "its bytes are missing there",
    Whereabouts.ELSEWHERE: "rules or terms there do not ask for it",
    Whereabouts.UNKNOWN: "nobody there has heard of it",
}
"""Why the other site lacks it, as it says."""

Progress = Callable[[int, int], None]
"""Told how many of how many copies were read back there."""


def untold(_done: int, _of: int) -> None:
    """Tell nobody."""


@dataclass(slots=True, kw_only=True)
class Compared:
    """What came of the check of another site."""

    peer: SiteId
    objects: int = 0
    """That both ought to hold."""
    apart: int = 0
    """Here besides: neither rules nor terms ask for a copy there."""
    on_the_way: int = 0
    """Lacking at one of both, but not for long."""
    read: int = 0
    """Copies there that it has read back just now and found whole."""
    unanswered: int = 0
    """Copies there about which it says nothing to this site."""
    whole: bool = True
    """False where there were more differences than are named."""
    findings: list[Finding] = field(default_factory=list)
    closed: int = 0


class Elsewhere:
    """Compares this site with others, and opens a finding for each difference."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        overdue: int = OVERDUE,
        wait: Callable[[float], object] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """A check of other sites.

        Args:
            catalog: of this site.
            overdue: microseconds after which what is lacking counts as missing.
            wait: sleeps for seconds, before what was found is looked at again.
            rng: chooses the sample.
        """
        self._catalog = catalog
        self._overdue = overdue
        self._wait = wait
        self._rng = rng or random.SystemRandom()

    def run(self, peer: Peer, *, verify: bool = False, progress: Progress = untold) -> Compared:
        """Compare with one site.

        Args:
            peer: the other site.
            verify: let it read back everything of ours that it says it has, instead of a sample.
            progress: told after each call.

        Raises:
            What every call to a peer raises; what was found until then stands.
        """
        differences, outcome = self._differences(peer)
        lacking = {difference.digest for difference in differences}
        outcome.findings += [
            finding
            for difference in differences
            if (finding := self._finding(peer.site, difference, outcome)) is not None
        ]
        for replicas, done, of in self._claimed(peer.site, verify=verify):
            asked = [one for one in replicas if one.digest not in lacking]
            outcome.findings += self._read_back(peer, asked, outcome)
            progress(done, of)
        self._catalog.perform(lambda unit: self._report(unit, outcome, complete=verify))
        return outcome

    def _differences(self, peer: Peer) -> tuple[list[Difference], Compared]:
        """What one of both lacks, in two comparisons one after the other."""
        found = reconcile(self._catalog, peer, most=MOST)
        differences = list(found.differences)
        if differences:
            self._wait(WRITERS)
            again = reconcile(self._catalog, peer, most=MOST)
            before = {_key(one) for one in differences}
            differences = [one for one in again.differences if _key(one) in before]
            found = again
        return differences, _outcome(peer.site, found)

    def _finding(self, site: SiteId, difference: Difference, outcome: Compared) -> Finding | None:
        with self._catalog.reading() as unit:
            if self._is_on_the_way(unit, site, difference):
                outcome.on_the_way += 1
                return None
            made = _lacking_there if difference.here else _lacking_here
            return made(unit, site, difference)

    def _is_on_the_way(self, unit: Unit, site: SiteId, difference: Difference) -> bool:
        since = unit.now - self._overdue
        if difference.here:
            owed = unit.replicas.find(difference.digest, site)
            return owed is not None and owed.state is CopyState.OWED and owed.at > since
        wanted = unit.wants.find(difference.digest)
        return wanted is not None and wanted[0].wanted_at > since

    def _claimed(self, site: SiteId, *, verify: bool) -> Iterator[tuple[list[Replica], int, int]]:
        """Copies that a site says it has, in portions; how many that makes so far, and in all."""
        with self._catalog.reading() as unit:
            counts = unit.replicas.counts(site)
        total = counts.get(CopyState.VERIFIED, 0) + counts.get(CopyState.HELD, 0)
        if not verify and total > SAMPLE:
            yield from _portions(self._sample(site), SAMPLE)
            return
        yield from _portions(self._all(site), total)

    def _all(self, site: SiteId) -> Iterator[Replica]:
        after = ""
        while True:
            with self._catalog.reading() as unit:
                page = unit.replicas.claimed(site, after, CALL)
            if not page:
                return
            yield from page
            after = page[-1].digest

    def _sample(self, site: SiteId) -> Iterator[Replica]:
        chosen: dict[Digest, Replica] = {}
        with self._catalog.reading() as unit:
            for _ in range(SAMPLE):
                start = f"{self._rng.getrandbits(256):064x}"
                found = unit.replicas.claimed(site, start, 1) or unit.replicas.claimed(site, "", 1)
                chosen |= {one.digest: one for one in found}
        yield from chosen.values()

    def _read_back(self, peer: Peer, asked: Sequence[Replica], outcome: Compared) -> Iterator[Finding]:
        """Let the other site read copies back; what is wrong with those that are not whole."""
        told = {one.digest: one.state for one in peer.verify([one.digest for one in asked])} if asked else {}
        with self._catalog.reading() as unit:
            for one in asked:
                state = told.get(one.digest)
                if state is CopyState.VERIFIED:
                    outcome.read += 1
                elif state is not None:
                    yield _stale(one, "it has read its copy back just now: damaged or gone")
                elif unit.replicas.find(one.digest, peer.site) and _is_told_here(unit, one):
                    yield _stale(one, "it does not vouch for its copy any more")
                else:
                    outcome.unanswered += 1

    def _report(self, unit: Unit, outcome: Compared, *, complete: bool) -> None:
        """Open these findings; settle those of this kind of check that were not made again."""
        keys = {finding.key for finding in outcome.findings}
        for finding in outcome.findings:
            unit.findings.report(finding)
        if not (complete and outcome.whole):
            return
        for known in unit.findings.unsettled(kinds=(Trouble.STALE, Trouble.UNDER_REPLICATED)):
            is_over = known.key not in keys
            if known.site == outcome.peer and known.kind is Trouble.STALE and is_over:
                found_whole(unit, known, f"{outcome.peer} has it in order")
                outcome.closed += 1


def _key(difference: Difference) -> tuple[Digest, bool]:
    return difference.digest, difference.here


def _outcome(site: SiteId, found: Reconciled) -> Compared:
    return Compared(peer=site, objects=found.count, apart=found.apart, whole=found.whole)


def _lacking_there(unit: Unit, site: SiteId, difference: Difference) -> Finding:
    """What the other site lacks: the catalog here counts on it, or knows that it is owed."""
    known = unit.replicas.find(difference.digest, site)
    is_counted_on = known is not None and known.state is not CopyState.OWED
    why = _LACKING_THERE.get(difference.where, str(difference.where))
    return Finding(
        kind=Trouble.STALE if is_counted_on else Trouble.UNDER_REPLICATED,
        digest=difference.digest,
        site=site,
        instance=difference.instance or "",
        size=known.size if known else 0,
        evidence=f"{why}; {difference.note}" if difference.note else why,
    )


def _lacking_here(unit: Unit, site: SiteId, difference: Difference) -> Finding:
    """What this site lacks and the other one has."""
    held = unit.holdings.find(difference.digest)
    is_lost = difference.where is Whereabouts.MISSING
    why = f"at {site}, not here"
    return Finding(
        kind=Trouble.MISSING if is_lost else Trouble.UNDER_REPLICATED,
        digest=difference.digest,
        site=unit.origin,
        instance=difference.instance or "",
        size=held.size if held else 0,
        evidence=f"{why}; {difference.note}" if difference.note else why,
    )


def _stale(copy: Replica, why: str) -> Finding:
    return Finding(
        kind=Trouble.STALE,
        digest=copy.digest,
        site=copy.site,
        instance=copy.instance,
        size=copy.size,
        evidence=why,
    )


def _is_told_here(unit: Unit, copy: Replica) -> bool:
    """Whether this site has told of these bytes itself, so that it may ask about every copy of them."""
    return any(
        fact.kind is Fact.INSTANCE and fact.origin == unit.origin and fact.says["digest"] == copy.digest
        for fact in unit.journal.about(copy.instance)
    )


def _portions(copies: Iterator[Replica], total: int) -> Iterator[tuple[list[Replica], int, int]]:
    """Copies in portions that one call may take."""
    portion: list[Replica] = []
    done = 0
    for copy in copies:
        if portion and (len(portion) >= CALL or sum(one.size for one in portion) + copy.size > BYTES):
            done += len(portion)
            yield portion, done, max(total, done)
            portion = []
        portion.append(copy)
    if portion:
        done += len(portion)
        yield portion, done, max(total, done)
