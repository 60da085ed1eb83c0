"""XML from strangers: read if it is plain, and refused before it can cost anything."""

from __future__ import annotations

import pytest
from lxml import etree

from node.domain.errors import MalformedMessage
from node.identity.xmlread import MAX_ATTRIBUTES, MAX_DECLARATIONS, MAX_DEPTH, MAX_ELEMENTS, parse


def refused(data: bytes, why: str, *, limit: int = 1 << 22) -> None:
    with pytest.raises(MalformedMessage, match=why):
        parse(data, limit)


def test_plain_xml_is_read():
    assert parse("<?xml version='1.0' encoding='UTF-8'?><a>ž<b/></a>".encode()).text == "ž"


def test_a_document_type_is_refused_with_every_trick_that_needs_one():
    for data in (
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1/x.dtd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b'<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;&x;&x;">]><a>&z;</a>',
        b'<!DOCTYPE a [<!ATTLIST b Id ID #IMPLIED>]><a><b Id="x"/></a>',
        b"<a><![CDATA[<!DOCTYPE a>]]></a>",
    ):
        refused(data, "document type")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_no_other_encoding_can_hide_a_document_type(encoding):
    refused(f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a><a/>'.encode(encoding), "UTF-8")


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-7", "ISO-8859-2"])
def test_it_is_utf_8_whatever_it_declares(encoding):
    read = parse(f'<?xml version="1.0" encoding="{encoding}"?><a>ž+ADw-b/+AD4-</a>'.encode())
    assert (read.text, len(read)) == ("ž+ADw-b/+AD4-", 0)


@pytest.mark.parametrize(
    "data",
    [b"", b" ", b"<a>", b"<a/><b/>", b"<a>\xff</a>", b"<a>&x;</a>", b"<a b='1' b='2'/>", b"<p:a/>", b"{}"],
)
def test_what_is_not_well_formed_is_refused(data):
    refused(data, "well-formed")


@pytest.mark.parametrize(
    "data", [b"<!--x--><a/>", b"<a><!--x--></a>", b"<a/><!--x-->", b"<?x y?><a/>", b"<a><?x?></a>"]
)
def test_comments_and_instructions_are_refused_wherever_they_are(data):
    refused(data, "comments")


def test_each_limit_is_a_limit_and_not_less():
    nested = b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH
    wide = b"<a>" + b"<b/>" * (MAX_ELEMENTS - 1) + b"</a>"
    crowded = " ".join(f'a{number}=""' for number in range(MAX_ATTRIBUTES))
    declared = "".join(f'<b xmlns:p="urn:{number}"/>' for number in range(MAX_DECLARATIONS))
    parse(nested), parse(wide)
    parse(f"<a {crowded}/>".encode()), parse(f"<a>{declared}</a>".encode())
    refused(b"<a>" + nested + b"</a>", "deep")
    refused(wide.replace(b"<a>", b"<a><b/>"), "elements")
    refused(f'<a {crowded} b=""/>'.encode(), "attributes")
    refused(f'<a xmlns:q="urn:q">{declared}</a>'.encode(), "namespaces")
    parse(b"<a>12</a>", 9)
    refused(b"<a>123</a>", "longer", limit=9)


def test_a_document_far_deeper_than_the_stack_is_refused():
    refused(b"<a>" * 100_000 + b"</a>" * 100_000, r"well-formed|deep")


def test_an_entity_that_xml_itself_has_is_text():
    assert parse(b"<a>&lt;!DOCTYPE&gt; &#x41;</a>").text == "<!DOCTYPE> A"


def test_the_parser_of_another_thread_is_another_parser():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        roots = list(pool.map(parse, [b"<a><b>1</b></a>"] * 400))
    assert {etree.tostring(root) for root in roots} == {b"<a><b>1</b></a>"}
