"""A lost site: from its key and its settings alone, it takes back from the members what they have of it.

```
members ──▶ own journal, page by page ──▶ compared with the live one: what no member has is the recovery point
        ──▶ their own journals
        ──▶ rows of the sample, as they describe them ──▶ the first searches are answered
        ──▶ bytes of the sample ──▶ the same rows, answers and digests?
```

The members are those whose addresses are kept beside the keys (`node.identity.addresses`). Where none are,
the live ones are called, and the report says that an invitation would be needed first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from node.catalog.samples import Samples
from node.catalog.unit import Unit
from node.domain.chain import Head
from node.domain.change import Changes, Cursor
from node.domain.errors import NodeError
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.job import SECOND
from node.domain.replica import Urgency, Want
from node.identity import addresses
from node.journal.entry import LOCAL, Entry, Fact
from node.recovery.drill.corrupt_catalog import READER, Answered, answers, differ, same_answers
from node.recovery.drill.lose_disk import measure_loss
from node.recovery.drill.order import Order
from node.recovery.drill.outcome import Course, Duration, Timed, plural
from node.recovery.drill.sample import compare, snapshot, some_studies
from node.recovery.drill.scratch import Area, ScratchSite
from node.replication.describing import Describing
from node.replication.entries import read_entry
from node.replication.peer import LONGEST_PAGE, Peer, Peers

PACK = 256
"""Objects that are asked for together."""


@dataclass(slots=True)
class Journals:
    """Which journals there are to take back: how far the live site knows each."""

    own: dict[int, int]
    others: list[tuple[SiteId, int, int]] = field(default_factory=list)
    """Origin, epoch, last number."""

    @property
    def facts(self) -> int:
        """How many that are."""
        return sum(self.own.values()) + sum(last for _, _, last in self.others)


def hold(area: Area, order: Order, course: Course) -> None:
    """Hold the drill.

    Raises:
        NodeError: it could not be held to its end.
    """
    with snapshot(area, course) as live:
        studies, held = some_studies(live.catalog, order, course)
        measure_loss(area, live, course)
        with live.catalog.reading() as unit:
            before = Samples(unit).portrait(studies)
            subjects = set(Samples(unit).subjects(studies))
            journals = _journals(unit)
        answered = answers(live.catalog, studies)
        members = live.active()
        if not course.demand(bool(members), "this site has no member that could give anything back"):
            return
        with _empty(area, "restored") as site:
            members = _known(area, site, live, course)
            peers = site.peers
            back = _take_back(site, live, peers, members, journals, course)
            with site.catalog.reading() as unit:
                facts = [fact for subject in subjects for fact in unit.journal.about(subject)]
            _want(site, facts, held, members[0])
            _first_answers(site, peers, members, answered, back, course)
            _fetch(peers, members, site, held, course)
            _decided(site, facts)
            compare(site.blobs, held, course)
            with site.catalog.reading() as unit:
                differ(before, Samples(unit).portrait(studies), course)
            same_answers(site.catalog, answered, course)


def _journals(unit: Unit) -> Journals:
    """How far the live site knows its own journal, and those of the members it exchanges with."""
    active = {member.site for member in unit.members.active()}
    others = [
        (origin, epoch, unit.journal.end(origin, epoch).seq)
        for origin, epoch in unit.journal.origins()
        if origin in active
    ]
    return Journals(own=unit.journal.epochs(), others=others)


def _empty(area: Area, name: str) -> ScratchSite:
    """A new site that reads facts as another one would, so that it may hold a part of them."""
    live = area.live
    return ScratchSite(
        area.folder / name, home=live.home, clock=live.clock, peers_of=live.peers_of, name=READER
    )


def _known(area: Area, site: ScratchSite, live: ScratchSite, course: Course) -> list[SiteId]:
    """Let the new site know the members whose addresses are kept beside the keys."""
    kept = addresses.load(area.live.home.key_folder)
    away = sorted(set(live.active()) - {member.site for member in kept})
    if away:
        course.outcome.notes.append(
            f"the addresses of {', '.join(away)} are not kept beside the keys: without them, a member has to "
            "invite this site again (`konzilium invite --returning`)"
        )
    with site.catalog.begin() as unit, live.catalog.reading() as known:
        for member in kept or known.members.active():
            unit.members.put(member)
    return site.active()


def _take_back(
    site: ScratchSite,
    live: ScratchSite,
    peers: Peers,
    members: Sequence[SiteId],
    journals: Journals,
    course: Course,
) -> Timed:
    """Read the journals at the members; compare with the live ones what came of this site's own."""
    came: dict[int, bytearray] = {epoch: bytearray(last + 1) for epoch, last in journals.own.items()}
    read = 0
    with course.step("take the journals back from the members") as timed:
        for member in members:
            try:
                with peers(member) as peer:
                    for entries in _told(peer, live.name, journals, member):
                        _write(site, entries)
                        read += len(entries)
                        course.tell(read, journals.facts)
                        for entry in entries:
                            if entry.origin == live.name and entry.seq < len(came.get(entry.epoch, b"")):
                                came[entry.epoch][entry.seq] = 1
            except NodeError as error:
                course.outcome.notes.append(f"{member} could not be read to its end: {error}")
        timed.told = plural(read, "fact")
    course.took("have the journals back", timed, done=read, of=max(read, journals.facts), unit="facts")
    _judge_loss(live, came, course)
    return timed


