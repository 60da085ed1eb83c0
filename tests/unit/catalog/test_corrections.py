"""Merges and corrections over rows that come and go: what is shown follows from facts and rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.catalog.arrival import Arrival
from node.catalog.catalog import Catalog
from node.catalog.corrections import CORRECTABLE
from node.catalog.removal import remove
from node.catalog.unit import Unit
from node.domain.ids import Digest, InstanceUID, SeriesUID, SiteId, SOPClassUID, StudyUID, TransferSyntaxUID
from node.domain.query import Level
from node.journal.entry import Entry, Fact, canonical
from tests.support.sites import BRNO, Clock, fast_folder

NAME, DESCRIPTION = 0x00100010, 0x00081030
PATIENTS = "ABCD"


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    with fast_folder() as folder:
        made = Catalog(Path(folder) / "catalog.db", origin=BRNO, clock=Clock())
        yield made
        made.close()


def arrival(patient: str, number: int = 1, study: str = "") -> Arrival:
    """Instance `number` of a patient, in a study of its own if no other is named."""
    name = f"1.{ord(patient)}.{number}"
    return Arrival(
        instance=InstanceUID(f"{name}.3"),
        series=SeriesUID(f"{name}.2"),
        study=StudyUID(study or f"{name}.1"),
        patient_id=patient,
        issuer="",
        sop_class=SOPClassUID("1.2.840.10008.5.1.4.1.1.2"),
        transfer_syntax=TransferSyntaxUID("1.2.840.10008.1.2.1"),
        attributes={NAME: f"Name^{patient}", DESCRIPTION: "Head"},
        digest=Digest(f"{ord(patient):032x}{number:032x}"),
        size=10,
        source="device:CT1@brno",
        at=1,
        stamp=f"{number:016d} brno 1 {number:010d}",
    )


def heard(unit: Unit, kind: Fact, says: dict, *, at: int, seq: int) -> None:
    """A fact of another site comes in."""
    place = {"origin": SiteId("prague"), "epoch": 1, "seq": seq, "previous": "", "hash": ""}
    unit.journal.keep(Entry(at=at, kind=kind, payload=canonical(says), **place))


def merge(unit: Unit, patient: str, into: str | None, *, at: int, seq: int) -> None:
    says = {"patient": ["", patient], "into": ["", into] if into else None}
    heard(unit, Fact.MERGE, says, at=at, seq=seq)
    unit.corrections.merged(("", patient))


def shown(unit: Unit) -> list[tuple]:
    """Every study with its patient and the one it is shown under, and whether that one is hidden."""
    return sorted(
        tuple(row)
        for row in unit._connection.exec_driver_sql(
            "SELECT study.uid, own.patient_id, own.merged, root.patient_id, root.merged FROM study"
            " JOIN patient own ON own.id = study.patient LEFT JOIN patient root ON root.id = study.shown"
        )
    )


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(PATIENTS), st.integers(1, 2)),
        st.tuples(st.just("remove"), st.sampled_from(PATIENTS), st.integers(1, 2)),
        st.tuples(st.just("merge"), st.sampled_from(PATIENTS), st.sampled_from([*PATIENTS, None])),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.data())
def test_what_is_shown_follows_from_facts_and_rows_whatever_came_first(steps, data):
    times = data.draw(st.permutations(range(len(steps))))
    with fast_folder() as folder:
        catalog = Catalog(Path(folder) / "catalog.db", origin=BRNO, clock=Clock())
        with catalog.begin() as unit:
            for number, (verb, patient, other) in enumerate(steps):
                if verb == "merge":
                    merge(unit, patient, other, at=times[number], seq=number + 1)
                elif verb == "remove":
                    remove(unit, arrival(patient, other).instance)
                elif unit.instances.find(arrival(patient, other).instance) is None:
                    unit.instances.add(arrival(patient, other))
            step_by_step = shown(unit)
            assert all(not root_merged for *_, root_merged in step_by_step), "a hidden patient shows a study"
            unit.corrections.regroup()
            assert shown(unit) == step_by_step
        catalog.close()


def test_a_patient_is_shown_under_another_as_soon_as_that_one_is_here(catalog):
    with catalog.begin() as unit:
        merge(unit, "A", "B", at=1, seq=1)
        unit.instances.add(arrival("A"))
        assert [row[3] for row in shown(unit)] == ["A"]
        unit.instances.add(arrival("B"))
        assert [row[3] for row in shown(unit)] == ["B", "B"]


def test_a_study_that_is_left_over_when_the_other_patient_goes_is_shown_as_its_own(catalog):
    with catalog.begin() as unit:
        for patient in "AB":
            unit.instances.add(arrival(patient))
        merge(unit, "A", "B", at=1, seq=1)
        remove(unit, arrival("B").instance)
        assert shown(unit) == [("1.65.1.1", "A", 0, "A", 0)]


def test_twins_are_studies_that_a_patient_has_twice_since_a_merge(catalog):
    with catalog.begin() as unit:
        for patient in "ABC":
            unit.instances.add(arrival(patient, study="1.7"))
        unit.instances.add(arrival("A", 2))
        assert unit.corrections.twins() == frozenset()
        merge(unit, "A", "B", at=1, seq=1)
        assert unit.corrections.twins() == {"1.7"}
        merge(unit, "A", None, at=2, seq=2)
        assert unit.corrections.twins() == frozenset()


def test_corrections_that_came_before_the_study_are_laid_over_it(catalog):
    with catalog.begin() as unit:
        heard(unit, Fact.CORRECT, {"study": "1.65.1.1", "set": {"00081030": "Neck"}}, at=1, seq=1)
        heard(unit, Fact.CORRECT, {"patient": ["", "A"], "set": {"00100010": "Čapek^K"}}, at=1, seq=2)
        unit.instances.add(arrival("A"))
        row = unit._connection.exec_driver_sql(
            "SELECT description, name, name_folded FROM study JOIN patient ON patient.id = study.patient"
        ).fetchone()
        assert tuple(row) == ("Neck", "Čapek^K", "capek^k")


@pytest.mark.parametrize("tag", ["00100020", "00100021", "0020000D", "00080061", "00081032", "00091001"])
def test_a_peer_cannot_correct_an_identity_or_what_is_not_known_here(catalog, tag):
    with catalog.begin() as unit:
        for number, about in enumerate(({"study": "1.65.1.1"}, {"patient": ["", "A"]}), 1):
            heard(unit, Fact.CORRECT, about | {"set": {tag: "9"}}, at=1, seq=number)
        unit.instances.add(arrival("A"))
        assert shown(unit) == [("1.65.1.1", "A", 0, "A", 0)]
        assert not any(int(tag, 16) in CORRECTABLE[level] for level in (Level.PATIENT, Level.STUDY))


def test_that_the_identity_was_removed_is_nothing_that_a_person_can_claim():
    assert 0x00120062 not in CORRECTABLE[Level.STUDY]
