"""Whatever a peer sends ends in a response, an abort or a closed connection; the others are served on."""

from __future__ import annotations

import os
import random
import resource
import socket
import struct
import threading
import time
from contextlib import suppress

import pytest
from pynetdicom.sop_class import CTImageStorage, StorageCommitmentPushModel, Verification

from services.dicom import messages
from tests.support.caller import Caller, Refused
from tests.support.dicom_door import (
    MemoryArchive,
    MemoryDevices,
    everything_from,
    pdata,
    pdv,
    serving,
    store_command,
    stored,
)

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

CLASSES = [CTImageStorage, Verification, StorageCommitmentPushModel]
ABORT = 0x07


@pytest.fixture
def entity():
    with serving(read_timeout=0.5, acse_timeout=1.0, max_associations_per_device=64) as entity:
        yield entity
        assert echoes(entity)


def opened(entity, timeout=10.0):
    return Caller.open(entity.ports[0], calling="CT1", classes=CLASSES, timeout=timeout)


def echoes(entity):
    with opened(entity) as caller:
        return caller.echo() == 0


def answer_to(entity, stream):
    """What the entity says to these bytes on an established association, until it hangs up."""
    caller = opened(entity)
    with suppress(ConnectionError):
        caller.line.sendall(stream)
    answer = everything_from(caller.line)
    caller.close()
    return answer


COMMAND = pdata(pdv(1, 3, store_command()))
ECHO = messages.build({2: b"1.2.840.10008.1.1", 0x100: b"\x30\0", 0x110: b"\1\0", 0x800: b"\1\1"})
PROTOCOL_ERRORS = {
    "an unknown PDU": (b"\x53\0\0\0\0\4\0\0\0\0", 1),
    "an unknown PDU of enormous length": (b"\x53\0\xff\xff\xff\xff", 1),
    "a PDU longer than was offered": (struct.pack(">BBI", 4, 0, 131073), 6),
    "a PDU of enormous length": (struct.pack(">BBI", 4, 0, 0xFFFFFFFF), 6),
    "a PDU without a value": (pdata(), 6),
    "a value longer than its PDU": (struct.pack(">BBIIBB", 4, 0, 6, 2000, 1, 3), 6),
    "an unknown context": (pdata(pdv(99, 3, store_command())), 6),
    "an even context": (pdata(pdv(2, 3, store_command())), 6),
    "a data set without a command": (pdata(pdv(1, 2, b"data")), 5),
    "a command in a data set": (COMMAND + pdata(pdv(1, 0, b"half")) + COMMAND, 5),
    "another context in a data set": (COMMAND + pdata(pdv(3, 2, b"half")), 5),
    "an endless command": (pdata(pdv(1, 1, bytes(60000))) * 3, 6),
    "an echo with an unsound second value": (
        pdata(pdv(3, 3, ECHO), struct.pack(">IBB", 900, 3, 2)),
        6,
    ),
    "an event report that nobody asked for": (
        pdata(pdv(5, 3, messages.build({0x100: b"\0\1", 0x110: b"\1\0", 0x800: b"\1\1"}))),
        5,
    ),
}


@pytest.mark.parametrize(("stream", "reason"), PROTOCOL_ERRORS.values(), ids=PROTOCOL_ERRORS)
def test_what_cannot_be_is_aborted_by_the_provider_with_the_reason(entity, stream, reason):
    assert answer_to(entity, stream) == bytes((ABORT, 0, 0, 0, 0, 4, 0, 0, 2, reason))


def test_silence_inside_of_a_message_is_aborted(entity):
    assert answer_to(entity, stored(os.urandom(50_000))[:-1]) == bytes((ABORT, 0, 0, 0, 0, 4, 0, 0, 2, 0))


def test_silence_inside_of_the_head_of_a_pdu_is_aborted(entity):
    assert answer_to(entity, b"\x04\0") == bytes((ABORT, 0, 0, 0, 0, 4, 0, 0, 2, 0))


@pytest.mark.parametrize("kept", [3, 50, 120, 5000])
def test_a_connection_that_breaks_off_is_forgotten(entity, kept):
    caller = opened(entity)
    caller.line.sendall(stored(os.urandom(20_000))[:kept])
    caller.close()


def test_an_abort_in_the_middle_of_a_data_set_ends_the_association(entity):
    answer = answer_to(entity, stored(os.urandom(20_000))[:16_500] + b"")
    assert answer[0] == ABORT
    whole = COMMAND + pdata(pdv(1, 0, b"half")) + bytes((ABORT, 0, 0, 0, 0, 4, 0, 0, 0, 0))
    assert answer_to(entity, whole) == b""


def test_a_release_in_the_middle_of_a_data_set_is_answered(entity):
    release = b"\x05\0\0\0\0\4\0\0\0\0"
    answer = answer_to(entity, COMMAND + pdata(pdv(1, 0, b"half")) + release)
    assert answer == b"\x06\0\0\0\0\4\0\0\0\0"


def test_messages_that_follow_without_waiting_are_all_answered(entity):
    stream = b"".join(stored(os.urandom(3000), instance=f"1.{number}") for number in range(50))
    caller = opened(entity)
    caller.line.sendall(stream)
    assert [caller._response()[0x0900] for _ in range(50)] == [0] * 50
    caller.release()


def test_echoes_that_follow_without_waiting_are_all_answered(entity):
    caller = opened(entity)
    caller.line.sendall(pdata(pdv(3, 3, ECHO)) * 200)
    assert [caller._response()[0x0900] for _ in range(200)] == [0] * 200
    caller.release()


