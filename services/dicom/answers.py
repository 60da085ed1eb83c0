"""Answers to a query: rows of the catalog as encoded identifiers (PS3.4 C.4.1.1.3.2).

A query returns up to hundreds of thousands of rows, so everything that does not depend on the row is
prepared once per query: each column knows its tag, VR and padding as they go on the wire. While it is put
together, an identifier is a string whose characters stand for bytes (Latin-1); ASCII values are then on the
wire as they are, and only others have to be spelled in a character set first.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple, cast

from pydicom.charset import ESC, custom_encoders, decode_bytes, default_encoding, encode_string
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from node.domain.ids import AETitle
from node.domain.query import Cell, Level, Row
from services.dicom.identifiers import (
    BYTES_VRS,
    INSTANCE_AVAILABILITY,
    NUMBERS,
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    SPECIFIC_CHARACTER_SET,
    encodings_of,
    vr_of,
)

ONLINE: Final = "ONLINE"
"""Instance Availability of what is here (PS3.3 C.4.23.1.1)."""
NEARLINE: Final = "NEARLINE"
"""Instance Availability of what is at other sites: a retrieval from here brings it, but not at once."""
UNICODE: Final = "ISO_IR 192"
"""The character set that can spell every name."""

FAILED_SOP_INSTANCE_UID_LIST: Final = 0x00080058
MOST_FAILED: Final = 1000
"""UIDs in one Failed SOP Instance UID List; as many as fit in the short form of explicit VR."""

_LONG_FORM = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_LONGEST_SHORT = 0xFFFE
_DELIMITERS = re.compile(r"([\\^=\r\n\f\t])")
_ITEM: Final = 0xFFFEE000


@dataclass(frozen=True, slots=True)
class Form:
    """How a transfer syntax writes an element (PS3.5 7.1)."""

    implicit: bool
    little: bool

    @classmethod
    def of(cls, transfer_syntax: str) -> Form:
        """The form of one of the transfer syntaxes of identifiers."""
        return cls(transfer_syntax == ImplicitVRLittleEndian, transfer_syntax != ExplicitVRBigEndian)

    def packed(self, letters: str, *numbers: int | float) -> str:
        """Numbers in this byte order."""
        return struct.pack(("<" if self.little else ">") + letters, *numbers).decode("latin-1")

    def head(self, tag: int, vr: str) -> str:
        """An element up to its length."""
        tag_bytes = self.packed("HH", tag >> 16, tag & 0xFFFF)
        if self.implicit or tag == _ITEM:
            return tag_bytes
        return tag_bytes + vr + ("\0\0" if vr in _LONG_FORM else "")

    def element(self, tag: int, vr: str, value: str) -> str:
        """A whole element."""
        column = column_of(self, tag, vr)
        return f"{column.head}{column.lengths[len(value)]}{value}{column.pads[len(value) & 1]}"


class Lengths(dict[int, str]):
    """Value lengths as they are written, rounded up to even ones (PS3.5 7.1.1); made when first needed."""

    def __init__(self, form: Form, short: bool) -> None:
        """The lengths of the short form of explicit VR, or those of four bytes."""
        super().__init__()
        self._form = form
        self._short = short

    def __missing__(self, length: int) -> str:
        """Write one more length.

        Raises:
            ValueError: the form has no room for it.
        """
        even = length + (length & 1)
        if self._short and even > _LONGEST_SHORT:
            raise ValueError("too long a value for explicit VR")
        written = self._form.packed("H" if self._short else "I", even)
        if length <= 1024:
            self[length] = written
        return written


class Column(NamedTuple):
    """What is known of an element before its value."""

    head: str
    lengths: Lengths
    pads: tuple[str, str]
    write: Callable[[Cell, Speller], str] | None
    """For VRs that are not text on the wire."""


class Speller:
    """Writes text that is not ASCII in a character set, and remembers that it had to."""

    def __init__(self, charset: str) -> None:
        """The speller of a Specific Character Set; of Unicode where that cannot spell anything but ASCII."""
        self._encodings = encodings_of(charset)
        self.charset = charset if self._encodings else UNICODE
        self.used = False

    def __call__(self, text: str) -> str:
        """The text in the character set, one character per byte.

        Raises:
            UnicodeError: the character set lacks a character.
        """
        if text.isascii():
            return text
        self.used = True
        return self._encoded(text).decode("latin-1")

    def _encoded(self, text: str) -> bytes:
        if not self._encodings:
            return text.encode("utf-8")
        if len(self._encodings) == 1 and self._encodings[0] not in custom_encoders:
            return text.encode(self._encodings[0])
        return b"".join(map(self._extended, _DELIMITERS.split(text)))

    def _extended(self, text: str) -> bytes:
        """Text by code extensions, between two delimiters that reset them (PS3.5 6.1.2.5.3)."""
        encoded = encode_string(text, self._encodings)
        start = encoded.split(ESC, 1)[0]
        foreign = self._encodings[0] == default_encoding and not start.isascii()
        if foreign or decode_bytes(encoded, self._encodings, set()) != text:
            raise UnicodeError("the character set lacks a character")
        return encoded


class Encoder:
    """Writes the rows of one query as encoded identifiers; used by one thread."""

    def __init__(
        self,
        tags: Sequence[tuple[int, str]],
        *,
        level: Level,
        ae_title: AETitle,
        transfer_syntax: str,
        charset: str = "",
        availability: str | None = None,
    ) -> None:
        """Prepare all that the rows have in common.

        Args:
            tags: (tag, VR) of each column, ascending.
            level: answered as Query/Retrieve Level.
            ae_title: answered as Retrieve AE Title.
            transfer_syntax: the one of the presentation context.
            charset: Specific Character Set of the request; rows that it cannot spell are in Unicode.
            availability: answered as Instance Availability; None where it was not asked for.
        """
        self._form = Form.of(transfer_syntax)
        self._deflated = transfer_syntax == DeflatedExplicitVRLittleEndian
        self._charset = charset
        same = {QUERY_RETRIEVE_LEVEL: level.name, RETRIEVE_AE_TITLE: str(ae_title)}
        if availability is not None:
            same[INSTANCE_AVAILABILITY] = availability
        self._columns, self._tail = self._prepared(tags, same)
        self._asked = Speller(charset)
        self._declared = {
            name: self._constant(SPECIFIC_CHARACTER_SET, name) for name in (self._asked.charset, UNICODE)
        }

    def _prepared(self, tags: Iterable[tuple[int, str]], same: dict[int, str]) -> tuple[list[Column], str]:
        """The columns, with the elements that are the same in every row in front of the next one's head."""
        waiting = sorted(same.items())
        columns: list[Column] = []
        for tag, vr in tags:
            column = column_of(self._form, tag, vr)
            before = ""
            while waiting and waiting[0][0] < tag:
                before += self._constant(*waiting.pop(0))
            columns.append(Column(before + column.head, column.lengths, column.pads, column.write))
        return columns, "".join(self._constant(*left) for left in waiting)

    def _constant(self, tag: int, value: str) -> str:
        return self._form.element(tag, vr_of(tag), value)

    def encode(self, row: Row) -> bytes:
        """One row as an encoded identifier."""
        try:
            text = self._written(row, self._asked)
        except UnicodeError:
            text = self._written(row, Speller(UNICODE))
        except ValueError:
            text = self._written(tuple(map(_bounded, row)), Speller(UNICODE))
        encoded = text.encode("latin-1")
        return _deflated(encoded) if self._deflated else encoded

    def _written(self, row: Row, speller: Speller) -> str:
        """All elements of a row; this loop is what a C-FIND spends its time in."""
        speller.used = False
        written: list[str] = []
        append = written.append
        for column, cell in zip(self._columns, cast("tuple[Any, ...]", row), strict=True):
            head, lengths, pads, write = column
            if not cell:
                append(head + lengths[0])
                continue
            if write is not None:
                value = write(cell, speller)
            elif cell.isascii():
                value = cell
            else:
                value = speller(cell)
            length = len(value)
            append(f"{head}{lengths[length]}{value}{pads[length & 1]}")
        append(self._tail)
        if speller.used:
            written.insert(0, self._declared[speller.charset])
        return "".join(written)


