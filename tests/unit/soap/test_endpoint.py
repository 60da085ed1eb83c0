"""What the door of a service takes, refuses, and never says."""

from __future__ import annotations

import io
import json
import logging
import threading

import pytest
from lxml import etree

from node.domain.errors import Forbidden, TooBusy, Unauthenticated
from services.soap.framework.contract import contract_of
from services.soap.framework.endpoint import Endpoint, Guards
from services.soap.framework.limits import Limits
from services.soap.framework.names import SOAP11, SOAP12, VERSIONS, WSA, WSSE
from tests.support.soap_demo import Raising, Shelf
from tests.support.soap_wire import ask, envelope, get, post

STAT = "<stat><uid>1.2.3</uid></stat>"
SECRET = "DOE^JOHN"
BOTH = pytest.mark.parametrize("soap", VERSIONS, ids=lambda soap: soap.name)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def door(shelf) -> Endpoint:
    return Endpoint(shelf)


@BOTH
def test_one_address_speaks_both_versions(door, soap):
    answer = post(door, envelope(STAT, soap), f"{soap.media}; charset=utf-8")
    assert answer.status == 200
    assert answer.root.tag == soap.tag("Envelope")
    assert answer.text("uid") == "1.2.3"
    contract_of(Shelf).validator.demand(answer.root[-1][0])


@pytest.mark.parametrize("media", ["", "text/plain", "application/json", "multipart/related", "garbage;;="])
def test_what_is_not_soap_is_told_so_by_http(door, media):
    assert post(door, envelope(STAT), media).status == 415


def test_another_method_is_told_which_are_taken(door):
    answer = ask(door, {"REQUEST_METHOD": "PUT", "PATH_INFO": "/"})
    assert (answer.status, answer.headers["Allow"]) == (405, "POST, GET")
    assert get(door, "").status == 405


