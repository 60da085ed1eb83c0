"""The names by which nodes know each other in XML, and how one element is picked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from node.domain.errors import MalformedMetadata, Unauthenticated
from node.domain.ids import SiteId
from node.identity.xmlnames import entity_id, instant, microseconds, oid, one_text, only, site_of


@given(st.from_regex(SiteId.form, fullmatch=True))
def test_a_site_is_found_in_the_name_of_its_node(site):
    assert site_of(entity_id(SiteId(site))) == site


@pytest.mark.parametrize(
    "entity",
    [
        None,
        "",
        "brno",
        "urn:konzilium:node:",
        "urn:konzilium:node:B",
        "urn:konzilium:Xode:brno",
        "urn:konzilium:node",
    ],
)
def test_other_names_are_not_those_of_nodes(entity):
    assert site_of(entity) is None


def test_an_object_identifier_follows_from_a_name_and_fits_into_64_characters():
    assert oid("urn:a") == oid("urn:a") != oid("urn:b")
    assert all(len(oid(f"urn:{number}")) <= 64 for number in range(100))


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000))
def test_a_time_is_written_and_read_to_the_microsecond(now):
    assert microseconds(instant(now)) == now


@pytest.mark.parametrize(
    "text",
    [
        *[None, "", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00+00:00", "2026-13-01T00:00:00Z"],
        *["2026-01-01T00:00:00.1234567Z", "٢٠٢٦-01-01T00:00:00Z", "2026-01-01T00:00:00Z\n"],
    ],
)
def test_what_is_no_time_in_utc_is_no_time(text):
    assert microseconds(text) is None


def test_one_child_is_wanted_and_it_holds_nothing_but_text():
    parent = etree.fromstring("<p><a>1</a><b/><c>1</c><c>2</c><d>1<x/>2</d></p>")
    assert only(parent, "b") is parent[1]
    assert one_text(parent, "a") == "1"
    for tag, why in (
        ("b", "no plain text"),
        ("c", "2 elements c"),
        ("d", "no plain text"),
        ("e", "0 elements e"),
    ):
        for error in (Unauthenticated, MalformedMetadata):
            with pytest.raises(error, match=why):
                one_text(parent, tag, error)