def failed_list(instances: Sequence[str], transfer_syntax: str) -> bytes:
    """An encoded identifier that lists instances whose sub-operations failed (PS3.4 C.4.2.1.4.2)."""
    value = "\\".join(instances[:MOST_FAILED])
    encoded = Form.of(transfer_syntax).element(FAILED_SOP_INSTANCE_UID_LIST, "UI", value).encode("latin-1")
    return _deflated(encoded) if transfer_syntax == DeflatedExplicitVRLittleEndian else encoded


@cache
def column_of(form: Form, tag: int, vr: str) -> Column:
    """What a form writes of an element whatever its value is."""
    lengths = _lengths(form, not form.implicit and vr not in _LONG_FORM and tag != _ITEM)
    pads = ("", "\0" if vr in BYTES_VRS or vr == "UI" else " ")
    return Column(form.head(tag, vr), lengths, pads, _writer(form, vr))


@cache
def _lengths(form: Form, short: bool) -> Lengths:
    return Lengths(form, short)


def _writer(form: Form, vr: str) -> Callable[[Cell, Speller], str] | None:
    """How values of a VR that is not text are written; None for those that are."""
    if vr == "SQ":
        return lambda cell, speller: _sequence(form, cell, speller)
    if vr in NUMBERS:
        return lambda cell, speller: _numbers(form, NUMBERS[vr], cell)
    if vr == "AT":
        return lambda cell, speller: _tags(form, cell)
    if vr in BYTES_VRS:
        return lambda cell, speller: ""
    return None


