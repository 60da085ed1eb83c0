"""Every catalog keeps these promises; the implementation under test is a parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier, Event

import pytest

from node.audit import record as ledger
from node.audit.record import Deed
from node.catalog import search
from node.catalog.arrival import Arrival
from node.catalog.catalog import Catalog
from node.catalog.counts import count
from node.catalog.selection import chosen
from node.catalog.unit import Unit
from node.domain.errors import MalformedQuery, NodeError, UnknownDevice
from node.domain.ids import Digest, InstanceUID, SeriesUID, SOPClassUID, StudyUID, TransferSyntaxUID
from node.domain.job import SECOND, State, Task
from node.domain.query import Key, Level, Query, Selection
from node.journal.entry import Fact, verify
from tests.support.sites import BRNO, Clock, fast_folder


@dataclass
class Subject:
    """A catalog under test, and how the next process opens it."""

    open: Callable[[], Catalog]
    clock: Clock
    catalog: Catalog


def sqlite(folder: Path, clock: Clock) -> Callable[[], Catalog]:
    return lambda: Catalog(folder / "catalog.db", origin=BRNO, clock=clock)


@pytest.fixture(params=[sqlite], ids=lambda make: make.__name__)
def subject(request) -> Iterator[Subject]:
    clock = Clock()
    with fast_folder() as folder:
        make = request.param(Path(folder), clock)
        made = Subject(make, clock, make())
        yield made
        made.catalog.close()


@pytest.fixture
def catalog(subject) -> Catalog:
    return subject.catalog


def arrival(number: int = 1, **changes) -> Arrival:
    """Instance `number`: ten to a series, twenty to a study, forty to a patient."""
    made = Arrival(
        instance=InstanceUID(f"1.2.3.{number}"),
        series=SeriesUID(f"1.2.2.{number // 10}"),
        study=StudyUID(f"1.2.1.{number // 20}"),
        patient_id=f"P{number // 40}",
        issuer="",
        sop_class=SOPClassUID("1.2.840.10008.5.1.4.1.1.2"),
        transfer_syntax=TransferSyntaxUID("1.2.840.10008.1.2.1"),
        attributes={
            0x00080060: "CT",
            0x00100010: "Nováková^Jana",
            0x00080070: "Maker",
            0x00081032: [{0x00080100: "X"}],
        },
        digest=Digest(f"{number:064x}"),
        size=100,
        source="device:CT1@brno",
        at=number,
    )
    return replace(made, **changes)


def add(unit: Unit, *arrivals: Arrival) -> None:
    for one in arrivals:
        unit.instances.add(one)


def deed(what: str = "x") -> Deed:
    return Deed(event=ledger.Event.STORED, who="device:CT1@brno", what=what)


# ---- units of work


def test_what_a_unit_wrote_is_there_for_the_next_process(subject):
    with subject.catalog.begin() as unit:
        add(unit, arrival())
    subject.catalog = subject.open()
    with subject.catalog.reading() as unit:
        assert unit.instances.digest(arrival().instance) == arrival().digest


def test_a_unit_that_raises_leaves_nothing(catalog):
    class Mishap(Exception):
        pass

    for error in (Mishap(), UnknownDevice("CT1"), KeyboardInterrupt()):
        with pytest.raises(type(error)), catalog.begin() as unit:
            add(unit, arrival())
            unit.journal.append(Fact.INSTANCE, {"uid": "1"})
            unit.audit.append(deed())
            unit.jobs.add(Task.COMPARE, "x")
            raise error
    with catalog.reading() as unit:
        counted = count(unit)
        assert (counted.instances, counted.patients, counted.jobs) == (0, 0, 0)
        assert list(unit.journal.after(0)) == list(unit.audit.after()) == []
    catalog.perform(lambda unit: add(unit, arrival()))


def test_a_reading_unit_changes_nothing_and_sees_one_state(catalog):
    with catalog.reading() as unit:
        assert count(unit).instances == 0
        catalog.perform(lambda unit: add(unit, arrival()))
        assert count(unit).instances == 0
        with pytest.raises(Exception, match="readonly"):
            add(unit, arrival(2))
    with catalog.reading() as unit:
        assert count(unit).instances == 1


def test_perform_gives_back_what_the_change_gave(catalog):
    assert catalog.perform(lambda unit: unit.now) > 0


def test_two_processes_open_a_new_catalog_at_once(subject):
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: subject.open(), range(8)))
    for number, one in enumerate(opened):
        one.perform(lambda unit, number=number: add(unit, arrival(number)))
        one.close()
    with subject.catalog.reading() as unit:
        assert count(unit).instances == 8


# ---- group commit


def together(catalog: Catalog, changes: list[Callable[[Unit], object]]) -> list[object]:
    """Perform changes at once, all queued while another unit holds the turn; their outcomes in order."""
    queued, release = Event(), Event()

    def hold() -> None:
        with catalog.begin():
            queued.set()
            release.wait(30)

    def run(change: Callable[[Unit], object]) -> object:
        try:
            return catalog.perform(change)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(changes) + 1) as pool:
        holding = pool.submit(hold)
        queued.wait(30)
        waiting = [pool.submit(run, change) for change in changes]
        while len(catalog._queue) < len(changes):
            pass
        release.set()
        holding.result(30)
        return [one.result(30) for one in waiting]


def commits(catalog: Catalog) -> list[int]:
    """The clock is asked once per unit, so its answers tell the units apart."""
    with catalog.reading() as unit:
        return [entry.at for entry in unit.journal.after(0)]


def appending(number: int) -> Callable[[Unit], int]:
    return lambda unit: unit.journal.append(Fact.INSTANCE, {"uid": f"1.{number}"}).seq


def number_of(entry) -> int:
    return int(entry.says["uid"].removeprefix("1."))


def test_changes_that_wait_together_are_committed_together(catalog):
    numbers = together(catalog, [appending(number) for number in range(20)])
    assert sorted(numbers) == list(range(1, 21))
    assert len(set(commits(catalog))) == 1


def test_each_of_more_callers_than_fit_into_a_group_has_its_own_outcome(catalog):
    def said(number: int) -> Callable[[Unit], int]:
        return lambda unit: (unit.journal.append(Fact.INSTANCE, {"uid": f"1.{number}"}), number)[1]

    assert together(catalog, [said(number) for number in range(150)]) == list(range(150))
    times = commits(catalog)
    assert len(times) == 150
    assert 3 <= len(set(times)) < 20


def test_a_neighbour_that_fails_spoils_nothing_for_the_others(catalog):
    def failing(error: Exception) -> Callable[[Unit], object]:
        def change(unit: Unit) -> None:
            unit.journal.append(Fact.INSTANCE, {"uid": "0"})
            raise error

        return change

    errors = {3: UnknownDevice("CT1"), 7: ValueError("x"), 9: MalformedQuery("y")}
    outcomes = together(catalog, [failing(errors[n]) if n in errors else appending(n) for n in range(20)])
    assert {n: outcome for n, outcome in enumerate(outcomes) if isinstance(outcome, Exception)} == errors
    with catalog.reading() as unit:
        entries = list(unit.journal.after(0))
    assert sorted(number_of(entry) for entry in entries) == sorted(set(range(20)) - set(errors))
    assert verify(entries).seq == 17


def test_many_callers_at_once_all_end_and_lose_nothing(catalog):
    barrier = Barrier(16)

    def run(caller: int) -> None:
        barrier.wait(30)
        for number in range(40):
            catalog.perform(appending(100 * caller + number))

    with ThreadPoolExecutor(16) as pool:
        for one in [pool.submit(run, caller) for caller in range(16)]:
            one.result(60)
    with catalog.reading() as unit:
        entries = list(unit.journal.after(0))
    assert {number_of(entry) for entry in entries} == {100 * c + n for c in range(16) for n in range(40)}
    assert verify(entries).seq == 640


# ---- journal and audit


def test_journal_and_audit_are_chains_without_gaps_across_units_and_processes(subject):
    for number in range(3):
        with subject.catalog.begin() as unit:
            for _ in range(number + 1):
                unit.journal.append(Fact.INSTANCE, {"uid": f"1.{number}"})
                unit.audit.append(deed(str(number)))
        subject.catalog.close()
        subject.catalog = subject.open()
    with subject.catalog.reading() as unit:
        assert verify(unit.journal.after(0)) == unit.journal.head()
        assert ledger.verify(unit.audit.after()).seq == unit.journal.head().seq == 6
        assert [entry.seq for entry in unit.journal.after(4)] == [5, 6]
        assert [record.seq for record in unit.audit.after(4)] == [5, 6]


def test_long_journals_are_read_to_the_end(catalog):
    with catalog.begin() as unit:
        for number in range(2500):
            unit.journal.append(Fact.INSTANCE, {"uid": f"1.{number}"})
            unit.audit.append(deed())
    with catalog.reading() as unit:
        assert verify(unit.journal.after(0)).seq == 2500
        assert ledger.verify(unit.audit.after()).seq == 2500


# ---- patients, studies, series, instances


def test_every_level_counts_what_is_below_it(catalog):
    with catalog.begin() as unit:
        add(unit, *(arrival(number) for number in range(80)))
    with catalog.reading() as unit:
        counted = count(unit)
    assert (counted.patients, counted.studies, counted.series, counted.instances) == (2, 4, 8, 80)
    assert counted.bytes == 8000


def find(catalog: Catalog, level: Level, *keys: Key, limit: int | None = None) -> list[tuple]:
    return list(search.search(catalog.reading, Query(level=level, keys=keys, limit=limit)).rows)


def key(tag: int, value: str = "", vr: str = "LO", **items) -> Key:
    return Key(tag=tag, vr=vr, value=value, **items)


def test_counts_are_return_keys(catalog):
    with catalog.begin() as unit:
        add(unit, *(arrival(number) for number in range(80)))
        add(
            unit,
            arrival(
                100,
                patient_id="P0",
                series=SeriesUID("1.2.2.0"),
                study=StudyUID("1.2.1.0"),
                sop_class=SOPClassUID("1.9"),
            ),
        )
    of_patient = [key(tag) for tag in (0x00100020, 0x00201200, 0x00201202, 0x00201204)]
    assert sorted(find(catalog, Level.PATIENT, *of_patient)) == [
        ("P0", "2", "4", "41"),
        ("P1", "2", "4", "40"),
    ]
    of_study = [key(0x0020000D, "1.2.1.0", "UI"), *map(key, (0x00080061, 0x00080062, 0x00201206, 0x00201208))]
    [row] = find(catalog, Level.STUDY, *of_study)
    assert row[:1] + row[2:] == ("CT", "1.2.1.0", "2", "21")
    assert set(row[1].split("\\")) == {"1.9", "1.2.840.10008.5.1.4.1.1.2"}
    [row] = find(catalog, Level.SERIES, key(0x0020000E, "1.2.2.0", "UI"), key(0x00201209))
    assert row == ("1.2.2.0", "11")


def test_modalities_in_study_follow_its_series(catalog):
    with catalog.begin() as unit:
        add(
            unit,
            arrival(1),
            arrival(11, attributes={0x00080060: "SR"}),
            arrival(25, attributes={0x00080060: "MR"}),
        )
    wanted = {"SR": 1, "CT": 1, "MR": 1, "US\\SR": 1, "CT\\MR": 2, "*R": 2, "": 2, "US": 0}
    for value, studies in wanted.items():
        assert len(find(catalog, Level.STUDY, key(0x00080061, value, "CS"))) == studies, value
    assert find(catalog, Level.STUDY, key(0x00080061, "SR", "CS")) == [("CT\\SR",)]


def test_what_has_no_column_is_matched_and_returned_too(catalog):
    with catalog.begin() as unit:
        add(unit, arrival(1), arrival(11, attributes={0x00080070: "Other"}))
    assert find(catalog, Level.SERIES, key(0x00080070, "Mak*")) == [("Maker",)]
    code = key(0x00081032, vr="SQ", items=(key(0x00080100, "X", "SH"),))
    assert find(catalog, Level.STUDY, code) == [([{0x00080100: "X"}],)]
    assert find(catalog, Level.STUDY, key(0x00081032, vr="SQ", items=(key(0x00080100, "Y", "SH"),))) == []


def test_a_key_that_the_level_cannot_answer_is_left_out(catalog):
    catalog.perform(lambda unit: add(unit, arrival()))
    below = Query(
        level=Level.STUDY,
        keys=(key(0x00080018, "9.9", "UI"), key(0x0020000D, "", "UI"), key(0x00091001, "x")),
    )
    rows = search.search(catalog.reading, below)
    assert rows.tags == ((0x0020000D, "UI"),)
    assert list(rows.rows) == [("1.2.1.0",)]


@pytest.mark.parametrize("extra", [(), (0x00080070,)], ids=["columns", "more"])
def test_a_limit_gives_the_newest(catalog, extra):
    with catalog.begin() as unit:
        for day in (3, 9, 1, 7):
            add(unit, arrival(20 * day, attributes={0x00080020: f"2026010{day}", 0x00080070: "Maker"}))
    keys = [key(0x00080020, "", "DA"), *map(key, extra)]
    rows = find(catalog, Level.SERIES, *keys, limit=2)
    assert [row[0] for row in rows] == ["20260109", "20260107"]


def test_a_search_that_nobody_reads_to_the_end_holds_up_nothing(catalog):
    with catalog.begin() as unit:
        add(unit, *(arrival(number) for number in range(40)))
    for _ in range(100):
        rows = search.search(
            catalog.reading, Query(level=Level.IMAGE, keys=(key(0x00080018, "", "UI"),))
        ).rows
        assert next(rows)
    catalog.perform(lambda unit: add(unit, arrival(50)))


def test_the_same_series_uid_in_two_studies_is_two_series(catalog):
    with catalog.begin() as unit:
        add(unit, arrival(1), arrival(2, study=StudyUID("1.2.1.9")))
    with catalog.reading() as unit:
        assert (count(unit).series, count(unit).studies) == (2, 2)


def test_a_selection_names_series_by_series_what_holds_all_its_keys(catalog):
    with catalog.begin() as unit:
        add(unit, *(arrival(number) for number in (11, 1, 12, 2, 25)))
    with catalog.reading() as unit:
        of_study = chosen(unit, Selection(studies=(StudyUID("1.2.1.0"),)))
        assert [int(one.uid.rpartition(".")[2]) for one in of_study] == [11, 12, 1, 2]
        assert chosen(unit, Selection(studies=(StudyUID("1.2.1.1"),), series=(SeriesUID("1.2.2.0"),))) == []
        assert len(chosen(unit, Selection(instances=tuple(arrival(n).instance for n in range(2000))))) == 5
        with pytest.raises(MalformedQuery):
            chosen(unit, Selection())


# ---- conflicts, quarantine, jobs


def test_a_conflict_is_shown_until_it_is_folded(catalog):
    one, other = arrival(), Digest("f" * 64)
    with catalog.begin() as unit:
        add(unit, one)
        assert unit.conflicts.state(one.instance, other) is None
        unit.conflicts.add(one.instance, other, transfer_syntax=one.transfer_syntax, size=7, source="x", at=9)
        [shown] = unit.conflicts.unsettled()
        assert (shown.kept, shown.other, shown.state) == (one.digest, other, "open")
        unit.conflicts.settle(one.instance, other, "different")
        assert [conflict.state for conflict in unit.conflicts.unsettled()] == ["different"]
        unit.conflicts.settle(one.instance, other, "folded")
        assert unit.conflicts.unsettled() == []
        assert unit.conflicts.state(one.instance, other) == "folded"


def test_a_job_is_owed_once_and_leased_to_one_worker_at_a_time(subject):
    catalog = subject.catalog
    for _ in range(2):
        catalog.perform(lambda unit: unit.jobs.add(Task.COMPARE, "x", "first"))
    catalog.perform(lambda unit: unit.jobs.add(Task.COMPARE, "later", after=60 * SECOND))
    [job] = catalog.perform(lambda unit: unit.jobs.lease(8, 600 * SECOND))
    assert (job.key, job.payload, job.attempts) == ("x", "first", 1)
    assert catalog.perform(lambda unit: unit.jobs.lease(8, 600 * SECOND)) == []
    subject.clock.forward(61)
    assert [job.key for job in catalog.perform(lambda unit: unit.jobs.lease(8, 600 * SECOND))] == ["later"]
    subject.clock.forward(540)
    [again] = catalog.perform(lambda unit: unit.jobs.lease(8, 600 * SECOND))
    assert (again.key, again.attempts) == ("x", 2)


def test_a_job_that_failed_waits_and_one_that_is_done_is_gone(subject):
    catalog = subject.catalog
    catalog.perform(lambda unit: unit.jobs.add(Task.COMPARE, "x"))
    [job] = catalog.perform(lambda unit: unit.jobs.lease(1, SECOND))
    catalog.perform(lambda unit: unit.jobs.save(job.failed(unit.now, "BlobMissing")))
    with catalog.reading() as unit:
        assert not unit.jobs.any_due()
        assert unit.jobs.owed()[0] == 1
        assert unit.jobs.find(Task.COMPARE, "x").error == "BlobMissing"
    subject.clock.forward(10)
    [job] = catalog.perform(lambda unit: unit.jobs.lease(1, SECOND))
    catalog.perform(lambda unit: unit.jobs.save(job.failed(unit.now, "no", for_good=True)))
    subject.clock.forward(1_000_000)
    assert catalog.perform(lambda unit: unit.jobs.lease(1, SECOND)) == []
    with catalog.reading() as unit:
        assert unit.jobs.find(Task.COMPARE, "x").state is State.STALLED
    catalog.perform(lambda unit: unit.jobs.done(Task.COMPARE, "x"))
    with catalog.reading() as unit:
        assert unit.jobs.owed() == (0, None)


def test_what_the_driver_says_is_said_in_the_words_of_the_node(catalog):
    def twice(unit: Unit) -> None:
        add(unit, arrival(), arrival())

    with pytest.raises(NodeError):
        catalog.perform(twice)
    with catalog.reading() as unit:
        assert count(unit).instances == 0
