"""MTOM packages: whatever is written is read, in pieces of any size, and nothing else is."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.errors import Damaged, Malformed, MalformedMessage, TooLarge
from services.soap.framework.blob import Blob
from services.soap.framework.limits import Limits
from services.soap.framework.multipart import Scanner, pack, parameters, unpack
from services.soap.framework.names import SOAP12

MIB = 1 << 20


def cut(data: bytes, sizes: list[int]):
    """The same bytes in pieces of these sizes, over and over."""
    place, turn = 0, 0
    while place < len(data):
        size = sizes[turn % len(sizes)]
        yield data[place : place + size]
        place, turn = place + size, turn + 1


SCRAPS = [b"\r\n", b"--", b"uuid:", b"\r\n--uuid:", b"\r", b"\n", b"-", b"\x00", b"\r\n\r\n"]
NASTY = st.binary(max_size=300) | st.lists(st.sampled_from(SCRAPS), max_size=30).map(b"".join)


@given(
    root=NASTY.filter(bool),
    parts=st.lists(NASTY, max_size=5),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=6),
)
def test_a_package_is_read_as_it_was_written_in_pieces_of_any_size(root, parts, sizes):
    blobs = [(f"{n}@x", Blob.of(data, "application/dicom")) for n, data in enumerate(parts)]
    package = pack(root, blobs, SOAP12.media)
    data = b"".join(package.chunks())
    assert len(data) == package.size
    media, told = parameters(package.content_type)
    assert media == "multipart/related"
    unpacked = unpack(cut(data, sizes), told["boundary"], Limits())
    assert unpacked.root == root
    assert [unpacked.parts[f"{n}@x"].read() for n in range(len(parts))] == parts
    assert [one.media for one in unpacked.parts.values()] == ["application/dicom"] * len(parts)
    unpacked.close()


@given(data=st.binary(max_size=400) | NASTY, sizes=st.lists(st.integers(1, 50), min_size=1, max_size=3))
def test_what_is_no_package_is_refused_and_nothing_else_happens(data, sizes):
    with pytest.raises(Malformed):
        unpack(cut(data, sizes), "uuid:0", Limits())


@given(st.data())
def test_a_package_that_was_cut_anywhere_is_refused(data):
    package = pack(b"<a/>", [("1@x", Blob.of(b"x" * 50))], SOAP12.media)
    whole = b"".join(package.chunks())
    end = data.draw(st.integers(0, len(whole) - 5))
    with pytest.raises(MalformedMessage):
        unpack(cut(whole[:end], [7]), parameters(package.content_type)[1]["boundary"], Limits())


@given(st.data())
def test_a_package_that_was_changed_anywhere_is_read_or_refused(data):
    package = pack(b"<a/>", [("1@x", Blob.of(b"x" * 50))], SOAP12.media)
    whole = bytearray(b"".join(package.chunks()))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Malformed):
        unpack([bytes(whole)], parameters(package.content_type)[1]["boundary"], Limits()).close()


def test_a_delimiter_is_found_wherever_a_piece_ends():
    for size in range(1, 30):
        gathered = bytearray()
        scanner = Scanner(cut(b"abc\r\n--b\r\n\r\n--\r\n--b--\r\n", [size]), b"\r\n--b")
        scanner.copy(gathered.extend, 100)
        assert bytes(gathered) == b"\r\nabc"
        gathered.clear()
        scanner.copy(gathered.extend, 100)
        assert bytes(gathered) == b"\r\n\r\n--"
        assert not scanner.more()


def test_parts_have_a_limit_in_number_and_in_bytes():
    def package(*sizes):
        made = pack(b"<a/>", [(f"{n}@x", Blob.of(b"x" * size)) for n, size in enumerate(sizes)], SOAP12.media)
        return b"".join(made.chunks()), parameters(made.content_type)[1]["boundary"]

    limits = Limits(body=100, parts=3, attached=1000)
    for sizes, refusal in (((1, 1, 1, 1), MalformedMessage), ((600, 401), TooLarge), ((1001,), TooLarge)):
        data, boundary = package(*sizes)
        with pytest.raises(refusal):
            unpack(cut(data, [64]), boundary, limits)
    data, boundary = package(600, 400)
    unpack(cut(data, [64]), boundary, limits).close()


def test_the_message_has_a_limit_of_its_own():
    made = pack(b"x" * 101, [], SOAP12.media)
    with pytest.raises(TooLarge):
        unpack(made.chunks(), parameters(made.content_type)[1]["boundary"], Limits(body=100))


@pytest.mark.parametrize("boundary", ["", "a" * 71, "\u00e9"])
def test_a_boundary_that_cannot_be_one_is_refused(boundary):
    with pytest.raises(MalformedMessage):
        unpack([b"--a\r\n\r\nx\r\n--a--"], boundary, Limits())


@pytest.mark.parametrize(
    "part",
    [
        b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--b--",
        b"--b\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\na\r\n--b--",
        b"--b\r\n\r\n<a/>\r\n--b\r\nContent-ID: <a>\r\n\r\n1\r\n--b\r\nContent-ID: <a>\r\n\r\n2\r\n--b--",
        b"x" * 20_000 + b"\r\n--b\r\n\r\n<a/>\r\n--b--",
        b"--b--",
    ],
)
def test_a_package_that_plays_tricks_is_refused(part):
    with pytest.raises(Malformed):
        unpack([part], "b", Limits())


def test_a_part_without_headers_is_a_part():
    unpacked = unpack([b"--b\r\n\r\n<a/>\r\n--b--\r\n"], "b", Limits())
    assert unpacked.root == b"<a/>"


def test_bytes_are_never_held_whole():
    size = 48 * MIB
    piece = b"\r\n--" * (MIB // 4)
    package = pack(b"<a/>", [("1@x", Blob(lambda: (piece for _ in range(size // MIB)), size))], SOAP12.media)
    boundary = parameters(package.content_type)[1]["boundary"]
    tracemalloc.start()
    unpacked = unpack(package.chunks(), boundary, Limits())
    total = sum(map(len, unpacked.parts["1@x"].chunks()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    unpacked.close()
    assert total == size
    assert peak < 8 * MIB


@pytest.mark.parametrize("size", [3, 5])
def test_a_blob_of_another_size_than_announced_is_damaged(size):
    with pytest.raises(Damaged):
        list(Blob(lambda: [b"ab", b"cd"], size).chunks())


def test_a_file_is_a_blob(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    blob = Blob.at(path)
    assert (blob.size, blob.read(), blob.read()) == (3, b"abc", b"abc")
