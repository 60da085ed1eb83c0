"""What the catalog needs to know of a data set, read from its bytes once.

The walk of `node.archive.elements` serves nearly every data set; pydicom reads the sequences,
and the data sets that the walk gives up on.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.filereader import read_sequence
from pydicom.multival import MultiValue
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from node.archive.elements import (
    EXPLICIT_BIG,
    IMPLICIT_LITTLE,
    LONG,
    SHORT,
    Found,
    TooMany,
    Truncated,
    Unwalkable,
    find,
    find_at_start,
)
from node.archive.part10 import file_meta
from node.catalog.attributes import ATTRIBUTES, READ
from node.domain.errors import MalformedInstance
from node.domain.ids import TransferSyntaxUID
from node.domain.instance import Offer
from node.domain.query import Cell

CHARACTER_SET = 0x00080005
LONGEST = 4096
"""Bytes of one value that the catalog takes; a longer one is left out there, and kept in the file."""
HEAD = 16 << 20
"""Bytes of a data set that are inflated at the most."""
QUIRKY = 2 << 20
"""Bytes of a data set that are given to pydicom at the most: seconds of its time, if somebody means ill."""
_EXPLICIT_LITTLE = TransferSyntaxUID("1.2.840.10008.1.2.1")
_DEFLATED = frozenset(("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95"))
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i"}
_WANTED = READ | {CHARACTER_SET}
_ESCAPE = 0x1B
_TERM = re.compile("(ISO|GB)[ -~]*")


def read_header(offer: Offer, data: memoryview) -> Mapping[int, Cell]:
    """Values of `node.catalog.attributes.READ` in a data set; absent and empty ones are left out.

    Args:
        offer: what was announced; its transfer syntax says how to read.
        data: the whole data set as it was sent.

    Raises:
        MalformedInstance: it breaks off, or cannot be read.
    """
    whole = True
    try:
        if offer.transfer_syntax in _DEFLATED:
            data, whole = _inflated(data)
            offer = replace(offer, transfer_syntax=_EXPLICIT_LITTLE)
        found = find(data, offer.transfer_syntax, _WANTED, longest=LONGEST, whole=whole)
    except Truncated:
        if not _is_explicit_as_implicit(offer, data):
            raise MalformedInstance("it breaks off before its end") from None
        return _read_by_pydicom(offer, data)
    except TooMany:
        raise MalformedInstance("it has too many elements") from None
    except Unwalkable:
        return _read_by_pydicom(offer, data)
    return _Values(found, offer.transfer_syntax)


def peek_header(offer: Offer, start: memoryview) -> tuple[Mapping[int, Cell], int] | None:
    """The same from the beginning of a data set, with the length that it must have for this to be all of it.

    None where the beginning does not tell.
    """
    if offer.transfer_syntax in _DEFLATED:
        return None
    try:
        found, end = find_at_start(start, offer.transfer_syntax, _WANTED, longest=LONGEST)
    except Unwalkable:
        return None
    return _Values(found, offer.transfer_syntax), end


def _inflated(data: memoryview) -> tuple[memoryview, bool]:
    """The beginning of a deflated data set, and whether that is all; it cannot fill the memory."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        head = inflater.decompress(data, HEAD)
    except zlib.error:
        raise MalformedInstance("it cannot be inflated") from None
    if not inflater.eof and len(head) < HEAD:
        raise Truncated
    return memoryview(head), inflater.eof


class _Values(Mapping[int, Cell]):
    """Attributes decoded when they are asked for: most instances add no study and no series."""

    def __init__(self, found: dict[int, Found], transfer_syntax: str) -> None:
        character_set = found.pop(CHARACTER_SET, Found("CS", b"")).value
        self._order = ">" if transfer_syntax == EXPLICIT_BIG else "<"
        self._implicit = transfer_syntax == IMPLICIT_LITTLE
        self._character_set = _strip(character_set.decode("latin-1"))
        self._found = {tag: element for tag, element in found.items() if _says_something(tag, element.value)}

    def __getitem__(self, tag: int) -> Cell:
        element = self._found[tag]
        vr = ATTRIBUTES[tag].vr
        if vr == "SQ":
            return self._items(element)
        if vr in _BINARY:
            return self._numbers(element.value, _BINARY[vr])
        return self._text(element.value, vr)

    def __contains__(self, tag: object) -> bool:
        return tag in self._found

    def __iter__(self) -> Iterator[int]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def _text(self, value: bytes, vr: str) -> str:
        if value.isascii() and _ESCAPE not in value:
            return _strip(value.decode("ascii"))
        encodings = self._encodings()
        if vr == "PN":
            return _strip(
                "=".join([decode_bytes(group, encodings, PN_DELIMS) for group in value.split(b"=")])
            )
        return _strip(decode_bytes(value, encodings, TEXT_VR_DELIMS))

    def _numbers(self, value: bytes, code: str) -> str:
        count = len(value) // struct.calcsize(code)
        numbers = struct.unpack_from(f"{self._order}{count}{code}", value)
        return "\\".join(map(str, numbers))

    def _items(self, element: Found) -> Cell:
        implicit = self._implicit or element.vr == "UN"
        little = self._order == "<"
        try:
            sequence = read_sequence(
                BytesIO(element.value), implicit, little, len(element.value), self._encodings()
            )
            return [cells(item) for item in sequence]
        except Exception:
            return None

    def _encodings(self) -> list[str]:
        """The data set's character sets in Python's names; what is no term could name any codec of Python."""
        terms = self._character_set.split("\\")
        return convert_encodings([term if _TERM.fullmatch(term) else "" for term in terms])


def _is_explicit_as_implicit(offer: Offer, data: memoryview) -> bool:
    """Whether the first element has a VR where the announced encoding has a length."""
    return offer.transfer_syntax == IMPLICIT_LITTLE and bytes(data[4:6]) in SHORT | LONG


def _read_by_pydicom(offer: Offer, data: memoryview) -> Mapping[int, Cell]:
    """The slow way, for data sets that are not encoded as was announced."""
    file = BytesIO(file_meta(offer) + data[:QUIRKY])
    try:
        dataset = dcmread(file, stop_before_pixels=True, specific_tags=sorted(_WANTED))
        return {tag: value for tag, value in cells(dataset).items() if value and tag in READ}
    except Exception as error:
        # Hostile bytes make pydicom raise nearly anything; its message may quote them: it ends here.
        raise MalformedInstance(f"its encoding is broken ({type(error).__name__})") from None


def cells(dataset: Dataset, depth: int = 0) -> dict[int, Cell]:
    """The textual elements of a data set as the catalog holds them."""
    found: dict[int, Cell] = {}
    for element in dataset:
        if element.VR == "SQ" and depth < 4:
            found[int(element.tag)] = [cells(item, depth + 1) for item in element.value]
        elif not isinstance(element.value, bytes) and element.VR != "SQ":
            found[int(element.tag)] = _written(element.value)
    return found


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, MultiValue | list):
        return "\\".join(_written(one) for one in value)
    return _strip(str(value).encode("utf-8", "replace").decode("utf-8"))


def _says_something(tag: int, value: bytes) -> bool:
    return bool(value if ATTRIBUTES[tag].vr in _BINARY else value.strip(b"\0 "))


def _strip(text: str) -> str:
    """Text without the padding of its values (PS3.5 6.2)."""
    if "\\" in text:
        return "\\".join([value.strip(" \0") for value in text.split("\\")])
    return text.strip(" \0")