def _told(peer: Peer, own: SiteId, journals: Journals, member: SiteId) -> Iterator[list[Entry]]:
    """What a member tells of this site's journal, and of its own, page by page, each entry checked."""
    places = [(own, epoch) for epoch in journals.own]
    places += [(origin, epoch) for origin, epoch, _ in journals.others if origin == member]
    for origin, epoch in places:
        after = 0
        while True:
            changes = peer.changes(Cursor(origin=origin, epoch=epoch, seq=after), LONGEST_PAGE)
            yield _checked(changes)
            if not changes.entries or changes.entries[-1].seq >= changes.head:
                break
            after = changes.entries[-1].seq


def _checked(changes: Changes) -> list[Entry]:
    """The entries of a page that are told in full, each what its hash says."""
    return [
        read_entry(changes, told, Head(seq=told.seq - 1, hash=told.previous))
        for told in changes.entries
        if told.payload is not None
    ]


def _write(site: ScratchSite, entries: Sequence[Entry]) -> None:
    with site.catalog.begin() as unit:
        for entry in entries:
            unit.journal.keep(entry)


def _judge_loss(live: ScratchSite, came: Mapping[int, bytearray], course: Course) -> None:
    """Name the facts of this site that no member has: the recovery point."""
    lost, late, aside, oldest = 0, 0, 0, 0
    loss = course.outcome.loss
    with course.step("compare the journal with the live one") as timed, live.catalog.reading() as unit:
        allowed = unit.now - int(loss.allowed_seconds * SECOND)
        for epoch, seen in came.items():
            for entry in unit.journal.after(0, epoch=epoch):
                if entry.kind in LOCAL:
                    aside += 1
                elif entry.seq >= len(seen) or not seen[entry.seq]:
                    lost += 1
                    late += entry.at < allowed
                    oldest = min(oldest or entry.at, entry.at)
        now = unit.now
        timed.told = f"{plural(lost, 'fact')} at no member"
    loss.facts = lost
    loss.seconds = max(loss.seconds, (now - oldest) / SECOND if oldest else 0.0)
    loss.told = f"{loss.told}; {plural(lost, 'fact')} of its journal that no member has"
    if aside:
        course.outcome.notes.append(
            f"rules and quarantine ({plural(aside, 'fact')}) concern this site alone and are told to nobody"
        )
    course.demand(
        not late, f"{plural(late, 'fact')} older than {loss.allowed_seconds / 60:,.0f} minutes at no member"
    )


def _want(site: ScratchSite, facts: Sequence[Entry], held: Mapping[Digest, int], member: SiteId) -> None:
    """Want the sample back, as far as the facts that came back tell of it."""
    with site.catalog.begin() as unit:
        for fact in facts:
            if fact.kind is Fact.INSTANCE and fact.says["digest"] in held:
                unit.wants.add(
                    Want(
                        digest=Digest.trusted(fact.says["digest"]),
                        instance=InstanceUID.trusted(fact.says["uid"]),
                        size=fact.says["size"],
                        holder=member,
                        urgency=Urgency.NEW,
                        wanted_at=fact.at,
                    )
                )


def _first_answers(
    site: ScratchSite,
    peers: Peers,
    members: Sequence[SiteId],
    expected: Answered,
    back: Timed,
    course: Course,
) -> None:
    """Have the rows described, so that searches are answered before any byte is back."""
    rows = 0
    with course.step("have the members describe the sample, and answer searches from that") as timed:
        for member in members:
            try:
                with peers(member) as peer:
                    rows += Describing(site.catalog).describe(peer)
            except NodeError as error:
                course.outcome.notes.append(f"{member} did not describe everything: {error}")
        found = answers(site.catalog, {study for study, _ in expected})
        same = sum(expected[asked] == found[asked] for asked in expected)
        timed.told = f"{plural(rows, 'row')}; {same} of {len(expected)} searches answered as at the live site"
    course.demand(not expected or same > 0, "no search was answered before the bytes were back")
    seconds = back.seconds + timed.seconds
    everything = course.outcome.durations[-1].everything_seconds + timed.seconds
    course.outcome.durations.append(
        Duration(
            what="answer the first searches",
            seconds=round(seconds, 3),
            everything_seconds=round(everything, 1),
            how="all journals, then the rows of the newest; studies come from members meanwhile",
        )
    )


def _decided(site: ScratchSite, facts: Sequence[Entry]) -> None:
    """Let what persons decided, and what was compared, take effect on the rows."""
    with site.catalog.begin() as unit:
        for fact in facts:
            site.effects.apply(unit, fact)


def _fetch(
    peers: Peers,
    members: Sequence[SiteId],
    site: ScratchSite,
    held: Mapping[Digest, int],
    course: Course,
) -> None:
    """Fetch the bytes of the sample from whoever gives them."""
    left = set(held)
    with course.step("fetch the sample from the members") as timed:
        for member in members:
            try:
                with peers(member) as peer:
                    for pack in _packs(left):
                        grant = peer.prepare_to_get(pack)
                        granted = [digest for digest, _ in grant.items if digest in left]
                        came = list(peer.fetch(grant, granted)) if granted else []
                        site.intake.arrived(member, came)
                        left.difference_update(came)
                        course.tell(len(held) - len(left), len(held))
            except NodeError as error:
                course.outcome.notes.append(f"{member} did not give everything: {error}")
        timed.told = plural(len(held) - len(left))
    course.outcome.repaired = len(held) - len(left)
    course.demand(not left, f"{plural(len(left))} of the sample could not be had from any member")
    course.brought("have all bytes back", timed, objects=len(came), size=sum(held[digest] for digest in came))


def _packs(digests: Collection[Digest]) -> Iterator[list[Digest]]:
    ordered = sorted(digests)
    return (ordered[first : first + PACK] for first in range(0, len(ordered), PACK))
