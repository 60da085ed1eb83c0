"""The published documents are what the declarations say, and keep the rules of the WS-I Basic Profile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree

from services.soap import wsdl as published
from services.soap.framework.contract import contract_of
from services.soap.framework.document import write, wsdl
from services.soap.framework.names import SOAP11, WSDL, XSD
from services.soap.services import SERVICES
from tests.support.soap_demo import Shelf
from tests.support.wsi import RULES, broken

ROOT = Path(__file__).parents[2]
W, X = f"{{{WSDL}}}", f"{{{XSD}}}"
FILES = sorted((ROOT / "wsdl").glob("*.wsdl"))


@pytest.fixture(scope="module")
def document() -> bytes:
    return published.published(Shelf)


def test_wsdl_holds_what_the_declarations_say():
    assert published.drift() == [], "run `python -m services.soap.wsdl --write`"


def test_every_published_document_keeps_the_basic_profile():
    assert {path.name: broken(path.read_bytes()) for path in FILES} == {path.name: [] for path in FILES}


def test_every_operation_and_every_record_is_documented():
    assert [one for service in SERVICES for one in undocumented(service)] == []


def undocumented(service):
    """The operations and types of a service that say nothing of themselves."""
    root = etree.fromstring(published.published(service))
    silent = [
        one.get("name")
        for one in root.iterfind(f"{W}portType/{W}operation")
        if not (one.findtext(f"{W}documentation") or "").strip()
    ]
    contract = contract_of(service)
    wrappers = {name for one in contract.operations.values() for name in (one.name, f"{one.name}Response")}
    silent += [
        one.get("name")
        for one in root.iter(f"{X}complexType")
        if one.get("name") not in wrappers and one.find(f"{X}annotation") is None
    ]
    return silent


def test_the_document_of_a_declaration_keeps_the_basic_profile(document):
    assert broken(document) == []
    assert len(RULES) >= 20


BROKEN = {
    "R2706": (b'use="literal"', b'use="encoded"'),
    "R2744": (b'soapAction="urn:konzilium:shelf:1:statRequest"', b'soapAction=""'),
    "R2101": (b'type="tns:Box"', b'type="tns:Bix"'),
    "R2206": (b'element="tns:stat"', b'element="tns:stet"'),
    "R2718": (b'<wsdl:operation name="fetch">', b'<wsdl:operation name="fitch">'),
    "R2754": (b'soap:fault name="ServerBusy"', b'soap:fault name="ServerLazy"'),
    "R2702": (b"http://schemas.xmlsoap.org/soap/http", b"http://schemas.xmlsoap.org/soap/smtp"),
    "R2781": (b'binding="tns:ShelfSoap12Binding"', b'binding="tns:ShelfSoap13Binding"'),
    "R2005": (b'targetNamespace="urn:konzilium:shelf:1">\n  <wsdl', b'targetNamespace="shelf">\n  <wsdl'),
    "R2204": (b'name="parameters" element=', b'name="parameters" type='),
    "R2710": (b'element="tns:putBox"', b'element="tns:stat"'),
    "R1142": (b'wsam:Action="urn:konzilium:shelf:1:statRequest"', b""),
    "R4003": (b"encoding='UTF-8'", b"encoding='ISO-8859-1'"),
}


@pytest.mark.parametrize("number", BROKEN)
def test_the_rules_find_what_breaks_them(document, number):
    good, bad = BROKEN[number]
    assert good in document
    assert any(one.startswith(f"{number}:") for one in broken(document.replace(good, bad, 1)))


def test_one_document_has_both_bindings_under_conventional_names(document):
    root = etree.fromstring(document)
    assert root.get("targetNamespace") == "urn:konzilium:shelf:1"
    assert [one.get("name") for one in root.iterfind(f"{W}portType")] == ["ShelfPortType"]
    assert [one.get("name") for one in root.iterfind(f"{W}binding")] == [
        "ShelfSoap11Binding",
        "ShelfSoap12Binding",
    ]
    assert [one.get("name") for one in root.iterfind(f"{W}service/{W}port")] == [
        "ShelfSoap11Port",
        "ShelfSoap12Port",
    ]


def test_a_document_for_old_clients_has_the_old_binding_alone():
    document = write(wsdl(contract_of(Shelf), "https://node.example/x", [SOAP11]))
    assert b"soap12" not in document
    assert broken(document) == []


def test_docstrings_are_the_documentation(document):
    root = etree.fromstring(document)
    assert root.findtext(f"{W}documentation").startswith("Boxes, kept in order.")
    said = {
        one.get("name"): one.findtext(f"{W}documentation")
        for one in root.iterfind(f"{W}portType/{W}operation")
    }
    assert said["stat"] == "Say what is known of a box."
    box = root.find(f".//{X}complexType[@name='Box']")
    assert box.findtext(f"{X}annotation/{X}documentation") == "A box on a shelf."
    assert box.findtext(f".//{X}element[@name='uid']/{X}annotation/{X}documentation") == "its name."
    result = root.find(f".//{X}complexType[@name='statResponse']//{X}element[@name='box']")
    assert result.findtext(f"{X}annotation/{X}documentation") == "The box as it stands."


def test_nothing_is_nillable_and_only_what_may_be_missing_is_optional(document):
    assert b"nillable" not in document
    root = etree.fromstring(document)
    box = root.find(f".//{X}complexType[@name='Box']")
    least = {one.get("name"): one.get("minOccurs", "1") for one in box.iter(f"{X}element")}
    assert least == {
        "uid": "1",
        "digest": "0",
        "size": "1",
        "state": "1",
        "seenAt": "0",
        "labels": "0",
        "open": "0",
    }
    assert box.find(f".//{X}element[@name='labels']").get("maxOccurs") == "4"


def test_drift_is_seen_written_away_and_gone(tmp_path):
    assert published.drift([Shelf], tmp_path) == ["shelf-1.wsdl"]
    assert published.regenerate([Shelf], tmp_path) == ["shelf-1.wsdl"]
    assert published.drift([Shelf], tmp_path) == []
    file = tmp_path / "shelf-1.wsdl"
    file.write_bytes(file.read_bytes().replace(b"Say what", b"Ask what"))
    (tmp_path / "attic-1.wsdl").write_bytes(file.read_bytes())
    assert published.regenerate([Shelf], tmp_path) == ["attic-1.wsdl", "shelf-1.wsdl"]
    assert [path.name for path in tmp_path.iterdir()] == ["shelf-1.wsdl"]


def test_how_a_document_is_indented_is_no_drift(tmp_path):
    published.regenerate([Shelf], tmp_path)
    file = tmp_path / "shelf-1.wsdl"
    file.write_bytes(
        etree.tostring(etree.fromstring(file.read_bytes(), etree.XMLParser(remove_blank_text=True)))
    )
    assert published.drift([Shelf], tmp_path) == []


def test_the_module_says_what_would_change():
    done = subprocess.run(
        [sys.executable, "-m", "services.soap.wsdl"], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"")
