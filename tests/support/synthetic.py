"""Synthetic instances: small, fast to make, and the same every time for the same numbers.

A study, a series and an instance are named by small integers, so that a test can say *the same
study* or *another series of it* without inventing UIDs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    UltrasoundMultiFrameImageStorage,
)
from pynetdicom.dsutils import decode, encode

from node.domain.ids import InstanceUID, SeriesUID, SOPClassUID, StudyUID, TransferSyntaxUID
from node.domain.instance import Offer

ROOT = "1.2.826.0.1.3680043.8.498.2"
NOISE = hashlib.shake_256(b"noise").digest(1 << 20)


def study_uid(study: int) -> StudyUID:
    return StudyUID(f"{ROOT}.1.{study}")


def series_uid(study: int, series: int) -> SeriesUID:
    return SeriesUID(f"{ROOT}.2.{study}.{series}")


def instance_uid(study: int, series: int, number: int) -> InstanceUID:
    return InstanceUID(f"{ROOT}.3.{study}.{series}.{number}")


def dataset(
    *,
    patient: str = "P0001",
    name: str = "Nováková^Jana",
    study: int = 1,
    series: int = 1,
    number: int = 1,
    modality: str = "CT",
    sop_class: str = CTImageStorage,
    side: int = 16,
    salt: int = 0,
) -> Dataset:
    """Return one image of `side` x `side` 16-bit pixels; another `salt` gives it other pixels."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = instance_uid(study, series, number)
    made.StudyDate = made.SeriesDate = made.ContentDate = "20260114"
    made.StudyTime = made.SeriesTime = made.ContentTime = "091500"
    made.AccessionNumber = f"A{study:06d}"
    made.Modality = modality
    made.Manufacturer = "Synthetic"
    made.ReferringPhysicianName = "Dvořák^Petr"
    made.StudyDescription = f"Study {study}"
    made.SeriesDescription = f"Series {series}"
    made.PatientName = name
    made.PatientID = patient
    made.PatientBirthDate = "19700521"
    made.PatientSex = "F"
    made.StudyInstanceUID = study_uid(study)
    made.SeriesInstanceUID = series_uid(study, series)
    made.StudyID = str(study)
    made.SeriesNumber = series
    made.InstanceNumber = number
    _add_pixels(made, side, salt + 7 * number)
    return made


def _add_pixels(made: Dataset, side: int, start: int) -> None:
    """Give the image pixels cut from a fixed noise."""
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows = made.Columns = side
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit = 15
    made.PixelRepresentation = 0
    length = 2 * side * side
    first = start % len(NOISE)
    made.add_new(0x7FE00010, "OW", (NOISE[first : first + length] * 2 + NOISE)[:length])


def encoded(data: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Return the data set as it travels in a C-STORE: no preamble, no file meta information."""
    from pydicom.uid import UID

    syntax = UID(transfer_syntax)
    content = encode(data, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    assert content is not None, f"cannot be written in {syntax.name}"
    return content


def decoded(content: bytes) -> Dataset:
    """Return a data set that came in Explicit VR Little Endian."""
    return decode(BytesIO(content), is_implicit_vr=False, is_little_endian=True)


def offer_of(data: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> Offer:
    """Return what a sender says of the data set."""
    return Offer(
        sop_class=SOPClassUID(data.SOPClassUID),
        instance=InstanceUID(data.SOPInstanceUID),
        transfer_syntax=TransferSyntaxUID(transfer_syntax),
    )


def instance(*, transfer_syntax: str = ExplicitVRLittleEndian, **attributes) -> tuple[Offer, bytes]:
    """Return one instance as a sender has it: what it says of it, and the encoded data set.

    Args:
        transfer_syntax: an uncompressed or deflated one.
        **attributes: as for `dataset`.
    """
    data = dataset(**attributes)
    return offer_of(data, transfer_syntax), encoded(data, transfer_syntax)


def study(size: int, *, series: int = 1, **attributes) -> list[tuple[Offer, bytes]]:
    """Return a study of `size` instances, spread evenly over so many series."""
    return [instance(series=1 + index % series, number=1 + index, **attributes) for index in range(size)]


def part10(data: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Return the data set as a DICOM file (PS3.10 7), as DCMTK's senders read it."""
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = transfer_syntax
    buffer = BytesIO()
    dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def meta(offer: Offer) -> bytes:
    """What a DICOM file has before its data set: preamble and file meta information (PS3.10 7.1)."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = offer.sop_class, offer.instance
    return part10(data, offer.transfer_syntax)[: -len(encoded(data, offer.transfer_syntax))]


def write_study(folder: Path, size: int, *, series: int = 1, **attributes) -> list[Path]:
    """Write a study of `size` instances as DICOM files and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(size):
        data = dataset(series=1 + index % series, number=1 + index, **attributes)
        path = folder / f"{data.SOPInstanceUID}.dcm"
        path.write_bytes(part10(data))
        paths.append(path)
    return paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Enormous:
    """A multi-frame instance too large to be held in memory; its chunks are made while they are read."""

    offer: Offer
    header: bytes
    pixels: int

    @property
    def size(self) -> int:
        """Bytes of the encoded data set."""
        return len(self.header) + self.pixels

    def chunks(self, step: int = 1 << 20) -> Iterator[bytes]:
        """Yield the encoded data set; every chunk of pixels differs from the others."""
        yield self.header
        for start in range(0, self.pixels, step):
            length = min(step, self.pixels - start)
            yield (start.to_bytes(8, "little") + NOISE)[:length]

    def digest(self) -> str:
        """SHA-256 of the encoded data set."""
        seen = hashlib.sha256()
        for chunk in self.chunks():
            seen.update(chunk)
        return seen.hexdigest()


def enormous(size: int, *, study: int = 500, patient: str = "P0500") -> Enormous:
    """Return an ultrasound loop of about `size` bytes."""
    side = 1024
    frames = max(1, size // (side * side))
    data = dataset(
        study=study, patient=patient, modality="US", sop_class=UltrasoundMultiFrameImageStorage, side=2
    )
    data.Rows = data.Columns = side
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    data.NumberOfFrames = frames
    del data.PixelData
    pixels = frames * side * side
    tag = b"\xe0\x7f\x10\x00OB\x00\x00" + pixels.to_bytes(4, "little")
    return Enormous(offer=offer_of(data), header=encoded(data) + tag, pixels=pixels)


def secondary_capture(**attributes) -> tuple[Offer, bytes]:
    """Return an instance of another SOP class, for tests that need two."""
    return instance(sop_class=SecondaryCaptureImageStorage, modality="OT", **attributes)