HOSTILE = {
    "nothing": b"",
    "no xml": b"hello",
    "half": envelope(STAT)[:-4],
    "empty body": envelope(""),
    "only text": envelope("hello"),
    "two operations": envelope(STAT + STAT),
    "two bodies": envelope(STAT).replace(b"</e:Envelope>", b"<e:Body><stat/></e:Body></e:Envelope>"),
    "two headers": envelope(STAT, header="<a xmlns=''/>").replace(b"<e:Header>", b"<e:Header/><e:Header>"),
    "no envelope": b"<stat xmlns='urn:konzilium:shelf:1'><uid>1</uid></stat>",
    "strange envelope": envelope(STAT).replace(SOAP12.envelope.encode(), b"urn:strange"),
    "document type": b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + envelope(STAT),
    "billion laughs": b"<!DOCTYPE a [<!ENTITY b 'c'><!ENTITY d '&b;&b;&b;'>]>"
    + envelope("<stat><uid>&d;</uid></stat>"),
    "external entity": b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>" + envelope(STAT),
    "undeclared entity": envelope("<stat><uid>&a;</uid></stat>"),
    "no utf-8": envelope("<stat><uid>\xe9</uid></stat>").decode().encode("latin-1"),
    "another encoding": b"<?xml version='1.0' encoding='IBM037'?>" + envelope("<stat><uid>\xe9</uid></stat>"),
    "unknown operation": envelope("<steal/>"),
    "another namespace": envelope(STAT, tns="urn:konzilium:shelf:2"),
    "a fault": envelope(f"<f:Fault xmlns:f='{SOAP12.envelope}'/>"),
    "a response": envelope("<statResponse/>"),
    "pattern": envelope("<stat><uid>DOE^JOHN</uid></stat>"),
    "missing": envelope("<stat/>"),
    "too much": envelope("<stat><uid>1</uid><uid>2</uid></stat>"),
    "attribute": envelope("<stat a='b'><uid>1</uid></stat>"),
    "nil": envelope("<stat><uid x:nil='true' xmlns:x='http://www.w3.org/2001/XMLSchema-instance'/></stat>"),
    "strange type": envelope(
        "<stat><uid x:type='a' xmlns:x='http://www.w3.org/2001/XMLSchema-instance'>1</uid></stat>"
    ),
    "impossible year": envelope(
        "<putBox><box><uid>1</uid><size>1</size><state>owed</state>"
        "<seenAt>12026-02-03T00:00:00Z</seenAt></box></putBox>"
    ),
    "ids and references": envelope("<stat id='a'><uid href='#a'>1</uid></stat>"),
    "include without a part": envelope(
        "<store><name>a</name><content>"
        "<i:Include xmlns:i='http://www.w3.org/2004/08/xop/include' href='cid:a'/></content></store>"
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_message_that_is_not_valid_is_a_typed_fault_of_the_sender(door, shelf, name):
    answer = post(door, HOSTILE[name])
    assert answer.status == 400
    assert answer.text("code") == "MalformedMessage"
    assert shelf.calls == []


@pytest.mark.parametrize("name", HOSTILE)
def test_a_fault_repeats_nothing_of_the_message(door, caplog, name):
    caplog.set_level(logging.DEBUG)
    data = HOSTILE[name].replace(b"uid>1", f"uid>{SECRET}1".encode())
    answer = post(door, data)
    assert SECRET.encode() not in answer.body
    assert SECRET not in json.dumps([vars(record) for record in caplog.records], default=repr)


DEEP = "<a>" * 40 + "</a>" * 40
LIMITED = {
    "bytes": (envelope("<stat><uid>" + "1" * 9000 + "</uid></stat>"), "TooLarge"),
    "elements": (envelope("<listBoxes>" + "<uid>1</uid>" * 200 + "</listBoxes>"), "MalformedMessage"),
    "attributes": (envelope("<stat " + " ".join(f"a{n}='1'" for n in range(300)) + "/>"), "MalformedMessage"),
    "namespaces": (
        envelope("<stat " + " ".join(f"xmlns:a{n}='b'" for n in range(300)) + "/>"),
        "MalformedMessage",
    ),
    "depth": (envelope(DEEP), "MalformedMessage"),
    "depth in a header": (envelope(STAT, header=f"<b xmlns=''>{DEEP}</b>"), "MalformedMessage"),
}


@pytest.mark.parametrize("name", LIMITED)
def test_what_is_too_much_is_refused_before_it_is_looked_at(shelf, name):
    data, code = LIMITED[name]
    answer = post(Endpoint(shelf, limits=Limits(body=8192, marks=300)), data)
    assert (answer.status, answer.text("code")) == (400, code)


def test_too_many_items_are_refused_by_the_published_schema(door):
    answer = post(door, envelope("<listBoxes>" + "<uid>1</uid>" * 1001 + "</listBoxes>"))
    assert answer.text("code") == "MalformedMessage"


def test_nothing_is_read_of_a_body_that_says_it_is_too_large(door):
    class Unread(io.RawIOBase):
        def read(self, size=-1):
            raise AssertionError("read")

    answer = post(door, b"", **{"CONTENT_LENGTH": str(1 << 40), "wsgi.input": Unread()})
    assert answer.text("code") == "TooLarge"


def test_a_body_without_a_length_is_read_up_to_the_limit(shelf):
    data = envelope(STAT)
    chunked = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True, "wsgi.input": io.BytesIO(data)}
    assert post(Endpoint(shelf), b"", **chunked).status == 200
    chunked["wsgi.input"] = io.BytesIO(data)
    assert post(Endpoint(shelf, limits=Limits(body=100)), b"", **chunked).text("code") == "TooLarge"


def test_a_connection_that_breaks_is_a_fault_that_can_be_repeated(door):
    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise TimeoutError(SECRET)

    answer = post(door, b"", **{"CONTENT_LENGTH": "10", "wsgi.input": Broken()})
    assert (answer.status, answer.text("code")) == (500, "Unavailable")


def test_utf_16_is_read_as_the_basic_profile_wants(door):
    data = ("<?xml version='1.0' encoding='utf-16'?>" + envelope(STAT).decode()).encode("utf-16")
    assert post(door, data).status == 200


@BOTH
def test_an_envelope_of_the_other_version_is_a_version_mismatch(door, soap):
    other = SOAP12 if soap is SOAP11 else SOAP11
    answer = post(door, envelope(STAT, other), soap.media)
    assert answer.status == 500
    code = answer.text("faultcode") or answer.text("Value")
    assert code.endswith(":VersionMismatch")
    assert (answer.root.find(f".//{SOAP12.tag('Upgrade')}") is not None) == (soap is SOAP12)


@BOTH
def test_a_mandatory_header_that_is_unknown_is_not_understood(door, shelf, soap):
    header = "<h:Pay xmlns:h='urn:pay' e:mustUnderstand='1'/><h:Tip xmlns:h='urn:pay'/>"
    answer = post(door, envelope(STAT, soap, header), soap.media)
    assert answer.status == 500
    assert (answer.text("faultcode") or answer.text("Value")).endswith(":MustUnderstand")
    assert shelf.calls == []
    if soap is SOAP12:
        told = answer.root.find(f".//{SOAP12.tag('NotUnderstood')}")
        prefix, _, local = told.get("qname").partition(":")
        assert (told.nsmap[prefix], local) == ("urn:pay", "Pay")


@pytest.mark.parametrize(
    "header",
    [
        "<h:Pay xmlns:h='urn:pay' e:mustUnderstand='0'/>",
        "<h:Pay xmlns:h='urn:pay' e:mustUnderstand='1' e:role='urn:somebody-else'/>",
        f"<a:Action xmlns:a='{WSA}' e:mustUnderstand='1'> urn:konzilium:shelf:1:statRequest </a:Action>",
    ],
)
def test_headers_that_are_optional_or_for_others_or_known_are_no_obstacle(door, header):
    assert post(door, envelope(STAT, header=header)).status == 200


def test_mandatory_security_is_understood_by_a_door_that_authenticates():
    header = f"<w:Security xmlns:w='{WSSE}' e:mustUnderstand='1'/>"
    assert post(Endpoint(Shelf()), envelope(STAT, header=header)).status == 500
    guarded = Endpoint(Shelf(), guards=Guards(authenticate=lambda root, environ: "prague"))
    assert post(guarded, envelope(STAT, header=header)).status == 200


def test_an_answer_relates_to_its_request(door):
    header = f"<a:MessageID xmlns:a='{WSA}'>urn:uuid:1</a:MessageID>"
    answer = post(door, envelope(STAT, header=header))
    assert answer.text("RelatesTo") == "urn:uuid:1"
    assert answer.text("Action") == "urn:konzilium:shelf:1:statResponse"
    refused = post(door, envelope("<stat><uid>x</uid></stat>", header=header))
    assert refused.text("Action") == "urn:konzilium:shelf:1:stat:Fault:MalformedRequest"
    assert post(door, envelope(STAT)).text("RelatesTo") is None


@pytest.mark.parametrize(
    "header",
    [
        f"<a:Action xmlns:a='{WSA}'>urn:konzilium:shelf:1:fetchRequest</a:Action>",
        f"<a:ReplyTo xmlns:a='{WSA}'><a:Address>https://evil.example/</a:Address></a:ReplyTo>",
        f"<a:MessageID xmlns:a='{WSA}'>1</a:MessageID><a:MessageID xmlns:a='{WSA}'>2</a:MessageID>",
        f"<a:MessageID xmlns:a='{WSA}'>{'1' * 2000}</a:MessageID>",
    ],
)
def test_addressing_that_contradicts_the_message_is_refused(door, shelf, header):
    assert post(door, envelope(STAT, header=header)).status == 400
    assert shelf.calls == []


def test_guards_look_in_order_and_the_tree_they_see_is_the_tree_that_is_served(shelf):
    seen = []
    guards = Guards(
        admit=lambda environ: seen.append("admit"),
        authenticate=lambda root, environ: seen.append(root) or "prague",
        limit=lambda caller, environ: seen.append(caller),
    )
    assert post(Endpoint(shelf, guards=guards), envelope(STAT)).status == 200
    [first, root, last] = seen
    assert (first, last) == ("admit", "prague")
    [call] = shelf.calls
    assert call.body.getroottree().getroot() is root
    assert (call.caller, call.operation, call.address, call.soap) == ("prague", "stat", "192.0.2.7", SOAP12)


def test_who_is_not_known_learns_nothing_of_operations_and_schema(shelf):
    def refuse(root, environ):
        raise Unauthenticated("no")

    door = Endpoint(shelf, guards=Guards(authenticate=refuse))
    bodies = {post(door, envelope(one)).body for one in (STAT, "<stat/>", "<nothing/>")}
    assert len(bodies) == 1
    assert b"AccessDenied" in bodies.pop()


def test_a_guard_may_refuse_before_anything_is_parsed(shelf):
    def refuse(environ):
        raise TooBusy("x")

    answer = post(Endpoint(shelf, guards=Guards(admit=refuse)), b"<<<")
    assert (answer.status, answer.text("code")) == (500, "TooBusy")


@BOTH
def test_an_unexpected_error_is_an_internal_error_without_its_text(soap, caplog):
    caplog.set_level(logging.DEBUG)
    answer = post(Endpoint(Raising(ValueError(SECRET))), envelope(STAT, soap), soap.media)
    assert (answer.status, answer.text("code")) == (500, "NodeError")
    assert SECRET.encode() not in answer.body
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert (record.operation, record.error) == ("stat", "ValueError")
    assert record.at.startswith("soap_demo.py:")
    assert SECRET not in json.dumps(vars(record), default=repr)


@BOTH
def test_an_answer_that_cannot_be_written_is_a_fault_and_not_half_an_answer(soap):
    shelf = Shelf(lambda body: None)
    shelf.list_boxes = lambda call, uid: (object(),)
    answer = post(Endpoint(shelf), envelope("<listBoxes/>", soap), soap.media)
    assert (answer.status, answer.text("code")) == (500, "NodeError")


def test_characters_that_xml_cannot_carry_do_not_lose_the_answer():
    answer = post(Endpoint(Raising(Forbidden("a\x00b", "c", "d"))), envelope(STAT))
    assert answer.text("message") == "a\ufffdb may not c: d."


def test_a_thousand_at_once_read_only_their_own_errors(shelf):
    door = Endpoint(shelf)
    odd = []

    def call(number):
        for turn in range(20):
            good = turn % 2
            answer = post(door, envelope(f"<stat><uid>{number}.{turn}{'' if good else 'x'}</uid></stat>"))
            if (answer.status, answer.text("uid")) != ((200, f"{number}.{turn}") if good else (400, None)):
                odd.append(answer.body)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert odd == []


def test_the_document_is_served_with_the_address_it_was_asked_at(door):
    root = etree.fromstring(get(door).body)
    places = {one.get("location") for one in root.iter("{*}address")}
    assert places == {"https://brno.example:8443/soap/shelf/1"}
    assert b"soap12" not in get(door, "wsdl&soap=1.1").body
    assert get(door, "WSDL").status == 200


def test_a_strange_host_header_is_not_in_the_document(door):
    answer = ask(
        door,
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "QUERY_STRING": "wsdl",
            "HTTP_HOST": "a'><b/\x00",
            "SERVER_NAME": "brno",
            "SERVER_PORT": "8443",
        },
    )
    assert b"https://brno:8443/soap/shelf/1" in answer.body
