"""A walk over an encoded data set that finds wanted elements without decoding the rest (PS3.5 7).

Parsing with pydicom costs ten times as much CPU and is used where this walk gives up.
The walk goes to the very end, so that a data set which breaks off is noticed.
"""

from __future__ import annotations

import struct
from collections.abc import Set as AbstractSet
from typing import NamedTuple

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
UNDEFINED = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
DEPTH = 32
"""Sequences nested deeper than this are not walked."""
STEPS = 2_000_000
"""Elements and items that one data set may have."""
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
SHORT = frozenset(
    (
        b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO",
        b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
    )
)  # fmt: skip


class Unwalkable(Exception):
    """The bytes do not follow the encoding that was announced."""


class Truncated(Unwalkable):
    """An element reaches beyond the end of the data set."""


class TooMany(Unwalkable):
    """There are more elements and items than one data set may have."""


class Found(NamedTuple):
    """A wanted element: where its value is, and how it was encoded."""

    vr: str
    value: bytes
    """The encoded value; of a sequence with undefined length including its delimiter."""


def find(
    data: memoryview, transfer_syntax: str, wanted: AbstractSet[int], *, longest: int, whole: bool = True
) -> dict[int, Found]:
    """Top-level elements of an encoded data set, by tag.

    Args:
        data: the data set as it was sent, inflated.
        transfer_syntax: all but two of them are explicit VR little endian (PS3.5 A.4).
        wanted: tags to return.
        longest: wanted values longer than this are left out, in bytes.
        whole: the data set is complete; otherwise it may break off after any element.

    Raises:
        Truncated: an element reaches beyond the end.
        TooMany: there is no end of elements.
        Unwalkable: the bytes do not follow the encoding.
    """
    walk = _Walk(data, transfer_syntax)
    try:
        if walk.collect(wanted, longest) > len(data):
            raise Truncated
    except Truncated:
        if whole:
            raise
    return walk.found


def find_at_start(
    data: memoryview, transfer_syntax: str, wanted: AbstractSet[int], *, longest: int
) -> tuple[dict[int, Found], int]:
    """The same for the beginning of a data set, and where the last of its elements ends.

    That end lies beyond `data` where the value of an element goes on there, as that of pixel data does.

    Raises:
        Truncated: it breaks off where only more bytes can tell what follows.
        Unwalkable: the bytes do not follow the encoding.
    """
    walk = _Walk(data, transfer_syntax)
    end = walk.collect(wanted, longest)
    return walk.found, end


class _Walk:
    """One pass over one data set, or its beginning."""

    def __init__(self, data: memoryview, transfer_syntax: str) -> None:
        order = ">" if transfer_syntax == EXPLICIT_BIG else "<"
        self.found: dict[int, Found] = {}
        self._data = data
        self._end = len(data)
        self._implicit = transfer_syntax == IMPLICIT_LITTLE
        self._header = struct.Struct(order + "HH2sH").unpack_from
        self._plain = struct.Struct(order + "HHI").unpack_from
        self._length = struct.Struct(order + "I").unpack_from
        self._steps = 0

    def collect(self, wanted: AbstractSet[int], longest: int) -> int:
        """Gather the wanted elements; where the last element ends, which may be beyond the data."""
        position = 0
        while position < self._end:
            tag, vr, length, start = self._element(position, implicit=self._implicit)
            position = self._after(vr, length, start)
            if tag in wanted and position - start <= longest:
                if position > self._end:
                    raise Truncated
                self.found[tag] = Found(vr.decode("latin-1"), bytes(self._data[start:position]))
        return position

    def _element(self, position: int, *, implicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR (empty where implicit), length and start of the value of the element at a position."""
        self._steps += 1
        if position + 8 > self._end:
            raise Truncated
        if self._steps > STEPS:
            raise TooMany
        if implicit:
            group, element, length = self._plain(self._data, position)
            return group << 16 | element, b"", length, position + 8
        group, element, vr, length = self._header(self._data, position)
        if vr in SHORT:
            return group << 16 | element, vr, length, position + 8
        if vr not in LONG:
            raise Unwalkable
        if position + 12 > self._end:
            raise Truncated
        return group << 16 | element, vr, self._length(self._data, position + 8)[0], position + 12

    def _after(self, vr: bytes, length: int, start: int, depth: int = 0) -> int:
        """Where the element after this value begins."""
        if length != UNDEFINED:
            return start + length
        if depth > DEPTH:
            raise Unwalkable
        # A value of unknown VR and undefined length is a sequence in implicit VR (PS3.5 6.2.2).
        return self._after_items(start, implicit=self._implicit or vr == b"UN", depth=depth)

    def _after_items(self, position: int, *, implicit: bool, depth: int) -> int:
        while True:
            tag, length = self._item(position)
            position += 8
            if tag == SEQUENCE_END:
                return position
            if tag != ITEM:
                raise Unwalkable
            position = (
                self._after_item(position, implicit=implicit, depth=depth)
                if length == UNDEFINED
                else position + length
            )

    def _after_item(self, position: int, *, implicit: bool, depth: int) -> int:
        """Where an item of undefined length ends, its delimiter included."""
        while True:
            if self._item(position)[0] == ITEM_END:
                return position + 8
            _, vr, length, start = self._element(position, implicit=implicit)
            if length == UNDEFINED and implicit and not self._implicit:
                position = self._after_items(start, implicit=True, depth=depth + 1)
            else:
                position = self._after(vr, length, start, depth + 1)

    def _item(self, position: int) -> tuple[int, int]:
        self._steps += 1
        if position + 8 > self._end:
            raise Truncated
        if self._steps > STEPS:
            raise TooMany
        group, element, length = self._plain(self._data, position)
        return group << 16 | element, length
