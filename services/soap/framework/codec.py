"""Between elements and Python values, compiled once from the declarations of a contract.

What arrives here was validated against the schema: names, order, occurrences and patterns hold.
"""

from __future__ import annotations

import base64
import binascii
import enum
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from lxml import etree

from node.domain.errors import MalformedMessage
from services.soap.framework.blob import Blob
from services.soap.framework.model import Member, fields_of
from services.soap.framework.names import writable


class Attachments(Protocol):
    """Where the binary values of a message are."""

    def take(self, text: str) -> Blob:
        """The value that stands at an element with this text."""

    def place(self, element: etree._Element, blob: Blob) -> None:
        """Put a value into an element, or beside the message with a reference in the element."""


Read = Callable[[etree._Element, Attachments], Any]
Write = Callable[[etree._Element, str, Any, Attachments], None]


def put(parent: etree._Element, tag: str, text: str) -> None:
    """Append an element with a text; what XML cannot carry is replaced."""
    element = etree.SubElement(parent, tag)
    try:
        element.text = text
    except ValueError:
        element.text = writable(text)


def moment(text: str) -> datetime:
    """An `xs:dateTime`; one without a zone is in UTC."""
    read = datetime.fromisoformat(text.strip())
    return read if read.tzinfo else read.replace(tzinfo=UTC)


READ: dict[type, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: lambda text: text.strip() in {"true", "1"},
    datetime: moment,
    bytes: base64.b64decode,
}
WRITE: dict[type, Callable[[Any], str]] = {
    str: str,
    int: str,
    float: repr,
    bool: lambda value: "true" if value else "false",
    datetime: lambda value: value.astimezone(UTC).isoformat(),
    bytes: lambda value: base64.b64encode(value).decode("ascii"),
}


def reader(namespace: str, members: tuple[Member, ...], make: Callable[..., Any] = dict) -> Read:
    """What reads an element with these members and makes something of their values."""
    known = {f"{{{namespace}}}{one.tag}": (one.name, one.many, _read_one(namespace, one)) for one in members}
    lists = [one.name for one in members if one.many]
    absent = {one.name: None for one in members if not one.least and not one.many and not one.defaulted}

    def read(element: etree._Element, attachments: Attachments) -> Any:
        values: dict[str, Any] = dict(absent)
        found: dict[str, list[Any]] = {name: [] for name in lists}
        for child in element:
            name, many, read_one = known[child.tag]
            if many:
                found[name].append(read_one(child, attachments))
            else:
                values[name] = read_one(child, attachments)
        for name in lists:
            values[name] = tuple(found[name])
        return make(**values)

    return read


def _read_one(namespace: str, member: Member) -> Read:
    if member.is_record:
        return reader(namespace, fields_of(member.of), member.of)
    if member.of is Blob:
        return lambda element, attachments: attachments.take(element.text or "")
    convert = member.of if issubclass(member.of, enum.StrEnum) else READ[member.of]
    return lambda element, attachments: convert(element.text or "")


def writer(namespace: str, members: tuple[Member, ...]) -> Callable[[etree._Element, Any, Attachments], None]:
    """What writes the members of a value into an element."""
    steps = [(one.name, f"{{{namespace}}}{one.tag}", one.many, write_one(namespace, one)) for one in members]

    def write(parent: etree._Element, value: Any, attachments: Attachments) -> None:
        for name, tag, many, write_value in steps:
            inner = getattr(value, name)
            if many:
                for item in inner:
                    write_value(parent, tag, item, attachments)
            elif inner is not None:
                write_value(parent, tag, inner, attachments)

    return write


def write_one(namespace: str, member: Member) -> Write:
    """What appends one value of a member."""
    if member.is_record:
        inside = writer(namespace, fields_of(member.of))
        return lambda parent, tag, value, attachments: inside(
            etree.SubElement(parent, tag), value, attachments
        )
    if member.of is Blob:
        return lambda parent, tag, value, attachments: attachments.place(etree.SubElement(parent, tag), value)
    convert = str if issubclass(member.of, enum.StrEnum) else WRITE[member.of]
    return lambda parent, tag, value, attachments: put(parent, tag, convert(value))


def readable(read: Read, element: etree._Element, attachments: Attachments) -> Any:
    """Read a validated element.

    Raises:
        MalformedMessage: a value has the form of its type and means nothing, like a 30 February.
    """
    try:
        return read(element, attachments)
    except (ValueError, OverflowError, binascii.Error):
        raise MalformedMessage("a value is out of range") from None
