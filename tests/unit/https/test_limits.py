"""Patience is lost with who keeps waiting, not with who is waited for by a reader that takes its time."""

from __future__ import annotations

import io

import pytest

from node.domain.errors import Malformed
from services.https.body import Chunked, Sized
from services.https.limits import Patience


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def arriving(clock, seconds, count):
    def receive(most, view):
        clock.now += seconds
        return count

    return receive


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def patience(clock):
    return Patience(grace=30.0, lowest_rate=1000, now=clock)


def test_a_slow_sender_is_given_up_after_the_grace(patience, clock):
    read = 0
    with pytest.raises(TimeoutError):
        while read < 100_000:
            read += patience.some(arriving(clock, 1.0, 10), memoryview(bytearray(10)))
    assert 30 < clock.now < 32


def test_a_sender_that_is_fast_enough_may_go_on_for_ever(patience, clock):
    for _ in range(10_000):
        patience.some(arriving(clock, 1.0, 1000), memoryview(bytearray(1000)))


def test_a_run_of_bytes_that_trickles_is_given_up_in_the_middle(patience, clock):
    with pytest.raises(TimeoutError):
        patience.all(arriving(clock, 1.0, 10), memoryview(bytearray(1_000_000)))
    assert clock.now < 32


def test_a_run_of_bytes_ends_where_the_connection_does(patience, clock):
    counts = iter([3, 4, 0])
    assert patience.all(lambda most, view: next(counts), memoryview(bytearray(100))) == 7


def test_the_time_that_the_reader_takes_does_not_count(patience, clock):
    for _ in range(100):
        patience.some(arriving(clock, 0.1, 1), memoryview(bytearray(1)))
        clock.now += 3600


class Pieces:
    """A source that gives what was written down, a little at a time."""

    def __init__(self, content: bytes) -> None:
        self.file = io.BytesIO(content)

    def readinto(self, view):
        piece = self.file.read(min(3, len(view)))
        if not piece:
            raise ConnectionResetError
        view[: len(piece)] = piece
        return len(piece)

    def readline(self, size):
        return self.file.readline(size)


def test_a_body_with_a_length_ends_there():
    body = Sized(Pieces(b"abcdefgh and the next request"), 8, None)
    assert io.BufferedReader(body).read() == b"abcdefgh"
    assert body.is_read


def test_a_body_in_chunks_ends_with_the_empty_one():
    source = Pieces(b"5\r\nabcde\r\n3;x=y\r\nfgh\r\n0\r\nX: y\r\n\r\nnext")
    body = Chunked(source, None)
    assert io.BufferedReader(body).read() == b"abcdefgh"
    assert body.is_read
    assert source.file.read() == b"next"


@pytest.mark.parametrize(
    "content",
    [
        b"5\r\nabcdeX",
        b"\r\n",
        b"-1\r\n",
        b"0x5\r\nabcde",
        b"5\nabcde",
        b"0\r\n" + b"X: y\r\n" * 40,
        b"f" * 13 + b"\r\n",
    ],
)
def test_a_body_in_malformed_chunks_is_malformed_and_not_drained(content):
    body = Chunked(Pieces(content), None)
    with pytest.raises((Malformed, ConnectionResetError)):
        io.BufferedReader(body).read()
    assert not body.drain(1000)


def test_a_short_rest_is_drained_and_a_long_one_is_not():
    assert Sized(Pieces(bytes(100)), 100, None).drain(1000)
    assert not Sized(Pieces(bytes(100)), 100, None).drain(50)
    assert not Sized(Pieces(bytes(100)), 100, lambda: None).drain(1000)


def test_a_rest_that_is_too_long_to_be_drained_is_not_waited_for():
    source = Pieces(bytes(100))
    assert not Sized(source, 100, None).drain(50)
    assert source.file.tell() == 0
