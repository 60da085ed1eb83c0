"""Every expected failure has a fault, on the wire of both versions, and comes back as what it was."""

from __future__ import annotations

import pytest
from lxml import etree

from node.domain import errors
from node.domain.errors import NodeError
from services.soap.framework.contract import FaultDetail, contract_of
from services.soap.framework.endpoint import Endpoint
from services.soap.framework.faults import (
    FAMILIES,
    FAULTS,
    HEARD,
    Fault,
    NotUnderstood,
    Side,
    WrongVersion,
    error_of,
    family_of,
    fault_of,
)
from services.soap.framework.faultxml import read_fault, write_fault
from services.soap.framework.names import SOAP11, SOAP12, VERSIONS
from tests.support.soap_demo import Raising, Shelf
from tests.support.soap_wire import SHELF, envelope, post, session


def tree(kind=NodeError):
    return [kind, *(one for child in kind.__subclasses__() for one in tree(child))]


KINDS = [kind for kind in tree() if kind.__module__ == errors.__name__]
EXPECTED = {
    "MalformedIdentifier": ("Sender", "MalformedInstance"),
    "MalformedInstance": ("Sender", "MalformedInstance"),
    "MismatchedInstance": ("Sender", "MalformedInstance"),
    "MalformedMessage": ("Sender", "MalformedRequest"),
    "MalformedQuery": ("Sender", "MalformedRequest"),
    "TooLarge": ("Sender", "MalformedRequest"),
    "UnknownInstance": ("Sender", "UnknownInstance"),
    "UnknownDevice": ("Sender", "UnknownName"),
    "Unauthenticated": ("Sender", "AccessDenied"),
    "Forbidden": ("Sender", "AccessDenied"),
    "StoreFull": ("Receiver", "ServerBusy"),
    "StoreFailing": ("Receiver", "ServerBusy"),
    "CatalogBusy": ("Receiver", "ServerBusy"),
    "TooBusy": ("Receiver", "ServerBusy"),
    "PeerUnreachable": ("Receiver", "ServerBusy"),
    "BlobMissing": ("Receiver", "ChecksumMismatch"),
    "DigestMismatch": ("Receiver", "ChecksumMismatch"),
    "PortTaken": ("Receiver", "InternalError"),
}
ARGUMENTS = ("1.2", "3", "4", "5")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("soap", VERSIONS, ids=lambda soap: soap.name)
def test_every_error_is_a_typed_fault_on_the_wire(kind, soap):
    answer = post(
        Endpoint(Raising(kind(*ARGUMENTS))), envelope("<stat><uid>1.2</uid></stat>", soap), soap.media
    )
    fault = fault_of(kind(*ARGUMENTS))
    assert (str(fault.side), fault.family) == EXPECTED.get(kind.__name__, (str(fault.side), fault.family))
    assert answer.status == (400 if soap is SOAP12 and fault.side is Side.SENDER else 500)
    assert answer.headers["Content-Type"] == f"{soap.media}; charset=utf-8"
    body = answer.root.find(soap.tag("Body"))
    assert read_fault(body[0], soap, SHELF) == fault
    detail = body[0].find("detail" if soap is SOAP11 else soap.tag("Detail"))
    assert detail[0].tag == f"{{{SHELF}}}{fault.family}"
    if fault.family in PUBLISHED:
        contract_of(Shelf).validator.demand(detail[0])


PUBLISHED = {family.name for family in contract_of(Shelf).faults}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_comes_back_as_itself_or_as_its_family(kind):
    error = kind(*ARGUMENTS)
    with pytest.raises(NodeError) as raised:
        session(Shelf, Endpoint(Raising(error))).call(Shelf.stat, uid="1.2")
    expected = kind if family_of(kind).name != "InternalError" else errors.Unavailable
    assert type(raised.value) is expected
    assert str(raised.value)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_that_speaks_of_this_machine_is_told_without_its_text(kind):
    error = kind("/secret/place", "/secret/place", "/secret/place", "/secret/place")
    quiet = isinstance(
        error, errors.StoreFull | errors.StoreFailing | errors.CatalogBusy | errors.Misconfigured
    )
    assert ("/secret/place" in fault_of(error).text) <= (not quiet)


def test_a_text_survives_the_way_back():
    error = errors.Forbidden("node:prague@prague", "retrieve", "no consent (yet)")
    assert str(error_of(fault_of(error))) == str(error)
    assert error_of(fault_of(error)).args == error.args


def test_a_text_with_one_place_twice_is_read_back():
    assert error_of(Fault(side=Side.SENDER, family="RequestRejected", code="Rejected", text="odd")).args == (
        "odd",
    )


def test_a_caller_is_told_when_to_come_again():
    error = errors.TooBusy("many")
    error.retry_after = 7
    answer = post(Endpoint(Raising(error)), envelope("<stat><uid>1</uid></stat>"))
    assert (answer.headers["Retry-After"], answer.text("retryAfter")) == ("7", "7")
    with pytest.raises(errors.TooBusy) as raised:
        session(Shelf, Endpoint(Raising(error))).call(Shelf.stat, uid="1")
    assert raised.value.retry_after == 7


def test_an_error_of_a_newer_program_is_taken_for_its_family():
    text = "The moon is in the way."
    error = error_of(Fault(side=Side.RECEIVER, family="ServerBusy", code="MoonInTheWay", text=text))
    assert type(error) is errors.Unavailable
    assert text in str(error)


def test_a_fault_cannot_pass_for_an_error_of_another_family():
    fault = Fault(
        side=Side.SENDER, family="AccessDenied", code="StoreFull", text="There is no room for it: x."
    )
    assert type(error_of(fault)) is errors.AccessDenied


@pytest.mark.parametrize("soap", VERSIONS, ids=lambda soap: soap.name)
def test_what_a_stranger_says_in_a_fault_is_not_repeated(soap):
    body = etree.Element(soap.tag("Body"))
    write_fault(body, soap, "urn:another", Fault(side=Side.SENDER, family="Odd", code="Odd", text="DOE^JOHN"))
    assert "DOE" not in str(error_of(read_fault(body[0], soap, SHELF)))
    receiver = Fault(side=Side.RECEIVER, text="")
    assert type(error_of(receiver)) is errors.Unavailable


def test_faults_of_soap_itself_have_no_subcode():
    assert fault_of(NotUnderstood("{urn:x}a")).headers == ("{urn:x}a",)
    assert fault_of(NotUnderstood("{urn:x}a")).family == ""
    assert fault_of(WrongVersion("Soap12")).side is Side.VERSION_MISMATCH


def test_every_family_is_heard_and_said():
    assert set(HEARD) == set(FAMILIES.values()) == set(FAULTS.values())
    assert {kind for kind in HEARD.values() if family_of(kind) is None} == set()


def test_a_detail_has_the_fields_of_its_declaration():
    assert list(FaultDetail.__annotations__) == ["code", "message", "retry_after"]
