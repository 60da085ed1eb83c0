"""Answers with a thousand rows, without a value in between: elements from columns, columns from elements.

For operations that are measured; all others return the types of their declaration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from xml.sax.saxutils import escape

from lxml import etree

from services.soap.framework.contract import Operation
from services.soap.framework.names import local_name, writable

_is_marked = re.compile("[&<>]").search
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)


def write_rows(
    operation: Operation, columns: Sequence[str], rows: Iterable[Sequence[str | None]]
) -> etree._Element:
    """The response element of an operation whose result is a list of records of plain members.

    Args:
        operation: whose response this is.
        columns: the names of elements in a row, in the order of the schema.
        rows: their texts; None for one that is not there.
    """
    if operation.result is None:
        raise TypeError(f"{operation.name} has no result")
    listed = list(rows)
    try:
        return etree.fromstring(_written(operation, columns, listed, _spelled), _PARSER)
    except etree.XMLSyntaxError:  # a text that XML cannot carry
        return etree.fromstring(_written(operation, columns, listed, _replaced), _PARSER)


def _written(
    operation: Operation,
    columns: Sequence[str],
    rows: Sequence[Sequence[str | None]],
    spell: Callable[[str], str],
) -> str:
    """The text of the response element: making it so costs a third of making its elements one by one."""
    assert operation.result is not None
    row_tag, response_tag = operation.result.tag, local_name(operation.response_tag)
    marks = [(f"<{column}>", f"</{column}>") for column in columns]
    parts = [f'<{response_tag} xmlns="{operation.namespace}">']
    for row in rows:
        parts.append(f"<{row_tag}>")
        parts += [
            f"{begin}{spell(text)}{end}"
            for (begin, end), text in zip(marks, row, strict=True)
            if text is not None
        ]
        parts.append(f"</{row_tag}>")
    parts.append(f"</{response_tag}>")
    return "".join(parts)


def _spelled(text: str) -> str:
    return escape(text) if _is_marked(text) else text


def _replaced(text: str) -> str:
    return escape(writable(text))


def read_rows(response: etree._Element, columns: Sequence[str]) -> Iterator[tuple[str | None, ...]]:
    """The texts of some members of each row of a response; None for one that is not there."""
    namespace = etree.QName(response).namespace
    places = {f"{{{namespace}}}{column}": place for place, column in enumerate(columns)}
    width = len(columns)
    for row in response:
        texts: list[str | None] = [None] * width
        for child in row:
            place = places.get(child.tag)
            if place is not None:
                texts[place] = child.text or ""
        yield tuple(texts)
