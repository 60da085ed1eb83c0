"""Whatever is changed in a record, and however much is chained anew, is within a range that is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from node.audit.proof import STRIDE, Examiner, Link, Proof, demand_run
from node.audit.witness import Fault, Mark, State
from node.domain.chain import START, Head, link
from node.domain.errors import MalformedMessage

Content = tuple[int, str]
"""Moment and digest."""


def contents(many: int) -> list[Content]:
    return [(number * 10, f"{number:064x}") for number in range(1, many + 1)]


def chained(found: list[Content]) -> list[Link]:
    end, links = START, []
    for seq, (at, digest) in enumerate(found, 1):
        end = link(end, seq, at, digest)
        links.append(Link(seq=seq, at=at, digest=digest, hash=end))
    return links


def marked(links: list[Link], *places: int, state: State = State.CHECKED) -> list[Mark]:
    return [Mark(seq=seq, hash=links[seq - 1].hash, state=state) for seq in sorted(set(places))]


def examined(links: list[Link], marks: list[Mark], page: int = 1000) -> Examiner:
    examiner = Examiner(Head(), START, marks)
    end = max((one.seq for one in links), default=0)
    while examiner.seq < end:
        last = min(examiner.seq + page, end)
        after = examiner.seq
        examiner.take([one for one in links if after < one.seq <= last], last)
    examiner.ended(end)
    return examiner


sizes = st.integers(2, 60)
pages = st.integers(1, 70)
places = st.sets(st.integers(1, 60), max_size=8)


@given(sizes, places, pages)
def test_a_record_leads_to_all_that_was_remembered_of_it(many, places, page):
    links = chained(contents(many))
    marks = marked(links, many, *(one for one in places if one < many))
    examiner = examined(links, marks, page)
    assert examiner.found() == []
    assert examiner.reached == marks
    assert examiner.trusted == Head(seq=many, hash=links[-1].hash)
    assert examiner.is_clean


@settings(max_examples=300)
@given(sizes, places, pages, st.data())
def test_a_changed_record_is_within_a_range_however_far_it_is_chained_anew(many, places, page, data):
    """From the change on, hashes are computed anew up to any place; behind it they are the old ones."""
    before = chained(contents(many))
    changed = data.draw(st.integers(1, many))
    upto = data.draw(st.integers(changed - 1, many))
    forged = contents(many)
    forged[changed - 1] = (forged[changed - 1][0], "f" * 64)
    anew = chained(forged)
    shown = [
        replace(one, hash=anew[one.seq - 1].hash if one.seq <= upto else before[one.seq - 1].hash)
        for one in anew
    ]
    marks = marked(before, many, *(one for one in places if one < many))
    found = examined(shown, marks, page).found()
    assert found
    assert any(one.first <= changed <= one.last for one in found)
    stretch = [0, *(mark.seq for mark in marks)]
    least = max(seq for seq in stretch if seq < changed)
    most = min(seq for seq in stretch if seq >= changed)
    named = [one for one in found if one.first <= changed <= one.last]
    assert all(least < one.first and one.last <= most for one in named if one.kind is Fault.REWRITTEN)


@given(sizes, places, st.data())
def test_a_record_that_was_taken_out_is_within_a_range(many, places, data):
    before = chained(contents(many))
    gone = data.draw(st.integers(1, many - 1))
    marks = marked(before, many, *(one for one in places if one < many))
    found = examined([one for one in before if one.seq != gone], marks).found()
    assert [one.kind for one in found] == [Fault.MISSING]
    assert found[0].first <= gone == found[0].last
    assert found[0].what.startswith(f"{gone} not there")


@given(sizes, places, st.data())
def test_what_was_taken_out_and_chained_anew_is_within_a_range(many, places, data):
    before = chained(contents(many))
    gone = data.draw(st.integers(1, many))
    kept = [one for number, one in enumerate(contents(many), 1) if number != gone]
    marks = marked(before, many, *(one for one in places if one < many))
    found = examined(chained(kept), marks).found()
    assert any(one.first <= gone <= one.last for one in found)
    assert found[-1].last == many


@given(sizes, st.data())
def test_two_records_that_changed_places_are_within_a_range(many, data):
    before = chained(contents(many))
    one = data.draw(st.integers(1, many))
    other = data.draw(st.integers(1, many))
    assume(one < other)
    shuffled = list(before)
    shuffled[one - 1] = replace(before[one - 1], at=before[other - 1].at, digest=before[other - 1].digest)
    shuffled[other - 1] = replace(before[other - 1], at=before[one - 1].at, digest=before[one - 1].digest)
    (found,) = examined(shuffled, marked(before, many)).found()
    assert (found.kind, found.last) == (Fault.REORDERED, other)
    assert "in another order" in found.what


@given(sizes, places, st.data())
def test_what_was_cut_off_is_named_from_the_last_record_on(many, places, data):
    before = chained(contents(many))
    left = data.draw(st.integers(0, many - 1))
    marks = marked(before, many, *(one for one in places if one < many))
    examiner = Examiner(Head(), START, marks)
    examiner.take(before[:left], left)
    examiner.ended(left)
    (found,) = examiner.found()
    proved = max([0, *(mark.seq for mark in marks if mark.seq <= left)])
    assert (found.kind, found.first, found.last) == (Fault.TRUNCATED, proved + 1, many)
    assert found.what.startswith(f"{left + 1} ")


def test_a_site_that_goes_on_upon_another_chain_is_believed_again_behind_what_it_has_signed_since():
    before, forged = chained(contents(40)), contents(60)
    forged[14] = (0, "f" * 64)
    after = chained(forged)
    old = marked(before, 10, 20, 30, 40)
    (new,) = marked(after, 60, state=State.HEARD)
    examiner = examined(after, [*old, new])
    assert [(one.kind, one.first, one.last) for one in examiner.found()] == [(Fault.REWRITTEN, 11, 20)]
    assert new in examiner.reached
    assert {one.seq for one in examiner.refuted} == {20, 30, 40}
    assert examined(after, [old[0], new]).found() == []


def test_an_end_that_was_only_heard_of_and_is_not_reached_is_a_fork():
    links = chained(contents(30))
    other = Mark(seq=20, hash="e" * 64, state=State.HEARD)
    examiner = examined(links, [*marked(links, 10, 30), other])
    assert [(one.kind, one.first, one.last) for one in examiner.found()] == [(Fault.FORKED, 11, 20)]
    assert examiner.refuted == [other]


def test_places_are_remembered_at_each_stride():
    links = chained(contents(5 * STRIDE + 7))
    examiner = examined(links, [])
    assert [one.seq for one in examiner.passed] == [STRIDE * number for number in range(1, 6)]


def test_nothing_is_remembered_of_another_chain_than_the_one_that_was_signed():
    many = 3 * STRIDE
    before, forged = chained(contents(many)), contents(many)
    forged[14] = (0, "f" * 64)
    examiner = examined(chained(forged), marked(before, 20))
    assert [(one.kind, one.first, one.last) for one in examiner.found()] == [(Fault.REWRITTEN, 1, 20)]
    assert examiner.passed == []
    assert not examiner.is_clean


@pytest.mark.parametrize("gone", [{STRIDE}, {STRIDE, STRIDE + 1}, set(range(STRIDE - 3, STRIDE + 1))])
def test_what_is_missing_where_the_examiner_stops_is_not_taken_for_an_altered_record(gone):
    links = chained(contents(2 * STRIDE + 50))
    marks = marked(links, len(links))
    examiner = examined([one for one in links if one.seq not in gone], marks)
    assert [(one.kind, one.first, one.last) for one in examiner.found()] == [(Fault.MISSING, 1, max(gone))]
    assert examiner.reached == marks


def test_a_proof_tells_of_what_was_asked_for():
    links = chained(contents(10))
    demand_run(Proof(previous=links[1].hash, links=links[2:6], end=10), 2, 6)
    for wrong in ([links[1]], [links[6]], [links[3], links[3]], [links[4], links[3]]):
        with pytest.raises(MalformedMessage):
            demand_run(Proof(previous="", links=wrong, end=10), 2, 6)
