"""A lost catalog: it is made again from the journal and the bytes, and compared with the live one.

```
snapshot ──▶ chain of the whole journal walked
        └──▶ sample of studies: its facts and bytes ──▶ rebuild ──▶ the same rows, the same answers?
                                its bytes alone     ──▶ rebuild ──▶ every object catalogued?
```
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from node.catalog import search
from node.catalog.catalog import Catalog
from node.catalog.samples import Portrait, Samples
from node.catalog.unit import Unit
from node.domain.errors import Damaged
from node.domain.ids import Digest, SiteId, StudyUID
from node.domain.query import Key, Level, Query, Row
from node.journal.entry import Entry, Fact
from node.recovery.drill.order import Order
from node.recovery.drill.outcome import Course, Timed, first, plural
from node.recovery.drill.sample import bring, compare, snapshot, some_studies
from node.recovery.drill.scratch import Area, ScratchSite
from node.recovery.rebuild import rebuild, verify_runs

READER: Final = SiteId("drill")
"""Who reads the facts of the sample: to it all of them are another site's, of which it has a part."""
MARK: Final = 1000
"""Entries between two words about how far it is."""
MILLION: Final = 1_000_000
DECISIONS: Final = (Fact.CORRECT, Fact.MERGE, Fact.RETRACT, Fact.LOCK)
_STUDY: Final = 0x0020000D
_ASKED: Final[Mapping[Level, Sequence[tuple[int, str]]]] = {
    Level.STUDY: (
        (0x00080020, "DA"),
        (0x00080050, "SH"),
        (0x00080061, "CS"),
        (0x00081030, "LO"),
        (0x00100010, "PN"),
        (0x00100020, "LO"),
        (0x00201208, "IS"),
    ),
    Level.SERIES: ((0x00080060, "CS"), (0x0008103E, "LO"), (0x0020000E, "UI"), (0x00201209, "IS")),
    Level.IMAGE: ((0x00080016, "UI"), (0x00080018, "UI"), (0x0020000E, "UI"), (0x00200013, "IS")),
}
"""What is asked of each study at each level."""
Answered = Mapping[tuple[StudyUID, str], Sequence[Row]]


def hold(area: Area, order: Order, course: Course) -> None:
    """Hold the drill.

    Raises:
        NodeError: it could not be held to its end.
    """
    with snapshot(area, course) as site:
        studies, held = some_studies(site.catalog, order, course, withdrawn=True)
        _walk(site, course)
        with site.catalog.reading() as unit:
            before, facts = Samples(unit).portrait(studies), facts_of(unit, studies)
            decisions = sum(len(unit.journal.of_kind(kind)) for kind in DECISIONS)
        answered = answers(site.catalog, studies)
    came = _from_journal(area, facts, held, studies, (before, answered), course)
    _from_bytes(area, came, course)
    course.outcome.loss.told = (
        "none where the journal is there. Where its file is lost too, the members give it back (drill "
        f"lose-site); without members, {plural(decisions, 'decision')} of persons would have to be made again"
    )


def facts_of(unit: Unit, studies: Collection[StudyUID]) -> list[Entry]:
    """All facts that the rows of these studies come from."""
    return [fact for subject in Samples(unit).subjects(studies) for fact in unit.journal.about(subject)]


def answers(catalog: Catalog, studies: Collection[StudyUID]) -> Answered:
    """What a search answers about each study, at each level."""
    found: dict[tuple[StudyUID, str], Sequence[Row]] = {}
    for study in sorted(studies):
        for level, asked in _ASKED.items():
            keys = (Key(tag=_STUDY, vr="UI", value=study), *(Key(tag=tag, vr=vr) for tag, vr in asked))
            rows = search.search(catalog.reading, Query(level=level, keys=keys)).rows
            found[study, level.name] = sorted(rows, key=str)
    return found


def _walk(site: ScratchSite, course: Course) -> None:
    """See that no entry of this site's journal is missing or altered."""
    with course.step("walk the chain of the journal") as timed, site.catalog.reading() as unit:
        try:
            for epoch, last in unit.journal.epochs().items():
                verify_runs(_counted(unit.journal.after(0, epoch=epoch), last, course))
        except Damaged as error:
            course.fail(str(error))
        timed.told = plural(sum(unit.journal.origins().values()), "fact")


