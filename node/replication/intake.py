"""Stages of what comes from other sites: facts in, bytes in, bytes proved. Each may be begun again.

```
A  changes of a journal ──▶ journal, effects, wants, gaps, cursor                       one unit
B  bytes of wants that are in the store ──▶ rows of patients to instances               one unit per pack
C  bytes read back from the disk ──▶ wants done, COPIES fact that tells the others      one unit
```
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from node.archive import owing
from node.archive.derive import derive, state_of
from node.archive.identity import Identified
from node.archive.reading import read_back
from node.audit.record import Deed, Event
from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.catalog.cursors import joined
from node.catalog.forms import StoredForm
from node.catalog.unit import Unit
from node.catalog.wants import ARRIVED
from node.domain.chain import Head
from node.domain.change import Changes, Told
from node.domain.errors import Damaged, Malformed, MalformedMessage, NodeError, Unidentified
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.job import SECOND
from node.domain.member import Member
from node.domain.replica import Urgency, Want
from node.domain.rule import Traits
from node.journal.entry import LOCAL, Entry, Fact
from node.replication.effects import Effects
from node.replication.entries import read_entry
from node.replication.epochs import Epochs

log = logging.getLogger(__name__)

LONGEST_FACT = 500
"""Digests in one fact: more would be longer than an entry may be on the wire."""
AGAIN = 300 * SECOND
"""Microseconds until bytes that were damaged or not to be had are asked for again."""


class Intake:
    """Takes in what other sites tell and give."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, effects: Effects) -> None:
        """The intake of a site.

        Args:
            catalog: where facts and rows go.
            blobs: where the bytes are when stage B begins.
            effects: what facts do to the rows.
        """
        self._catalog = catalog
        self._blobs = blobs
        self._effects = effects
        self.epochs = Epochs(catalog, blobs, effects)
        """What becomes of this site's own journal when the site was restored."""

    def take(self, changes: Changes) -> Head:
        """Take in entries of another site's journal, from where its cursor stands.

        Entries that were taken in before are left out, so a lost reply does no harm.

        Returns:
            Where the cursor stands then.

        Raises:
            Damaged: they do not continue what was read before: the journal was rewritten, or forked.
            MalformedMessage: the site tells facts that are not its own, or none at all.
        """
        with self._catalog.begin() as unit:
            member = unit.members.find(changes.origin)
            if member is None:
                raise MalformedMessage(f"{changes.origin} is not a member")
            head = unit.cursors.find(changes.origin, changes.epoch)
            gaps = unit.cursors.gaps(changes.origin, changes.epoch)
            before = len(gaps)
            if changes.anew:
                head, gaps = self._rewound(unit, changes, gaps)
                before = -1
            for told in changes.entries:
                if told.seq > head.seq:
                    head = self._one(unit, member, changes, told, head, gaps)
            unit.cursors.put(changes.origin, changes.epoch, head)
            if len(gaps) != before:
                unit.cursors.set_gaps(changes.origin, changes.epoch, gaps)
        return head

    def _rewound(
        self, unit: Unit, changes: Changes, gaps: Sequence[tuple[int, int]]
    ) -> tuple[Head, list[tuple[int, int]]]:
        """Forget what was read of an epoch that its site has ended, from where other entries come.

        What the entries say that go has been stated again by their site, so that nothing changes by this but
        the place where it stands.
        """
        origin, epoch, entries = changes.origin, changes.epoch, changes.entries
        first = min([*(told.seq for told in entries[:1]), *(low for low, _ in changes.lost[:1])], default=0)
        after = first - 1 if first else changes.head
        kept = unit.journal.at(origin, epoch, after)
        is_next = bool(entries) and entries[0].seq == after + 1
        told = entries[0].previous if is_next else Head().hash
        before = kept.hash if kept is not None else told
        if epoch >= unit.members.contact(origin).epoch or (is_next and before != told):
            raise Damaged(f"entry {after + 1} of {origin}/{epoch} does not follow what was read before")
        reached = unit.cursors.find(origin, epoch).seq
        for entry in unit.journal.drop(origin, epoch, after, reached):
            self._effects.undo(unit, entry)
        log.warning("an epoch is read again", extra={"peer": origin, "epoch": epoch, "after": after})
        left = without(gaps, [(after + 1, max(reached, after + 1))])
        return Head(seq=after, hash=before), left

    def fill(self, changes: Changes, asked: Sequence[tuple[int, int]]) -> None:
        """Take in entries that were withheld before, and shrink the gaps that were asked for.

        Args:
            changes: the answer, which tells the first of those asked for.
            asked: the gaps that were asked for; those behind the last entry told stay as they are.
        """
        with self._catalog.begin() as unit:
            member = unit.members.find(changes.origin)
            if member is None or not changes.entries:
                return
            last = changes.entries[-1].seq
            answered = [(first, min(end, last)) for first, end in asked if first <= last]
            gaps = without(unit.cursors.gaps(changes.origin, changes.epoch), answered)
            for told in changes.entries:
                if told.withheld:
                    gaps.append((told.seq, told.seq))
                else:
                    self._late(unit, member, changes, told, gaps)
            heard = [(told.seq, told.seq) for told in changes.entries]
            gaps += without(answered, joined(heard))
            unit.cursors.set_gaps(changes.origin, changes.epoch, gaps)

    def _one(
        self,
        unit: Unit,
        member: Member,
        changes: Changes,
        told: Told,
        head: Head,
        gaps: list[tuple[int, int]],
    ) -> Head:
        """Take in the entry that follows the head, or what the origin has lost of its own."""
        missing = (head.seq + 1, told.seq - 1)
        if told.seq > head.seq + 1 and not without([missing], changes.lost):
            gaps.append(missing)
            head = Head(seq=told.seq - 1, hash=told.previous)
        if told.seq != head.seq + 1 or told.previous != head.hash:
            raise Damaged(f"entry {told.seq} of {changes.origin}/{changes.epoch} does not follow {head.seq}")
        if told.withheld:
            gaps.append((told.seq, told.seq))
            return Head(seq=told.seq, hash=told.hash)
        entry = read_entry(changes, told, head)
        self._keep(unit, member, entry, told, gaps)
        return Head(seq=entry.seq, hash=entry.hash)

    def _late(
        self, unit: Unit, member: Member, changes: Changes, told: Told, gaps: list[tuple[int, int]]
    ) -> None:
        """Take in an entry that was withheld before."""
        entry = read_entry(changes, told, Head(seq=told.seq - 1, hash=told.previous))
        following = unit.journal.at(entry.origin, entry.epoch, entry.seq + 1)
        if following is not None and following.previous != entry.hash:
            raise Damaged(f"entry {entry.seq} of {entry.origin}/{entry.epoch} is not the one withheld")
        self._keep(unit, member, entry, told, gaps)

    def _keep(
        self, unit: Unit, member: Member, entry: Entry, told: Told, gaps: list[tuple[int, int]]
    ) -> None:
        if entry.kind in LOCAL:
            raise MalformedMessage(f"{entry.origin} tells a fact that concerns itself alone")
        unit.journal.keep(entry)
        self._effects.apply(unit, entry)
        if entry.kind is Fact.INSTANCE and not self.want(unit, member, entry, owed=told.owed):
            gaps.append((entry.seq, entry.seq))

    def want(
        self, unit: Unit, member: Member, entry: Entry, *, owed: bool, urgency: int = Urgency.NEW
    ) -> bool:
        """Want the bytes that an INSTANCE fact names, if both sites agree that they come here.

        Returns:
            False where they do not; the fact is worth asking for again when the terms change.
        """
        says = entry.says
        uid, digest = InstanceUID.trusted(says["uid"]), Digest.trusted(says["digest"])
        if not (owed and member.accept.allow(_traits(entry), now=unit.now)):
            return False
        state = state_of(unit, uid)
        if urgency > Urgency.NEW:
            unit.recalls.take_again(digest)
        elif unit.recalls.is_given_up(digest):
            return True
        is_here = unit.forms.holder_of(digest) is not None
        if digest in state.folded or (state.withdrawn and not is_here):
            return True
        unit.wants.add(
            Want(
                digest=digest,
                instance=uid,
                size=says["size"],
                holder=member.site,
                urgency=urgency,
                wanted_at=entry.at,
            )
        )
        if urgency > Urgency.NEW:
            unit.wants.urge(digest, urgency)
        if is_here:
            unit.wants.arrived(digest)
        return True

    def arrived(self, holder: SiteId, digests: Iterable[Digest]) -> Sequence[Digest]:
        """Catalogue instances whose bytes came into the store; those that are not wanted are left out.

        Returns:
            The digests that are catalogued now.
        """
        read: list[tuple[Digest, int, Identified]] = []
        for digest in digests:
            try:
                read.append((digest, self._blobs.size(digest) or 0, read_back(self._blobs, digest)))
            except (Damaged, Malformed, Unidentified) as error:
                self._refuse(digest, error)
        if not read:
            return ()
        return self._catalog.perform(lambda unit: self._catalogue(unit, holder, read))

    def without_stored(self, holder: SiteId, wants: Sequence[Want]) -> list[Want]:
        """Catalogue what is wanted and in the store already; what is left to be fetched."""
        stored = {want.digest for want in wants if self._is_stored(want.digest)}
        if stored:
            self.arrived(holder, [want.digest for want in wants if want.digest in stored])
        return [want for want in wants if want.digest not in stored]

    def _catalogue(
        self, unit: Unit, holder: SiteId, read: Sequence[tuple[Digest, int, Identified]]
    ) -> Sequence[Digest]:
        done: list[Digest] = []
        studies: dict[str, int] = defaultdict(int)
        for digest, size, identified in read:
            wanted = unit.wants.find(digest)
            if wanted is None or wanted[0].instance != identified.offer.instance:
                log.warning("bytes that were not wanted were left out", extra={"digest": digest})
                continue
            self._place(unit, digest, size, identified)
            unit.wants.arrived(digest)
            studies[identified.study] += 1
            done.append(digest)
        for study, count in studies.items():
            deed = Deed(
                event=Event.STORED, who=f"node:{holder}@{holder}", study=study, what=f"{count} instances"
            )
            unit.audit.append(deed)
        return done

    def _place(self, unit: Unit, digest: Digest, size: int, identified: Identified) -> None:
        """Add the rows of one instance; the usual one, of which there is a single fact, without more ado."""
        uid = identified.offer.instance
        facts = unit.journal.about(uid)
        if len(facts) == 1 and unit.instances.digest(uid) is None:
            unit.instances.add(
                identified.arrival(
                    digest=digest,
                    size=size,
                    source=facts[0].says["source"],
                    at=unit.now,
                    stamp=facts[0].stamp,
                )
            )
            if facts[0].origin == unit.origin:
                owing.settle(unit, uid)
            return
        if self._filled(unit, digest, size, identified):
            derive(unit, self._blobs, uid)
            return
        source = next((fact.says["source"] for fact in facts if fact.says.get("digest") == digest), "")
        form = StoredForm(
            digest=digest,
            size=size,
            transfer_syntax=identified.offer.transfer_syntax,
            source=source,
            arrived_at=unit.now,
            stamp="",
        )
        derive(unit, self._blobs, uid, (form, identified))

    def _filled(self, unit: Unit, digest: Digest, size: int, identified: Identified) -> bool:
        """Let bytes tell the row that was described before they came; whether there is one."""
        uid = identified.offer.instance
        if unit.instances.digest(uid) != digest or unit.instances.is_held(uid):
            return False
        state = state_of(unit, uid)
        if state.withdrawn or not state.staying or state.staying[0].digest != digest:
            return False
        form = state.staying[0]
        arrival = identified.arrival(
            digest=digest, size=size, source=form.source, at=unit.now, stamp=form.stamp
        )
        return unit.instances.fill(arrival)

    def _is_stored(self, digest: Digest) -> bool:
        """Whether bytes are in the store, whole: those that are damaged are fetched anew."""
        if self._blobs.size(digest) is None:
            return False
        try:
            self._blobs.verify(digest)
        except NodeError:
            return False
        return True

    def prove(self, many: int, *, stop: Callable[[], bool] = lambda: False) -> int:
        """Read back what has arrived, and tell the federation which copies are proved.

        Returns:
            How many were read; not those that the store cannot read at all now, which stay as they are.
        """
        with self._catalog.reading() as unit:
            waiting = unit.wants.to_prove(min(many, LONGEST_FACT))
        proved: list[Want] = []
        refused = 0
        for want in waiting:
            if stop():
                break
            try:
                self._blobs.verify(want.digest)
                proved.append(want)
            except Damaged as error:
                self._refuse(want.digest, error)
                refused += 1
            except NodeError as error:
                log.warning("a copy cannot be read now", extra={"digest": want.digest, "error": str(error)})
        if proved:
            self._catalog.perform(lambda unit: self._tell(unit, proved))
        return len(proved) + refused

    def _tell(self, unit: Unit, proved: Sequence[Want]) -> None:
        holders: dict[SiteId, list[str]] = defaultdict(list)
        for want in proved:
            found = unit.wants.find(want.digest)
            if found and found[1] == ARRIVED:
                unit.wants.drop(want.digest)
                holders[want.holder].append(want.digest)
        for holder, digests in holders.items():
            unit.journal.append(Fact.COPIES, {"of": holder, "verified": sorted(digests), "gone": []})

    def _refuse(self, digest: Digest, error: NodeError) -> None:
        """What came is not what was wanted: ask again later, unless the instance is withdrawn by now."""
        log.error("a copy could not be taken in", extra={"digest": digest, "error": str(error)})

        def note(unit: Unit) -> None:
            wanted = unit.wants.find(digest)
            if wanted and state_of(unit, wanted[0].instance).withdrawn:
                unit.wants.drop(digest)
            else:
                unit.wants.failed(digest, str(error), pause=AGAIN)

        self._catalog.perform(note)


def _traits(entry: Entry) -> Traits:
    """What a fact itself tells of an instance, for the terms of the receiving site."""
    says = entry.says
    kind, _, rest = says["source"].partition(":")
    return Traits(
        study=says.get("study", ""),
        modality=says.get("modality", ""),
        ae_title=rest.rpartition("@")[0] if kind == "device" else "",
        taken_at=entry.at,
    )


def without(ranges: Sequence[tuple[int, int]], taken: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of numbers, without those in other ranges."""
    left = list(ranges)
    for low, high in taken:
        rest: list[tuple[int, int]] = []
        for first, last in left:
            if last < low or first > high:
                rest.append((first, last))
                continue
            if first < low:
                rest.append((first, low - 1))
            if last > high:
                rest.append((high + 1, last))
        left = rest
    return left
