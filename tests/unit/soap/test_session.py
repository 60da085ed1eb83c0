"""A session calls another node: typed arguments, typed results, typed errors, bytes in pieces."""

from __future__ import annotations

import io
import logging
import tracemalloc
from email.message import Message
from importlib.resources import files

import pytest
from lxml import etree

from node.domain.errors import (
    AccessDenied,
    Damaged,
    Forbidden,
    MalformedMessage,
    NodeError,
    PeerUnreachable,
    Rejected,
    TooLarge,
    Unavailable,
)
from services.soap.client.grammar import Grammar, Sealed
from services.soap.client.session import REPLIES, Session
from services.soap.client.wire import Pool
from services.soap.framework.blob import Blob
from services.soap.framework.contract import contract_of
from services.soap.framework.document import write, wsdl
from services.soap.framework.endpoint import Endpoint, Guards
from services.soap.framework.limits import Limits
from services.soap.framework.multipart import pack
from services.soap.framework.names import SOAP12, WSSE
from services.soap.framework.rows import read_rows, write_rows
from tests.support.soap_demo import Box, Raising, Shelf, State
from tests.support.soap_wire import InProcess, envelope, post, session

MIB = 1 << 20
TRICKY = b"\r\n--uuid:\r\n" + bytes(range(256)) * 9000 + b"\r\n"


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def calls(shelf) -> Session:
    return session(Shelf, Endpoint(shelf))


def test_arguments_and_results_are_what_the_declaration_says(calls, shelf):
    assert calls.call(Shelf.stat, uid="1.2") == Box(uid="1.2", size=3, state=State.OWED)
    taken = []
    shelf.act = taken.append
    box = Box(uid="1.2", digest="a" * 64, size=9, state=State.VERIFIED, labels=("A", "B"), open=True)
    assert calls.call(Shelf.put_box, box=box) is None
    assert taken == [box]
    assert [one.uid for one in calls.call(Shelf.list_boxes, uid=("1", "2"))] == ["1", "2"]
    assert calls.call(Shelf.list_boxes, uid=()) == ()


def test_what_is_sent_is_what_the_published_document_allows(calls):
    with pytest.raises(MalformedMessage):
        calls.call(Shelf.stat, colour="red")
    with pytest.raises(MalformedMessage):
        calls.call(Shelf.stat)


@pytest.mark.parametrize("data", [b"", b"\r\n", b"x\r\n", TRICKY], ids=len)
def test_bytes_travel_beside_the_message_both_ways(calls, shelf, data):
    taken = []
    shelf.act = lambda name, blob: taken.append(blob.read())
    assert calls.call(Shelf.store, name="a", content=Blob.of(data)) == len(data)
    assert taken == [data]
    shelf.act = lambda name: Blob.of(data, "application/dicom")
    with calls.open(Shelf.fetch, name="a") as blob:
        assert (blob.size, blob.read()) == (len(data), data)


def test_bytes_of_a_request_can_be_sent_back(calls, shelf):
    kept = []
    shelf.store = lambda call, name, content: kept.append(content) or content.size
    shelf.fetch = lambda call, name: Blob.of(TRICKY)
    assert calls.call(Shelf.store, name="a", content=Blob.of(TRICKY)) == len(TRICKY)


def test_small_bytes_may_be_inside_the_message_and_large_ones_may_not(shelf):
    shelf.act = lambda name, blob=None: Blob.of(b"x" * 1200) if name == "big" else Blob.of(b"abc")
    door = Endpoint(shelf, limits=Limits(inline=1000))
    assert post(door, envelope("<store><name>a</name><content>YWJj</content></store>")).text("size") == "3"
    large = "YWJj" * 500
    refused = post(door, envelope(f"<store><name>a</name><content>{large}</content></store>"))
    assert refused.text("code") == "TooLarge"
    assert post(door, envelope("<fetch><name>small</name></fetch>")).text("content") == "YWJj"
    assert post(door, envelope("<fetch><name>big</name></fetch>")).text("code") == "TooLarge"
    beside = post(door, envelope("<fetch><name>big</name></fetch>"), HTTP_ACCEPT="multipart/related")
    assert beside.headers["Content-Type"].startswith("multipart/related")
    assert int(beside.headers["Content-Length"]) == len(beside.body)


