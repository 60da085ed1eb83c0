"""The wire format of packs, and the range of a blob that is asked for."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.blobs.memory import MemoryStore
from node.domain.errors import Malformed, TooLarge
from node.domain.ids import Digest
from services.transfer.frames import (
    HEADER_SIZE,
    MOST,
    Header,
    read_header,
    read_wanted,
    write_header,
    write_wanted,
)
from services.transfer.outflow import frames, headers, length
from services.transfer.ranges import NotSatisfiable, span

DIGESTS = st.binary(min_size=32, max_size=32).map(lambda content: Digest(content.hex()))
ONE = Digest("ab" * 32)


@given(digest=DIGESTS, size=st.none() | st.integers(0, 2**64 - 2))
def test_a_header_comes_back_as_it_was(digest, size):
    buffer = bytearray(HEADER_SIZE)
    write_header(Header(digest, size), buffer)
    assert read_header(buffer) == Header(digest, size)


def test_the_format_is_the_one_that_is_documented():
    buffer = bytearray(HEADER_SIZE)
    write_header(Header(ONE, 258), buffer)
    assert bytes(buffer) == bytes.fromhex("ab" * 32) + b"\0\0\0\0\0\0\1\2"
    write_header(Header(ONE, None), buffer)
    assert bytes(buffer[32:]) == b"\xff" * 8


@given(digests=st.lists(DIGESTS, min_size=1, max_size=50))
def test_the_digests_that_are_wanted_come_back_as_they_were(digests):
    assert read_wanted(write_wanted(digests)) == digests


@pytest.mark.parametrize("content", [b"", b"x", bytes(33), bytes(31)])
def test_what_is_no_run_of_digests_is_malformed(content):
    with pytest.raises(Malformed):
        read_wanted(content)


def test_a_pack_of_too_many_is_refused():
    assert len(read_wanted(bytes(32 * MOST))) == MOST
    with pytest.raises(TooLarge):
        read_wanted(bytes(32 * (MOST + 1)))


@given(contents=st.lists(st.binary(max_size=700_000), max_size=4), absent=DIGESTS)
def test_a_pack_is_as_long_as_it_says_and_holds_what_was_asked_for(contents, absent):
    store = MemoryStore()
    digests = [store.put([content]) for content in contents] + [absent]
    pack = headers(store, digests)
    sent = io.BytesIO(b"".join(bytes(chunk) for chunk in frames(store, pack)))
    assert len(sent.getbuffer()) == length(pack)
    for digest, content in zip(digests, [*contents, b""], strict=True):
        header = read_header(bytearray(sent.read(HEADER_SIZE)))
        assert header == Header(digest, store.size(digest))
        assert sent.read(header.content) == content
    assert sent.read() == b""


@pytest.mark.parametrize(
    ("asked", "only_if", "part"),
    [
        (None, None, None),
        ("bytes=0-", None, (0, 100)),
        ("bytes=10-19", None, (10, 20)),
        ("bytes=10-1000", None, (10, 100)),
        ("bytes=-10", None, (90, 100)),
        ("bytes=-1000", None, (0, 100)),
        ("bytes=99-99", None, (99, 100)),
        ("bytes=10-", '"tag"', (10, 100)),
        ("bytes=10-", '"other"', None),
        ("bytes=20-10", None, None),
        ("bytes=-", None, None),
        ("bytes=1-2,5-6", None, None),
        ("lines=1-2", None, None),
        ("bytes=1-2; drop", None, None),
    ],
)
def test_a_range_is_understood_or_ignored(asked, only_if, part):
    assert span(asked, only_if, '"tag"', 100) == part


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=-0", "bytes=200-300"])
def test_a_range_behind_the_end_cannot_be_satisfied(asked):
    with pytest.raises(NotSatisfiable):
        span(asked, None, '"tag"', 100)


def test_nothing_can_be_a_part_of_an_empty_blob():
    with pytest.raises(NotSatisfiable):
        span("bytes=0-", None, '"tag"', 0)
