"""Messages are the same however they are cut; whatever is no message ends the conversation."""

from __future__ import annotations

import os
import socket
import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.domain.errors import MalformedQuery
from services.dicom import messages
from services.dicom.channel import Channel
from services.dicom.framing import Interrupted
from services.dicom.messages import ProtocolError, Reason
from services.dicom.wire import Gone, WireError
from tests.support.dicom_door import channel_over, pdata, pdv, store_command, stored

RELEASE = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"
ABORT = b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"


class Trickle:
    """A connection that delivers what it has in pieces of given sizes, and then ends."""

    def __init__(self, stream: bytes, sizes: list[int]):
        self.stream = stream
        self.sizes = sizes or [1 << 20]
        self.reads = 0

    def recv_into(self, view):
        size = min(self.sizes[self.reads % len(self.sizes)], len(self.stream), len(view))
        self.reads += 1
        view[:size], self.stream = self.stream[:size], self.stream[size:]
        return size

    def settimeout(self, seconds):
        pass

    def gettimeout(self):
        return None

    def setsockopt(self, *option):
        pass


def channel_of(stream: bytes, sizes: list[int] | None = None, **limits: int) -> Channel:
    return channel_over(Trickle(stream, sizes or []), **limits)


def cut(content: bytes, control: int, draw, context: int = 1) -> list[bytes]:
    """PDVs that carry this content, cut where `draw` wants, empty ones among them."""
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=6)))
    places = [0, *cuts, len(content)]
    pieces = [content[a:b] for a, b in pairwise(places)]
    return [
        pdv(context, control | (2 if number == len(pieces) else 0), piece)
        for number, piece in enumerate(pieces, 1)
    ]


def packed(values: list[bytes], draw) -> bytes:
    """These PDVs in PDUs of one or more."""
    stream = b""
    while values:
        count = draw(st.integers(1, len(values)))
        stream, values = stream + pdata(*values[:count]), values[count:]
    return stream


@given(st.data(), st.lists(st.binary(max_size=5000), min_size=1, max_size=3), st.lists(st.integers(1, 3000)))
def test_messages_are_the_same_however_they_are_cut_and_arrive(data, contents, sizes):
    values = []
    for number, content in enumerate(contents):
        values += cut(store_command(f"1.{number}"), 1, data.draw)
        values += cut(content, 0, data.draw)
    channel = channel_of(packed(values, data.draw), sizes, max_pdu=65536)
    for number, content in enumerate(contents):
        message = channel.receive()
        assert message.command.instance == f"1.{number}"
        assert message.dataset.read() == content
    with pytest.raises(Gone):
        channel.receive()


@given(st.data(), st.binary(max_size=2000), st.lists(st.integers(1, 3000)))
@settings(max_examples=300)
def test_a_damaged_stream_ends_in_messages_or_the_end_of_the_conversation(data, content, sizes):
    values = cut(store_command(), 1, data.draw) + cut(content, 0, data.draw)
    stream = bytearray(packed(values, data.draw) + stored(content))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(stream) - 1))
        stream[place] ^= data.draw(st.integers(1, 255))
    channel = channel_of(bytes(stream), sizes, max_pdu=65536)
    with pytest.raises(WireError):
        while True:
            message = channel.receive()
            assert sum(len(chunk) for chunk in message.dataset) <= len(stream)


@given(st.binary(max_size=400))
def test_noise_is_never_more_than_the_end_of_the_conversation(noise):
    channel = channel_of(noise)
    with pytest.raises(WireError):
        while True:
            channel.receive().dataset.drain()


def test_short_fragments_are_handed_out_in_long_runs():
    content = os.urandom(3_000_000)
    sizes = [len(chunk) for chunk in channel_of(stored(content)).receive().dataset]
    assert sum(sizes) == len(content)
    assert len(sizes) <= 6


