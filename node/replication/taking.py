"""Entries of this site's own journal, taken back from a peer: under their number, or stated again."""

from __future__ import annotations

from typing import Any

from node.archive.derive import state_of
from node.blobs.store import BlobStore
from node.catalog.recalls import Recall
from node.catalog.unit import Unit
from node.domain.errors import MalformedMessage
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.member import Standing
from node.domain.replica import Urgency, Want
from node.journal.entry import LOCAL, Entry, Fact, canonical, subject_of
from node.replication.effects import Effects


class Taking:
    """One run of entries that a peer has kept of this site's journal, within a unit of work."""

    def __init__(
        self,
        unit: Unit,
        effects: Effects,
        blobs: BlobStore,
        site: SiteId,
        epoch: int,
        agreed: int,
        *,
        trusting: bool = False,
    ) -> None:
        """Take entries back.

        Args:
            unit: everything becomes durable with it, or nothing.
            effects: what facts do to the rows.
            blobs: what is here of the bytes that they name.
            site: the peer that has kept them.
            epoch: of which they are; this site has ended it.
            agreed: up to this number the peer is known to have what stands here.
            trusting: a person here has chosen whom to ask, so decisions about access are believed, too.
        """
        self._trusting = trusting
        self._unit = unit
        self._effects = effects
        self._blobs = blobs
        self._site = site
        self._epoch = epoch
        self.agreed = agreed
        """Up to this number the peer has what stands here."""
        self.here: list[Digest] = []
        """Bytes that are in the store, and that are to be catalogued now."""
        self.taken = 0
        self.restated = 0
        self.refused = 0
        """Decisions that this peer is not believed."""

    def take(self, entry: Entry) -> None:
        """Keep an entry under its number, where it goes on from what stands here; else state it again."""
        if entry.kind in LOCAL:
            raise MalformedMessage(f"{self._site} tells a fact that concerns {entry.origin} alone")
        before, known = self._at(entry.seq - 1), self._at(entry.seq)
        if known is not None and known.hash == entry.hash:
            self.agreed = max(self.agreed, entry.seq)
            return
        if before is not None and before.hash == entry.previous:
            self.agreed = max(self.agreed, before.seq)
        if not self._is_believed(entry):
            self.refused += 1
            return
        if not self._fits(entry):
            self._give_way()
        self.taken += 1
        if not self._fits(entry):
            self._restate(entry)
            return
        self._unit.journal.keep(entry)
        self._follow(entry)
        self.agreed = max(self.agreed, entry.seq)

    def _is_believed(self, entry: Entry) -> bool:
        """Whether a peer may tell this site that it had decided so.

        Entries are chained, not sealed: whoever has read our journal could have made one up. What opens
        access is therefore believed only about a member that is known here, and never of itself; nobody is
        introduced this way. What closes access is believed.
        """
        says, about = entry.says, self._unit.origin
        match entry.kind:
            case Fact.MEMBER:
                return self._trusting or says["site"] == about
            case Fact.STANDING:
                opens = says["standing"] == Standing.ACTIVE
            case Fact.CONSENT:
                opens = bool(says["export"])
            case _:
                opens = False
        if self._trusting or not opens:
            return True
        about = SiteId.trusted(says["site"])
        return about != self._site and self._unit.members.find(about) is not None

    def _at(self, seq: int) -> Entry | None:
        return self._unit.journal.at(self._unit.origin, self._epoch, seq)

    def _fits(self, entry: Entry) -> bool:
        """Whether an entry may stand under its number: both have the same up to it, or to the end here.

        So whoever has read as far as the end here, and the same entry there, has read the same all along.
        """
        before, after = self._at(entry.seq - 1), self._at(entry.seq + 1)
        end = self._unit.journal.end(self._unit.origin, self._epoch).seq
        return (
            self.agreed >= min(entry.seq, end)
            and self._at(entry.seq) is None
            and (before is None or before.hash == entry.previous)
            and (after is None or after.previous == entry.hash)
        )

    def _give_way(self) -> None:
        """Take out what this site has written since it was restored, and state it in the current epoch.

        What some peer has read of that stays where it is.
        """
        unit = self._unit
        own = unit.recalls.find(unit.origin, self._epoch)
        if own is None or own.seq <= max(self.agreed, own.agreed):
            return
        after = max(self.agreed, own.agreed)
        dropped = unit.journal.drop(unit.origin, self._epoch, after, own.seq)
        unit.recalls.put(unit.origin, self._epoch, Recall(seq=after, agreed=after))
        for entry in dropped:
            unit.journal.restate(entry.kind, entry.at, self._said(entry))
            self.restated += 1
        for entry in dropped:
            self._effects.undo(unit, entry)

    def _restate(self, entry: Entry) -> None:
        """State a fact of another branch again, unless this site has done so already."""
        says = self._said(entry)
        subject, text = subject_of(entry.kind, says), canonical(says)
        known = self._unit.journal.about(subject) if subject else ()
        if any(
            (one.origin, one.kind, one.at, one.payload) == (entry.origin, entry.kind, entry.at, text)
            for one in known
        ):
            return
        self.restated += 1
        self._follow(self._unit.journal.restate(entry.kind, entry.at, says))

    def _said(self, entry: Entry) -> dict[str, Any]:
        """What an entry says, without the claim to know entries of the branch that it is not on any more."""
        says, place = entry.says, f"{entry.origin}/{entry.epoch}"
        seen = says.get("seen", {})
        if seen.get(place, 0) > self.agreed:
            says["seen"] = {**seen, place: self.agreed}
        return says

    def _follow(self, entry: Entry) -> None:
        """Let a fact take effect that this site had stated and lost; its bytes are to come back."""
        self._effects.apply(self._unit, entry)
        if entry.kind is not Fact.INSTANCE:
            return
        says = entry.says
        uid, digest = InstanceUID.trusted(says["uid"]), Digest.trusted(says["digest"])
        if self._unit.forms.holder_of(digest) is not None:
            return
        is_stored = self._blobs.size(digest) is not None
        state = state_of(self._unit, uid)
        if digest in state.folded or (state.withdrawn and not is_stored):
            return
        self._unit.wants.add(
            Want(
                digest=digest,
                instance=uid,
                size=says["size"],
                holder=self._site,
                urgency=Urgency.NEW,
                wanted_at=entry.at,
            )
        )
        if is_stored:
            self.here.append(digest)