@pytest.mark.parametrize("href", ["cid:other", "http://x/", "", "cid:"])
def test_a_reference_that_leads_to_no_part_is_refused(shelf, href):
    include = f"<i:Include xmlns:i='http://www.w3.org/2004/08/xop/include' href='{href}'/>"
    package = pack(
        envelope(f"<store><name>a</name><content>{include}</content></store>"),
        [("1@x", Blob.of(b"a"))],
        SOAP12.media,
    )
    assert (
        post(Endpoint(shelf), b"".join(package.chunks()), package.content_type).text("code")
        == "MalformedMessage"
    )


def test_references_are_authenticated_as_they_came(shelf):
    seen = []
    guards = Guards(authenticate=lambda root, environ: seen.append(etree.tostring(root)))
    shelf.act = lambda name, blob: None
    calls = session(Shelf, Endpoint(shelf, guards=guards))
    calls.call(Shelf.store, name="a", content=Blob.of(b"abc"))
    assert b"Include" in seen[0]


def test_a_message_is_secured_in_its_final_form(shelf):
    actions = []

    def secure(root, action):
        actions.append((action, etree.tostring(root)))
        header = etree.SubElement(root, SOAP12.tag("Header"))
        root.insert(0, header)
        etree.SubElement(header, f"{{{WSSE}}}Security").set(SOAP12.tag("mustUnderstand"), "1")
        return root

    seen = []
    shelf.act = lambda name, blob: None
    guards = Guards(authenticate=lambda root, environ: seen.append(root))
    calls = session(Shelf, Endpoint(shelf, guards=guards), secure=secure)
    calls.call(Shelf.store, name="a", content=Blob.of(b"abc"))
    [(action, form)] = actions
    assert action == "urn:konzilium:shelf:1:storeRequest"
    body = seen[0].find(SOAP12.tag("Body"))
    assert b"Include" in form
    assert len(body) == 1


def test_an_error_there_is_the_same_error_here(shelf):
    def refuse(uid):
        raise Forbidden("node:prague", "look", "no consent")

    shelf.act = refuse
    with pytest.raises(Forbidden, match="no consent"):
        session(Shelf, Endpoint(shelf)).call(Shelf.stat, uid="1")


class Saying:
    """A connection at whose end somebody says something."""

    def __init__(
        self, body: bytes = b"", status: int = 200, media: str = SOAP12.media, **headers: str
    ) -> None:
        self.status = status
        self.headers = Message()
        self.headers["Content-Type"] = media
        for name, value in headers.items():
            self.headers[name.replace("_", "-")] = value
        self._body = io.BytesIO(body)
        self.closed = False

    def request(self, method, target, *, headers, body):
        return self

    def read(self, most):
        data = self._body.read(most + 1)
        if len(data) > most:
            raise PeerUnreachable("brno", "the answer is too long")
        return data

    def readinto(self, view):
        return self._body.readinto(view)

    def close(self):
        self.closed = True


def hearing(saying: Saying, **options) -> Session:
    contract = contract_of(Shelf)
    grammar = Grammar(write(wsdl(contract, "https://node.example/")))
    return Session(Shelf, peer="brno", pool=Pool(lambda: saying), target="/x", grammar=grammar, **options)


