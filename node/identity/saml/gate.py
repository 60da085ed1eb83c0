"""The gate in front of everything that reads SAML: which messages are looked at at all.

What comes through is small, plain and unambiguous: there is one way to read it, nothing in it can make a
verifier compute, fetch or look up anything, and each signature could only be over the element that it is in.
Nothing is verified or decrypted before.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Container
from typing import Final
from xml.sax.saxutils import quoteattr

from lxml import etree

from node.domain.errors import LoginRefused, MalformedMessage
from node.identity import xmlread
from node.identity.saml.names import (
    ASSERTION,
    AUTHENTICATED,
    ENCRYPTED_ASSERTION,
    ENCRYPTED_DATA,
    ENCRYPTED_ID,
    ENCRYPTED_KEY,
    KEY_TRANSPORTS,
    LOGOUT_REQUEST,
    LOGOUT_RESPONSE,
    RESPONSE,
    SIGNATURE,
    UNAUTHENTICATED,
    XENC,
    ds,
)
from node.identity.saml.signature import demand_shape
from node.identity.xmlnames import XML, local, only

MAX_BYTES: Final = 256 * 1024
"""Bytes of a message; those of real identity providers have 5 to 40 KB."""
MAX_ENCODED: Final = MAX_BYTES * 4 // 3 + 4096
"""Characters of a message in base64, with some for line breaks."""
MAX_ELEMENTS: Final = 2_000
MAX_RECIPIENTS: Final = 4
"""Keys that a message is encrypted for."""

_DECLARED = re.compile(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']*)[\"']")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]*={0,2}\s*")
_SIGNED = frozenset({RESPONSE, ASSERTION, LOGOUT_REQUEST, LOGOUT_RESPONSE})
_HOLDERS = frozenset({ENCRYPTED_ASSERTION, ENCRYPTED_ID})
_OUTSIDE = frozenset(
    {f"{{{XENC}}}CipherReference", ds("RetrievalMethod"), "{http://www.w3.org/2001/XInclude}include"}
)
"""What would make a reader look elsewhere."""


def decoded(text: str) -> bytes:
    """What a form field or a query holds in base64.

    Raises:
        LoginRefused: it is too long, or holds anything else.
    """
    if len(text) > MAX_ENCODED:
        raise LoginRefused(f"the message is longer than {MAX_BYTES} bytes")
    try:
        if not _BASE64.fullmatch(text):
            raise ValueError
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise LoginRefused("the message is not base64") from None


def inflated(data: bytes) -> bytes:
    """What the HTTP-Redirect binding has compressed (SAML Bindings §3.4.4.1).

    Raises:
        LoginRefused: it is not compressed so, or becomes too long.
    """
    engine = zlib.decompressobj(-15)
    try:
        plain = engine.decompress(data, MAX_BYTES)
    except zlib.error:
        raise LoginRefused("the message is not compressed as it should be") from None
    if engine.unconsumed_tail or not engine.eof or engine.unused_data:
        raise LoginRefused(f"the message is not whole, or longer than {MAX_BYTES} bytes")
    return plain


def read(data: bytes, roots: Container[str]) -> etree._Element:
    """Read a message that anybody may have sent.

    Args:
        data: the message.
        roots: the elements that may be its root, in Clark notation.

    Raises:
        LoginRefused: it is not of the plain form that is looked at.
        BadSignature: it has a signature of a form that is not allowed.
    """
    declared = _DECLARED.match(data[:200])
    if declared and declared[1].lower() not in (b"utf-8", b"us-ascii"):
        raise LoginRefused("the message is not in UTF-8")
    try:
        root = xmlread.parse(data, MAX_BYTES)
    except MalformedMessage as error:
        raise LoginRefused(f"the message is malformed: {error.args[0]}") from None
    if root.tag not in roots:
        raise LoginRefused(f"the message, {local(root.tag)[:40]}, is not one that is expected here")
    _check(root)
    return root


def read_within(data: bytes, holder: etree._Element, roots: Container[str]) -> etree._Element:
    """Read what was encrypted: it may use the prefixes that are declared around it (XML Encryption §4.4).

    Args:
        data: the plain text.
        holder: the element that held it.
        roots: the elements that it may be.

    Raises:
        LoginRefused, BadSignature: for the reasons that `read` has.
    """
    declared = "".join(
        f" xmlns{':' + prefix if prefix else ''}={quoteattr(uri)}" for prefix, uri in holder.nsmap.items()
    )
    if data.lstrip().startswith(b"<?"):
        return read(data, roots)
    try:
        around = xmlread.parse(b"<around%s>%s</around>" % (declared.encode(), data), MAX_BYTES)
    except MalformedMessage as error:
        raise LoginRefused(f"what was encrypted is malformed: {error.args[0]}") from None
    if len(around) != 1 or (around.text or "").strip() or (around[0].tail or "").strip():
        raise LoginRefused("what was encrypted is not one element")
    around[0].tail = None
    return read(etree.tostring(around[0]), roots)


def plain_text(element: etree._Element | None) -> str:
    """The text of an element that holds nothing else; empty if there is no such element.

    Raises:
        LoginRefused: it holds elements.
    """
    if element is None:
        return ""
    if len(element):
        raise LoginRefused(f"{local(element.tag)} holds more than text")
    return (element.text or "").strip()


def _check(root: etree._Element) -> None:
    """Each element is in its place, and says what it is in one way."""
    if sum(1 for _ in root.iter()) > MAX_ELEMENTS:
        raise LoginRefused(f"the message holds more than {MAX_ELEMENTS} elements")
    _check_namespaces(root)
    seen: set[str] = set()
    for element in root.iter():
        _check_identity(element, seen)
        _check_place(element, root)
    for element in root.iter(SIGNATURE):
        demand_shape(element)


def _check_namespaces(root: etree._Element) -> None:
    """Every namespace is an absolute URI: canonicalization fails, or lies, with others."""
    for _, (_, uri) in etree.iterwalk(root, events=("start-ns",)):
        if not _ABSOLUTE.fullmatch(uri):
            raise LoginRefused("the message has a namespace that is no absolute URI")
    if any(etree.QName(element).namespace is None for element in root.iter()):
        raise LoginRefused("the message holds an element without a namespace")


def _check_identity(element: etree._Element, seen: set[str]) -> None:
    """IDs are unqualified and occur once."""
    for name, value in element.attrib.items():
        attribute = etree.QName(name)
        if attribute.localname.lower() != "id":
            continue
        if attribute.namespace is not None:
            raise LoginRefused("the message has an ID that belongs to a namespace")
        if not value or value in seen:
            raise LoginRefused("two elements of the message have the same ID, or one has an empty one")
        seen.add(value)
    if f"{{{XML}}}base" in element.attrib:
        raise LoginRefused("the message names a base for its references")


def _check_place(element: etree._Element, root: etree._Element) -> None:
    """What is signed, encrypted or asserted is where SAML has it, and nowhere else."""
    parent = element.getparent()
    within = parent.tag if parent is not None else None
    if element.tag in _OUTSIDE:
        raise LoginRefused("the message refers to something outside itself")
    if element.tag in (RESPONSE, LOGOUT_REQUEST, LOGOUT_RESPONSE) and element is not root:
        raise LoginRefused("the message holds another message")
    if element.tag in (ASSERTION, ENCRYPTED_ASSERTION) and element is not root:
        if parent is not root or root.tag != RESPONSE:
            raise LoginRefused("the message holds an assertion in a place where none belongs")
    elif element.tag == SIGNATURE and within not in _SIGNED:
        raise LoginRefused("the message holds a signature in a place where none belongs")
    elif element.tag == ENCRYPTED_DATA:
        _check_data(element, within)
    elif element.tag == ENCRYPTED_KEY:
        _check_key(element, parent)


def _check_data(element: etree._Element, within: str | None) -> None:
    if within not in _HOLDERS or len(list(element.iter(ENCRYPTED_KEY))) > MAX_RECIPIENTS:
        raise LoginRefused("the message holds encrypted data in a place where none belongs")
    _check_method(element, AUTHENTICATED | UNAUTHENTICATED)


def _check_key(element: etree._Element, parent: etree._Element | None) -> None:
    above = parent.getparent() if parent is not None else None
    inside = parent is not None and parent.tag == ds("KeyInfo") and above is not None
    beside = parent is not None and parent.tag in _HOLDERS
    if not beside and not (inside and above is not None and above.tag == ENCRYPTED_DATA):
        raise LoginRefused("the message holds an encrypted key in a place where none belongs")
    _check_method(element, KEY_TRANSPORTS)


def _check_method(element: etree._Element, allowed: Container[str]) -> None:
    method = only(element, f"{{{XENC}}}EncryptionMethod", LoginRefused)
    if method.get("Algorithm", "") not in allowed:
        raise LoginRefused("the message is encrypted in a way that is not allowed here")
