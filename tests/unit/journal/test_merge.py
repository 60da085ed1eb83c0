"""What facts add up to does not depend on the order in which they came, or on how often."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.ids import InstanceUID, SiteId
from node.journal.entry import Entry, Fact, canonical
from node.journal.merge import (
    Form,
    InstanceState,
    corrections,
    instance_state,
    knew,
    locked_until,
    merged_into,
    merges,
    roots,
)

UID, STUDY = InstanceUID("1.2.3"), "1.2"
SITES = [SiteId("brno"), SiteId("prague"), SiteId("olomouc")]
A, B, C, D = "a" * 64, "b" * 64, "c" * 64, "d" * 64
NAME, SEX = 0x00100010, 0x00100040


def fact(kind: Fact, says: dict, *, at: int = 0, origin: str = "brno", seq: int = 0, epoch: int = 1) -> Entry:
    """A fact; its place in the chain does not matter here."""
    payload = canonical(says)
    return Entry(
        origin=SiteId(origin), epoch=epoch, seq=seq or at + 1, at=at, kind=kind, payload=payload, previous="",
        hash="",
    )  # fmt: skip


def form(digest: str, **place) -> Entry:
    says = {"digest": digest, "size": 7, "syntax": "1.2.840", "source": "device:CT1@brno", "uid": UID}
    return fact(Fact.INSTANCE, says | {"study": STUDY}, **place)


def compared(kept: str, other: str, *, equal: bool = True, **place) -> Entry:
    return fact(Fact.COMPARE, {"uid": UID, "kept": kept, "other": other, "equal": equal}, **place)


def retracted(withdrawn: bool = True, **place) -> Entry:
    return fact(Fact.RETRACT, {"uid": UID, "study": STUDY, "withdrawn": withdrawn}, **place)


def lock(until: int, seen: dict[str, int] | None = None, **place) -> Entry:
    return fact(Fact.LOCK, {"study": STUDY, "until": until, "seen": seen or {}}, **place)


def corrected(values: dict[str, str | None], **place) -> Entry:
    return fact(Fact.CORRECT, {"study": STUDY, "set": values}, **place)


def merged(patient: str, into: str | None, **place) -> Entry:
    return fact(Fact.MERGE, {"patient": ["", patient], "into": ["", into] if into else None}, **place)


def state(*facts: Entry) -> InstanceState:
    locks = [one for one in facts if one.kind is Fact.LOCK]
    return instance_state(UID, [one for one in facts if one.kind is not Fact.LOCK], locks)


# ---- whatever the order


ages = st.integers(0, 30)
made = st.one_of(
    st.builds(form, st.sampled_from([A, B, C, D])),
    st.builds(compared, st.sampled_from([A, B, C]), st.sampled_from([B, C, D]), equal=st.booleans()),
    st.builds(retracted, st.booleans()),
    st.builds(lock, ages, st.dictionaries(st.sampled_from(["brno/1", "prague/1"]), ages)),
    st.builds(
        corrected,
        st.dictionaries(st.sampled_from(["00100010", "00100040"]), st.sampled_from(["x", "y", None])),
    ),
    st.builds(merged, st.sampled_from("ABCD"), st.sampled_from([*"ABCD", None])),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    """Facts of several sites, each with a place of its own."""
    facts = draw(st.lists(made, max_size=10))
    return [
        replace(one, origin=draw(st.sampled_from(SITES)), at=draw(ages), seq=place + 1)
        for place, one in enumerate(facts)
    ]


def adds_up(facts: list[Entry]) -> tuple:
    locks = [one for one in facts if one.kind is Fact.LOCK]
    about = [one for one in facts if one.kind in (Fact.INSTANCE, Fact.COMPARE, Fact.RETRACT)]
    return instance_state(UID, about, locks), corrections(facts), merged_into(facts), locked_until(locks)


@given(histories(), st.data())
def test_facts_add_up_to_the_same_in_any_order_and_however_often_they_come(facts, data):
    again = data.draw(st.lists(st.sampled_from(facts), max_size=5)) if facts else []
    assert adds_up(data.draw(st.permutations(facts + again))) == adds_up(facts)


@given(histories())
def test_exactly_one_form_of_those_that_are_equal_stays(facts):
    found = state(*[one for one in facts if one.kind in (Fact.INSTANCE, Fact.COMPARE)])
    assert bool(found.staying) == bool(found.forms)
    assert found.folded <= {one.digest for one in found.forms}
    assert not found.forms or found.staying[0] == found.forms[0]


@given(histories())
def test_every_patient_is_shown_under_one_that_is_not_merged(facts):
    found = merged_into(facts)
    assert not set(found.values()) & found.keys()
    assert found == roots(merges(facts))


# ---- instances


def test_the_earliest_form_is_the_archived_one_wherever_it_came_from():
    found = state(form(A, at=9), form(B, at=3, origin="prague"), form(B, at=8))
    assert [(one.digest, one.origin) for one in found.forms] == [(B, "prague"), (A, "brno")]
    assert found.form(A) == found.forms[1]
    assert found.form(C) is None


def test_forms_that_are_equal_through_a_third_one_are_one():
    found = state(form(A, at=1), form(B, at=2), form(C, at=3), compared(B, C, at=4), compared(A, B, at=5))
    assert found.folded == {B, C}
    assert [one.digest for one in found.staying] == [A]


def test_a_form_that_no_fact_names_is_not_folded_into_another():
    assert state(form(B, at=1), compared(A, B, at=2)).folded == frozenset()


def test_forms_that_differ_all_stay():
    found = state(form(A, at=1), form(B, at=2), compared(A, B, equal=False, at=3))
    assert (found.folded, found.different, len(found.staying)) == (frozenset(), {A, B}, 2)


def test_facts_of_sites_that_kept_less_still_make_a_form():
    says = {"digest": A, "size": 7, "syntax": "1.2.840", "source": "x", "uid": UID}
    entry = fact(Fact.INSTANCE, says, at=5)
    assert state(entry).forms == (
        Form(digest=A, size=7, transfer_syntax="1.2.840", source="x", study="", origin="brno", at=5,
             stamp=entry.stamp),
    )  # fmt: skip


# ---- withdrawals and locks


def test_the_latest_decision_says_whether_an_instance_is_withdrawn():
    assert not state(form(A)).withdrawn
    assert state(form(A), retracted(at=1)).withdrawn
    assert not state(form(A), retracted(at=1), retracted(False, at=2, origin="prague")).withdrawn
    assert state(form(A), retracted(False, at=1), retracted(at=2)).withdrawn


def test_a_lock_beats_a_withdrawal_of_which_it_did_not_know():
    assert not state(retracted(at=5, origin="prague"), lock(99, at=3)).withdrawn
    assert not state(retracted(at=5, origin="prague"), lock(99, at=7)).withdrawn


def test_a_lock_does_not_undo_what_it_knew_of():
    gone = retracted(at=5, origin="prague", seq=4)
    assert state(gone, lock(99, {"prague/1": 4}, at=7)).withdrawn
    assert not state(gone, lock(99, {"prague/1": 3}, at=7)).withdrawn
    assert not state(gone, lock(99, {"prague/2": 9}, at=7)).withdrawn


def test_a_lock_that_has_ended_forbids_nothing():
    assert state(retracted(at=5, origin="prague"), lock(5, at=3)).withdrawn
    assert not state(retracted(at=5, origin="prague"), lock(6, at=3)).withdrawn


def test_a_forbidden_withdrawal_leaves_the_decision_before_it_in_force():
    before = (retracted(at=1, origin="prague", seq=1), lock(99, {"prague/1": 1}, at=2))
    assert state(*before, retracted(at=3, origin="prague", seq=2)).withdrawn
    assert not state(*before, retracted(False, at=3, seq=5), retracted(at=4, origin="prague")).withdrawn


def test_a_site_knew_its_own_earlier_facts():
    assert knew(lock(1, seq=5), retracted(seq=4))
    assert not knew(lock(1, seq=5), retracted(seq=6))
    assert knew(lock(1, seq=1, epoch=2), retracted(seq=9, epoch=1))


def test_a_fact_that_a_restored_site_states_again_knew_what_it_knew_at_first():
    again = lock(1, {"brno/1": 4}, seq=1, epoch=2)
    assert knew(again, retracted(seq=4, epoch=1))
    assert not knew(again, retracted(seq=5, epoch=1)), "it was lost when the lock was set"


@pytest.mark.parametrize(("untils", "last"), [([], 0), ([5], 5), ([5, 9, 7], 9)])
def test_the_longest_lock_holds(untils, last):
    assert locked_until([lock(until, at=at) for at, until in enumerate(untils)]) == last


# ---- corrections


def test_of_several_corrections_of_an_attribute_the_latest_stands():
    facts = [corrected({"00100010": "late"}, at=9), corrected({"00100010": "early", "00100040": "F"}, at=1)]
    assert corrections(facts) == {NAME: "late", SEX: "F"}


def test_a_correction_that_was_taken_back_is_none():
    facts = [corrected({"00100010": "x"}, at=1), corrected({"00100010": None}, at=2)]
    assert corrections(facts) == {}
    assert corrections([*facts, corrected({"00100010": ""}, at=3)]) == {NAME: ""}


# ---- merges


def under(*facts: Entry) -> dict[str, str]:
    return {patient[1]: root[1] for patient, root in merged_into(facts).items()}


def test_a_chain_of_merges_ends_at_its_last_patient():
    assert under(merged("A", "B", at=1), merged("B", "C", at=2)) == {"A": "C", "B": "C"}


def test_the_latest_fact_about_a_patient_says_into_whom_it_is_merged():
    assert under(merged("A", "B", at=1), merged("A", "C", at=2)) == {"A": "C"}
    assert under(merged("A", "B", at=1), merged("A", None, at=2)) == {}
    assert under(merged("A", None, at=1), merged("A", "B", at=2)) == {"A": "B"}


def test_sites_that_merged_in_opposite_directions_agree_on_the_least():
    assert under(merged("B", "A", at=1), merged("A", "B", at=2, origin="prague")) == {"B": "A"}
    circle = (merged("A", "B"), merged("B", "C", at=1), merged("C", "B", at=2))
    assert under(*circle) == {"A": "B", "C": "B"}


def test_a_patient_merged_into_itself_is_not_merged():
    assert under(merged("A", "A")) == {}


def test_the_same_number_of_two_issuers_is_two_patients():
    one = fact(Fact.MERGE, {"patient": ["x", "1"], "into": ["y", "1"]})
    assert merged_into([one]) == {("x", "1"): ("y", "1")}