BOX = "<box><uid>1</uid><size>1</size><state>owed</state></box>"
ODD = {
    "nothing": b"",
    "no xml": b"hello",
    "document type": b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + envelope(f"<statResponse>{BOX}</statResponse>"),
    "another answer": envelope("<listBoxesResponse/>"),
    "not valid": envelope("<statResponse><box/></statResponse>"),
    "another namespace": envelope(f"<statResponse>{BOX}</statResponse>", tns="urn:other"),
    "mandatory header": envelope(f"<statResponse>{BOX}</statResponse>", header="<p e:mustUnderstand='1'/>"),
    "too deep": envelope("<a>" * 50 + "</a>" * 50),
    "loose reference": envelope(
        "<fetchResponse><content><i:Include xmlns:i='http://www.w3.org/2004/08/xop/include' href='cid:a'/>"
        "</content></fetchResponse>"
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_an_answer_that_the_contract_does_not_promise_is_no_answer(name):
    saying = Saying(ODD[name])
    with pytest.raises(PeerUnreachable, match="brno"):
        hearing(saying).call(Shelf.stat, uid="1")


def test_a_broken_package_is_no_answer():
    saying = Saying(b"--b\r\n\r\nhalf", media='multipart/related; boundary="b"')
    with pytest.raises(PeerUnreachable):
        hearing(saying).call(Shelf.stat, uid="1")
    assert saying.closed


def test_an_answer_larger_than_the_limit_is_not_read():
    with pytest.raises(PeerUnreachable):
        hearing(Saying(b"x" * 2000), limits=Limits(body=1000)).call(Shelf.stat, uid="1")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, AccessDenied),
        (401, AccessDenied),
        (404, Unavailable),
        (503, Unavailable),
        (429, Unavailable),
        (302, Rejected),
    ],
)
def test_an_answer_that_is_no_soap_is_an_error_by_its_status(status, kind):
    with pytest.raises(kind) as raised:
        hearing(Saying(b"<html>DOE</html>", status, "text/html", Retry_After="9")).call(Shelf.stat, uid="1")
    assert type(raised.value) is kind
    assert "DOE" not in str(raised.value)
    assert getattr(raised.value, "retry_after", None) == (9 if kind is Unavailable else None)


def test_a_published_document_fetches_nothing():
    with pytest.raises(ValueError, match="refers to"):
        Sealed().load("https://evil.example/")
    document = write(wsdl(contract_of(Shelf), "https://node.example/"))
    imported = document.replace(
        b"<wsdl:types>", b'<wsdl:import namespace="urn:x" location="https://evil.example/x"/><wsdl:types>'
    )
    with pytest.raises(Exception, match=r"refers to|External|forbid"):
        Grammar(imported)


def test_connections_are_kept_and_given_up_after_an_error(shelf):
    made = []

    def open_wire():
        made.append(InProcess(Endpoint(shelf)))
        return made[-1]

    contract = contract_of(Shelf)
    grammar = Grammar(write(wsdl(contract, "https://node.example/")))
    pool = Pool(open_wire, keep=1)
    calls = Session(Shelf, peer="brno", pool=pool, target="/x", grammar=grammar)
    for _ in range(3):
        calls.call(Shelf.stat, uid="1")
    assert len(made) == 1
    with pool.lease(), pool.lease():
        pass
    assert sorted(one.closed for one in made) == [False, True]
    with pytest.raises(RuntimeError), pool.lease():
        raise RuntimeError
    assert sum(one.closed for one in made) == 2
    with pool.lease():
        pass
    pool.close()
    assert all(one.closed for one in made)


def test_no_message_is_logged(calls, shelf, caplog):
    caplog.set_level(logging.DEBUG)
    shelf.act = lambda name, blob: None
    calls.call(Shelf.store, name="DOE^JOHN", content=Blob.of(b"DOE^JANE"))
    with pytest.raises(NodeError):
        session(Shelf, Endpoint(Raising(ValueError("DOE")))).call(Shelf.fetch, name="DOE^JOHN")
    assert "DOE" not in caplog.text


