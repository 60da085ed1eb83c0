"""Two forms of an instance are one only where every attribute and every pixel is proved equal."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable
from copy import deepcopy
from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from pydicom import Dataset, Sequence
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from node.archive import compare
from node.archive.compare import proved_equal
from node.archive.part10 import file_meta
from node.blobs.memory import MemoryStore
from tests.support import synthetic

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
NATIVE = (IMPLICIT, EXPLICIT, BIG, DEFLATED)
COMPRESSED = (RLELossless, JPEGLSLossless, JPEG2000Lossless)


def grey() -> Dataset:
    """A slice with nested sequences and private elements."""
    made = synthetic.dataset(side=32)
    made.PixelData = np.arange(32 * 32, dtype="<u2").tobytes()
    made.BitsStored, made.HighBit = 12, 11
    inner = Dataset()
    inner.CodeValue, inner.CodeMeaning = "1", "Břicho"
    outer = Dataset()
    outer.PurposeOfReferenceCodeSequence = Sequence([inner])
    made.ReferencedImageSequence = Sequence([outer, deepcopy(outer)])
    private = made.private_block(0x0009, "KONZILIUM TEST", create=True)
    private.add_new(0x01, "LO", "private")
    private.add_new(0x02, "US", 7)
    return made


def colour() -> Dataset:
    made = grey()
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit = 7
    made.add_new(0x7FE00010, "OB", (np.arange(32 * 32 * 3) % 251).astype("u1").tobytes())
    return made


def written(made: Dataset, syntax: str) -> bytes:
    """The instance in a transfer syntax, as the archive stores it."""
    data = deepcopy(made)
    if syntax in NATIVE:
        if syntax == BIG and data.BitsAllocated == 16 and "PixelData" in data:
            data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
        return file_meta(synthetic.offer_of(data, syntax)) + synthetic.encoded(data, syntax)
    from pydicom.dataset import FileMetaDataset

    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = EXPLICIT
    data.compress(syntax, generate_instance_uid=False)
    return file_meta(synthetic.offer_of(data, syntax)) + synthetic.encoded(data, EXPLICIT)


def equal(one: bytes, other: bytes) -> bool:
    blobs = MemoryStore()
    with blobs.open(blobs.put([one])) as first, blobs.open(blobs.put([other])) as second:
        return proved_equal(first, second)


@pytest.mark.parametrize("make", [grey, colour])
@pytest.mark.parametrize("pair", list(combinations((*NATIVE, *COMPRESSED), 2)), ids=str)
def test_lossless_forms_of_one_instance_are_equal(make, pair):
    one, other = (written(make(), syntax) for syntax in pair)
    assert one != other
    assert equal(one, other)
    assert equal(other, one)


def changed_pixel(made: Dataset) -> None:
    made.PixelData = made.PixelData[:-2] + bytes([made.PixelData[-2] ^ 1]) + made.PixelData[-1:]


def changed_attribute(made: Dataset) -> None:
    made.StudyDescription = "other"


def changed_in_a_sequence(made: Dataset) -> None:
    made.ReferencedImageSequence[1].PurposeOfReferenceCodeSequence[0].CodeMeaning = "Brich"


def changed_private(made: Dataset) -> None:
    made.private_block(0x0009, "KONZILIUM TEST")[0x02].value = 8


def item_gone(made: Dataset) -> None:
    del made.ReferencedImageSequence[1]


def attribute_gone(made: Dataset) -> None:
    del made.PatientName


def inverted(made: Dataset) -> None:
    """The same numbers, shown as their negative."""
    made.PhotometricInterpretation = "MONOCHROME1"


def pixels_gone(made: Dataset) -> None:
    del made.PixelData


def shape_changed(made: Dataset) -> None:
    made.Rows, made.Columns = 64, 16


CHANGES: list[Callable[[Dataset], None]] = [
    changed_pixel, changed_attribute, changed_in_a_sequence, changed_private, item_gone, attribute_gone,
    inverted, pixels_gone, shape_changed,
]  # fmt: skip


FORMS = [
    (change, syntax)
    for change in CHANGES
    for syntax in (EXPLICIT, IMPLICIT, BIG, DEFLATED, RLELossless)
    if (change, syntax) != (pixels_gone, RLELossless)  # nothing to compress
]


@pytest.mark.parametrize(("change", "syntax"), FORMS)
def test_whatever_differs_is_seen(change, syntax):
    other = grey()
    change(other)
    assert not equal(written(grey(), EXPLICIT), written(other, syntax))
    assert not equal(written(other, syntax), written(grey(), EXPLICIT))


def test_the_same_numbers_in_another_colour_space_are_another_picture():
    other = colour()
    other.PhotometricInterpretation = "YBR_FULL"
    for syntax in (EXPLICIT, RLELossless, BIG):
        assert not equal(written(colour(), EXPLICIT), written(other, syntax))


def test_colours_that_only_look_alike_after_conversion_differ():
    """Different YBR values can be one RGB value after rounding: they are compared as they are written."""
    one, other = colour(), colour()
    one.PhotometricInterpretation = other.PhotometricInterpretation = "YBR_FULL"
    one.PixelData, other.PixelData = bytes([255, 255, 255]) * 1024, bytes([255, 254, 255]) * 1024
    assert not equal(written(one, RLELossless), written(other, EXPLICIT))


@pytest.mark.parametrize("syntax", [JPEGLSNearLossless, JPEGBaseline8Bit])
def test_a_lossy_form_is_never_equal(syntax):
    """Whatever is in the file: its name of the syntax is enough."""
    data = grey()
    content = file_meta(synthetic.offer_of(data, syntax)) + synthetic.encoded(data, EXPLICIT)
    assert not equal(content, written(data, EXPLICIT))
    assert not equal(content, content)


def test_instances_without_pixels_are_compared_by_their_attributes():
    report = grey()
    del report.PixelData
    assert equal(written(report, EXPLICIT), written(report, IMPLICIT))


def test_what_cannot_be_read_is_not_proved():
    whole = written(grey(), EXPLICIT)
    assert not equal(whole, whole[:200])
    assert not equal(whole, b"")
    broken = written(grey(), RLELossless)
    assert not equal(whole, broken[:-200])


def test_a_deflated_bomb_is_not_inflated(monkeypatch):
    monkeypatch.setattr(compare, "COMPARED", 1 << 20)
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(200)) + deflater.flush()
    content = file_meta(synthetic.offer_of(grey(), DEFLATED)) + bomb
    tracemalloc.start()
    assert not equal(content, written(grey(), EXPLICIT))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_an_image_that_claims_to_be_enormous_is_not_decoded():
    bomb = grey()
    bomb.Rows = bomb.Columns = 65535
    assert not equal(written(bomb, BIG), written(bomb, EXPLICIT))


def test_pydicom_alone_reads_what_is_written_here():
    from pydicom import dcmread

    for syntax in (*NATIVE, *COMPRESSED):
        assert dcmread(BytesIO(written(grey(), syntax))).pixel_array.sum() == sum(range(1024))
