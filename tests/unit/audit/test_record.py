"""The audit ledger is a chain of deeds: none can be altered, taken out or moved unnoticed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from node.audit.record import Deed, Event, Record, follow, read, verify, written
from node.domain.chain import Head
from node.domain.errors import Damaged

words = st.text(max_size=6)
deeds = st.builds(Deed, event=st.sampled_from(Event), who=words, address=words, study=words, what=words)


def chain(done: list[Deed]) -> list[Record]:
    head, records = Head(), []
    for at, deed in enumerate(done):
        record = follow(head, at=at, deed=written(deed))
        head = Head(seq=record.seq, hash=record.hash)
        records.append(record)
    return records


ledgers = st.lists(deeds, min_size=1, max_size=6).map(chain)
ALTERATIONS = {"seq": 77, "at": -1, "deed": "[]", "previous": "f" * 64, "hash": "f" * 64}


@given(deeds)
def test_a_deed_is_read_as_it_was_written(deed):
    assert read(written(deed)) == deed


@given(ledgers)
def test_a_ledger_holds_together_and_ends_at_its_last_record(ledger):
    assert verify(ledger) == Head(seq=len(ledger), hash=ledger[-1].hash)


@given(ledgers, st.data())
def test_an_altered_record_is_found(ledger, data):
    place, field = data.draw(st.integers(0, len(ledger) - 1)), data.draw(st.sampled_from(sorted(ALTERATIONS)))
    ledger[place] = replace(ledger[place], **{field: ALTERATIONS[field]})
    with pytest.raises(Damaged):
        verify(ledger)


@given(ledgers, st.data())
def test_a_record_that_is_missing_from_the_midst_is_found(ledger, data):
    assume(len(ledger) > 1)
    gone = data.draw(st.integers(0, len(ledger) - 2))
    with pytest.raises(Damaged):
        verify(ledger[:gone] + ledger[gone + 1 :])


@given(ledgers, st.data())
def test_records_that_changed_places_are_found(ledger, data):
    assume(len(ledger) > 1)
    one = data.draw(st.integers(0, len(ledger) - 2))
    ledger[one], ledger[one + 1] = ledger[one + 1], ledger[one]
    with pytest.raises(Damaged):
        verify(ledger)