def test_long_fragments_are_handed_out_where_they_are():
    content = os.urandom(500_000)
    message = channel_of(stored(content, step=131066)).receive()
    assert [bytes(chunk) for chunk in message.dataset] == [
        content[at : at + 131066] for at in range(0, 500_000, 131066)
    ]


def test_any_length_streams_through_one_buffer():
    content = os.urandom(1 << 16) * 200
    channel = channel_of(stored(content, step=65000), [70001, 13])
    message = channel.receive()
    place = 0
    for chunk in message.dataset:
        assert chunk == content[place : place + len(chunk)]
        place += len(chunk)
    assert place == len(content)


def test_a_reader_that_closes_its_chunks_does_not_lose_the_next_message():
    channel = channel_of(stored(b"a" * 300_000, step=131000) + stored(b"b", instance="1.2.4"))
    message = channel.receive()

    def some():
        yield from message.dataset

    chunks = some()
    next(chunks)
    chunks.close()
    message.dataset.drain()
    assert channel.receive().command.instance == "1.2.4"


def test_what_was_peeked_at_stays_in_the_buffer():
    stream = stored(b"abc")
    channel = channel_of(stream, [5])
    assert channel.peek().command.instance == "1.2.3"
    assert channel.wire.read(len(stream)) == stream


def test_a_release_between_messages_is_left_for_others():
    channel = channel_of(stored(b"abc") + RELEASE)
    channel.receive().dataset.drain()
    assert channel.peek() is None
    assert channel.wire.read(10) == RELEASE


@pytest.mark.parametrize("ending", [RELEASE, ABORT])
@pytest.mark.parametrize("kept", [1, 2])
def test_a_release_or_abort_inside_of_a_message_is_left_for_others(ending, kept):
    begun = [pdata(pdv(1, 3, store_command())), pdata(pdv(1, 0, b"half"))][:kept]
    channel = channel_of(b"".join(begun) + ending)
    message = channel.receive()
    with pytest.raises(Interrupted):
        message.dataset.drain()
    with pytest.raises(Interrupted):
        message.dataset.drain()
    assert channel.wire.read(10) == ending


def test_a_release_inside_of_a_command_is_left_for_others():
    channel = channel_of(pdata(pdv(1, 1, store_command()[:20])) + RELEASE)
    with pytest.raises(Interrupted):
        channel.peek()
    assert channel.wire.read(10) == RELEASE


COMMAND = pdata(pdv(1, 3, store_command()))
BAD = {
    "a PDU without a value": pdata(),
    "a value shorter than its head": struct.pack(">BBI", 4, 0, 5) + bytes(5),
    "a value without a control header": struct.pack(">BBIIBB", 4, 0, 6, 1, 1, 3),
    "a value of no length": struct.pack(">BBIIBB", 4, 0, 6, 0, 1, 3),
    "a value longer than its PDU": struct.pack(">BBIIBB", 4, 0, 6, 2000, 1, 3) + bytes(2000),
    "a value of enormous length": struct.pack(">BBIIBB", 4, 0, 6, 0xFFFFFFFF, 1, 3),
    "a PDU longer than was offered": struct.pack(">BBI", 4, 0, 131073),
    "a PDU of enormous length": struct.pack(">BBI", 4, 0, 0xFFFFFFFF),
    "a data set without a command": pdata(pdv(1, 2, b"data")),
    "a command in an unknown context": pdata(pdv(99, 3, store_command())),
    "a command in two contexts": pdata(pdv(1, 1, store_command()[:20]), pdv(3, 3, store_command()[20:])),
    "a data set in the middle of a command": pdata(pdv(1, 1, store_command()[:20]), pdv(1, 0, b"data")),
    "a command longer than may be": b"".join(pdata(pdv(1, 1, bytes(60000))) for _ in range(2)),
    "a command in crumbs without end": pdata(pdv(1, 1, b"")) * 100_000,
    "a command set that is none": pdata(pdv(1, 3, b"\xff" * 30)),
    "a data set for another context": COMMAND + pdata(pdv(3, 2, b"data")),
    "a command in the middle of a data set": COMMAND + pdata(pdv(1, 0, b"half")) + COMMAND,
    "another PDU in the middle of a data set": COMMAND + b"\x01\x00\x00\x00\x00\x04\x00\x00\x00\x00",
    "an unknown PDU in the middle of a data set": COMMAND + b"\x53\x00\x00\x00\x00\x04\x00\x00\x00\x00",
}


