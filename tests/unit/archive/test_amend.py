"""What persons decide: facts that rows, queries and the ledger follow, and that can be taken back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.audit.record import Event, read
from node.domain.errors import (
    Forbidden,
    Locked,
    MalformedQuery,
    MalformedValue,
    NodeError,
    Rejected,
    UnknownInstance,
    UnknownPatient,
    UnknownStudy,
    Withdrawn,
)
from node.domain.principal import Action
from node.domain.query import Key, Level, Query, Selection
from node.journal.entry import Fact
from node.recovery.rebuild import rebuild
from tests.support import synthetic
from tests.support.sites import CT1, OPERATOR, TestSite, device, site

NAME, PATIENT_ID, BIRTH_DATE, COMMENTS = 0x00100010, 0x00100020, 0x00100030, 0x00104000
DESCRIPTION, DIAGNOSES, REFERRING, STUDY_UID = 0x00081030, 0x00081080, 0x00080090, 0x0020000D
STUDIES, STUDY_SERIES, STUDY_INSTANCES = 0x00201200, 0x00201206, 0x00201208
ONE, TWO = ("", "P1"), ("", "P2")
DAY = 86_400_000_000
FIRST = synthetic.study_uid(1)
STUDY = Selection(studies=(FIRST,))


@pytest.fixture
def brno() -> Iterator[TestSite]:
    with site() as made:
        yield made


@pytest.fixture
def two(brno) -> TestSite:
    """Two patients with a study each."""
    brno.admit(synthetic.instance(patient="P1", study=1, name="Nováková^Jana"))
    brno.admit(synthetic.instance(patient="P2", study=2, name="Svobodová^Jana"))
    return brno


def found(brno: TestSite, level: Level = Level.STUDY, *tags: int, **wanted: str) -> list[tuple]:
    """Rows with the values of these tags; `wanted` are keys to match, as `t00100020="P1"`."""
    keys = {int(tag[1:], 16): value for tag, value in wanted.items()}
    asked = {tag: keys.get(tag, "") for tag in (*tags, *keys)}
    query = Query(
        level=level, keys=tuple(Key(tag=tag, vr=vr(tag), value=text) for tag, text in asked.items())
    )
    rows = brno.archive.search(CT1, query)
    places = [[tag for tag, _ in rows.tags].index(tag) for tag in tags]
    return sorted(tuple(row[place] for place in places) for row in rows.rows)


def vr(tag: int) -> str:
    return {NAME: "PN", PATIENT_ID: "LO", STUDY_UID: "UI", DESCRIPTION: "LO"}.get(tag, "LO")


def facts(brno: TestSite, kind: Fact) -> list[dict]:
    with brno.catalog.reading() as unit:
        return [entry.says for entry in unit.journal.of_kind(kind)]


def deeds(brno: TestSite) -> list[str]:
    with brno.catalog.reading() as unit:
        told = [read(record.deed) for record in unit.audit.after()]
    return [deed.what for deed in told if deed.event is Event.AMENDED]


# ---- corrections


def test_a_corrected_study_is_found_and_told_by_its_new_values(two):
    two.archive.correct(OPERATOR, FIRST, {DESCRIPTION: "Head", REFERRING: "Čermák^Petr"}, "typing error")
    assert found(two, Level.STUDY, STUDY_UID, DESCRIPTION, t00081030="Head") == [(FIRST, "Head")]
    assert found(two, Level.STUDY, STUDY_UID, t00080090="cermak*") == [(FIRST,)]
    assert found(two, Level.STUDY, STUDY_UID, t00081030="Study 1") == []
    [fact] = facts(two, Fact.CORRECT)
    assert (fact["study"], fact["reason"], fact["by"]) == (FIRST, "typing error", str(OPERATOR))


def test_a_corrected_patient_is_found_by_the_new_name_without_accents(two):
    two.archive.correct(OPERATOR, ONE, {NAME: "Říhová^Jana", BIRTH_DATE: "19710521"}, "passport")
    assert found(two, Level.PATIENT, PATIENT_ID, BIRTH_DATE, t00100010="rihova*") == [("P1", "19710521")]
    assert found(two, Level.PATIENT, PATIENT_ID, t00100010="novakova*") == []


def test_attributes_without_a_column_are_corrected_too(two):
    two.archive.correct(OPERATOR, FIRST, {DIAGNOSES: "A\\B"}, "coded")
    two.archive.correct(OPERATOR, ONE, {COMMENTS: "allergic"}, "told")
    assert found(two, Level.STUDY, DIAGNOSES, t0020000D=FIRST) == [("A\\B",)]
    assert found(two, Level.PATIENT, COMMENTS, t00100020="P1") == [("allergic",)]
    two.archive.correct(OPERATOR, ONE, {COMMENTS: ""}, "not any more")
    assert found(two, Level.PATIENT, COMMENTS, t00100020="P1") == [(None,)]


def test_the_latest_of_several_corrections_stands_and_others_stay(two):
    two.archive.correct(OPERATOR, FIRST, {DESCRIPTION: "Head", REFERRING: "A"}, "first")
    two.archive.correct(OPERATOR, FIRST, {DESCRIPTION: "Neck"}, "second")
    assert found(two, Level.STUDY, DESCRIPTION, REFERRING, t0020000D=FIRST) == [("Neck", "A")]


def test_a_correction_that_is_taken_back_lets_the_images_tell_again(two):
    two.archive.correct(OPERATOR, FIRST, {DESCRIPTION: "Head", REFERRING: "A"}, "first")
    two.archive.correct(OPERATOR, FIRST, {DESCRIPTION: None}, "was right")
    assert found(two, Level.STUDY, DESCRIPTION, REFERRING, t0020000D=FIRST) == [("Study 1", "A")]
    assert found(two, Level.STUDY, STUDY_UID, t00080090="a") == [(FIRST,)]


def test_instances_that_come_later_are_told_of_as_corrected(two):
    two.archive.correct(OPERATOR, FIRST, {DESCRIPTION: "Head"}, "typing error")
    two.admit(synthetic.instance(patient="P1", study=1, number=2))
    assert found(two, Level.STUDY, DESCRIPTION, t0020000D=FIRST) == [("Head",)]


def test_the_bytes_stay_as_they_are(two):
    [before] = two.archive.select(CT1, STUDY)
    two.archive.correct(OPERATOR, ONE, {NAME: "Other"}, "passport")
    assert two.archive.select(CT1, STUDY) == [before]


@pytest.mark.parametrize(
    ("about", "tag"),
    [(FIRST, STUDY_UID), (FIRST, NAME), (FIRST, 0x00080061), (ONE, PATIENT_ID), (ONE, 0x00100021),
     (ONE, DESCRIPTION), (FIRST, 0x00080060), (FIRST, 0x00201206), (FIRST, 0x00081032), (FIRST, 0x00091001)],
)  # fmt: skip
def test_identity_and_what_the_level_does_not_hold_cannot_be_corrected(two, about, tag):
    with pytest.raises(MalformedValue):
        two.archive.correct(OPERATOR, about, {tag: "1"}, "try")
    assert facts(two, Fact.CORRECT) == deeds(two) == []


@pytest.mark.parametrize(
    ("about", "values", "reason", "error"),
    [(synthetic.study_uid(9), {DESCRIPTION: "x"}, "r", UnknownStudy),
     (("olomouc", "P1"), {NAME: "x"}, "r", UnknownPatient),
     (FIRST, {}, "r", Rejected), (FIRST, {DESCRIPTION: "x"}, " ", Rejected),
     (FIRST, {DESCRIPTION: "x"}, "r" * 1001, Rejected)],
)  # fmt: skip
def test_a_correction_that_cannot_be_made_leaves_no_trace(two, about, values, reason, error):
    with pytest.raises(error):
        two.archive.correct(OPERATOR, about, values, reason)
    assert facts(two, Fact.CORRECT) == deeds(two) == []


# ---- merges


def test_the_studies_of_a_merged_patient_are_found_by_the_other_one_at_every_level(two):
    two.archive.merge(OPERATOR, ONE, TWO, "registered twice")
    both = [(FIRST,), (synthetic.study_uid(2),)]
    assert found(two, Level.STUDY, STUDY_UID, t00100020="P2") == both
    assert found(two, Level.STUDY, STUDY_UID, t00100010="svobodova*") == both
    for level in (Level.SERIES, Level.IMAGE):
        assert found(two, level, STUDY_UID, NAME, t00100020="P2") == [
            (uid, "Svobodová^Jana") for (uid,) in both
        ]
    for level in Level:
        assert found(two, level, t00100020="P1") == found(two, level, t00100010="novakova*") == []
    assert found(two, Level.PATIENT, PATIENT_ID, STUDIES) == [("P2", "2")]
    assert len(two.archive.select(CT1, Selection(patient_id="P2"))) == 2
    assert two.archive.select(CT1, Selection(patient_id="P1")) == []
    assert two.archive.counts().patients == 1


def test_a_merge_that_is_taken_back_leaves_everything_as_it_was(two):
    before = two.rows("SELECT * FROM patient"), two.rows("SELECT * FROM study")
    two.archive.merge(OPERATOR, ONE, TWO, "registered twice")
    assert before != (two.rows("SELECT * FROM patient"), two.rows("SELECT * FROM study"))
    two.archive.unmerge(OPERATOR, ONE, "two persons")
    assert before == (two.rows("SELECT * FROM patient"), two.rows("SELECT * FROM study"))
    assert two.rows("SELECT * FROM merging") == []


def test_what_comes_for_a_merged_patient_later_is_shown_under_the_other_one(two):
    two.archive.merge(OPERATOR, ONE, TWO, "registered twice")
    two.admit(synthetic.instance(patient="P1", study=3))
    assert found(two, Level.STUDY, STUDY_UID, t00100020="P2")[-1] == (synthetic.study_uid(3),)


def test_merges_of_merged_patients_follow_the_chain(two):
    two.admit(synthetic.instance(patient="P3", study=3))
    two.archive.merge(OPERATOR, ONE, TWO, "one")
    two.archive.merge(OPERATOR, TWO, ("", "P3"), "two")
    assert found(two, Level.PATIENT, PATIENT_ID, STUDIES) == [("P3", "3")]
    two.archive.unmerge(OPERATOR, TWO, "not that")
    assert found(two, Level.PATIENT, PATIENT_ID, STUDIES) == [("P2", "2"), ("P3", "1")]


def test_a_merge_twice_is_one_merge_and_a_circle_is_refused(two):
    two.archive.merge(OPERATOR, ONE, TWO, "one")
    two.archive.merge(OPERATOR, ONE, TWO, "again")
    assert len(facts(two, Fact.MERGE)) == len(deeds(two)) == 1
    for patient, into in ((TWO, ONE), (TWO, TWO)):
        with pytest.raises(Rejected):
            two.archive.merge(OPERATOR, patient, into, "round")
    with pytest.raises(UnknownPatient):
        two.archive.merge(OPERATOR, TWO, ("", "P9"), "nobody")
    with pytest.raises(Rejected):
        two.archive.unmerge(OPERATOR, TWO, "was not")


def test_a_study_that_came_for_both_patients_is_one_row_when_they_are_one(brno):
    for patient, modality in (("P1", "CT"), ("P2", "MR")):
        brno.admit(
            synthetic.instance(patient=patient, study=1, series=1 + (patient == "P2"), modality=modality)
        )
    assert brno.archive.shared_studies() == [FIRST]
    brno.archive.merge(OPERATOR, ONE, TWO, "registered twice")
    assert brno.archive.shared_studies() == []
    counted = (STUDY_SERIES, STUDY_INSTANCES)
    assert found(brno, Level.STUDY, STUDY_UID, *counted) == [(FIRST, "2", "2")]
    assert found(brno, Level.STUDY, STUDY_UID, *counted, t00080061="CT") == [(FIRST, "2", "2")]
    assert found(brno, Level.STUDY, STUDY_UID, DIAGNOSES, t00080061="MR") == [(FIRST, None)]
    assert len(found(brno, Level.SERIES, STUDY_UID)) == 2
    assert found(brno, Level.PATIENT, PATIENT_ID, STUDIES) == [("P2", "1")]


def test_while_the_other_patient_has_nothing_left_studies_are_shown_as_they_are(two):
    two.archive.merge(OPERATOR, ONE, TWO, "registered twice")
    two.archive.retract(OPERATOR, Selection(studies=(synthetic.study_uid(2),)), "test images")
    assert found(two, Level.STUDY, PATIENT_ID, STUDY_UID) == [("P1", FIRST)]
    two.archive.restore(OPERATOR, Selection(studies=(synthetic.study_uid(2),)), "no")
    assert found(two, Level.PATIENT, PATIENT_ID, STUDIES) == [("P2", "2")]


# ---- withdrawals


def test_what_is_withdrawn_is_not_found_and_does_not_come_back_by_itself(two):
    assert len(two.archive.retract(OPERATOR, STUDY, "wrong patient")) == 1
    assert found(two, Level.STUDY, STUDY_UID) == [(synthetic.study_uid(2),)]
    assert found(two, Level.PATIENT, PATIENT_ID) == [("P2",)]
    assert two.archive.select(CT1, STUDY) == []
    with pytest.raises(Withdrawn):
        two.admit(synthetic.instance(patient="P1", study=1, name="Nováková^Jana"))
    assert "wrong patient" in deeds(two)[0]


def test_what_is_restored_is_as_it_was(two):
    rows = "SELECT uid, digest, stamp FROM instance ORDER BY uid"
    before = two.rows(rows), found(two, Level.STUDY, STUDY_UID, DESCRIPTION, NAME)
    two.archive.correct(OPERATOR, ONE, {BIRTH_DATE: "19700101"}, "passport")
    two.archive.retract(OPERATOR, STUDY, "wrong patient")
    assert len(two.archive.restore(OPERATOR, STUDY, "right after all")) == 1
    assert before == (two.rows(rows), found(two, Level.STUDY, STUDY_UID, DESCRIPTION, NAME))
    assert found(two, Level.PATIENT, BIRTH_DATE, t00100020="P1") == [("19700101",)]
    with pytest.raises(UnknownStudy):
        two.archive.restore(OPERATOR, STUDY, "again")


def test_one_series_or_one_instance_can_be_withdrawn(brno):
    for offered in synthetic.study(4, series=2):
        brno.admit(offered)
    brno.archive.retract(OPERATOR, Selection(series=(synthetic.series_uid(1, 1),)), "test")
    assert len(brno.archive.select(CT1, STUDY)) == 2
    one = brno.archive.select(CT1, STUDY)[0].uid
    brno.archive.retract(OPERATOR, Selection(instances=(one,)), "test")
    assert len(brno.archive.select(CT1, STUDY)) == 1
    assert found(brno, Level.STUDY, STUDY_SERIES, STUDY_INSTANCES) == [("1", "1")]
    assert brno.archive.restore(OPERATOR, Selection(instances=(one,)), "no test") == [one]
    with pytest.raises(UnknownInstance):
        brno.archive.restore(OPERATOR, Selection(instances=(one,)), "no test")
    assert len(brno.archive.restore(OPERATOR, STUDY, "all")) == 2


@pytest.mark.parametrize(
    ("selection", "error"),
    [(Selection(studies=(synthetic.study_uid(9),)), UnknownStudy),
     (Selection(instances=(synthetic.instance_uid(9, 9, 9),)), UnknownInstance),
     (Selection(series=(synthetic.series_uid(9, 9),)), NodeError), (Selection(), MalformedQuery)],
)  # fmt: skip
def test_what_is_not_here_cannot_be_withdrawn_or_restored(two, selection, error):
    with pytest.raises(error):
        two.archive.retract(OPERATOR, selection, "try")
    with pytest.raises(MalformedQuery if selection.series else error):
        two.archive.restore(OPERATOR, selection, "try")
    assert facts(two, Fact.RETRACT) == deeds(two) == []


# ---- locks


def test_a_locked_study_is_not_withdrawn_before_its_day(two):
    until = two.clock.now + 10 * DAY
    two.archive.lock(OPERATOR, FIRST, until, "law")
    with pytest.raises(Locked, match="2023-11-24"):
        two.archive.retract(OPERATOR, STUDY, "wrong patient")
    assert len(two.archive.select(CT1, STUDY)) == 1
    assert facts(two, Fact.RETRACT) == []
    two.clock.forward(11 * 86400)
    assert len(two.archive.retract(OPERATOR, STUDY, "wrong patient")) == 1


def test_of_a_selection_with_a_locked_study_nothing_is_withdrawn(two):
    two.archive.lock(OPERATOR, FIRST, two.clock.now + DAY, "law")
    with pytest.raises(Locked):
        two.archive.retract(OPERATOR, Selection(studies=(synthetic.study_uid(2), FIRST)), "both")
    assert len(found(two, Level.STUDY, STUDY_UID)) == 2


def test_a_lock_is_made_longer_and_never_shorter(two):
    now = two.clock.now
    two.archive.lock(OPERATOR, FIRST, now + 10 * DAY, "law")
    two.archive.lock(OPERATOR, FIRST, now + 10 * DAY, "law")
    assert len(facts(two, Fact.LOCK)) == 1
    two.archive.lock(OPERATOR, FIRST, now + 11 * DAY, "new law")
    with pytest.raises(Locked):
        two.archive.lock(OPERATOR, FIRST, now + DAY, "shorter")
    with pytest.raises(UnknownStudy):
        two.archive.lock(OPERATOR, synthetic.study_uid(9), now + DAY, "law")
    with pytest.raises(Rejected):
        two.archive.lock(OPERATOR, synthetic.study_uid(2), now, "past")


def test_a_lock_says_how_far_all_journals_were_read(two):
    two.archive.lock(OPERATOR, FIRST, two.clock.now + DAY, "law")
    assert facts(two, Fact.LOCK)[0]["seen"] == {"brno/1": 2}


# ---- after a rebuild


def test_a_rebuild_comes_to_the_same(two):
    two.admit(synthetic.instance(patient="P3", study=3))
    two.archive.merge(OPERATOR, ONE, TWO, "registered twice")
    two.archive.correct(OPERATOR, TWO, {BIRTH_DATE: "19700101", COMMENTS: "x"}, "passport")
    two.archive.correct(OPERATOR, FIRST, {DESCRIPTION: "Head", REFERRING: "A"}, "typing error")
    two.archive.correct(OPERATOR, FIRST, {REFERRING: None}, "was right")
    two.archive.retract(OPERATOR, Selection(studies=(synthetic.study_uid(3),)), "test")
    told = (STUDY_UID, PATIENT_ID, BIRTH_DATE, COMMENTS, DESCRIPTION, REFERRING)
    before = found(two, Level.STUDY, *told), two.rows("SELECT instance, digest, study FROM withdrawn")
    assert len(before[0]) == 2
    rebuild(two.archive, two.blobs, two.catalog, OPERATOR, lambda done, total: None)
    assert before == (
        found(two, Level.STUDY, *told),
        two.rows("SELECT instance, digest, study FROM withdrawn"),
    )


# ---- the policy


def test_only_who_administers_the_site_decides(two):
    some = device(may=(Action.STORE, Action.QUERY, Action.RETRIEVE))
    for decide in (
        lambda: two.archive.correct(some, FIRST, {DESCRIPTION: "x"}, "r"),
        lambda: two.archive.merge(some, ONE, TWO, "r"),
        lambda: two.archive.unmerge(some, ONE, "r"),
        lambda: two.archive.retract(some, STUDY, "r"),
        lambda: two.archive.restore(some, STUDY, "r"),
        lambda: two.archive.lock(some, FIRST, two.clock.now + DAY, "r"),
    ):
        with pytest.raises(Forbidden):
            decide()
    assert deeds(two) == []
