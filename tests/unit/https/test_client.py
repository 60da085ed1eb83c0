"""A connection to a node knows whom it reached, is used again, and waits for nobody without end."""

from __future__ import annotations

import socket
import ssl

import pytest

from node.domain.errors import PeerUnreachable
from services.https.client import Connection, Destination, Upload
from services.https.tls import client_context, fingerprint_of, stranger_context
from tests.support.https import said
from tests.support.scripted import head, says, scripted, stalls, trickles


def application(environ, start_response):
    return said("200 OK", environ["wsgi.input"].read() or b"nothing", start_response)


@pytest.fixture
def server(sites):
    with sites.serving(application) as server:
        yield server


def destination(port, *pins):
    return Destination(name="brno", host="127.0.0.1", port=port, fingerprints=frozenset(pins))


def test_a_node_with_another_certificate_is_told_nothing(sites):
    heard = []

    def listen(line):
        heard.append(line.recv(1000))

    with scripted(sites.another("mallory"), [listen]) as port:
        connection = sites.connect(port)
        with pytest.raises(PeerUnreachable, match="another certificate"):
            connection.request("POST", "/", headers={"Ticket": "secret"}, body=b"secret")
        connection.close()
    assert b"secret" not in b"".join(heard)


def test_either_certificate_of_a_node_that_changes_its_key_is_known(sites, server):
    context = client_context(sites.prague.certificate, sites.prague.private_key)
    with Connection(
        destination(server.port, "0" * 64, fingerprint_of(sites.brno.pem)), context
    ) as connection:
        assert connection.request("GET", "/").read(100) == b"nothing"


def test_a_node_that_is_not_there_is_unreachable(sites, port):
    with pytest.raises(PeerUnreachable, match="brno"):
        sites.connect(port).request("GET", "/")


def test_a_node_that_does_not_shake_hands_is_given_up(sites):
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(PeerUnreachable):
        sites.connect(mute.getsockname()[1], connect_seconds=0.3).request("GET", "/")


def test_a_connection_that_was_closed_while_it_rested_is_opened_again(sites):
    def once(line):
        says(b"first")(line)
        line.unwrap()

    with scripted(sites.brno, [once, says(b"second")]) as port, sites.connect(port) as connection:
        assert connection.request("GET", "/").read(100) == b"first"
        assert connection.request("POST", "/", body=b"x").read(100) == b"second"
        assert connection.opened == 2


def test_a_body_that_is_made_while_it_is_sent_is_made_again_for_a_new_connection(sites):
    made = []

    def chunks():
        made.append(1)
        return iter([b"abc", memoryview(b"def")])

    with scripted(sites.brno, [says(b"first"), says(b"second")]) as port, sites.connect(port) as connection:
        connection.request("GET", "/").read(100)
        assert connection.request("PUT", "/", body=Upload(length=6, chunks=chunks)).read(100) == b"second"


def test_a_node_that_hangs_up_on_every_connection_is_not_called_for_ever(sites):
    calls = []

    def hang_up(line):
        calls.append(head(line))

    with scripted(sites.brno, [hang_up]) as port, pytest.raises(PeerUnreachable):
        sites.connect(port).request("GET", "/")
    assert len(calls) == 1


def test_a_node_that_says_nothing_is_given_up_and_not_asked_twice(sites):
    with scripted(sites.brno, [stalls]) as port, pytest.raises(PeerUnreachable, match="too long"):
        sites.connect(port, stall_seconds=0.3).request("GET", "/")


def test_an_answer_that_trickles_is_given_up(sites):
    with scripted(sites.brno, [trickles(bytes(1000), 0.02)]) as port:
        answer = sites.connect(port, stall_seconds=0.3, lowest_rate=10_000).request("GET", "/")
        with pytest.raises(PeerUnreachable, match="too long"):
            answer.fill(memoryview(bytearray(1000)))


def test_an_answer_that_ends_early_is_noticed(sites):
    with scripted(sites.brno, [says(b"half", length=8)]) as port:
        answer = sites.connect(port).request("GET", "/")
        with pytest.raises(PeerUnreachable):
            answer.fill(memoryview(bytearray(8)))
        answer = sites.connect(port).request("GET", "/")
        with pytest.raises(PeerUnreachable):
            answer.read(100)


def test_an_answer_that_is_longer_than_wanted_is_not_held(sites):
    with scripted(sites.brno, [says(bytes(1000))]) as port, pytest.raises(PeerUnreachable):
        sites.connect(port).request("GET", "/").read(999)


@pytest.mark.parametrize(
    "stream", [b"SMTP ready\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2000 + b"\r\n"]
)
def test_an_answer_that_is_not_http_is_no_answer(sites, stream):
    def script(line):
        head(line)
        line.sendall(stream)

    with scripted(sites.brno, [script]) as port, pytest.raises(PeerUnreachable):
        sites.connect(port).request("GET", "/")


def test_an_answer_that_is_left_unread_does_not_disturb_the_next(sites, server):
    with sites.connect(server.port) as connection:
        connection.request("POST", "/", body=bytes(100_000))
        assert connection.request("POST", "/", body=b"next").read(100) == b"next"


def test_the_last_answer_of_a_connection_is_read_to_its_end(sites):
    closing = says(b"the end", fields="Connection: close\r\n")
    with scripted(sites.brno, [closing]) as port, sites.connect(port) as connection:
        assert connection.request("GET", "/").read(100) == b"the end"
        assert connection.request("GET", "/").read(100) == b"the end"


def test_no_context_of_a_client_speaks_an_old_protocol():
    assert stranger_context().minimum_version == ssl.TLSVersion.TLSv1_2