@pytest.mark.parametrize("stream", BAD.values(), ids=BAD)
def test_what_cannot_be_is_a_protocol_error(stream):
    channel = channel_of(stream)
    with pytest.raises(ProtocolError) as caught:
        channel.receive().dataset.drain()
    assert caught.value.reason in (
        Reason.UNEXPECTED_PDU,
        Reason.UNEXPECTED_PARAMETER,
        Reason.INVALID_PARAMETER,
    )


def test_a_data_set_that_breaks_off_is_not_taken_for_a_whole_one():
    message = channel_of(stored(b"a" * 50000)[:-10]).receive()
    with pytest.raises(Gone):
        message.dataset.drain()


def test_an_empty_last_fragment_ends_a_data_set():
    channel = channel_of(COMMAND + pdata(pdv(1, 0, b"all")) + pdata(pdv(1, 2, b"")))
    assert channel.receive().dataset.read() == b"all"


def test_an_identifier_that_is_too_long_is_refused_and_can_be_drained():
    channel = channel_of(stored(b"a" * 50000) + stored(b"b", instance="1.9"), max_identifier=1000)
    message = channel.receive()
    with pytest.raises(MalformedQuery):
        message.dataset.read()
    message.dataset.drain()
    assert channel.receive().command.instance == "1.9"


CANCEL = messages.build({0x0100: b"\xff\x0f", 0x0120: b"\x07\x00", 0x0800: b"\x01\x01"})
STORED = messages.build({0x0100: b"\x01\x80", 0x0120: b"\x2a\x00", 0x0800: b"\x01\x01", 0x0900: b"\0\0"})


@pytest.fixture
def ends():
    here, there = socket.socketpair()
    yield here, there
    here.close()
    there.close()


def test_a_cancel_is_noticed_without_waiting(ends):
    here, there = ends
    there.sendall(stored(b"key"))
    message = channel_over(here).receive()
    message.dataset.drain()
    assert not message.cancelled()
    there.sendall(pdata(pdv(1, 3, CANCEL)))
    assert message.cancelled()
    assert message.cancelled()


def test_a_cancel_that_comes_before_a_response_is_noted(ends):
    here, there = ends
    channel = channel_over(here)
    there.sendall(pdata(pdv(1, 3, CANCEL)) + pdata(pdv(1, 3, STORED)))
    assert channel.response_to(42).status == 0
    assert channel.cancelled(7)
    channel.forget()
    assert not channel.cancelled(7)


def test_a_response_to_something_else_is_a_protocol_error(ends):
    here, there = ends
    there.sendall(pdata(pdv(1, 3, STORED)))
    with pytest.raises(ProtocolError):
        channel_over(here).response_to(41)


def test_a_peer_that_has_gone_is_noticed_between_rows(ends):
    here, there = ends
    there.sendall(stored(b"key"))
    message = channel_over(here).receive()
    message.dataset.drain()
    there.close()
    with pytest.raises(Gone):
        message.cancelled()


def test_a_request_that_comes_before_its_turn_is_left_for_it(ends):
    here, there = ends
    there.sendall(stored(b"key"))
    message = channel_over(here).receive()
    message.dataset.drain()
    there.sendall(stored(b"early", instance="1.9"))
    assert not message.cancelled()
    assert not message.cancelled()
    assert message.channel.receive().dataset.read() == b"early"
