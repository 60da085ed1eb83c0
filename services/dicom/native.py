"""Native data sets for devices that take only the other native transfer syntax (PS3.5 A.1 and A.2).

Implicit and Explicit VR Little Endian write values alike; only the heads of the elements differ. So no value
is decoded, and the pixels go as they are, straight from the stored file.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.values import convert_SQ

from node.domain.errors import Damaged
from node.domain.ids import TransferSyntaxUID

EXPLICIT: Final = TransferSyntaxUID(ExplicitVRLittleEndian)
IMPLICIT: Final = TransferSyntaxUID(ImplicitVRLittleEndian)
NATIVE: Final = (EXPLICIT, IMPLICIT)

LONGEST_REST: Final = 32 << 20
"""Bytes beside the pixel data that are written anew; they have to be in memory."""

_PIXELS: Final = {0x7FE00008: "OF", 0x7FE00009: "OD", 0x7FE00010: "OW"}
"""The pixel data elements, with the VR of each in Implicit VR (PS3.5 A.1)."""
_LONG_FORM = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_AMBIGUOUS = {"OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "OW"}
_PIXEL_REPRESENTATION: Final = 0x00280103
_ITEM: Final = 0xFFFEE000
_UNDEFINED: Final = 0xFFFFFFFF


class StoredFile(Protocol):
    """An open Part 10 file of the store."""

    @property
    def fd(self) -> int:
        """Its file descriptor."""

    @property
    def offset(self) -> int:
        """Where the data set starts."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A data set in the other native syntax: new bytes around a part of the stored file."""

    before: bytes
    start: int
    stop: int
    after: bytes

    @property
    def length(self) -> int:
        """Bytes of the data set."""
        return len(self.before) + self.stop - self.start + len(self.after)


def convert(file: StoredFile, stored: TransferSyntaxUID) -> Converted:
    """Write the data set of a file in the native transfer syntax that it is not stored in.

    Raises:
        Damaged: it cannot be read, or has too much beside its pixel data.
    """
    try:
        return _convert(file, stored == IMPLICIT)
    except Damaged:
        raise
    except Exception as error:  # whatever a parser makes of what a modality wrote
        raise Damaged("a data set cannot be read in its transfer syntax") from error


def _convert(file: StoredFile, implicit: bool) -> Converted:
    stream = io.BufferedReader(_DataSet(file), 1 << 16)
    before = read_dataset(stream, implicit, True, stop_when=lambda tag, vr, length: tag in _PIXELS)
    place = file.offset + stream.tell()
    head, start, stop = _pixels(file, place, implicit)
    stream.seek(stop - file.offset)
    after = read_dataset(stream, implicit, True) if stop < file.size else Dataset()
    signed = _is_signed(before)
    return Converted(
        before=_written(before, implicit, signed) + head,
        start=start,
        stop=stop,
        after=_written(after, implicit, signed),
    )


def _pixels(file: StoredFile, place: int, implicit: bool) -> tuple[bytes, int, int]:
    """The new head of the pixel data at this place, and where its bytes are; none at the end of the file."""
    head = os.pread(file.fd, 12, place)
    if not head:
        return b"", place, place
    group, element = struct.unpack_from("<HH", head)
    tag = group << 16 | element
    vr = _PIXELS[tag] if implicit else head[4:6].decode("ascii")
    start = place + (8 if implicit else 12)
    (length,) = struct.unpack_from("<I", head, 4 if implicit else 8)
    if start + length > file.size:
        raise Damaged("the pixel data of a native data set ends before its length")
    return _head(tag, vr, length, explicit=implicit), start, start + length


def _written(dataset: Dataset, implicit: bool, signed: bool) -> bytes:
    """The elements of a data set that was read in one syntax, in the other one."""
    written = []
    for tag in sorted(dataset.keys()):
        if tag.element:
            element = dataset.get_item(tag)
            assert element is not None
            if getattr(element, "length", _UNDEFINED) not in (_UNDEFINED, len(element.value or b"")):
                raise Damaged("a data set ends in the middle of an element")
            vr = _vr(int(tag), element.VR, signed)
            value = _value(vr, element.value, implicit, signed)
            written.append(_head(int(tag), vr, len(value), explicit=implicit) + value)
    return b"".join(written)


def _value(vr: str, value: object, implicit: bool, signed: bool) -> bytes:
    """The bytes of a value; the items of a sequence are written anew, with defined lengths."""
    if vr != "SQ":
        return cast("bytes", value) or b""
    items = convert_SQ(value, implicit, True) if isinstance(value, bytes) else value
    written = [_written(item, implicit, signed) for item in cast("Sequence[Dataset]", items or ())]
    return b"".join(struct.pack("<HHI", _ITEM >> 16, _ITEM & 0xFFFF, len(item)) + item for item in written)


def _vr(tag: int, vr: str | None, signed: bool) -> str:
    """The VR of an element, from the data dictionary where the syntax has none."""
    if vr is not None:
        return str(vr)
    try:
        known = dictionary_VR(tag)
    except KeyError:
        return "UN"
    if known == "US or SS":
        return "SS" if signed else "US"
    return _AMBIGUOUS.get(known, known)


def _head(tag: int, vr: str, length: int, *, explicit: bool) -> bytes:
    """An element up to its value (PS3.5 7.1); too long for the short form, it is of VR UN (PS3.5 6.2.2)."""
    group, element = tag >> 16, tag & 0xFFFF
    if not explicit:
        return struct.pack("<HHI", group, element, length)
    if vr not in _LONG_FORM and length <= 0xFFFF:
        return struct.pack("<HH2sH", group, element, vr.encode("ascii"), length)
    long = vr if vr in _LONG_FORM else "UN"
    return struct.pack("<HH2sHI", group, element, long.encode("ascii"), 0, length)


def _is_signed(dataset: Dataset) -> bool:
    """Whether pixel values are signed: it decides the VR of those that are US or SS (PS3.3 C.7.6.3.1)."""
    element = dataset.get_item(_PIXEL_REPRESENTATION)
    return element is not None and bool(element.value == b"\x01\x00")


class _DataSet(io.RawIOBase):
    """The data set of a stored file as a stream, without moving the position of its descriptor."""

    def __init__(self, file: StoredFile) -> None:
        super().__init__()
        self._file = file
        self._place = 0
        self._read = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._file.size - self._file.offset}
        self._place = start[whence] + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: object) -> int:
        """Read on.

        Raises:
            Damaged: too much was read: what has to be in memory is not of the size of a header.
        """
        count = os.preadv(self._file.fd, [cast("bytearray", buffer)], self._file.offset + self._place)
        self._place += count
        self._read += count
        if self._read > LONGEST_REST:
            raise Damaged("a data set has too much beside its pixel data to be converted")
        return count
