"""Bytes move between two nodes: whole or not at all, with a ticket or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import suppress
from itertools import islice

import pytest

from node.blobs.filesystem import FilesystemStore
from node.blobs.memory import MemoryStore
from node.domain.errors import Forbidden, PeerUnreachable, StoreFull, Unauthenticated
from node.domain.ids import Digest
from services.https.tls import fingerprint_of
from services.transfer.client import LARGE, RESUMES, Missing, Why, fetch, upload
from services.transfer.frames import HEADER_SIZE, Header, write_header
from services.transfer.intake import PIECE
from services.transfer.server import Transfer
from tests.support.https import everything, until
from tests.support.scripted import says, scripted, stalls, trickles
from tests.support.transfer import TicketBook

UNKNOWN = Digest("0" * 64)


class Counting:
    """A pace that counts."""

    grain = 10_000

    def __init__(self) -> None:
        self.taken = 0

    def take(self, count: int) -> None:
        self.taken += count


@pytest.fixture
def brno(tmp_path):
    return FilesystemStore(tmp_path / "brno-blobs")


@pytest.fixture
def prague(tmp_path):
    return FilesystemStore(tmp_path / "prague-blobs")


@pytest.fixture
def tickets(brno):
    return TicketBook(brno)


@pytest.fixture
def server(sites, brno, tickets):
    with sites.serving(Transfer(brno, tickets), stall_seconds=2.0) as server:
        yield server


@pytest.fixture
def connection(sites, server):
    with sites.connect(server.port) as connection:
        yield connection


@pytest.fixture
def ticket(sites, tickets):
    return tickets.issue("get", fingerprint_of(sites.prague.pem))


@pytest.fixture
def putting(sites, tickets):
    return tickets.issue("put", fingerprint_of(sites.prague.pem))


def wanted(store, digests):
    return [(digest, store.size(digest) or 0) for digest in digests]


def frame(content, digest=None):
    head = bytearray(HEADER_SIZE)
    write_header(Header(digest or Digest(hashlib.sha256(content).hexdigest()), len(content)), head)
    return bytes(head) + content


def kept(store):
    for digest in store.digests():
        store.verify(digest)
    return set(store.digests())


def no_pause(_: float) -> None:
    pass


# fetching


def test_a_pack_arrives_in_order_and_whole(connection, ticket, brno, prague):
    digests = [brno.put([os.urandom(size)]) for size in (0, 1, 500_000, 262_144, 700_001)]
    assert list(fetch(connection, ticket, wanted(brno, digests), prague)) == digests
    assert kept(prague) == set(digests)
    assert connection.opened == 1


def test_more_than_one_batch_is_told_as_it_becomes_durable(connection, ticket, brno, prague):
    digests = [brno.put([b"slice %d" % number]) for number in range(150)]
    told = []
    for digest in fetch(connection, ticket, wanted(brno, digests), prague):
        prague.verify(digest)
        told.append(digest)
    assert told == digests


def test_more_than_one_pack_is_asked_for_where_one_would_be_too_long(connection, ticket, brno, monkeypatch):
    monkeypatch.setattr("services.transfer.client.MOST", 10)
    store = MemoryStore()
    digests = [brno.put([b"slice %d" % number]) for number in range(35)]
    assert list(fetch(connection, ticket, wanted(brno, digests), store)) == digests


def test_what_the_peer_does_not_have_is_told_and_the_rest_arrives(connection, ticket, brno, prague):
    one, other = brno.put([b"one"]), brno.put([b"other"])
    told = list(fetch(connection, ticket, [(one, 3), (UNKNOWN, 5), (other, 5)], prague))
    assert set(told) == {one, Missing(UNKNOWN, Why.ABSENT), other}
    assert kept(prague) == {one, other}


@pytest.mark.parametrize("rotten", [b"\0rotten by", b"short", b"longer than it was", b""])
def test_bytes_that_rotted_at_the_peer_are_not_kept_and_the_rest_arrives(
    connection, ticket, brno, prague, tmp_path, rotten
):
    digests = [brno.put([b"slice of %d" % number]) for number in range(3)]
    (tmp_path / "brno-blobs" / digests[1][:2] / digests[1]).write_bytes(rotten)
    told = list(fetch(connection, ticket, [(digest, 10) for digest in digests], prague))
    assert set(told) == {digests[0], Missing(digests[1], Why.DAMAGED), digests[2]}
    assert kept(prague) == {digests[0], digests[2]}
    assert list((tmp_path / "prague-blobs" / "incoming").iterdir()) == []


def test_a_blob_that_cannot_be_read_does_not_hold_up_the_rest(sites, tickets, prague, ticket):
    class Failing(MemoryStore):
        def open(self, digest):
            file = super().open(digest)
            if digest == bad:
                os.ftruncate(file.fileno(), 300_000)
            return file

    brno = Failing()
    good, bad, last = (brno.put([os.urandom(700_000)]) for _ in range(3))
    with sites.serving(Transfer(brno, tickets)) as server, sites.connect(server.port) as connection:
        told = list(fetch(connection, ticket, wanted(brno, [good, bad, last]), prague))
    assert set(told) == {good, Missing(bad, Why.DAMAGED), last}


def test_every_byte_is_paced(connection, ticket, brno, prague):
    pace = Counting()
    digest = brno.put([bytes(1_000_000)])
    list(fetch(connection, ticket, [(digest, 1_000_000)], prague, pace))
    assert pace.taken == 1_000_000


def test_the_sender_keeps_its_own_pace(sites, tickets, ticket, putting, brno, prague):
    pace = Counting()
    digest = brno.put([bytes(100_000)])
    with sites.serving(Transfer(brno, tickets, pace)) as server, sites.connect(server.port) as connection:
        assert list(fetch(connection, ticket, [(digest, 100_000)], prague)) == [digest]
        assert pace.taken == 100_000 + HEADER_SIZE
        assert upload(connection, putting, [digest], prague) == [digest]
        assert pace.taken == 200_000 + HEADER_SIZE


def test_a_full_store_says_so_and_keeps_what_it_has(connection, ticket, brno):
    digests = [brno.put([os.urandom(1000)]) for _ in range(10)]
    small = MemoryStore(capacity=2500)
    with pytest.raises(StoreFull):
        list(fetch(connection, ticket, wanted(brno, digests), small))
    assert list(fetch(connection, ticket, wanted(brno, digests[:1]), MemoryStore())) == digests[:1]


def test_who_stops_listening_keeps_what_was_told(connection, ticket, brno, prague):
    digests = [brno.put([os.urandom(1000)]) for _ in range(100)]
    told = list(islice(fetch(connection, ticket, wanted(brno, digests), prague), 3))
    assert set(told) <= kept(prague)
    assert list(fetch(connection, ticket, wanted(brno, digests), prague)) == digests


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda book, sites: "unknown", Unauthenticated),
        (lambda book, sites: "x" * 1000, Unauthenticated),
        (lambda book, sites: "", Unauthenticated),
        (lambda book, sites: book.issue("get", fingerprint_of(sites.brno.pem)), Unauthenticated),
        (lambda book, sites: book.issue("put", fingerprint_of(sites.prague.pem)), Forbidden),
        (lambda book, sites: book.issue("get", fingerprint_of(sites.prague.pem), [UNKNOWN]), Forbidden),
    ],
)
def test_without_a_ticket_for_it_nothing_is_sent(sites, tickets, connection, brno, prague, make, error):
    digest = brno.put([b"slice"])
    with pytest.raises(error):
        list(fetch(connection, make(tickets, sites), [(digest, 5)], prague))
    assert kept(prague) == set()


def test_a_ticket_is_of_no_use_without_its_bearers_certificate(sites, server, ticket, brno, prague):
    from services.https.client import Connection
    from services.https.tls import stranger_context

    digest = brno.put([b"slice"])
    with (
        Connection(sites.destination(server.port), stranger_context()) as nobody,
        pytest.raises(Unauthenticated),
    ):
        list(fetch(nobody, ticket, [(digest, 5)], prague))


# a peer that breaks off, stalls or lies


SLICE = b"a slice of a study"
ONE = Digest(hashlib.sha256(SLICE).hexdigest())


def test_what_came_whole_before_a_cut_is_kept(sites, prague, tmp_path):
    other = Digest(hashlib.sha256(b"other").hexdigest())
    content = frame(SLICE) + frame(b"other")
    told = []
    with (
        scripted(sites.brno, [says(content[:-2], length=len(content))]) as port,
        sites.connect(port) as connection,
        pytest.raises(PeerUnreachable),
    ):
        told += list(_noted(fetch(connection, "t", [(ONE, len(SLICE)), (other, 5)], prague), told))
    assert told == [ONE]
    assert kept(prague) == {ONE}
    assert list((tmp_path / "prague-blobs" / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    "script",
    [
        says(frame(b"another blob")),
        says(frame(SLICE)[:20]),
        says(b""),
        says(bytes(1000)),
        says(b"", status="500 Internal Server Error"),
        says(b"", status="302 Found", fields="Location: https://elsewhere/\r\n"),
        says(frame(SLICE)[:-1]),
        stalls,
        trickles(frame(SLICE), 0.05),
    ],
)
def test_a_peer_that_lies_or_stalls_is_unreachable_and_leaves_nothing(sites, prague, script):
    with (
        scripted(sites.brno, [script]) as port,
        sites.connect(port, stall_seconds=0.3, lowest_rate=10_000) as connection,
        pytest.raises(PeerUnreachable),
    ):
        list(fetch(connection, "t", [(ONE, len(SLICE))], prague))
    assert kept(prague) == set()


@pytest.mark.parametrize("size", [0, 17, 19, 1 << 62])
def test_a_blob_of_another_size_than_was_announced_is_damaged(sites, prague, size):
    head = bytearray(HEADER_SIZE)
    write_header(Header(ONE, size), head)
    with scripted(sites.brno, [says(bytes(head) + bytes(1000), length=1 << 40)]) as port:
        told = list(fetch(sites.connect(port), "t", [(ONE, len(SLICE))], prague))
    assert told == [Missing(ONE, Why.DAMAGED)]


def test_bytes_that_are_not_what_their_name_says_are_damaged(sites, prague):
    with scripted(sites.brno, [says(frame(SLICE[::-1], ONE))]) as port:
        told = list(fetch(sites.connect(port), "t", [(ONE, len(SLICE))], prague))
    assert told == [Missing(ONE, Why.DAMAGED)]
    assert kept(prague) == set()


# large blobs


def cut(at):
    """The transfer application, that hangs up once after so many bytes of an answer."""

    def wrap(application, times=1):
        left = [times]

        def cutting(environ, start_response):
            answer = application(environ, start_response)
            if environ["REQUEST_METHOD"] != "POST" and not left[0]:
                return answer
            return _until_cut(answer, at, left)

        return cutting

    return wrap


def _until_cut(answer, at, left):
    sent = 0
    for chunk in answer:
        if sent + len(chunk) > at and left[0]:
            left[0] -= 1
            yield chunk[: at - sent]
            raise ConnectionResetError(errno.ECONNRESET, "cut")
        sent += len(chunk)
        yield chunk


@pytest.mark.parametrize("at", [39, 40, 41, 1000, LARGE - 1, LARGE + 1000])
def test_a_large_blob_goes_on_where_the_connection_broke(sites, brno, prague, tickets, ticket, at):
    asked = []
    application = cut(at)(Transfer(brno, tickets))

    def noting(environ, start_response):
        asked.append((environ["REQUEST_METHOD"], environ.get("HTTP_RANGE")))
        return application(environ, start_response)

    digest, small = brno.put([os.urandom(LARGE + 5000)]), brno.put([b"small"])
    pace = Counting()
    with sites.serving(noting) as server, sites.connect(server.port) as connection:
        getting = fetch(connection, ticket, wanted(brno, [digest, small]), prague, pace, no_pause)
        if at < HEADER_SIZE:
            with pytest.raises(PeerUnreachable):
                list(getting)
            return
        assert list(getting) == [digest, small]
    assert kept(prague) == {digest, small}
    assert [method for method, _ in asked] == ["POST", "GET", "POST"]
    assert LARGE + 5005 <= pace.taken < LARGE + 5005 + PIECE


def test_a_small_blob_is_left_for_the_next_time(sites, brno, prague, tickets, ticket):
    digest = brno.put([os.urandom(100_000)])
    with (
        sites.serving(cut(50_000)(Transfer(brno, tickets))) as server,
        sites.connect(server.port) as connection,
    ):
        with pytest.raises(PeerUnreachable):
            list(fetch(connection, ticket, [(digest, 100_000)], prague, pause=no_pause))
        assert list(fetch(connection, ticket, [(digest, 100_000)], prague)) == [digest]


def test_a_peer_that_breaks_off_again_and_again_is_given_up(sites, brno, prague, tickets, ticket):
    pauses = []
    digest = brno.put([os.urandom(LARGE + 5000)])
    application = cut(1000)(Transfer(brno, tickets), 100)
    with (
        sites.serving(application) as server,
        sites.connect(server.port) as connection,
        pytest.raises(PeerUnreachable),
    ):
        list(fetch(connection, ticket, [(digest, LARGE + 5000)], prague, pause=pauses.append))
    assert len(pauses) == RESUMES
    assert pauses == sorted(pauses)
    assert kept(prague) == set()


def test_a_large_blob_that_is_another_after_a_cut_is_not_kept(sites, brno, prague, tickets, ticket, tmp_path):
    digest = brno.put([os.urandom(LARGE + 5000)])
    application = cut(LARGE)(Transfer(brno, tickets))

    def rotting(environ, start_response):
        if environ["REQUEST_METHOD"] == "GET":
            (tmp_path / "brno-blobs" / digest[:2] / digest).write_bytes(bytes(LARGE + 5000))
        return application(environ, start_response)

    with sites.serving(rotting) as server, sites.connect(server.port) as connection:
        told = list(fetch(connection, ticket, [(digest, LARGE + 5000)], prague, pause=no_pause))
    assert told == [Missing(digest, Why.DAMAGED)]
    assert kept(prague) == set()


# one blob


def get(connection, digest, ticket, method="GET", **fields):
    answer = connection.request(method, f"/transfer/blob/{digest}", headers={"Ticket": ticket, **fields})
    return answer.status, answer.headers, answer.read(1_000_000)


def test_a_blob_is_served_whole_and_in_parts(connection, ticket, brno):
    digest = brno.put([b"0123456789"])
    status, fields, content = get(connection, digest, ticket)
    assert (status, content, fields["ETag"], fields["Accept-Ranges"]) == (
        200,
        b"0123456789",
        f'"{digest}"',
        "bytes",
    )
    status, fields, content = get(connection, digest, ticket, Range="bytes=3-5")
    assert (status, content, fields["Content-Range"]) == (206, b"345", "bytes 3-5/10")
    assert (
        get(connection, digest, ticket, **{"Range": "bytes=3-", "If-Range": f'"{digest}"'})[2] == b"3456789"
    )
    assert get(connection, digest, ticket, **{"Range": "bytes=3-", "If-Range": '"other"'})[0] == 200
    status, fields, _ = get(connection, digest, ticket, Range="bytes=10-")
    assert (status, fields["Content-Range"]) == (416, "bytes */10")
    status, fields, content = get(connection, digest, ticket, method="HEAD")
    assert (status, fields["Content-Length"], content) == (200, "10", b"")
    assert connection.opened == 1


def test_a_blob_that_is_not_there_is_not_found(connection, ticket, brno):
    assert get(connection, UNKNOWN, ticket)[0] == 404
    assert get(connection, "no-digest", ticket)[0] == 400
    assert get(connection, brno.put([b""]), ticket)[0] == 200


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/transfer/pack", 405),
        ("DELETE", f"/transfer/blob/{UNKNOWN}", 405),
        ("GET", "/transfer/other", 404),
        ("GET", "/", 404),
    ],
)
def test_what_is_not_offered_is_said(connection, method, target, status):
    assert connection.request(method, target).status == status


@pytest.mark.parametrize(("body", "status"), [(b"", 400), (b"x" * 33, 400), (bytes(32 * 4097), 413)])
def test_a_malformed_request_for_a_pack_is_refused(connection, ticket, body, status):
    answer = connection.request("POST", "/transfer/pack", headers={"Ticket": ticket}, body=body)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"


# uploading


def test_blobs_are_brought_to_a_node(connection, putting, brno, prague):
    digests = [prague.put([os.urandom(size)]) for size in (0, 1, 500_000, 700_001)]
    pace = Counting()
    told = upload(connection, putting, [*digests, UNKNOWN], prague, pace)
    assert set(told) == {*digests, Missing(UNKNOWN, Why.ABSENT)}
    assert kept(brno) == set(digests)
    assert pace.taken == 1_200_002 + 4 * HEADER_SIZE


def test_what_the_ticket_does_not_cover_is_not_kept(sites, connection, tickets, brno, prague):
    one, other = prague.put([b"one"]), prague.put([b"other"])
    narrow = tickets.issue("put", fingerprint_of(sites.prague.pem), [one])
    assert set(upload(connection, narrow, [other, one], prague)) == {one, Missing(other, Why.REFUSED)}
    assert kept(brno) == {one}


def test_without_a_ticket_nothing_is_taken(connection, ticket, brno, prague):
    digest = prague.put([bytes(20_000_000)])
    with pytest.raises(Unauthenticated):
        upload(connection, "unknown", [digest], prague)
    with pytest.raises(Forbidden):
        upload(connection, ticket, [digest], prague)
    assert kept(brno) == set()


def test_bytes_that_rotted_here_are_not_kept_there(connection, putting, brno, prague, tmp_path):
    one, other = prague.put([b"one"]), prague.put([b"other"])
    (tmp_path / "prague-blobs" / one[:2] / one).write_bytes(b"eno")
    assert set(upload(connection, putting, [one, other], prague)) == {Missing(one, Why.DAMAGED), other}
    assert kept(brno) == {other}


def test_an_upload_that_breaks_off_leaves_what_came_whole(sites, server, putting, brno, tmp_path):
    content = frame(b"one") + frame(b"two") + frame(bytes(1000))[:500]
    with sites.raw(server.port) as line:
        line.sendall(_put(putting, 5000) + content)
    until(lambda: len(set(brno.digests())) == 2)
    until(lambda: not list((tmp_path / "brno-blobs" / "incoming").iterdir()))
    kept(brno)


def test_an_upload_that_stalls_leaves_what_came_whole(sites, server, putting, brno):
    with sites.raw(server.port) as line:
        line.sendall(_put(putting, 5000) + frame(b"one"))
        until(lambda: set(brno.digests()))
    kept(brno)


def test_a_full_node_says_so_and_keeps_what_came_before(sites, tickets, putting, prague):
    tickets.store = small = MemoryStore(capacity=2500)
    digests = [prague.put([os.urandom(1000)]) for _ in range(4)]
    with (
        sites.serving(Transfer(small, tickets)) as server,
        sites.connect(server.port) as connection,
        pytest.raises(PeerUnreachable, match="503"),
    ):
        upload(connection, putting, digests, prague)


@pytest.mark.parametrize(
    "content", [b"x", frame(b"one") + b"x" * 39, b"\xff" * HEADER_SIZE, frame(b"one")[:-1], b"\x7f" * 100]
)
def test_what_is_no_pack_is_malformed(sites, server, putting, brno, content):
    with sites.raw(server.port) as line:
        line.sendall(_put(putting, len(content), close=True) + content)
        assert everything(line).startswith(b"HTTP/1.1 400")
    assert kept(brno) <= {Digest(hashlib.sha256(b"one").hexdigest())}


@pytest.mark.parametrize(
    "report", [b"", b"{}", b"[1]", b'[{"digest": 1}]', b"[" * 100_000, b'[{"digest": "x", "kept": true}]']
)
def test_a_report_that_says_nothing_counts_for_nothing(sites, prague, report):
    digest = prague.put([b"slice"])
    with scripted(sites.brno, [says(report)]) as port, suppress(PeerUnreachable):
        assert upload(sites.connect(port), "t", [digest], prague) == [Missing(digest, Why.REFUSED)]


def _put(ticket, length, close=False):
    fields = f"Host: brno\r\nTicket: {ticket}\r\nContent-Length: {length}\r\n"
    return (
        f"PUT /transfer/pack HTTP/1.1\r\n{fields}{'Connection: close' if close else 'X: y'}\r\n\r\n".encode()
    )


def _noted(told, notes):
    """What is told before an error, noted."""
    for item in told:
        notes.append(item)
        yield from ()
