"""What the demonstration sends: the DICOM files that ship with pydicom, and a CT series made here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from node.domain.errors import NodeError
from node.domain.instance import Offer
from services.cli.media.part10 import NotDicomError, UnreadableError, read

SLICES = 60
LATER = 3
"""Studies that each site receives while the link is cut."""
RARE = "waveform_ecg.dcm"
CONSULTED = "examples_overlay.dcm"
REFERRER = "Demo^Physician"
"""Who has sent the patient of the CT series to be examined."""
SIZE = 512
AIR, TISSUE = (24).to_bytes(2, "little"), (1064).to_bytes(2, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A file on its way: what it offers, and its data set byte for byte."""

    path: Path
    offer: Offer
    dataset: bytes
    study: str
    """Its Study Instance UID; empty if it names none."""
    patient: str
    """Its Patient ID; empty if it names none."""


def real_files() -> list[Sent]:
    """The files of the pydicom package that can be sent by DICOM: quirky ones, as the field has them."""
    folder = Path(str(files("pydicom"))) / "data"
    return [sent for path in sorted(folder.rglob("*.dcm")) for sent in _readable(path)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RealFiles:
    """The real files in the portions in which they are sent."""

    first: list[Sent]
    later_there: list[Sent]
    """Whole studies for the other site, while the link is cut."""
    later_here: list[Sent]
    """Whole studies for the first site, meanwhile."""
    rare: list[Sent]
    """A study that only one site has for some time."""
    consulted: list[Sent]
    """Another one, which a person at the first site asks for."""


def portions() -> RealFiles:
    """Split the real files, by study."""
    studies: dict[str, list[Sent]] = {}
    for sent in real_files():
        studies.setdefault(sent.study, []).append(sent)
    rare, consulted = (
        next(study for study, files in studies.items() if files[0].path.name == name)
        for name in (RARE, CONSULTED)
    )
    kept_back = {rare, consulted}
    single = [files for study, files in studies.items() if study not in kept_back and len(files) == 1]
    whole = [files for files in single if files[0].patient]
    there, here = whole[-LATER:], whole[-2 * LATER : -LATER]
    later = {sent.study for files in (*here, *there) for sent in files}
    return RealFiles(
        first=[sent for study, files in studies.items() if study not in kept_back | later for sent in files],
        later_there=[sent for files in there for sent in files],
        later_here=[sent for files in here for sent in files],
        rare=studies[rare],
        consulted=studies[consulted],
    )


def ct_series(folder: Path) -> list[Sent]:
    """A CT series of a water phantom, written to a folder."""
    folder.mkdir()
    study, series = generate_uid(), generate_uid()
    written: list[Sent] = []
    for number in range(1, SLICES + 1):
        path = folder / f"{number:03}.dcm"
        dcmwrite(path, _slice(study, series, number), enforce_file_format=True)
        written.extend(_readable(path))
    return written


def _readable(path: Path) -> Iterator[Sent]:
    with path.open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reading = read(stream)
            dataset = b"".join(bytes(chunk) for chunk in reading.chunks)
        except (NotDicomError, UnreadableError, NodeError):
            return
    if path.read_bytes()[128:132] == b"DICM":
        study, patient = _whose(path)
        yield Sent(path=path, offer=reading.offer, dataset=dataset, study=study, patient=patient)


def _whose(path: Path) -> tuple[str, str]:
    """The study and the patient that a file names; some of these files cannot be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "PatientID"])
            return str(found.get("StudyInstanceUID") or ""), str(found.get("PatientID") or "")
        except Exception:
            return "", ""


def _slice(study: str, series: str, number: int) -> Dataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_ = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    slice_.SpecificCharacterSet = "ISO_IR 192"
    slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, generate_uid()
    slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, series
    slice_.PatientName, slice_.PatientID = "Nováková^Jana", "DEMO-0001"
    slice_.ReferringPhysicianName = REFERRER
    slice_.PatientBirthDate, slice_.PatientSex = "19710412", "F"
    slice_.StudyDate = slice_.SeriesDate = "20260131"
    slice_.StudyTime, slice_.AccessionNumber, slice_.StudyID = "101500", "DEMO-A1", "1"
    slice_.StudyDescription, slice_.SeriesDescription = "Water phantom", "Axial"
    slice_.Modality, slice_.SeriesNumber, slice_.InstanceNumber = "CT", 1, number
    slice_.Rows = slice_.Columns = SIZE
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 12, 11
    slice_.SamplesPerPixel, slice_.PixelRepresentation = 1, 0
    slice_.PhotometricInterpretation = "MONOCHROME2"
    slice_.ImagePositionPatient, slice_.PixelSpacing = [0, 0, float(number)], [0.7, 0.7]
    slice_.RescaleIntercept, slice_.RescaleSlope = -1024, 1
    slice_.PixelData = _phantom(number)
    return slice_


def _phantom(number: int) -> bytes:
    """A ball of water in air: each row is air, water, air."""
    middle, radius = SIZE // 2, SIZE * 2 // 5
    depth = (number - SLICES / 2) * 2 * radius / (SLICES + 2)
    rows = []
    for row in range(SIZE):
        square = radius**2 - depth**2 - (row - middle) ** 2
        half = int(square**0.5) if square > 0 else 0
        rows.append(AIR * (middle - half) + TISSUE * (2 * half) + AIR * (middle - half))
    return b"".join(rows)
