"""Which entries of its journal a site tells a member, and which it withholds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, pairwise

from node.catalog import traits
from node.catalog.unit import Unit
from node.domain.change import Changes, Cursor, Told
from node.domain.ids import Digest, InstanceUID, StudyUID
from node.domain.member import Member
from node.domain.replica import CopyState
from node.domain.rule import Traits
from node.journal.entry import FEDERATION, LOCAL, Entry, Fact


class Teller:
    """Tells one member entries of this site's journal.

    What concerns this site alone is never told, what concerns the federation always is; what concerns a
    patient is told where the terms give the member the instances that it is about.
    """

    def __init__(self, unit: Unit, member: Member) -> None:
        """A teller for one call.

        Args:
            unit: reads the catalog.
            member: who asks.
        """
        self._unit = unit
        self._member = member

    def tell(self, epoch: int, entries: Sequence[Entry], after: int | None = None) -> Changes:
        """The entries as the member may have them.

        Args:
            epoch: of which they are.
            entries: in order.
            after: the number after which they come without gaps, but for what this site has lost.
        """
        return Changes(
            origin=self._unit.origin,
            epoch=epoch,
            entries=[self._told(entry) for entry in entries],
            head=self._unit.journal.end(self._unit.origin, epoch).seq,
            terms=terms_of(self._unit),
            lost=_lost(entries, after) if after is not None and epoch < self._unit.epoch else (),
        )

    def _told(self, entry: Entry) -> Told:
        if not self._may_know(entry):
            return Told(seq=entry.seq, previous=entry.previous, hash=entry.hash)
        return travelling(entry, owed=entry.kind is Fact.INSTANCE and self._is_owed(entry))

    def _may_know(self, entry: Entry) -> bool:
        if entry.kind in LOCAL:
            return False
        if entry.kind in FEDERATION or self._member.export.is_everything:
            return True
        if self._member.export.is_nothing and entry.kind is not Fact.COPIES:
            return False
        return self._concerns_it(entry)

    def _concerns_it(self, entry: Entry) -> bool:
        """Whether a fact is about something that conditional terms give the member."""
        if entry.kind is Fact.COPIES:
            return entry.says["of"] == self._member.site or self._may_know_copies(entry)
        return self._is_given(self._about(entry))

    def _may_know_copies(self, entry: Entry) -> bool:
        """Whether all copies that a fact names are of instances that the terms give the member."""
        unit, says = self._unit, entry.says
        for digest in says["verified"] + says["gone"]:
            uid = unit.digests.trace(Digest.trusted(digest)).instance
            if uid is None or not self._is_given(traits.of(unit, [uid]).values()):
                return False
        return True

    def _is_given(self, about: Iterable[Traits]) -> bool:
        return any(self._member.export.allow(one, now=self._unit.now) for one in about)

    def _about(self, entry: Entry) -> Iterable[Traits]:
        """The traits of the instances that a fact is about."""
        says = entry.says
        match entry.kind:
            case Fact.INSTANCE | Fact.COMPARE | Fact.RETRACT:
                return traits.of(self._unit, [InstanceUID.trusted(says["uid"])]).values()
            case Fact.LOCK | Fact.CORRECT | Fact.MARK if "study" in says:
                return traits.all_of_study(self._unit, StudyUID.trusted(says["study"]))
            case Fact.CORRECT | Fact.MARK | Fact.MERGE:
                named = [patient for patient in (says["patient"], says.get("into")) if patient]
                return chain.from_iterable(traits.all_of_patient(self._unit, *one) for one in named)
            case _:
                return ()

    def _is_owed(self, entry: Entry) -> bool:
        """Whether the rules want a copy of the bytes at the member; also if that is not written down yet.

        When rules, terms or a standing have changed, the worker works off what follows; a member that asks
        meanwhile is told at once, since it does not ask twice. Nor does it matter whether the instance is
        withdrawn, or the form folded: the member knows that itself, perhaps better.
        """
        known = self._unit.replicas.state(Digest.trusted(entry.says["digest"]), self._member.site)
        if known is not None and known[0] is not CopyState.GONE:
            return True
        uid = InstanceUID.trusted(entry.says["uid"])
        about = traits.of(self._unit, [uid]).get(uid)
        return about is not None and self._member.site in self._unit.rules.desired(about)


def kept(unit: Unit, after: Cursor, many: int) -> Changes:
    """What is here of the journal of a member, told to itself: nothing of that is withheld from it."""
    read = unit.cursors.find(after.origin, after.epoch)
    entries = unit.journal.page(after.seq, many, origin=after.origin, epoch=after.epoch)
    return Changes(
        origin=after.origin,
        epoch=after.epoch,
        entries=[travelling(entry, owed=False) for entry in entries],
        head=max([read.seq, *(entry.seq for entry in entries)]),
        terms=0,
    )


def terms_of(unit: Unit) -> int:
    """A number that changes when members may be told what was withheld from them, or lost, before."""
    return unit.rules.terms_number() + unit.recalls.total()


def _lost(entries: Sequence[Entry], after: int) -> list[tuple[int, int]]:
    """The numbers between these entries: a site that was restored did not get all of its own back."""
    seqs = [after, *(entry.seq for entry in entries)]
    return [(one + 1, following - 1) for one, following in pairwise(seqs) if following > one + 1]


def travelling(entry: Entry, *, owed: bool) -> Told:
    """An entry as it travels, in full."""
    return Told(
        seq=entry.seq,
        previous=entry.previous,
        hash=entry.hash,
        at=entry.at,
        kind=entry.kind,
        payload=entry.payload,
        owed=owed,
    )
