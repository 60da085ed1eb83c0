"""Synthetic patients, studies and images: encoded once with pydicom, then patched at byte level.

A `Template` is one encoded data set (Explicit VR Little Endian, no preamble) with a realistic header: private
elements, 2 kB of private binary, two sequences, Czech names in UTF-8. What differs between instances is
written over fields of fixed width, so that a sender spends microseconds on an instance, not milliseconds.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
TRANSFER_SYNTAX = str(ExplicitVRLittleEndian)
ROOT = "1.2.826.0.1.3680043.8.498."
PATIENTS = 40_000
"""Patients of the large archive; studies are dealt out to them."""
FIRST_DAY = date(2010, 1, 1)
DAYS = 5_800
NAME_WIDTH = 32
"""Bytes of a patient's name on the wire; shorter ones are padded with insignificant spaces (PS3.5 6.2)."""

_SURNAMES = """
    NOVÁK NOVÁKOVÁ SVOBODA SVOBODOVÁ NOVOTNÝ NOVOTNÁ DVOŘÁK DVOŘÁKOVÁ ČERNÝ ČERNÁ PROCHÁZKA PROCHÁZKOVÁ
    KUČERA KUČEROVÁ VESELÝ VESELÁ HORÁK HORÁKOVÁ NĚMEC NĚMCOVÁ POKORNÝ POKORNÁ POSPÍŠIL POSPÍŠILOVÁ HÁJEK
    HÁJKOVÁ JELÍNEK JELÍNKOVÁ KRÁL KRÁLOVÁ RŮŽIČKA RŮŽIČKOVÁ BENEŠ BENEŠOVÁ FIALA FIALOVÁ SEDLÁČEK
    SEDLÁČKOVÁ DOLEŽAL DOLEŽALOVÁ ZEMAN ZEMANOVÁ KOLÁŘ KOLÁŘOVÁ NAVRÁTIL NAVRÁTILOVÁ ČERMÁK ČERMÁKOVÁ
    VANĚK VAŇKOVÁ KRATOCHVÍL ŠŤASTNÁ
""".split()  # noqa: SIM905 - a list of names reads better so
_GIVEN_NAMES = """
    JIŘÍ JANA JAN MARIE PETR EVA JOSEF HANA PAVEL ANNA MARTIN LENKA TOMÁŠ KATEŘINA JAROSLAV LUCIE MIROSLAV
    VĚRA ZDENĚK ALENA FRANTIŠEK PETRA VÁCLAV VERONIKA MICHAL JAROSLAVA MILAN MARTINA KAREL LUDMILA
""".split()  # noqa: SIM905 - a list of names reads better so
_DESCRIPTIONS = ("CT hrudníku", "MR mozku", "CT břicha", "MR kolene", "CT páteře", "MR bederní páteře")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What makes one instance differ from the next."""

    instance: str
    series: str
    study: str
    patient_id: str
    name: str
    study_date: str
    accession: str
    number: int

    def fields(self) -> dict[str, bytes]:
        """The bytes of each field, as wide as in the template."""
        return {
            "instance": self.instance.encode(),
            "series": self.series.encode(),
            "study": self.study.encode(),
            "patient_id": self.patient_id.encode(),
            "name": self.name.encode().ljust(NAME_WIDTH),
            "study_date": self.study_date.encode(),
            "accession": self.accession.encode(),
            "number": b"%-6d" % self.number,
        }


def identity(study: int, *, series: int = 0, number: int = 1) -> Identity:
    """The identity of an instance: study and series as numbers, the same each time they are asked for."""
    patient = _scatter(study) % PATIENTS
    return Identity(
        instance=f"{ROOT}4{study:011d}{series:03d}{number:05d}",
        series=f"{ROOT}3{study:011d}{series:02d}",
        study=f"{ROOT}2{study:011d}",
        patient_id=f"P{patient:09d}",
        name=name(patient),
        study_date=f"{FIRST_DAY + timedelta(days=_scatter(study + 7) % DAYS):%Y%m%d}",
        accession=f"A{study:011d}",
        number=number,
    )


def name(patient: int) -> str:
    """The name of a patient: one of some fifteen hundred."""
    number = _scatter(patient)
    surname = _SURNAMES[number % len(_SURNAMES)]
    return f"{surname}^{_GIVEN_NAMES[number // len(_SURNAMES) % len(_GIVEN_NAMES)]}"


def description(study: int) -> str:
    """The description of a study."""
    return _DESCRIPTIONS[study % len(_DESCRIPTIONS)]


def modality(study: int) -> str:
    """The modality that made a study."""
    return ("CT", "MR")[study % 2]


def _scatter(number: int) -> int:
    """A number far from those of its neighbours (Knuth's multiplicative hash)."""
    return (number * 2_654_435_761 & 0xFFFFFFFF) >> 4


MARKER = identity(99_999_999_999, series=99, number=54_321)
"""The identity that templates are encoded with."""


@dataclass(frozen=True, slots=True)
class Template:
    """An encoded data set and where the fields of an `Identity` lie in it."""

    sop_class: str
    data: bytes
    fields: dict[str, int]


@cache
def ct() -> Template:
    """A CT slice of 512x512x16 bit, 529 kB."""
    return _template(CT_IMAGE, "CT", 512)


@cache
def mr() -> Template:
    """An MR slice of 256x256x16 bit, 135 kB."""
    return _template(MR_IMAGE, "MR", 256)


@cache
def small() -> Template:
    """An MR image of 32x32x16 bit: the cost of an instance without that of its pixels."""
    return _template(MR_IMAGE, "MR", 32)


def _template(sop_class: str, made_by: str, side: int) -> Template:
    """Encode the data set of the marker's instance, and find where the marker's fields are."""
    data_set = _header(sop_class, made_by)
    _identify(data_set, MARKER)
    _add_private(data_set)
    _add_pixels(data_set, side)
    data = _encode(data_set)
    if (pixels := data.index(b"\xe0\x7f\x10\x00OW")) > 16_000:
        raise ValueError(f"a header of {pixels} bytes does not fit into the first fragment")
    return Template(sop_class, data, {field: _only(data, value) for field, value in MARKER.fields().items()})


def _only(data: bytes, value: bytes) -> int:
    """The one place of a value."""
    if data.count(value) != 1:
        raise ValueError(f"{value!r} is in the template {data.count(value)} times")
    return data.index(value)


def _header(sop_class: str, made_by: str) -> Dataset:
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data_set.SOPClassUID = sop_class
    data_set.StudyTime = data_set.SeriesTime = data_set.ContentTime = "101530.250000"
    data_set.SeriesDate = data_set.ContentDate = data_set.AcquisitionDate = "20260131"
    data_set.Modality = made_by
    data_set.Manufacturer = "SIMULACE"
    data_set.InstitutionName = "Fakultní nemocnice Brno"
    data_set.ReferringPhysicianName = "PROCHÁZKA^KAREL^^MUDr."
    data_set.StationName = f"{made_by}01"
    data_set.StudyDescription = "Vyšetření hrudníku a břicha"
    data_set.SeriesDescription = "axiální 1.0 mm"
    data_set.ManufacturerModelName = "Model 128"
    data_set.PatientBirthDate = "19600217"
    data_set.PatientSex = "F"
    data_set.PatientAge = "065Y"
    data_set.BodyPartExamined = "CHEST"
    data_set.SliceThickness = "1.0"
    data_set.DeviceSerialNumber = "100200"
    data_set.ProtocolName = "Hrudník rutinní"
    data_set.PatientPosition = "HFS"
    data_set.StudyID = "1"
    data_set.SeriesNumber = 2
    data_set.ImagePositionPatient = [-200.0, -200.0, -75.5]
    data_set.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data_set.FrameOfReferenceUID = f"{ROOT}900001"
    data_set.ReferencedStudySequence = Sequence([_reference("1.2.840.10008.3.1.2.3.1", 1)])
    data_set.ReferencedImageSequence = Sequence([_reference(sop_class, n) for n in range(2, 4)])
    return data_set


def _reference(sop_class: str, number: int) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = f"{ROOT}90001{number}"
    return item


def _identify(data_set: Dataset, marker: Identity) -> None:
    fields = {field: value.decode() for field, value in marker.fields().items()}
    data_set.SOPInstanceUID = fields["instance"]
    data_set.SeriesInstanceUID = fields["series"]
    data_set.StudyInstanceUID = fields["study"]
    data_set.PatientID = fields["patient_id"]
    data_set.PatientName = fields["name"]
    data_set.StudyDate = fields["study_date"]
    data_set.AccessionNumber = fields["accession"]
    data_set.add_new(0x00200013, "IS", fields["number"])


def _add_private(data_set: Dataset) -> None:
    """Private elements as scanners write them: two dozen short ones and 2 kB of binary (PS3.5 7.8)."""
    block = data_set.private_block(0x0019, "SIMULACE HEADER", create=True)
    for number in range(24):
        block.add_new(number, "LO", f"hodnota {number}")
    data_set.private_block(0x0029, "SIMULACE BINARY", create=True).add_new(0x10, "OB", bytes(range(256)) * 8)


def _add_pixels(data_set: Dataset, side: int) -> None:
    data_set.SamplesPerPixel = 1
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.Rows = data_set.Columns = side
    data_set.PixelSpacing = [0.78, 0.78]
    data_set.BitsAllocated = data_set.BitsStored = 16
    data_set.HighBit = 15
    data_set.PixelRepresentation = 0
    data_set.WindowCenter, data_set.WindowWidth = "40", "400"
    data_set.RescaleIntercept, data_set.RescaleSlope = "-1024", "1"
    squares = [(n - side // 2) ** 2 for n in range(side)]
    pixels = array("H", [(x + y) * 4096 // (side * side) for y in squares for x in squares])
    data_set.add_new(0x7FE00010, "OW", pixels.tobytes())


def _encode(data_set: Dataset) -> bytes:
    buffer = BytesIO()
    dcmwrite(buffer, data_set, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return buffer.getvalue()
