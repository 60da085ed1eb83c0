"""What a contract is made of, read from Python annotations.

| Python | on the wire |
|---|---|
| `str`, `int`, `bool`, `float` | `xs:string`, `xs:long`, `xs:boolean`, `xs:double` |
| `datetime`, `bytes` | `xs:dateTime`, `xs:base64Binary` |
| `Annotated[str, Text(...)]`, `Annotated[int, Whole()]` | a named restriction, `xs:unsignedLong` |
| `Blob` | `xs:base64Binary`, as a MIME part where the other side can |
| a `StrEnum` | an enumeration |
| a dataclass | a complex type of its name |
| `X | None`, or anything with a default | `minOccurs="0"` |
| `tuple[X, ...]`, with `Annotated[..., Many(up_to=n)]` | `minOccurs="0" maxOccurs="n"` |
"""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from services.soap.framework.docs import read_docs
from services.soap.framework.names import camel

MANY = 1000
"""How many items a list takes when its declaration does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Limits of a string, published as a simple type."""

    name: str
    longest: int | None = None
    pattern: str | None = None
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer that is not negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """How many items a list may have."""

    up_to: int = MANY
    at_least: int = 0


DigestText = Annotated[
    str, Text(name="Digest", pattern="[0-9a-f]{64}", doc="SHA-256 of the stored bytes, hexadecimal.")
]
UidText = Annotated[
    str,
    Text(name="Uid", longest=64, pattern=r"[0-9]+(\.[0-9]+)*", doc="A DICOM unique identifier (PS3.5 9.1)."),
]
ShortText = Annotated[str, Text(name="ShortText", longest=256, doc="A line of at most 256 characters.")]
LongText = Annotated[str, Text(name="LongText", longest=65536, doc="A text of at most 65536 characters.")]
Count = Annotated[int, Whole()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A field, a parameter or a result, as it stands on the wire."""

    name: str
    of: Any
    """The Python type of one value."""
    limit: Text | Whole | None = None
    least: int = 1
    most: int = 1
    many: bool = False
    defaulted: bool = False
    """Its declaration says what it is when it is not there."""
    doc: str = ""

    @property
    def tag(self) -> str:
        """Its element's name."""
        return camel(self.name)

    @property
    def is_record(self) -> bool:
        """Whether it has members itself."""
        return dataclasses.is_dataclass(self.of)


def member(name: str, hint: Any, doc: str = "", *, defaulted: bool = False) -> Member:
    """Read an annotation.

    Raises:
        TypeError: it says something that has no form on the wire.
    """
    hint, marks = _bare(hint)
    optional, hint, more = _optional(hint)
    marks += more
    many = next((mark for mark in marks if isinstance(mark, Many)), Many())
    repeated = get_origin(hint) is tuple
    if repeated:
        hint, more = _bare(get_args(hint)[0])
        marks += more
    limit = next((mark for mark in marks if isinstance(mark, Text | Whole)), None)
    if not isinstance(hint, type):
        raise TypeError(f"{name}: {hint} has no form on the wire")
    least = many.at_least if repeated else int(not optional and not defaulted)
    return Member(
        name=name,
        of=hint,
        limit=limit,
        least=least,
        most=many.up_to if repeated else 1,
        many=repeated,
        defaulted=defaulted,
        doc=doc,
    )


def _bare(hint: Any) -> tuple[Any, list[Any]]:
    """An annotation without `Annotated`, and what that said."""
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        return inner, marks
    return hint, []


def _optional(hint: Any) -> tuple[bool, Any, list[Any]]:
    """Whether None is allowed, and the annotation without it."""
    if get_origin(hint) not in {Union, types.UnionType}:
        return False, hint, []
    choices = [choice for choice in get_args(hint) if choice is not type(None)]
    if len(choices) != 1 or len(get_args(hint)) != 2:
        raise TypeError(f"{hint}: a choice has no form on the wire")
    return True, *_bare(choices[0])


@cache
def fields_of(record: type) -> tuple[Member, ...]:
    """The members of a record, in the order of its declaration."""
    hints = get_type_hints(record, include_extras=True)
    docs = read_docs(record)
    return tuple(
        member(one.name, hints[one.name], docs.parts.get(one.name, ""), defaulted=_has_default(one))
        for one in dataclasses.fields(record)
        if one.init
    )


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def named_in(members: tuple[Member, ...]) -> Iterator[type]:
    """Every record and enumeration that is reached from these members."""
    for one in members:
        if one.is_record:
            yield one.of
            yield from named_in(fields_of(one.of))
        elif issubclass(one.of, enum.StrEnum):
            yield one.of
