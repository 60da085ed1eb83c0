"""Comparing what two sites hold, in time proportional to the difference.

Each site has a set of digests: bytes that are here and that the other site has, as it said, or owes. Where
replication is complete, both sets are the same. The sites compare fingerprints of a set, then of its sixteen
parts where they differ, and of their parts; where few digests are left they are named, and each site
says what it knows of those that it lacks.

```
who asks                                      who is asked
"" fingerprint ──────────────────────────▶   differs
                ◀──────────────────────────   fingerprints of 0 ... f
3 fingerprint, a fingerprint ────────────▶   ...
3c07 digests ────────────────────────────▶   lacking: one, which is to be fetched; only: none
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from node.archive.derive import state_of
from node.catalog import traits
from node.catalog.catalog import Catalog
from node.catalog.digests import HEX, Sum, Trace
from node.catalog.unit import Unit
from node.domain.errors import MalformedMessage
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.replica import CopyState, Whereabouts
from node.replication.peer import LONGEST_PAGE, Compared, Lacking, Peer, Range

FEW = 64
"""Digests of a range that are named; longer ranges are split."""
RANGES = 256
"""Ranges in one call."""
CALLS = 10_000
"""Calls in one comparison, however long the other site goes on."""
MOST = 1000
"""Differences that are looked for, if not told otherwise."""

Progress = Callable[[int, int], None]
"""Told after each call how many calls were made, and how many differences are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Bytes that one of two sites holds, and the other one owes or has lost."""

    digest: Digest
    instance: InstanceUID | None
    """None where only the other site knows which one it is."""
    here: bool
    """Whether they are held here and lacking there; otherwise it is the other way round."""
    where: Whereabouts
    """What the site that lacks them knows of them."""
    note: str = ""
    """Why the last attempt to fetch them failed, if one did."""
    proved_at: int | None = None
    """When the other site said that it had read its copy back, if it did; microseconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What came of a comparison."""

    site: SiteId
    peer: SiteId
    compared_at: int
    """When it began; microseconds since 1970."""
    count: int
    """Objects that both sites hold, or this one holds and the other one owes."""
    fingerprint: str
    """Of these; the other site has computed the same, if there is no difference."""
    unproved: int
    """Of these: held there, but not read back there as far as is known here."""
    apart: int
    """Objects that are here besides: neither rules nor terms ask for a copy there."""
    differences: tuple[Difference, ...]
    whole: bool = True
    """False where there were more differences than were looked for."""
    calls: int = 0

    @property
    def equal(self) -> bool:
        """Whether both sites hold the same."""
        return self.whole and not self.differences


def answer(unit: Unit, site: SiteId, ranges: Sequence[Range]) -> list[Compared]:
    """What this site says to the ranges that a member asks about.

    Args:
        unit: reads the catalog.
        site: the member.
        ranges: at the most `LONGEST_PAGE`.

    Raises:
        MalformedMessage: there are more, or one is no range.
    """
    named = sum(len(asked.digests or ()) for asked in ranges)
    if max(len(ranges), named) > LONGEST_PAGE:
        raise MalformedMessage(f"it compares more than {LONGEST_PAGE} ranges or digests at once")
    return [_answered(unit, site, asked) for asked in ranges]


def _answered(unit: Unit, site: SiteId, asked: Range) -> Compared:
    prefix = asked.prefix
    if len(prefix) > 64 or set(prefix) - set(HEX):
        raise MalformedMessage("a range is named by up to 64 hexadecimal digits")
    own = unit.digests.sum(site, prefix)
    if asked.digests is None:
        if own.fingerprint == asked.fingerprint:
            return Compared(prefix=prefix, same=True)
        return _split(unit, site, prefix)
    if own.count > FEW:
        return _split(unit, site, prefix)
    if not all(digest.startswith(prefix) for digest in asked.digests):
        raise MalformedMessage("a digest does not begin as its range does")
    here, there = unit.digests.all(site, prefix), set(asked.digests)
    only = tuple(digest for digest in here if digest not in there)
    lacking = tuple(_lacking(unit, site, digest) for digest in sorted(there.difference(here)))
    return Compared(prefix=prefix, same=not (only or lacking), only=only, lacking=lacking)


def _split(unit: Unit, site: SiteId, prefix: str) -> Compared:
    parts = unit.digests.parts(site, prefix)
    return Compared(prefix=prefix, parts=tuple(part.fingerprint for part in parts))


def _lacking(unit: Unit, site: SiteId, digest: Digest) -> Lacking:
    """What is known here of bytes that a member names, as far as it may know."""
    found = trace(unit, digest)
    if found.instance and not _is_for(unit, site, found.instance):
        return Lacking(digest=digest, where=Whereabouts.UNKNOWN)
    return Lacking(digest=digest, where=found.where, note=found.note)


def _is_for(unit: Unit, site: SiteId, uid: InstanceUID) -> bool:
    """Whether an instance is a member's own, or one that the terms give it."""
    if any(fact.origin == site for fact in unit.journal.about(uid)):
        return True
    member, known = unit.members.find(site), traits.of(unit, [uid]).get(uid)
    return bool(member and known and member.export.allow(known, now=unit.now))