def test_a_thousand_rows_are_written_and_read_without_values_between(calls, shelf):
    bulk = calls.contract.operations["{urn:konzilium:shelf:1}bulk"]
    columns = ("uid", "digest", "size", "state", "open")
    shelf.act = lambda body: write_rows(
        bulk, columns, ((one.text, None, str(n), "owed", "true") for n, one in enumerate(body))
    )
    uids = tuple(f"1.2.{n}" for n in range(1000))
    with calls.element(Shelf.bulk, uid=uids) as element:
        contract_of(Shelf).validator.demand(element)
        rows = list(read_rows(element, ("size", "uid", "digest")))
    assert rows == [(str(n), uid, None) for n, uid in enumerate(uids)]
    assert calls.call(Shelf.bulk, uid=uids)[999] == Box(uid="1.2.999", size=999, state=State.OWED, open=True)


def test_a_row_that_the_schema_does_not_allow_is_seen_by_the_caller(calls, shelf):
    bulk = calls.contract.operations["{urn:konzilium:shelf:1}bulk"]
    shelf.act = lambda body: write_rows(bulk, ("uid",), [("1",)])
    with pytest.raises(PeerUnreachable):
        calls.call(Shelf.bulk, uid=("1",))


def test_large_bytes_pass_a_door_in_constant_memory(shelf):
    size, piece = 32 * MIB, b"\r\n--" * (MIB // 4)
    sent = Blob(lambda: (piece for _ in range(size // MIB)), size)
    include = "<i:Include xmlns:i='http://www.w3.org/2004/08/xop/include' href='cid:1@x'/>"
    package = pack(
        envelope(f"<store><name>a</name><content>{include}</content></store>"), [("1@x", sent)], SOAP12.media
    )
    total = []
    shelf.act = lambda name, blob=None: total.append(sum(map(len, blob.chunks()))) if blob else sent
    door = Endpoint(shelf)
    stream = Stream(package.chunks())
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": package.content_type,
        "CONTENT_LENGTH": str(package.size),
        "wsgi.input": stream,
    }
    tracemalloc.start()
    taken = door(environ, lambda status, headers: None)
    given = door(
        {
            **environ,
            "CONTENT_TYPE": SOAP12.media,
            "HTTP_ACCEPT": "multipart/related",
            "CONTENT_LENGTH": "400",
            "wsgi.input": io.BytesIO(envelope("<fetch><name>a</name></fetch>")),
        },
        lambda status, headers: None,
    )
    received = sum(map(len, given))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    given.close()
    assert b"storeResponse" in b"".join(taken)
    assert total == [size]
    assert received > size
    assert peak < 8 * MIB


class Stream:
    """Pieces as a file that gives as many bytes as it is asked for."""

    def __init__(self, chunks):
        self._chunks = chunks
        self._left = b""

    def read(self, size):
        while len(self._left) < size:
            piece = next(self._chunks, b"")
            if not piece:
                break
            self._left += piece
        given, self._left = self._left[:size], self._left[size:]
        return given


def test_a_blob_that_is_cut_short_there_does_not_arrive_whole(calls, shelf):
    shelf.act = lambda name: Blob(lambda: [b"ab"], 10)
    with pytest.raises(Damaged):
        calls.call(Shelf.fetch, name="a")


def test_a_part_larger_than_the_limit_is_refused_at_both_ends(shelf):
    shelf.act = lambda name, blob=None: Blob.of(b"x" * 3000)
    small = Limits(attached=2000)
    with pytest.raises(TooLarge):
        session(Shelf, Endpoint(shelf, limits=small)).call(
            Shelf.store, name="a", content=Blob.of(b"x" * 3000)
        )
    with pytest.raises(PeerUnreachable):
        session(Shelf, Endpoint(shelf), limits=small).call(Shelf.fetch, name="a")


def test_limits_of_answers_are_wide_enough_for_a_bulk():
    assert REPLIES.body > 1000 * 1000


def test_documents_are_part_of_the_installed_package():
    assert (files("wsdl") / "__init__.py").is_file()
