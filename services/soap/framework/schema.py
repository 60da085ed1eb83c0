"""The XML schema of a contract: published in its WSDL, and what every message is validated against.

A schema object of libxml2 collects errors in itself, so concurrent messages would read each other's:
every thread has its own, and what it collected is never repeated to anybody.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from lxml import etree

from node.domain.errors import MalformedMessage
from services.soap.framework.docs import Docs
from services.soap.framework.model import Text
from services.soap.framework.names import XSD

X = f"{{{XSD}}}"


def publish(
    drawn: etree._Element,
    namespace: str,
    *,
    texts: Iterable[Text],
    docs: Mapping[str, Docs],
    elements: Iterable[str],
) -> etree._Element:
    """The schema that spyne drew, cleaned: used prefixes only, limits, documentation.

    Args:
        drawn: what spyne made.
        namespace: of the contract.
        texts: the limited strings.
        docs: what is said of each complex type and its members.
        elements: the elements that messages are made of; others are left out.
    """
    root = etree.Element(f"{X}schema", nsmap={"xs": XSD, "tns": namespace})
    root.set("targetNamespace", namespace)
    root.set("elementFormDefault", "qualified")
    root.extend(_simple(text) for text in sorted(texts, key=lambda text: text.name))
    root.extend(deepcopy(one) for kind in ("simpleType", "complexType") for one in _named(drawn, kind))
    wanted = set(elements)
    root.extend(deepcopy(one) for one in _named(drawn, "element") if one.get("name") in wanted)
    for one in root.iterchildren(f"{X}complexType", f"{X}simpleType"):
        _document(one, docs.get(one.get("name", ""), Docs()))
    etree.cleanup_namespaces(root, keep_ns_prefixes=["xs", "tns"])
    return root


def _named(drawn: etree._Element, kind: str) -> list[Any]:
    return sorted(drawn.iterchildren(f"{X}{kind}"), key=lambda one: str(one.get("name")))


def _simple(text: Text) -> etree._Element:
    """A limited string as a simple type."""
    made = etree.Element(f"{X}simpleType", name=text.name)
    if text.doc:
        _annotate(made, text.doc)
    restriction = etree.SubElement(made, f"{X}restriction", base="xs:string")
    for facet, value in (("maxLength", text.longest), ("pattern", text.pattern)):
        if value is not None:
            etree.SubElement(restriction, f"{X}{facet}", value=str(value))
    return made


def _document(declared: etree._Element, docs: Docs) -> None:
    """Write the documentation of a type and its members into it."""
    if docs.text:
        _annotate(declared, docs.text)
    for one in declared.iter(f"{X}element"):
        if text := docs.parts.get(str(one.get("name"))):
            _annotate(one, text)


def _annotate(declared: etree._Element, text: str) -> None:
    annotation = etree.Element(f"{X}annotation")
    etree.SubElement(annotation, f"{X}documentation").text = text
    declared.insert(0, annotation)


class Validator:
    """Validates elements against one schema, from any thread."""

    def __init__(self, schema: etree._Element) -> None:
        self._text = etree.tostring(schema)
        self._local = threading.local()
        self.demand(None)

    def demand(self, element: etree._Element | None) -> None:
        """Let a valid element pass.

        Raises:
            MalformedMessage: it is not valid; the text says nothing of its content.
        """
        schema = getattr(self._local, "schema", None)
        if schema is None:
            schema = self._local.schema = etree.XMLSchema(etree.fromstring(self._text))
        if element is not None and not schema.validate(element):
            raise MalformedMessage("it is not valid against the published schema")