def trace(unit: Unit, digest: Digest) -> Trace:
    """What is known here of some bytes, the facts about their instance included."""
    found = unit.digests.trace(digest)
    if found.where is Whereabouts.ELSEWHERE and found.instance is not None:
        state = state_of(unit, found.instance)
        if state.withdrawn:
            return Trace(where=Whereabouts.WITHDRAWN, instance=found.instance)
        if digest in state.folded:
            return Trace(where=Whereabouts.FOLDED, instance=found.instance)
    return found


def reconcile(
    catalog: Catalog, peer: Peer, *, most: int = MOST, progress: Progress = lambda _calls, _found: None
) -> Reconciled:
    """Compare what this site and another one hold of what both ought to hold.

    Args:
        catalog: of this site.
        peer: the other site.
        most: differences to look for; where there are more, some are left out.
        progress: is told how it goes.

    Raises:
        MalformedMessage: the other site's answer does not fit the question.
        What every call to a peer raises.
    """
    search = _Search(catalog, peer, most, progress)
    search.run()
    return search.outcome()


class _Search:
    """One comparison, under way: the ranges that are still to be asked about, and what was found."""

    def __init__(self, catalog: Catalog, peer: Peer, most: int, progress: Progress) -> None:
        self._catalog = catalog
        self._peer = peer
        self._most = most
        self._progress = progress
        self._open: list[tuple[str, Sum]] = []
        self._only: list[Digest] = []
        self._lacking: list[Lacking] = []
        self._calls = 0
        with catalog.reading() as unit:
            self._own = unit.digests.sum(peer.site, "")
            self._at = unit.now

    def run(self) -> None:
        """Ask until nothing is open, or enough was found."""
        self._open.append(("", self._own))
        while self._open and self._found < self._most and self._calls < CALLS:
            with self._catalog.reading() as unit:
                ranges = list(self._next(unit))
            answers = self._peer.compare(ranges)
            self._calls += 1
            if [told.prefix for told in answers] != [asked.prefix for asked in ranges]:
                raise MalformedMessage("the ranges of the answer are not those of the question")
            with self._catalog.reading() as unit:
                for told in answers:
                    self._hear(unit, told)
            self._progress(self._calls, self._found)

    @property
    def _found(self) -> int:
        return len(self._only) + sum(lacking.where is not Whereabouts.HELD for lacking in self._lacking)

    def _next(self, unit: Unit) -> Iterator[Range]:
        """The ranges of the next call."""
        named = 0
        for _ in range(RANGES):
            if not self._open or (self._open[-1][1].count <= FEW and named > LONGEST_PAGE - 2 * FEW):
                return
            prefix, own = self._open.pop()
            digests = unit.digests.all(self._peer.site, prefix) if own.count <= FEW else None
            if digests is None or len(digests) > 2 * FEW:
                yield Range(prefix=prefix, fingerprint=own.fingerprint)
            else:
                named += len(digests)
                yield Range(prefix=prefix, digests=tuple(digests))

    def _hear(self, unit: Unit, told: Compared) -> None:
        """Note what an answer says."""
        if told.same:
            return
        self._only += told.only
        self._lacking += told.lacking
        if not told.parts:
            return
        if len(told.parts) != len(HEX) or len(told.prefix) >= 64:
            raise MalformedMessage("a range has sixteen parts")
        own = unit.digests.parts(self._peer.site, told.prefix)
        for digit, part, fingerprint in zip(HEX, own, told.parts, strict=True):
            if part.fingerprint != fingerprint:
                self._open.append((told.prefix + digit, part))

    def outcome(self) -> Reconciled:
        """What was found; bytes that both sites hold are no difference, whoever has not heard of it yet."""
        peer = self._peer.site
        with self._catalog.reading() as unit:
            traced = [(digest, trace(unit, digest)) for digest in self._only]
            untold = [digest for digest, found in traced if found.where is Whereabouts.HELD]
            differences = [
                *self._lacking_there(unit),
                *(_lacking_here(digest, found) for digest, found in traced if digest not in set(untold)),
            ]
            both = self._own + Sum.of(untold)
            lacking_there = sum(difference.here for difference in differences)
            return Reconciled(
                site=unit.origin,
                peer=peer,
                compared_at=self._at,
                count=both.count,
                fingerprint=both.fingerprint,
                unproved=max(0, unit.replicas.lag(peer).objects - lacking_there),
                apart=max(0, unit.digests.held() - both.count),
                differences=tuple(differences[: self._most]),
                whole=not self._open and len(differences) <= self._most,
                calls=self._calls,
            )

    def _lacking_there(self, unit: Unit) -> Iterator[Difference]:
        for lacking in self._lacking:
            if lacking.where is Whereabouts.HELD:
                continue
            known = unit.replicas.state(lacking.digest, self._peer.site)
            yield Difference(
                digest=lacking.digest,
                instance=unit.digests.trace(lacking.digest).instance,
                here=True,
                where=lacking.where,
                note=lacking.note,
                proved_at=known[1] if known and known[0] is CopyState.VERIFIED else None,
            )


def _lacking_here(digest: Digest, found: Trace) -> Difference:
    return Difference(digest=digest, instance=found.instance, here=False, where=found.where, note=found.note)