def test_what_pynetdicom_serves_is_bounded_too(entity):
    action = messages.build(
        {
            3: b"1.2.840.10008.1.20.1",
            0x100: b"\x30\1",
            0x110: b"\1\0",
            0x800: b"\0\0",
            0x1001: b"1.2",
            0x1008: b"\1\0",
        }
    )
    stream = pdata(pdv(5, 3, action)) + pdata(pdv(5, 0, bytes(100_000))) * 400
    answer = answer_to(entity, stream)
    assert answer[:1] in (b"", bytes([ABORT]))


def test_damaged_streams_end_and_the_entity_serves_on(entity):
    dice = random.Random(20)
    for _ in range(150):
        stream = bytearray(stored(dice.randbytes(dice.randrange(5000)), step=dice.choice([10, 999, 16000])))
        stream += pdata(pdv(3, 3, ECHO)) + stored(b"second", instance="1.9")
        for _ in range(dice.choice([1, 1, 2, 8])):
            stream[dice.randrange(len(stream))] ^= dice.randrange(1, 256)
        caller = opened(entity)
        with suppress(ConnectionError):
            caller.line.sendall(stream)
            caller.line.shutdown(socket.SHUT_WR)
        everything_from(caller.line)
        caller.close()


def test_damaged_requests_for_an_association_end(entity):
    dice = random.Random(21)
    sound = request_for_an_association()
    for _ in range(200):
        stream = bytearray(sound)
        for _ in range(dice.choice([1, 1, 2, 8])):
            stream[dice.randrange(len(stream))] ^= dice.randrange(1, 256)
        with socket.create_connection(("127.0.0.1", entity.ports[0]), timeout=10) as line:
            line.sendall(stream)
            line.shutdown(socket.SHUT_WR)
            everything_from(line)


def request_for_an_association():
    """The bytes of an A-ASSOCIATE-RQ."""
    here, there = socket.socketpair()
    with here, there:
        caller = Caller(here)
        there.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            caller._associate(
                "CT1", "KONZILIUM", [(uid, "1.2.840.10008.1.2") for uid in CLASSES], [CTImageStorage]
            )
        here.shutdown(socket.SHUT_WR)
        return everything_from(there)


def test_noise_instead_of_an_association_ends(entity):
    dice = random.Random(22)
    for size in (1, 5, 6, 7, 100, 5000):
        with socket.create_connection(("127.0.0.1", entity.ports[0]), timeout=10) as line:
            with suppress(ConnectionError):
                line.sendall(dice.randbytes(size))
                line.shutdown(socket.SHUT_WR)
            everything_from(line)


@pytest.mark.parametrize("length", [1 << 20, 0xFFFFFFFF])
def test_a_request_for_an_association_of_absurd_length_is_not_read(entity, length):
    with socket.create_connection(("127.0.0.1", entity.ports[0]), timeout=10) as line:
        line.sendall(struct.pack(">BBI", 1, 0, length))
        assert everything_from(line)[:1] == bytes([ABORT])


def test_a_request_for_an_association_in_crumbs_ends_in_time(entity):
    with (
        socket.create_connection(("127.0.0.1", entity.ports[0]), timeout=10) as line,
        pytest.raises(ConnectionError),
    ):
        for byte in request_for_an_association() * 100:
            line.sendall(bytes([byte]))
            time.sleep(0.02)


def test_connections_that_say_nothing_are_closed_in_time(entity):
    lines = [socket.create_connection(("127.0.0.1", entity.ports[0]), timeout=10) for _ in range(20)]
    assert echoes(entity)
    for line in lines:
        assert everything_from(line) == b""
        line.close()


def test_more_silent_connections_than_there_may_be_are_closed_at_once(monkeypatch):
    monkeypatch.setattr("services.dicom.door.HALF_OPEN", 4)
    with serving(acse_timeout=5.0) as entity:
        lines = [socket.create_connection(("127.0.0.1", entity.ports[0]), timeout=10) for _ in range(4)]
        with pytest.raises((Refused, ConnectionError)):
            opened(entity)
        for line in lines:
            line.close()
        assert until(lambda: tries_to_echo(entity))


def tries_to_echo(entity):
    try:
        return echoes(entity)
    except (Refused, ConnectionError):
        return False


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_a_peer_that_never_reads_its_answers_is_let_go(entity):
    caller = opened(entity)
    caller.line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream = b"".join(stored(b"", instance=f"1.{number}") for number in range(2000))
    ended = threading.Event()

    def flood():
        with suppress(OSError):
            for _ in range(1000):
                caller.line.sendall(stream)
        ended.set()

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    assert ended.wait(60)
    caller.close()


def test_a_data_set_without_end_is_streamed_in_constant_memory():
    class Counting(MemoryArchive):
        def admit(self, principal, offer, chunks):
            self.chunks = [sum(len(chunk) for chunk in chunks)]
            return super().admit(principal, offer, [])

    archive = Counting()
    piece = pdata(pdv(1, 0, bytes(131066)))
    with serving(archive, MemoryDevices()) as entity:
        caller = opened(entity, timeout=60)
        caller.line.sendall(COMMAND)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(1500):
            caller.line.sendall(piece)
        caller.line.sendall(pdata(pdv(1, 2, b"")))
        assert caller._response()[0x0900] == 0
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        caller.release()
    assert grown < 16 * 1024  # KiB, of 187 MiB that went through
