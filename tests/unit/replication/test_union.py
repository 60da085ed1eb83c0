"""Rows of several sites become one result in which every object is told once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.archive.apart import ISSUER, PATIENT_ID, STUDY, UNIQUE, told_apart
from node.domain.errors import MalformedMessage
from node.domain.query import Key, Level, Query
from node.replication.union import Seen, Shape

NAME = 0x00100010
TAGS = ((NAME, "PN"), (PATIENT_ID, "LO"), (ISSUER, "LO"), (STUDY, "UI"))
ROWS = st.lists(st.tuples(*[st.sampled_from(["", "1", "2"]) for _ in TAGS]), max_size=30)


@pytest.mark.parametrize("level", Level)
def test_a_query_gets_the_return_keys_that_tell_its_rows_apart(level):
    asked = told_apart(Query(level=level, keys=(Key(tag=NAME, vr="PN", value="N*"),), limit=7))
    assert asked.keys[0].value == "N*"
    assert {tag for tag, _ in UNIQUE[level]} <= {key.tag for key in asked.keys}
    assert told_apart(asked) == asked
    assert asked.limit == 7


@given(ROWS, ROWS)
def test_every_object_is_told_once_by_whoever_tells_of_it_first(here, there):
    seen, shape = Seen(), Shape(TAGS, [NAME], Level.STUDY)
    told = [*seen.new(here, shape), *seen.new(there, shape)]
    first = {row[1:]: row[0] for row in reversed([*here, *there])}
    assert sorted(name for (name,) in told) == sorted(first.values())


def test_columns_may_stand_elsewhere_or_not_at_all():
    seen = Seen()
    mine = Shape(TAGS, [NAME, STUDY], Level.STUDY)
    theirs = Shape((TAGS[3], TAGS[1]), [NAME, STUDY], Level.STUDY)
    assert list(seen.new([("A", "P1", "", "1.2")], mine)) == [("A", "1.2")]
    assert list(seen.new([("1.2", "P1"), ("1.3", "P1")], theirs)) == [(None, "1.3")]


@pytest.mark.parametrize("row", [(), ("1",) * 3, ("1",) * 5])
def test_a_row_of_another_shape_is_none(row):
    with pytest.raises(MalformedMessage):
        list(Seen().new([row], Shape(TAGS, [NAME], Level.STUDY)))


def test_rows_without_the_unique_key_cannot_be_told_apart():
    with pytest.raises(MalformedMessage):
        Shape(TAGS[:3], [NAME], Level.STUDY)
