"""Reading XML that anybody may have written."""

from __future__ import annotations

import threading
from itertools import islice
from typing import Any, Final

from lxml import etree

from node.domain.errors import MalformedMessage

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_ELEMENTS: Final = 60_000
MAX_DEPTH: Final = 64
MAX_ATTRIBUTES: Final = 64
"""Attributes of an element: canonicalization sorts them in quadratic time, 40 s for a megabyte of them."""
MAX_DECLARATIONS: Final = 1_000
"""Namespace declarations: canonicalization looks through those in scope for each name."""

_FOREIGN = etree.XPath("boolean(//comment() | //processing-instruction())")
_CROWDED = etree.XPath(f"boolean(//@*[{MAX_ATTRIBUTES + 1}])")
_ELEMENTS = etree.XPath("count(//*)")
_TOO_DEEP = etree.XPath("boolean(/" + "*/" * MAX_DEPTH + "*)")
_local = threading.local()


def parse(data: bytes, limit: int = MAX_BYTES) -> etree._Element:
    """Read XML that anybody may have written.

    It is UTF-8 whatever it declares, holds no document type, entity, comment or processing instruction, and
    is neither large nor deep.

    Raises:
        MalformedMessage: it is anything else.
    """
    if len(data) > limit:
        raise MalformedMessage(f"it is longer than {limit} bytes")
    if b"\0" in data or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise MalformedMessage("it is not UTF-8, or declares a document type or an entity")
    try:
        root = etree.fromstring(data, _parser())
    except (etree.XMLSyntaxError, ValueError):
        raise MalformedMessage("it is not well-formed XML in UTF-8") from None
    demand_plain(root)
    if _evaluate(_ELEMENTS, root) > MAX_ELEMENTS:
        raise MalformedMessage(f"it holds more than {MAX_ELEMENTS} elements")
    if _evaluate(_TOO_DEEP, root):
        raise MalformedMessage(f"its elements are nested more than {MAX_DEPTH} deep")
    return root


def demand_plain(root: etree._Element) -> None:
    """Refuse what a signature does not cover, or what makes it expensive to verify, in the whole document.

    Raises:
        MalformedMessage: it holds comments or processing instructions, or too many attributes or namespaces.
    """
    if _evaluate(_FOREIGN, root):
        raise MalformedMessage("it holds comments or processing instructions")
    if _evaluate(_CROWDED, root):
        raise MalformedMessage(f"an element has more than {MAX_ATTRIBUTES} attributes")
    declarations = etree.iterwalk(root.getroottree(), events=("start-ns",))
    if next(islice(declarations, MAX_DECLARATIONS, None), None) is not None:
        raise MalformedMessage("it declares too many namespaces")


def _parser() -> etree.XMLParser:
    """One for each thread."""
    parser: etree.XMLParser | None = getattr(_local, "parser", None)
    if parser is None:
        parser = _local.parser = etree.XMLParser(
            encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
        )
    return parser


def _evaluate(path: etree.XPath, root: etree._Element) -> Any:
    return path(root)