def _counted(entries: Iterator[Entry], last: int, course: Course) -> Iterator[Entry]:
    for entry in entries:
        if entry.seq % MARK == 0 or entry.seq == last:
            course.tell(entry.seq, last)
        yield entry


def _from_journal(
    area: Area,
    facts: Sequence[Entry],
    held: Mapping[Digest, int],
    studies: Collection[StudyUID],
    expected: tuple[Portrait, Answered],
    course: Course,
) -> set[Digest]:
    """The catalog from facts and bytes; which of the bytes came."""
    live = area.live
    with ScratchSite(
        area.folder / "rebuilt", home=live.home, clock=live.clock, peers_of=live.peers_of, name=READER
    ) as site:
        came = bring(area, site.blobs, held, course)
        with site.catalog.begin() as unit:
            for fact in facts:
                unit.journal.keep(fact)
        with course.step("make the catalog again from journal and bytes") as timed:
            done = rebuild(site.archive, site.blobs, site.catalog, site.operator, course.tell)
            timed.told = plural(done.facts, "fact")
        _time(timed, len(came), course)
        course.demand(not done.lost, f"{plural(len(done.lost), 'instance')} could not be catalogued again")
        with site.catalog.reading() as unit:
            after = Samples(unit).portrait(studies)
        differ(expected[0], after, course)
        same_answers(site.catalog, expected[1], course)
        compare(site.blobs, held, course)
    return came


def _time(timed: Timed, objects: int, course: Course) -> None:
    total = course.outcome.sample.of_objects
    course.took("make the catalog again", timed, done=objects, of=total, unit="objects")
    course.took("the same for a million instances", timed, done=objects, of=MILLION, unit="objects")


def differ(expected: Portrait, found: Portrait, course: Course) -> None:
    """Name the rows that are not as they were."""
    lacking, others = list[str](), list[str]()
    for table, rows in expected.items():
        lacking += [f"{table} {row[0]}" for row in set(rows) - set(found[table]) if table != "patient"]
        lacking += [table for _ in set(rows) - set(found[table]) if table == "patient"]
        others += [table for _ in set(found[table]) - set(rows)]
    course.outcome.missed += first(lacking)
    course.demand(
        not lacking and not others,
        f"{plural(len(lacking), 'row')} of the catalog did not come back as they were, and "
        f"{len(others)} came that were not there",
    )


def same_answers(catalog: Catalog, expected: Answered, course: Course) -> None:
    """Ask as workstations do, and compare."""
    with course.step("ask the new catalog, and compare with the live one") as timed:
        found = answers(catalog, {study for study, _ in expected})
        wrong = [asked for asked in expected if expected[asked] != found[asked]]
        timed.told = f"{len(expected)} searches"
    course.demand(not wrong, f"{len(wrong)} of {len(expected)} searches are answered otherwise than before")


def _from_bytes(area: Area, came: Collection[Digest], course: Course) -> None:
    """The catalog from the bytes alone: every object has to be catalogued again."""
    live = area.live
    with ScratchSite(
        area.folder / "from-bytes", home=live.home, clock=live.clock, peers_of=live.peers_of, name=READER
    ) as site:
        for digest in came:
            take(area, "rebuilt", "from-bytes", digest)
        with course.step("make a catalog from the bytes alone") as timed:
            done = rebuild(site.archive, site.blobs, site.catalog, site.operator, course.tell)
            timed.told = f"{plural(done.admitted)} admitted anew"
        with site.catalog.reading() as unit:
            lacking = [digest for digest in came if unit.holdings.find(digest) is None]
    course.demand(
        not lacking, f"{plural(len(lacking))} could not be catalogued from their bytes: {first(lacking)[:5]}"
    )


def take(area: Area, source: str, target: str, digest: Digest) -> None:
    """Move an object from one site of the area to another."""
    name = f"blobs/{digest[:2]}/{digest}"
    (area.folder / source / name).rename(area.folder / target / name)