def _sequence(form: Form, cell: Cell, speller: Speller) -> str:
    """Items of defined length (PS3.5 7.5.1)."""
    items = cast("list[dict[int, Cell]]", cell)
    return "".join(form.element(_ITEM, "SQ", _item(form, item, speller)) for item in items)


def _item(form: Form, item: dict[int, Cell], speller: Speller) -> str:
    written = []
    for tag, cell in sorted(item.items()):
        vr = vr_of(tag)
        write = column_of(form, tag, vr).write
        value = "" if not cell else write(cell, speller) if write else speller(cast("str", cell))
        written.append(form.element(tag, vr, value))
    return "".join(written)


def _numbers(form: Form, letter: str, cell: Cell) -> str:
    """Binary numbers of text; nothing for text that is not one the VR can hold."""
    number = float if letter in "fd" else int
    try:
        numbers = [number(part) for part in cast("str", cell).split("\\")]
        return form.packed(f"{len(numbers)}{letter}", *numbers)
    except (ValueError, OverflowError, struct.error):
        return ""


def _tags(form: Form, cell: Cell) -> str:
    """Attribute tags of text such as `00080018`."""
    try:
        tags = [int(part, 16) for part in cast("str", cell).split("\\")]
        return "".join(form.packed("HH", tag >> 16, tag & 0xFFFF) for tag in tags)
    except (ValueError, struct.error):
        return ""


def _bounded(cell: Cell) -> Cell:
    """The cell, or None if it is text for which the short form of explicit VR may have no room."""
    return None if isinstance(cell, str) and len(cell) > _LONGEST_SHORT // 4 else cell


def _deflated(encoded: bytes) -> bytes:
    """The data set compressed, padded to even length (PS3.5 A.5)."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    compressed = compressor.compress(encoded) + compressor.flush()
    return compressed + b"\0" * (len(compressed) & 1)
