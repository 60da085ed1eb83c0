"""Proofs without content: links of an audit record, and whether they lead to the heads that are remembered.

A link tells of a record its number, its moment and the digest of its deed, and beside them the hash that
stands in the record. The examiner computes the chain twice from where it begins:

```
marks    ●───────────────●──────────────●        remembered here: signed by the site, or computed before
trusted  ├──▶ from mark to mark: names the stretch that was changed, even if all behind it was chained anew
shown    ├──▶ from the hash to hash that the site shows: finds where contents and hashes do not agree,
         │    and sees when the site goes on upon another chain than the one that it had signed
```
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from node.audit.witness import Break, Fault, Mark, State
from node.domain.chain import Head, link
from node.domain.errors import MalformedMessage

STRIDE: Final = 100
"""Records between two places that are computed and remembered, so that a range is named within so many."""
_NEAR: Final = 64
"""How far from its place a record is looked for that is not there."""
_TOLD: Final = 8
"""Ranges that are named one by one."""
_LONGEST: Final = 400
"""Characters of what is said of a range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A record without its content."""

    seq: int
    at: int
    digest: str
    """SHA-256 of the deed as it is there now."""
    hash: str
    """What stands beside it as its hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A run of links, as a site shows them."""

    previous: str
    """The hash that stands in the record before the first one."""
    links: Sequence[Link]
    end: int
    """The number of the last record of all."""


def demand_run(proof: Proof, after: int, last: int) -> None:
    """See that a proof tells of records between `after` and `last`, each once and in order.

    Raises:
        MalformedMessage: it does not.
    """
    reached = after
    for one in proof.links:
        if not reached < one.seq <= last:
            raise MalformedMessage(f"a proof of records {after + 1} to {last} tells of {one.seq}")
        reached = one.seq


class Examiner:
    """Goes along the record of a site, from one place to another."""

    def __init__(self, base: Head, previous: str, marks: Iterable[Mark]) -> None:
        """Begin behind a place.

        Args:
            base: the place, as it is remembered here.
            previous: its hash, as the site shows it.
            marks: what has to be reached, beyond that place.
        """
        self.base = base
        self.trusted = base
        self._shown = Head(seq=base.seq, hash=previous)
        self._marks = sorted((one for one in marks if one.seq > base.seq), key=lambda one: one.seq)
        self._stale: list[Mark] = []
        self._marked = base.seq
        """The last place with a mark: what is behind it is not proved yet."""
        self._is_lost = False
        """Whether the last record is missing, and nothing is remembered of it."""
        self.breaks: list[Break] = []
        self.reached: list[Mark] = []
        self.refuted: list[Mark] = []
        self.passed: list[Head] = []
        """Places that were computed, and are worth being remembered."""

    @property
    def seq(self) -> int:
        """How far it is."""
        return self.trusted.seq

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong so far, and the site shows the chain that is remembered here."""
        return not self.breaks and self.trusted == self._shown

    def take(self, links: Sequence[Link], last: int) -> None:
        """Go on to record `last`; what is not among the links is not there."""
        for stop, marks in self._stops(last):
            self._go(_between(links, self.seq, stop), stop, marks)

    def ended(self, end: int) -> None:
        """The record ends here: what is remembered beyond was taken off."""
        beyond = [one for one in self._marks if one.seq > end]
        if beyond:
            last = beyond[-1].seq
            self._break(Fault.TRUNCATED, last, f"{_named([(end + 1, last)])} not there")
            self.refuted += beyond
            self._marks = [one for one in self._marks if one.seq <= end]

    def found(self) -> list[Break]:
        """What is wrong, neighbouring ranges of one kind together."""
        merged: list[Break] = []
        for one in sorted(self.breaks, key=lambda one: (one.kind, one.first)):
            last = merged[-1] if merged else None
            if last and last.kind is one.kind and one.first <= last.last + 1:
                what = last.what if last.what == one.what else "; ".join(filter(None, (last.what, one.what)))
                merged[-1] = replace(last, last=max(last.last, one.last), what=what[:_LONGEST])
            else:
                merged.append(one)
        return sorted(merged, key=lambda one: one.first)

    def _stops(self, last: int) -> Iterator[tuple[int, list[Mark]]]:
        """Where to stop and compare on the way to `last`, with what is remembered there."""
        marks = [one for one in self._marks if one.seq <= last]
        self._marks = self._marks[len(marks) :]
        at = {seq: list(group) for seq, group in groupby(marks, key=lambda one: one.seq)}
        steps = range((self.seq // STRIDE + 1) * STRIDE, last + 1, STRIDE)
        for stop in sorted({*at, *steps, last}):
            if stop > self.seq:
                yield stop, at.get(stop, [])

    def _go(self, links: Sequence[Link], stop: int, marks: Sequence[Mark]) -> None:
        """Go one stretch."""
        if self._is_lost and links:  # the record before is missing: what it said is not known
            if links[0].seq > self.seq + 1:
                self._break(Fault.MISSING, links[0].seq - 1)
            self.trusted = self._shown = Head(seq=links[0].seq, hash=links[0].hash)
            self._is_lost, links = False, links[1:]
        is_whole = len(links) == stop - self.seq
        trusted = _fold(self.trusted, links)
        told = Head(seq=stop, hash=links[-1].hash if links else self._shown.hash)
        is_sound = is_whole and _agrees(self._shown, links)
        here = [one for one in marks if one.head == trusted] if is_whole else []
        if marks and not here:
            self._miss(links, marks, told, is_sound)
        else:
            if not is_sound:
                self._blame(links, stop)
            if here:
                self._arrive(marks, here, stop)
            self.trusted = trusted if is_sound or here else told
            self._is_lost = not here and not is_whole and _ends_before(links, stop)
            if is_sound and trusted == told and stop % STRIDE == 0 and not marks:
                self.passed.append(trusted)
        if marks:
            self._marked = stop
        self._shown = self.trusted if marks and _ends_before(links, stop) else told
        self._stale += [one for one in marks if one.head != told and one not in self.refuted]

    def _arrive(self, marks: Sequence[Mark], here: Sequence[Mark], stop: int) -> None:
        """Marks are reached; others of the same number are those of another record."""
        self.reached += here
        others = [one for one in marks if one not in here]
        if others:
            known = any(one.state is not State.HEARD for one in others)
            self._break(Fault.REWRITTEN if known else Fault.FORKED, stop)
            self.refuted += others

    def _miss(self, links: Sequence[Link], marks: Sequence[Mark], told: Head, is_sound: bool) -> None:
        """No mark is reached from the one before."""
        on_shown = [one for one in marks if one.head == told]
        known = [one for one in marks if one.state is not State.HEARD]
        if on_shown and is_sound:  # the site goes on upon another chain than the one remembered
            self._arrive(marks, on_shown, told.seq)
            self.refuted += self._stale
            self._stale = []
            self.trusted = told
        elif on_shown:
            self._blame(links, told.seq)
            self.trusted = told
        elif known:
            kind = Fault.MISSING if len(links) < told.seq - self.seq else Fault.REWRITTEN
            self._break(kind, told.seq, _where(self._shown, links, told.seq))
            self.trusted = known[-1].head
        else:
            self._break(Fault.FORKED, told.seq, _where(self._shown, links, told.seq))
            self.refuted += marks
            self.trusted = told

    def _blame(self, links: Sequence[Link], stop: int) -> None:
        """Contents and hashes of a stretch do not agree: say how, and how far that goes.

        Behind the last place where it shows, the hashes are proved by the mark. Before it they may have been
        computed anew, so the range begins behind the last mark.
        """
        missing = list(_missing(links, self._shown.seq + 1, stop))
        altered, moved = _amiss(self._shown, links)
        kind = Fault.MISSING if missing else Fault.ALTERED if altered or not moved else Fault.REORDERED
        last = max(
            [stop] if not (missing or altered or moved) else [run[1] for run in missing] + altered + moved
        )
        self._break(kind, last, _where(self._shown, links, stop))

    def _break(self, kind: Fault, last: int, what: str = "") -> None:
        """Note that something is wrong behind the last mark, up to `last`."""
        self.breaks.append(Break(kind=kind, first=self._marked + 1, last=last, what=what))


def _ends_before(links: Sequence[Link], stop: int) -> bool:
    """Whether the record of that number is missing."""
    return not links or links[-1].seq < stop


def _agrees(head: Head, links: Iterable[Link]) -> bool:
    """Whether each hash is that of its content, from a place on."""
    end = head.hash
    for one in links:
        end = link(end, one.seq, one.at, one.digest)
        if end != one.hash:
            return False
    return True


def _where(head: Head, links: Sequence[Link], stop: int) -> str:
    """Where a stretch shows that it was changed, in words; empty where it holds in itself."""
    altered, moved = _amiss(head, links)
    runs = {
        "not there": list(_missing(links, head.seq + 1, stop)),
        "not what their hashes say": list(_runs(altered)),
        "in another order": list(_runs(moved)),
    }
    return "; ".join(f"{_named(found)} {words}" for words, found in runs.items() if found)


def _named(runs: Sequence[tuple[int, int]]) -> str:
    """Ranges in words; the first of them."""
    told = [str(first) if first == last else f"{first} to {last}" for first, last in runs[:_TOLD]]
    return ", ".join(told) + (" and more" if len(runs) > _TOLD else "")


def _between(links: Sequence[Link], after: int, last: int) -> list[Link]:
    return [one for one in links if after < one.seq <= last]


def _fold(head: Head, links: Iterable[Link]) -> Head:
    """Where links lead from a place."""
    end, seq = head.hash, head.seq
    for one in links:
        end, seq = link(end, one.seq, one.at, one.digest), one.seq
    return Head(seq=seq, hash=end)


def _missing(links: Sequence[Link], first: int, last: int) -> Iterator[tuple[int, int]]:
    """Runs of numbers that are not there."""
    expected = first
    for seq in (*(one.seq for one in links), last + 1):
        if seq > expected:
            yield expected, seq - 1
        expected = seq + 1


def _amiss(head: Head, links: Sequence[Link]) -> tuple[list[int], list[int]]:
    """Numbers of records whose hash is not that of their content, and of those that stand elsewhere."""
    shown = {one.hash for one in links}
    altered: list[int] = []
    moved: list[int] = []
    end, seq = head.hash, head.seq
    for place, one in enumerate(links):
        known = one.seq == seq + 1
        seq = one.seq
        if not known:  # the record before is missing, so this one cannot be computed
            end = one.hash
            continue
        own = link(end, seq, one.at, one.digest)
        if own == one.hash:
            end = own
            continue
        near = links[max(0, place - _NEAR) : place + _NEAR]
        hashes = (link(end, seq, other.at, other.digest) for other in near if other is not one)
        elsewhere = next((found for found in hashes if found in shown), None)
        (altered if elsewhere is None else moved).append(seq)
        end = elsewhere or one.hash
    return altered, moved


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Numbers in runs."""
    start = before = None
    for number in numbers:
        if before is None or start is None:
            start = number
        elif number != before + 1:
            yield start, before
            start = number
        before = number
    if start is not None and before is not None:
        yield start, before
