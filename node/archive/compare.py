"""Whether two stored forms of an instance say the same: every attribute equal, every pixel equal.

Only lossless and native transfer syntaxes are compared; what cannot be proved equal is different.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from itertools import zip_longest
from typing import Any, BinaryIO

from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID

from node.archive.part10 import StoredFile, file_meta, offer_of
from node.domain.errors import Unavailable
from node.domain.ids import TransferSyntaxUID

COMPARED = 128 << 20
"""Larger files are not compared, in bytes."""
PIXEL_DATA = 0x7FE00010
PLANES = 0x00280006
DEFLATED = TransferSyntaxUID("1.2.840.10008.1.2.1.99")
EXPLICIT_LITTLE = TransferSyntaxUID("1.2.840.10008.1.2.1")
_NATIVE_LITTLE = frozenset(("1.2.840.10008.1.2", EXPLICIT_LITTLE, DEFLATED))
_LOSSLESS = _NATIVE_LITTLE | {
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.5",
}
_FORM = frozenset((0x00280004, 0x00280006, 0x7FE00001, 0x7FE00002, PIXEL_DATA))
"""Attributes that say how pixels are written, not what they show; colour spaces are compared with them."""
_RED_GREEN_BLUE = frozenset(("RGB", "YBR_RCT"))
"""A reversible transformation of each other: both are decoded as RGB (PS3.3 C.7.6.3.1.2)."""


def proved_equal(one: BinaryIO, other: BinaryIO) -> bool:
    """Whether two Part 10 files hold the same instance; False also where it cannot be proved.

    Raises:
        Unavailable: a decoder is not installed.
    """
    try:
        first, second = _read(one), _read(other)
        syntaxes = {str(first.file_meta.TransferSyntaxUID), str(second.file_meta.TransferSyntaxUID)}
        if not syntaxes <= _LOSSLESS:
            return False
        _demand_decoders(syntaxes)
        return _same_pixels(first, second, syntaxes) and _attributes(first) == _attributes(second)
    except Unavailable:
        raise
    except Exception:
        return False


def _demand_decoders(syntaxes: set[str]) -> None:
    if syntaxes <= _NATIVE_LITTLE:
        return
    try:
        from pydicom.pixels.decoders.base import get_decoder  # noqa: PLC0415 - numpy is an extra (docs/DEPENDENCIES.md)
    except ImportError:
        raise Unavailable("images are compared with the extra `codecs`") from None
    if not all(get_decoder(UID(syntax)).is_available for syntax in syntaxes):
        raise Unavailable("images of this kind are compared with the extra `codecs`")


def _same_pixels(first: Dataset, second: Dataset, syntaxes: set[str]) -> bool:
    if (PIXEL_DATA in first) != (PIXEL_DATA in second):
        return False
    if PIXEL_DATA not in first:
        return True
    spaces = {first.PhotometricInterpretation, second.PhotometricInterpretation}
    if len(spaces) > 1 and not spaces <= _RED_GREEN_BLUE:
        return False
    if syntaxes <= _NATIVE_LITTLE:
        alike = len(spaces) == 1 and first.get(PLANES) == second.get(PLANES)
        return alike and bool(first[PIXEL_DATA].value == second[PIXEL_DATA].value)
    if max(_frame_size(first), _frame_size(second)) > COMPARED:
        return False
    return all(
        a is not None and b is not None and a.shape == b.shape and bool((a == b).all())
        for a, b in zip_longest(_frames(first), _frames(second))
    )


def _frames(dataset: Dataset) -> Iterator[Any]:
    """Decoded frames one by one, in the colour space in which they are written."""
    from pydicom.pixels.utils import iter_pixels  # noqa: PLC0415 - numpy is an extra (docs/DEPENDENCIES.md)

    yield from iter_pixels(dataset, raw=True)


def _frame_size(dataset: Dataset) -> int:
    """Bytes of one decoded frame, so that a small file cannot become a large one in memory."""
    return int(dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated // 8)


def _read(file: BinaryIO) -> Dataset:
    """The whole data set; a deflated one is inflated up to a limit that pydicom does not know."""
    offer = offer_of(file)
    if offer.transfer_syntax != DEFLATED:
        return dcmread(file)
    file.seek(StoredFile.of(file).offset)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(file.read(), COMPARED)
    if not inflater.eof:
        raise ValueError
    return dcmread(BytesIO(file_meta(replace(offer, transfer_syntax=EXPLICIT_LITTLE)) + inflated))


def _attributes(dataset: Dataset) -> bytes:
    """All attributes but the form of the pixels, in one encoding."""
    for tag in [element.tag for element in dataset if element.tag in _FORM or element.tag.element == 0]:
        del dataset[tag]
    _define_lengths(dataset)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def _define_lengths(dataset: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = False
            for item in element.value:
                item.is_undefined_length_sequence_item = False
                _define_lengths(item)
