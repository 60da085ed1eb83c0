"""The HTTPS server knows who calls, serves everybody at once, and gives nobody more than the limits."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import socket
import ssl
import threading
import time
from contextlib import ExitStack, suppress

import pytest

from node import telemetry
from node.domain.errors import BadSetting, PeerUnreachable, PortTaken, TooLarge, UnusableKey
from services.https.body import read_all
from services.https.client import Connection, Upload
from services.https.limits import Limits
from services.https.problem import guarded
from services.https.request import FINGERPRINT
from services.https.server import Server
from services.https.tls import Contexts, fingerprint_of, stranger_context
from tests.support.https import TrustList, everything, said, until

BIG = os.urandom(3_000_000)


def application(environ, start_response):
    """Echoes what it is told; `/big` is a long answer, `/who` says who calls."""
    path = environ["PATH_INFO"]
    if path == "/big":
        return said("200 OK", BIG, start_response)
    if path == "/views":
        start_response("200 OK", [("Content-Length", str(len(BIG)))])
        return (memoryview(BIG)[at : at + 700_000] for at in range(0, len(BIG), 700_000))
    if path == "/parts":
        start_response("200 OK", [])
        return (BIG[at : at + 700_000] for at in range(0, len(BIG), 700_000))
    if path == "/who":
        return said("200 OK", (environ[FINGERPRINT] or "nobody").encode(), start_response)
    if path == "/short":
        start_response("200 OK", [("Content-Length", "100")])
        return [b"x"]
    if path == "/broken":
        raise RuntimeError("Novak^Jan")
    if path == "/refused":
        return said("403 Forbidden", b"", start_response)
    return said("200 OK", read_all(environ["wsgi.input"], 4_000_000), start_response)


echo = guarded(application)


@pytest.fixture
def server(sites):
    with sites.serving(echo, stall_seconds=2.0, handshake_seconds=1.0, head_seconds=1.0) as server:
        yield server


def ask(connection, method="GET", target="/who", **options):
    answer = connection.request(method, target, **options)
    return answer.status, answer.read(10_000_000)


def talk(sites, server, stream):
    """What the server says to these bytes, until it hangs up."""
    with sites.raw(server.port) as line:
        line.sendall(stream)
        return everything(line)


# who calls


def test_a_member_is_known_by_the_fingerprint_of_its_certificate(sites, server):
    with sites.connect(server.port) as connection:
        assert ask(connection) == (200, fingerprint_of(sites.prague.pem).encode())


def test_who_shows_no_certificate_is_nobody(sites, server):
    with Connection(sites.destination(server.port), stranger_context()) as connection:
        assert ask(connection) == (200, b"nobody")


def test_a_stranger_who_shows_a_certificate_is_refused_in_the_handshake(sites, server):
    with pytest.raises(PeerUnreachable):
        ask(sites.connect(server.port, sites.another("stranger")))
    with sites.connect(server.port) as connection:
        assert ask(connection)[0] == 200


def test_a_certificate_of_the_same_name_is_a_strangers(sites, server):
    (sites.folder / "forged").mkdir()
    from tests.support.certificates import identity

    with pytest.raises(PeerUnreachable):
        ask(sites.connect(server.port, identity(sites.folder / "forged", "prague")))


def test_a_node_that_is_added_gets_in_without_a_restart(sites, server):
    vienna = sites.another("vienna")
    with pytest.raises(PeerUnreachable):
        ask(sites.connect(server.port, vienna))
    sites.trust.add(vienna)
    with sites.connect(server.port, vienna) as connection:
        assert ask(connection) == (200, fingerprint_of(vienna.pem).encode())


def test_a_node_that_is_removed_is_refused_on_new_and_on_open_connections(sites, server):
    with sites.connect(server.port) as connection:
        assert ask(connection)[0] == 200
        sites.trust.remove(sites.prague)
        with pytest.raises(PeerUnreachable):
            ask(connection)
        with pytest.raises(PeerUnreachable):
            ask(sites.connect(server.port))


def test_an_open_connection_goes_on_when_somebody_else_is_removed(sites, server):
    vienna = sites.another("vienna")
    sites.trust.add(vienna)
    with sites.connect(server.port) as connection:
        first = connection.request("GET", "/who")
        first.read(100)
        sites.trust.remove(vienna)
        assert ask(connection)[0] == 200
        assert connection.opened == 1


def test_a_member_whose_certificate_cannot_be_read_keeps_nobody_else_out(sites, server):
    broken = sites.another("broken")
    broken.certificate.write_text("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")
    sites.trust.add(broken)
    with sites.connect(server.port) as connection:
        assert ask(connection)[0] == 200


def test_a_new_key_of_the_node_is_shown_without_a_restart(sites, server):
    new = sites.another("brno-next")
    with sites.connect(server.port) as connection:
        assert ask(connection)[0] == 200
        os.replace(new.certificate, sites.brno.certificate)
        os.replace(new.private_key, sites.brno.private_key)
        assert ask(connection)[0] == 200
    after = sites.connect(server.port)
    after.destination = sites.destination(server.port)
    assert ask(after)[0] == 200


def test_the_old_protocols_are_not_spoken(sites, server):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", server.port)) as plain, pytest.raises(OSError):
        context.wrap_socket(plain)


def test_tls_1_2_is_spoken_with_forward_secrecy(sites, server):
    context = stranger_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        cipher = context.wrap_socket(plain).cipher()
    assert cipher is not None
    assert cipher[0].startswith("ECDHE")


# one after the other on a connection


def test_a_connection_is_used_for_many_requests(sites, server):
    with sites.connect(server.port) as connection:
        for number in range(20):
            assert ask(connection, "POST", "/", body=b"%d" % number) == (200, b"%d" % number)
        assert connection.opened == 1


@pytest.mark.parametrize("target", ["/big", "/views", "/parts"])
def test_a_long_answer_arrives_whole_whatever_it_is_made_of(sites, server, target):
    with sites.connect(server.port) as connection:
        assert hashlib.sha256(ask(connection, "GET", target)[1]).digest() == hashlib.sha256(BIG).digest()
        assert ask(connection)[0] == 200
        assert connection.opened == 1


def test_requests_that_come_at_once_are_answered_one_after_the_other(sites, server):
    said = talk(
        sites,
        server,
        b"POST / HTTP/1.1\r\nHost: brno\r\nContent-Length: 3\r\n\r\none" * 5
        + b"POST / HTTP/1.1\r\nHost: brno\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast",
    )
    assert said.count(b"HTTP/1.1 200 OK") == 6
    assert said.endswith(b"last")


def test_a_body_in_chunks_is_read_to_its_end(sites, server):
    head = b"POST / HTTP/1.1\r\nHost: brno\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    said = talk(sites, server, head + b"3\r\nabc\r\n5;name=value\r\ndefgh\r\n0\r\nTrailer: x\r\n\r\n")
    assert said.endswith(b"abcdefgh")


def test_the_body_is_asked_for_when_the_application_reads_it(sites, server):
    head = b"POST %b HTTP/1.1\r\nHost: brno\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    with sites.raw(server.port) as line:
        line.sendall(head % b"/")
        assert line.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(b"body")
        assert b"200 OK" in line.recv(1000)
    refused = talk(sites, server, head % b"/refused")
    assert refused.startswith(b"HTTP/1.1 403 Forbidden")
    assert b"100 Continue" not in refused


def test_a_long_body_that_nobody_wanted_does_not_spoil_the_answer(sites, server):
    body = Upload(length=6_000_000, chunks=lambda: iter([bytes(100_000)] * 60))
    with sites.connect(server.port) as connection:
        for _ in range(3):
            assert ask(connection, "PUT", "/refused", body=body)[0] == 403


def test_an_answer_that_is_shorter_than_it_said_ends_the_connection(sites, server):
    assert talk(sites, server, b"GET /short HTTP/1.1\r\nHost: brno\r\n\r\n").endswith(b"\r\n\r\nx")


def test_a_failure_of_the_application_is_answered_and_tells_nothing(sites, server, caplog):
    with sites.connect(server.port) as connection:
        status, content = ask(connection, "GET", "/broken")
        assert status == 500
        assert b"Novak" not in content
        assert ask(connection)[0] == 200
    formatter = telemetry.JsonFormatter()
    lines = [formatter.format(record) for record in caplog.records]
    assert any("RuntimeError" in line for line in lines)
    assert not any("Novak" in line for line in lines)


# what callers may not do


def test_a_handshake_that_stalls_holds_up_nobody_and_is_ended(sites):
    with sites.serving(echo, threads=1, handshake_seconds=0.5) as server, ExitStack() as stack:
        stalled = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(20)
        ]
        stalled[0].sendall(b"\x16\x03\x01\x02")
        with sites.connect(server.port) as connection:
            assert ask(connection)[0] == 200
        for line in stalled:
            line.settimeout(5.0)
            assert line.recv(100) == b""


def test_heads_that_come_byte_by_byte_hold_up_nobody_and_are_ended(sites):
    with sites.serving(echo, threads=1, head_seconds=0.7) as server, ExitStack() as stack:
        slow = [stack.enter_context(sites.raw(server.port)) for _ in range(10)]
        for line in slow:
            line.sendall(b"GET /who HTTP/1.1\r\nX")
        with sites.connect(server.port) as connection:
            assert ask(connection)[0] == 200
        for line in slow:
            line.settimeout(5.0)
            assert everything(line) == b""


def test_a_body_that_stops_is_given_up(sites):
    with sites.serving(echo, threads=1, stall_seconds=0.3) as server:
        said = talk(sites, server, b"POST / HTTP/1.1\r\nHost: brno\r\nContent-Length: 10\r\n\r\nhalf")
        assert b"408" in said
        with sites.connect(server.port) as connection:
            assert ask(connection)[0] == 200


def test_an_answer_that_is_not_read_is_given_up(sites):
    with sites.serving(echo, threads=1, stall_seconds=0.3) as server, sites.raw(server.port) as line:
        line.sendall(b"GET /big HTTP/1.1\r\nHost: brno\r\n\r\n" * 20)
        with sites.connect(server.port, stall_seconds=20.0) as connection:
            assert ask(connection)[0] == 200


def test_a_resting_connection_is_closed_in_the_end(sites):
    with sites.serving(echo, idle_seconds=0.3) as server, sites.raw(server.port) as line:
        line.settimeout(5.0)
        assert line.recv(100) == b""


def test_one_address_gets_so_many_connections_and_no_more(sites):
    with sites.serving(echo, connections_per_address=3) as server, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(sites.connect(server.port)).request("GET", "/who").read(100)
        with pytest.raises(PeerUnreachable):
            ask(sites.connect(server.port))
        stack.close()
        with_place = sites.connect(server.port)
        until(lambda: _answers(with_place))


def _secured(sites, port):
    """A secured socket; a handshake that finds the only thread busy with the one before is refused too."""
    for _ in range(500):
        with suppress(OSError):
            return sites.raw(port)
        time.sleep(0.01)
    return sites.raw(port)


def test_where_too_many_requests_wait_the_next_is_told_to_come_back(sites):
    go = threading.Event()

    def slow(environ, start_response):
        go.wait(20)
        return said("200 OK", b"", start_response)

    with sites.serving(slow, threads=1, queue=1) as server, ExitStack() as stack:
        lines = [stack.enter_context(_secured(sites, server.port)) for _ in range(8)]
        for line in lines:
            line.sendall(b"GET / HTTP/1.1\r\nHost: brno\r\nConnection: close\r\n\r\n")
        answers = []
        threads = [
            threading.Thread(target=lambda line=line: answers.append(everything(line))) for line in lines
        ]
        for thread in threads:
            thread.start()
        until(lambda: len(answers) >= 5)
        go.set()
        for thread in threads:
            thread.join(10)
    assert any(b"503" in answer and b"Retry-After" in answer for answer in answers)
    assert any(b"200 OK" in answer for answer in answers)


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (b"GET /who HTTP/1.1\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\n", b"413"),
        (b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /who HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(70)) + b"\r\n", b"400"),
        (b"GET /who HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET /who HTTP/1.1\r\nHost : a\r\n\r\n", b"400"),
        (b"GET /who HTTP/1.1\r\n folded\r\n\r\n", b"400"),
        (b"GET /who HTTP/1.1\nHost: a\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000 + b"\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n" + bytes(5_000_000), b"413"),
        (b"\x00\x01\x02\r\n\r\n", b"400"),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /who HTTP/3.0\r\n\r\n", b"505"),
    ],
)
def test_what_is_malformed_or_too_long_is_refused(sites, server, stream, status):
    answer = talk(sites, server, stream)
    assert answer.startswith(b"HTTP/1.1 " + status)
    with sites.connect(server.port) as connection:
        assert ask(connection)[0] == 200


def test_a_header_with_an_underscore_is_not_taken_for_one_with_a_hyphen(sites):
    seen = []

    def note(environ, start_response):
        seen.append(environ.get("HTTP_X_Y"))
        return said("200 OK", b"", start_response)

    with sites.serving(note) as server:
        talk(sites, server, b"GET / HTTP/1.1\r\nX_Y: forged\r\nConnection: close\r\n\r\n")
    assert seen == [None]


def test_a_caller_who_speaks_no_tls_is_hung_up_on(sites, server):
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(b"GET /who HTTP/1.1\r\n\r\n")
        line.settimeout(5.0)
        assert not everything(line).startswith(b"HTTP")
    with sites.connect(server.port) as connection:
        assert ask(connection)[0] == 200


def test_a_body_that_is_too_long_to_hold_is_not_read():
    import io

    with pytest.raises(TooLarge):
        read_all(io.BytesIO(bytes(11)), 10)
    assert read_all(io.BytesIO(bytes(10)), 10) == bytes(10)


# begin and end


def test_a_port_that_somebody_has_is_said_to_be_taken(sites, server):
    with pytest.raises(PortTaken):
        Server(echo, ("127.0.0.1", server.port), sites.contexts).start()


def test_an_address_of_another_machine_is_a_bad_setting(sites):
    with pytest.raises(BadSetting):
        Server(echo, ("192.0.2.1", 0), sites.contexts).start()


def test_a_key_that_does_not_fit_is_said_before_anybody_calls(sites):
    contexts = Contexts(TrustList(), certificate=sites.brno.certificate, private_key=sites.prague.private_key)
    with pytest.raises(UnusableKey):
        Server(echo, ("127.0.0.1", 0), contexts).start()


def test_requests_are_finished_before_the_server_stops(sites):
    begun, go = threading.Event(), threading.Event()

    def slow(environ, start_response):
        begun.set()
        go.wait(20)
        return said("200 OK", b"finished", start_response)

    answers = []
    with sites.serving(slow) as server:
        connection = sites.connect(server.port, stall_seconds=20.0)
        asking = threading.Thread(target=lambda: answers.append(ask(connection)))
        asking.start()
        begun.wait(10)
        stopping = threading.Thread(target=server.stop, args=(10.0,))
        stopping.start()
        go.set()
        stopping.join(20)
        asking.join(20)
    assert answers == [(200, b"finished")]
    with pytest.raises(OSError) as refused:
        socket.create_connection(("127.0.0.1", server.port))
    assert refused.value.errno == errno.ECONNREFUSED


def test_a_request_that_does_not_end_is_cut_when_the_server_stops(sites):
    with sites.serving(echo, stall_seconds=60.0) as server, sites.raw(server.port) as line:
        line.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")
        with sites.connect(server.port) as connection:
            assert ask(connection)[0] == 200
        server.stop(grace=0.2)
        line.settimeout(5.0)
        assert b"200" not in everything(line)


def test_every_request_leaves_one_line_without_its_query_and_content(sites, server, caplog):
    caplog.set_level(logging.INFO, logger="services.https")
    with sites.connect(server.port) as connection:
        assert ask(connection, "POST", "/echo?name=Novak", body=b"Novak^Jan")[0] == 200
    until(lambda: [record for record in caplog.records if record.message == "request"])
    formatter = telemetry.JsonFormatter()
    (line,) = [
        json.loads(formatter.format(record)) for record in caplog.records if record.message == "request"
    ]
    assert line["method"] == "POST"
    assert line["path"] == "/echo"
    assert line["status"] == 200
    assert line["bytes"] == 9
    assert line["peer"] == fingerprint_of(sites.prague.pem)[:16]
    assert "seconds" in line
    assert "Novak" not in json.dumps(line)


def test_the_limits_fit_each_other():
    limits = Limits()
    assert limits.connections_per_address < limits.connections
    assert limits.idle_seconds >= 75
    assert limits.head_seconds < limits.stall_seconds


def _answers(connection):
    try:
        return ask(connection)[0] == 200
    except PeerUnreachable:
        return False
