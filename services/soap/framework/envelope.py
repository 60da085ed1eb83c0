"""The envelope: what is refused before the parser runs, while it runs, and right after.

```
 bytes ── size, DOCTYPE, marks ──▶ parser ── depth, version, one Body, one child ──▶ Envelope
```
"""

from __future__ import annotations

import codecs
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from lxml import etree

from node.domain.errors import MalformedMessage, TooLarge
from node.identity.xmlread import demand_plain
from services.soap.framework.faults import NotUnderstood, WrongVersion
from services.soap.framework.limits import Limits
from services.soap.framework.names import VERSIONS, WSA, WSSE, Soap

UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
SECURITY = f"{{{WSSE}}}Security"
ADDRESSING = frozenset(
    f"{{{WSA}}}{name}" for name in ("Action", "MessageID", "To", "From", "ReplyTo", "FaultTo", "RelatesTo")
)
TRUE = frozenset({"1", "true"})

_own = threading.local()


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message that was read: the tree that is authenticated is the tree that is served."""

    soap: Soap
    root: etree._Element
    headers: tuple[etree._Element, ...]
    body: etree._Element
    """The one child of its Body."""


def read_envelope(data: bytes, soap: Soap, limits: Limits) -> Envelope:
    """Parse a message.

    Raises:
        TooLarge: it has too many bytes.
        MalformedMessage: it is not a SOAP message, or one that is built to hurt.
        WrongVersion: it is one of another version of SOAP.
    """
    root = parse(data, limits)
    if root.tag != soap.tag("Envelope"):
        if root.tag in {other.tag("Envelope") for other in VERSIONS}:
            raise WrongVersion(soap.name)
        raise MalformedMessage("it is not an envelope")
    bodies = root.findall(soap.tag("Body"))
    if len(bodies) != 1 or len(bodies[0]) != 1:
        raise MalformedMessage("it must have one Body with one element")
    headers = root.findall(soap.tag("Header"))
    if len(headers) > 1:
        raise MalformedMessage("it has more than one Header")
    return Envelope(soap=soap, root=root, headers=tuple(headers[0]) if headers else (), body=bodies[0][0])


def parse(data: bytes, limits: Limits) -> etree._Element:
    """Parse XML from a stranger.

    Raises:
        TooLarge: it has too many bytes.
        MalformedMessage: it is not well-formed, has a document type, or too many or too deep elements.
    """
    if len(data) > limits.body:
        raise TooLarge(limits.body)
    if data.startswith(UTF16):
        data = _utf8(data)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise MalformedMessage("a document type declaration is not allowed")
    if data.count(b"<") + data.count(b"=") > limits.marks:
        raise MalformedMessage("it has too many elements")
    try:
        root = etree.fromstring(data, _parser())
    except (etree.XMLSyntaxError, ValueError):
        raise MalformedMessage("it is not well-formed XML") from None
    if _deeper(limits.depth)(root):
        raise MalformedMessage("its elements are nested too deep")
    demand_plain(root)
    return root


def _utf8(data: bytes) -> bytes:
    try:
        return data.decode("utf-16").encode()
    except UnicodeDecodeError:
        raise MalformedMessage("it is not in the encoding it claims") from None


def _parser() -> etree.XMLParser:
    """The parser of this thread: UTF-8 alone, no entities, no network, no comments, at most 256 deep."""
    parser: etree.XMLParser | None = getattr(_own, "parser", None)
    if parser is None:
        parser = _own.parser = etree.XMLParser(
            encoding="utf-8",
            resolve_entities=False,
            load_dtd=False,
            no_network=True,
            remove_comments=True,
            remove_pis=True,
            huge_tree=False,
        )
    return parser


def _deeper(depth: int) -> etree.XPath:
    """Asks whether there are elements deeper than this."""
    asked: dict[int, etree.XPath] = _own.__dict__.setdefault("deeper", {})
    if depth not in asked:
        asked[depth] = etree.XPath(f"boolean({'/*' * (depth + 1)})")
    return asked[depth]


def demand_understanding(envelope: Envelope, understood: Iterable[str]) -> None:
    """Refuse a message with mandatory headers for us that we do not know (SOAP 1.2 part 1, 2.4).

    Raises:
        NotUnderstood: it has such headers; their names are its arguments.
    """
    known = {*ADDRESSING, *understood}
    unknown = [
        str(one.tag) for one in envelope.headers if _is_mandatory(envelope.soap, one) and one.tag not in known
    ]
    if unknown:
        raise NotUnderstood(*unknown)


def _is_mandatory(soap: Soap, header: etree._Element) -> bool:
    role = header.get(soap.tag("role")) or header.get(soap.tag("actor")) or ""
    return (header.get(soap.tag("mustUnderstand")) or "").strip() in TRUE and role.strip() in soap.roles


def text_of(envelope: Envelope, tag: str) -> str:
    """The text of a header, without blanks around it; empty if there is none."""
    found = next((one for one in envelope.headers if one.tag == tag), None)
    return (found.text or "").strip() if found is not None else ""
