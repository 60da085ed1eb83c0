"""A wire keeps what it has read until it is taken, waits no longer than it may, and writes everything."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dicom.wire import Gone, Silent, Wire
from tests.support.certificates import identity
from tests.support.dicom_door import everything_from


@pytest.fixture
def ends():
    here, there = socket.socketpair()
    yield here, there
    here.close()
    there.close()


def test_what_is_needed_stays_until_it_is_skipped(ends):
    here, there = ends
    wire = Wire(here)
    there.sendall(b"abcdef")
    assert wire.need(3)[:3] == b"abc"
    assert wire.need(3)[:3] == b"abc"
    wire.skip(2)
    assert wire.need(4)[:4] == b"cdef"
    assert wire.held == 4


def test_unread_bytes_come_again_before_the_others(ends):
    here, there = ends
    wire = Wire(here, capacity=64)
    there.sendall(b"abcdef")
    wire.unread(b"12")
    assert wire.read(4) == b"12ab"
    wire.unread(b"34567890")
    assert wire.read(12) == b"34567890cdef"


@given(st.lists(st.integers(1, 60), max_size=30))
def test_a_small_buffer_carries_a_long_stream(counts):
    here, there = socket.socketpair()
    with here, there:
        sent = os.urandom(sum(counts))
        there.sendall(sent)
        wire, received = Wire(here, capacity=64), b""
        for count in counts:
            received += bytes(wire.need(count)[:count])
            wire.skip(count)
        assert received == sent


def test_more_than_the_buffer_holds_cannot_be_needed(ends):
    with pytest.raises(ValueError, match="buffer"):
        Wire(ends[0], capacity=64).need(65)


def test_a_read_that_ends_early_returns_what_there_was(ends):
    here, there = ends
    there.sendall(b"abc")
    there.close()
    wire = Wire(here)
    assert wire.read(10) == b"abc"
    with pytest.raises(Gone):
        wire.need(1)


def test_silence_ends_a_read(ends):
    wire = Wire(ends[0], timeout=0.05)
    ends[1].sendall(b"ab")
    with pytest.raises(Silent):
        wire.need(3)
    assert wire.held == 2


def test_a_deadline_holds_however_busily_the_peer_sends_crumbs(ends):
    here, there = ends
    wire = Wire(here, timeout=5.0)
    wire.finish_by(time.monotonic() + 0.2)
    stop = threading.Event()

    def send_crumbs():
        while not stop.wait(0.02):
            there.send(b".")

    thread = threading.Thread(target=send_crumbs)
    thread.start()
    with pytest.raises(Silent):
        wire.need(10_000)
    stop.set()
    thread.join()
    wire.finish_by(None)
    assert wire.need(1)


def test_a_closed_socket_is_gone(ends):
    here, _ = ends
    wire = Wire(here)
    here.close()
    for attempt in (wire.ready, lambda: wire.need(1), lambda: wire.send([b"a"])):
        with pytest.raises(Gone):
            attempt()


def test_held_bytes_count_as_ready(ends):
    here, there = ends
    wire = Wire(here)
    assert not wire.ready()
    there.sendall(b"ab")
    assert wire.ready()
    wire.need(2)
    wire.skip(1)
    assert wire.ready()
    wire.skip(1)
    assert not wire.ready()


def test_waiting_ends_with_bytes_or_the_bell(ends):
    here, there = ends
    ear, hammer = socket.socketpair()
    with ear, hammer:
        wire = Wire(here)
        assert not wire.wait(ear, 0.01)
        hammer.send(b"!")
        assert not wire.wait(ear, 10.0)
        there.sendall(b"a")
        assert wire.wait(ear, 10.0)


def test_everything_is_written_however_little_the_peer_takes_at_once(ends):
    here, there = ends
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    parts = [os.urandom(size) for size in (0, 1, 100_000, 7, 300_000)] + [b"x"] * 2000
    received = []
    reader = threading.Thread(target=lambda: received.append(everything_from(there)))
    reader.start()
    Wire(here, timeout=5.0).send(parts)
    here.close()
    reader.join()
    assert received == [b"".join(parts)]


def test_a_peer_that_takes_nothing_is_gone(ends):
    with pytest.raises(Gone):
        Wire(ends[0], timeout=0.05).send([bytes(50_000_000)])


def test_what_arrived_is_discarded_until_the_end(ends):
    here, there = ends
    wire = Wire(here)
    there.sendall(b"rubbish")
    assert wire.discard()
    assert not wire.ready()
    there.close()
    assert not wire.discard()


@pytest.fixture
def tls_ends(ends, tmp_path):
    """The two ends of a TLS connection, over the sockets of `ends`."""
    here, there = ends
    site = identity(tmp_path, "site")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(site.certificate, site.private_key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(server.wrap_socket, here, True)
        connected = client.wrap_socket(there)
        yield accepted.result(), connected
    connected.close()
    accepted.result().close()


def test_a_piece_of_a_tls_record_is_not_yet_something_to_read(tls_ends):
    here, there = tls_ends
    wire = Wire(here, timeout=5.0)
    assert not wire.ready()
    socket.socket.send(there, b"\x17\x03\x03")
    ear, hammer = socket.socketpair()
    with ear, hammer:
        assert not wire.wait(ear, 0.05)
    assert not wire.ready()


def test_bytes_that_tls_has_decrypted_count_as_ready(tls_ends):
    here, there = tls_ends
    wire = Wire(here, timeout=5.0, capacity=64)
    there.sendall(b"a" * 200)
    assert until(wire.ready)
    for _ in range(200):
        assert wire.ready()
        wire.need(1)
        wire.skip(1)
    assert not wire.ready()


def test_tls_is_written_in_joined_runs(tls_ends):
    here, there = tls_ends
    parts = [os.urandom(size) for size in (0, 1, 100_000, 7, 3_000_000)] + [b"x"] * 2000
    received = []
    reader = threading.Thread(target=lambda: received.append(everything_from(there)))
    reader.start()
    Wire(here, timeout=5.0).send(parts)
    here.shutdown(socket.SHUT_WR)
    reader.join()
    assert b"".join(parts) == received[0]


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
