"""The journal is a chain: whatever was altered, taken out or moved is found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from node.domain.chain import Head, link
from node.domain.errors import Damaged
from node.domain.ids import SiteId
from node.journal.entry import Entry, Fact, canonical, follow, verify

payloads = st.dictionaries(
    st.text(max_size=5), st.text(max_size=5) | st.integers() | st.booleans(), max_size=3
)


def chain(says: list[dict]) -> list[Entry]:
    head, entries = Head(), []
    for at, values in enumerate(says):
        entry = follow(
            head, origin=SiteId("brno"), epoch=1, at=at, kind=Fact.INSTANCE, payload=canonical(values)
        )
        head = Head(seq=entry.seq, hash=entry.hash)
        entries.append(entry)
    return entries


journals = st.lists(payloads, min_size=1, max_size=6).map(chain)
ALTERATIONS = {
    "origin": SiteId("praha"), "epoch": 2, "seq": 77, "at": -1, "kind": Fact.SETTLE, "payload": '{"x":"y"}',
    "previous": "f" * 64, "hash": "f" * 64,
}  # fmt: skip


@given(journals)
def test_a_journal_holds_together_and_ends_at_its_last_entry(journal):
    assert verify(journal) == Head(seq=len(journal), hash=journal[-1].hash)
    assert [entry.seq for entry in journal] == list(range(1, len(journal) + 1))


@given(journals, st.data())
def test_an_altered_entry_is_found(journal, data):
    place, field = (
        data.draw(st.integers(0, len(journal) - 1)),
        data.draw(st.sampled_from(sorted(ALTERATIONS))),
    )
    assume(getattr(journal[place], field) != ALTERATIONS[field])
    journal[place] = replace(journal[place], **{field: ALTERATIONS[field]})
    with pytest.raises(Damaged):
        verify(journal)


@given(journals, st.data())
def test_a_missing_entry_is_found(journal, data):
    gone = data.draw(st.integers(0, len(journal) - 1))
    rest = journal[:gone] + journal[gone + 1 :]
    if gone == len(journal) - 1:
        assert verify(rest).seq == len(journal) - 1
    else:
        with pytest.raises(Damaged):
            verify(rest)


@given(journals, st.data())
def test_entries_that_changed_places_are_found(journal, data):
    one = data.draw(st.integers(0, len(journal) - 1))
    other = data.draw(st.integers(0, len(journal) - 1))
    assume(one != other)
    journal[one], journal[other] = journal[other], journal[one]
    with pytest.raises(Damaged):
        verify(journal)


@given(journals, st.integers(0, 6))
def test_a_journal_is_verified_from_where_it_was_verified_before(journal, seen):
    head = verify(journal[:seen])
    assert verify(journal[seen:], head) == verify(journal)


@given(st.lists(st.text(max_size=6), max_size=4), st.lists(st.text(max_size=6), max_size=4))
def test_parts_of_a_link_do_not_flow_together(one, other):
    assert (link("0", *one) == link("0", *other)) == (one == other)


@given(payloads)
def test_a_fact_says_what_it_was_told_in_one_form_only(values):
    text = canonical(values)
    assert text == canonical(dict(reversed(values.items())))
    assert chain([values])[0].says == values
