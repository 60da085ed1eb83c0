"""The walk finds what pydicom finds, and gives up in its own words on everything else."""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from node.archive import elements
from node.archive.elements import Found, Truncated, Unwalkable, find
from node.archive.part10 import file_meta
from tests.support import synthetic
from tests.support.encodings import SYNTAXES, Sequence, data_sets, encode

IMPLICIT, EXPLICIT, BIG = SYNTAXES
ANY_TAG = type("AnyTag", (frozenset,), {"__contains__": lambda *_: True})()
syntaxes = st.sampled_from(sorted(SYNTAXES))


def walk(data: bytes, syntax: str = EXPLICIT, **options) -> dict[int, Found]:
    return find(memoryview(data), syntax, ANY_TAG, longest=options.pop("longest", 1 << 30), **options)


@given(data_sets, syntaxes)
def test_every_element_is_found_with_the_value_that_pydicom_finds(nodes, syntax):
    order, implicit = SYNTAXES[syntax]
    data = encode(nodes, order, implicit=implicit)
    found = walk(data, syntax)
    seen = dcmread(BytesIO(file_meta(synthetic.offer_of(synthetic.dataset(), syntax)) + data))
    assert list(found) == [int(tag) for tag in seen._dict]
    for node in nodes:
        if isinstance(node, Sequence):
            read = seen[node.tag].value
            assert isinstance(read, bytes) or len(read or ()) == len(node.items)
        else:
            assert found[node.tag].value == node.value == seen.get_item(node.tag).value or not node.value


@given(data_sets, syntaxes, st.data())
def test_a_data_set_that_breaks_off_is_noticed(nodes, syntax, data):
    """Cut anywhere but between two top-level elements."""
    order, implicit = SYNTAXES[syntax]
    whole = encode(nodes, order, implicit=implicit)
    ends = {len(encode(nodes[:count], order, implicit=implicit)) for count in range(len(nodes) + 1)}
    cut = data.draw(st.integers(0, len(whole)))
    if cut in ends:
        assert walk(whole[:cut], syntax).items() <= walk(whole, syntax).items()
    else:
        with pytest.raises(Truncated):
            walk(whole[:cut], syntax)


@given(data_sets, syntaxes, st.data())
def test_a_beginning_gives_the_elements_that_are_complete(nodes, syntax, data):
    order, implicit = SYNTAXES[syntax]
    whole = encode(nodes, order, implicit=implicit)
    cut = data.draw(st.integers(0, len(whole)))
    found = walk(whole[:cut], syntax, whole=False)
    complete = [
        count
        for count in range(len(nodes) + 1)
        if len(encode(nodes[:count], order, implicit=implicit)) <= cut
    ]
    assert list(found) == [node.tag for node in nodes[: complete[-1]]]


@given(data_sets, syntaxes, syntaxes, st.data())
def test_corrupted_bytes_are_walked_or_refused_and_nothing_else(nodes, syntax, announced, data):
    order, implicit = SYNTAXES[syntax]
    broken = bytearray(encode(nodes, order, implicit=implicit))
    for place in data.draw(st.lists(st.integers(0, max(len(broken) - 1, 0)), max_size=4)) if broken else ():
        broken[place] = data.draw(st.integers(0, 255))
    with suppress(Unwalkable):
        walk(bytes(broken), announced)


@given(st.binary(max_size=300), syntaxes)
def test_noise_is_walked_or_refused_and_nothing_else(noise, syntax):
    try:
        found = walk(noise, syntax)
    except Unwalkable:
        return
    assert sum(len(element.value) + 8 for element in found.values()) <= len(noise)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_sequences_nested_too_deep_are_not_walked(syntax):
    order, implicit = SYNTAXES[syntax]
    head = struct.pack(order + "HH", 0x0008, 0x1032)
    head += struct.pack(order + "I", 0xFFFFFFFF) if implicit else b"SQ\0\0\xff\xff\xff\xff"
    item = struct.pack(order + "HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    with pytest.raises(Unwalkable):
        walk((head + item) * 100_000, syntax)


def test_more_elements_than_a_data_set_may_have_are_not_walked(monkeypatch):
    monkeypatch.setattr(elements, "STEPS", 1000)
    with pytest.raises(Unwalkable):
        walk(b"\x08\x00\x50\x00SH\x00\x00" * 1001)
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 1001 + b"\xfe\xff\xdd\xe0\0\0\0\0"
    with pytest.raises(Unwalkable):
        walk(b"\x08\x00\x32\x10SQ\0\0\xff\xff\xff\xff" + items)


def test_a_value_that_is_too_long_is_left_out_and_the_rest_is_found():
    data = b"\x08\x00\x50\x00SH\x04\x00LONG" + b"\x10\x00\x20\x00LO\x02\x00P1"
    assert walk(data, longest=3) == {0x00100020: Found("LO", b"P1")}


def test_an_element_that_claims_more_than_there_is_breaks_off():
    with pytest.raises(Truncated):
        walk(b"\x10\x00\x20\x00LO\xff\xffP1")
    with pytest.raises(Truncated):
        walk(b"\xe0\x7f\x10\x00OW\0\0\xfe\xff\xff\xffP1")
