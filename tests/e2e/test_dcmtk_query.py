# ruff: noqa: RUF001  (names are spelled in the alphabets of their patients)
"""DCMTK's findscu asks in every way of PS3.4 C.2.2.2, in several character sets, and gets what matches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.support import synthetic
from tests.support.dcmtk import LITTLE_ROOM, Dcmtk, Said
from tests.support.node_process import NodeProcess
from tests.support.part10 import write
from tests.support.peers import requires
from tests.support.serving import serving

pytestmark = pytest.mark.peer

CANCELLED, MISMATCH = 0xFE00, 0xA900


@dataclass(frozen=True, slots=True)
class Visit:
    """One study of one patient, as the modality wrote it."""

    patient: str
    name: str
    charset: str
    date: str
    modality: str
    description: str
    requested: str
    series: int = 1
    """Series, of two instances each."""


VISITS = (
    Visit("P1", "Nováková^Jana", "ISO_IR 101", "20260105", "CT", "Hrudník", "REQ1", series=2),
    Visit("P2", "NOVAK^PETR", "", "20260110", "MR", "Knee", "REQ2"),
    Visit("P3", "Novák^Jan", "ISO_IR 100", "20260115", "CT", "Kopf", "REQ3"),
    Visit("P4", "Новак^Иван", "ISO_IR 144", "20260120", "US", "Сердце", "REQ4"),
    Visit("P5", "Čermáková^Kateřina", "ISO_IR 192", "20260125", "CR", "Plíce 100 %", "REQ5"),
    Visit("P6", "Müller^Jürgen", "ISO_IR 100", "20260131", "MR", "Schädel", "REQ6"),
    Visit("P7", "Novotný^Karel", "ISO_IR 101", "20260205", "CT", "Břicho", "REQ7"),
    Visit("P8", "山田^太郎", "ISO_IR 192", "20260210", "CT", "胸部", "REQ8"),
)
NAMES = {visit.patient: visit.name for visit in VISITS}
PYTHON = {
    "ISO_IR 100": "latin-1",
    "ISO_IR 101": "iso8859-2",
    "ISO_IR 144": "iso8859-5",
    "ISO_IR 192": "utf-8",
}


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[NodeProcess]:
    requires("findscu")
    folder = tmp_path_factory.mktemp("visits")
    for study, visit in enumerate(VISITS, 1):
        write_visit(folder, study, visit)
    with serving(tmp_path_factory.mktemp("node"), ("SENDER",)) as node:
        assert set(Dcmtk(node).send(folder, options=("+sd",)).statuses) == {0}
        yield node


def write_visit(folder: Path, study: int, visit: Visit) -> None:
    for series in range(1, visit.series + 1):
        for number in (1, 2):
            image = image_of(study, visit, series, number)
            write(folder / f"{image.SOPInstanceUID}.dcm", synthetic.part10(image))


def image_of(study: int, visit: Visit, series: int, number: int) -> Dataset:
    image = synthetic.dataset(
        patient=visit.patient, name=visit.name, study=study, series=series, number=number,
        modality="SR" if series == 2 else visit.modality,
    )  # fmt: skip
    image.SpecificCharacterSet = visit.charset or None
    image.ReferringPhysicianName = "Smith^John"
    image.StudyDate, image.StudyDescription = visit.date, visit.description
    image.PatientBirthDate = f"19{study}00101"
    request = Dataset()
    request.RequestedProcedureID, request.ScheduledProcedureStepID = visit.requested, f"SPS{study}"
    image.RequestAttributesSequence = [request]
    return image


def studies(node: NodeProcess, *keys: str, **options) -> set[str]:
    """The patients of the studies that match."""
    said = Dcmtk(node).find("QueryRetrieveLevel=STUDY", "PatientID", *keys, **options)
    assert said.status == 0, said.text
    return {row.PatientID for row in said.rows}


def in_charset(text: str, charset: str) -> str:
    """A word of a command line whose bytes are the text in that character set."""
    return os.fsdecode(text.encode(PYTHON[charset]))


@pytest.mark.parametrize("model", ["-S", "-P"])
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("PatientName=novak*", "P1 P2 P3"),
        ("PatientName=NOVAK*", "P1 P2 P3"),
        ("PatientName=*ova*", "P1 P2 P3 P5"),
        ("PatientName=nov?k*", "P1 P2 P3"),
        ("PatientName=novak^jan", "P3"),
        ("PatientName=novak^jan*", "P3"),
        ("PatientName=cermak*^kat*", "P5"),
        ("PatientName=muller*", "P6"),
        ("PatientName=*", "P1 P2 P3 P4 P5 P6 P7 P8"),
        ("PatientName=xyz*", ""),
        ("PatientID=P3", "P3"),
        ("PatientID=P?", "P1 P2 P3 P4 P5 P6 P7 P8"),
        ("PatientBirthDate=19300101", "P3"),
        ("StudyDate=20260110", "P2"),
        ("StudyDate=20260110-20260120", "P2 P3 P4"),
        ("StudyDate=-20260110", "P1 P2"),
        ("StudyDate=20260205-", "P7 P8"),
        ("AccessionNumber=A000005", "P5"),
        ("AccessionNumber=*00000[12]", ""),
        ("StudyDescription=*100 %", "P5"),
        ("StudyDescription=*_*", ""),
        ("ModalitiesInStudy=MR", "P2 P6"),
        ("ModalitiesInStudy=SR", "P1"),
        ("ModalitiesInStudy=US\\CR", "P4 P5"),
        (f"StudyInstanceUID={synthetic.study_uid(2)}", "P2"),
        (f"StudyInstanceUID={synthetic.study_uid(2)}\\{synthetic.study_uid(6)}\\1.2.3", "P2 P6"),
    ],
)  # fmt: skip
def test_studies_are_found_by_each_kind_of_matching(node, model, key, expected):
    assert studies(node, key, model=model) == set(expected.split())


def test_all_keys_have_to_match(node):
    assert studies(node, "PatientName=novak*", "StudyDate=20260110-20260131") == {"P2", "P3"}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["Modality=CT", "PatientID"], 1),
        (["Modality=SR", "SeriesNumber=2"], 1),
        (["Modality=MR"], 0),
        (["RequestAttributesSequence[0].RequestedProcedureID=REQ1"], 2),
        (["RequestAttributesSequence[0].RequestedProcedureID=REQ*"], 2),
        (["RequestAttributesSequence[0].RequestedProcedureID=REQ2"], 0),
        (
            [
                "RequestAttributesSequence[0].RequestedProcedureID=REQ1",
                "RequestAttributesSequence[0].ScheduledProcedureStepID=SPS1",
            ],
            2,
        ),
        (
            [
                "RequestAttributesSequence[0].RequestedProcedureID=REQ1",
                "RequestAttributesSequence[0].ScheduledProcedureStepID=SPS2",
            ],
            0,
        ),
    ],
)
@pytest.mark.parametrize("model", ["-S", "-P"])
def test_series_of_a_study_are_found_also_by_what_requested_them(node, model, keys, expected):
    study = f"StudyInstanceUID={synthetic.study_uid(1)}"
    said = Dcmtk(node).find(
        "QueryRetrieveLevel=SERIES", "PatientID=P1", study, "SeriesInstanceUID", *keys, model=model
    )
    assert said.status == 0
    uids = {row.SeriesInstanceUID for row in said.rows}
    assert len(uids) == expected
    assert uids <= {synthetic.series_uid(1, 1), synthetic.series_uid(1, 2)}


@pytest.mark.parametrize("model", ["-S", "-P"])
def test_images_of_a_series_are_found(node, model):
    keys = (
        "QueryRetrieveLevel=IMAGE", "PatientID=P1", f"StudyInstanceUID={synthetic.study_uid(1)}",
        f"SeriesInstanceUID={synthetic.series_uid(1, 2)}", "SOPInstanceUID", "Rows",
    )  # fmt: skip
    said = Dcmtk(node).find(*keys, "InstanceNumber", model=model)
    assert said.status == 0
    assert {(row.SOPInstanceUID, row.InstanceNumber, row.Rows) for row in said.rows} == {
        (synthetic.instance_uid(1, 2, number), number, 16) for number in (1, 2)
    }
    assert len(Dcmtk(node).find(*keys, "InstanceNumber=2", model=model).rows) == 1


def test_patients_are_found_in_patient_root_with_their_counts(node):
    counts = [f"NumberOfPatientRelated{what}" for what in ("Studies", "Series", "Instances")]
    said = Dcmtk(node).find(
        "QueryRetrieveLevel=PATIENT", "PatientID", "PatientName=novak*", *counts, model="-P"
    )
    assert said.status == 0
    assert {row.PatientID: [int(row[count].value) for count in counts] for row in said.rows} == {
        "P1": [1, 2, 4],
        "P2": [1, 1, 2],
        "P3": [1, 1, 2],
    }
    assert {row.PatientID: str(row.PatientName) for row in said.rows} == {
        patient: NAMES[patient] for patient in ("P1", "P2", "P3")
    }


def test_the_study_root_has_no_patient_level(node):
    said = Dcmtk(node).find("QueryRetrieveLevel=PATIENT", "PatientID", model="-S")
    assert said.statuses == [MISMATCH]


def test_a_study_comes_with_the_attributes_that_were_asked_for_and_no_others(node):
    asked = (
        "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "PatientSex",
        "ReferringPhysicianName", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
    )  # fmt: skip
    (row,) = Dcmtk(node).find("QueryRetrieveLevel=STUDY", "PatientID=P1", *asked).rows
    assert row.RetrieveAETitle == node.ae_title
    assert set(row.dir()) == {*asked, "PatientID", "QueryRetrieveLevel", "RetrieveAETitle"}
    assert (row.StudyDate, row.AccessionNumber, row.PatientSex) == ("20260105", "A000001", "F")
    assert (row.NumberOfStudyRelatedSeries, row.NumberOfStudyRelatedInstances) == (2, 4)
    assert sorted(row.ModalitiesInStudy) == ["CT", "SR"]


@pytest.mark.parametrize("patient", [visit.patient for visit in VISITS])
def test_a_name_comes_back_as_it_was_whatever_character_set_it_was_stored_in(node, patient):
    (row,) = Dcmtk(node).find("QueryRetrieveLevel=STUDY", f"PatientID={patient}", "PatientName").rows
    assert row.PatientName == NAMES[patient]


@pytest.mark.parametrize(
    ("charset", "pattern", "expected"),
    [
        ("ISO_IR 101", "Nováková*", "P1"),
        ("ISO_IR 101", "Čermák*", "P5"),
        ("ISO_IR 101", "nOVÁK*", "P1 P2 P3"),
        ("ISO_IR 101", "*müller*", "P6"),
        ("ISO_IR 100", "Novák^*", "P2 P3"),
        ("ISO_IR 100", "MÜLLER*", "P6"),
        ("ISO_IR 144", "новак*", "P4"),
        ("ISO_IR 144", "НОВАК^ИВАН", "P4"),
        ("ISO_IR 192", "山田*", "P8"),
        ("ISO_IR 192", "novotny*", "P7"),
        ("ISO_IR 192", "Новак*", "P4"),
        ("ISO_IR 192", "čermáková^kateřina", "P5"),
    ],
)
def test_a_query_is_understood_in_its_own_character_set(node, charset, pattern, expected):
    key = f"PatientName={in_charset(pattern, charset)}"
    said = Dcmtk(node).find(f"SpecificCharacterSet={charset}", "QueryRetrieveLevel=STUDY", "PatientID", key)
    assert said.status == 0
    assert {row.PatientID for row in said.rows} == set(expected.split())
    assert {str(row.PatientName) for row in said.rows} == {NAMES[patient] for patient in expected.split()}


def test_answers_are_in_the_character_set_of_the_query_where_it_has_the_letters(node):
    asked = ("QueryRetrieveLevel=STUDY", "PatientName", "PatientID", "StudyDescription")
    said = Dcmtk(node).find("SpecificCharacterSet=ISO_IR 101", *asked)
    charsets = {row.PatientID: row.get("SpecificCharacterSet") for row in said.rows}
    assert (charsets["P1"], charsets["P6"], charsets["P7"]) == ("ISO_IR 101",) * 3
    assert (charsets["P4"], charsets["P8"]) == ("ISO_IR 192",) * 2
    assert {row.PatientID: str(row.PatientName) for row in said.rows} == NAMES


def test_a_query_in_each_transfer_syntax_finds_the_same(node):
    for syntax in ("-xi", "-xe", "-xb", "-xd"):
        assert studies(node, "PatientName=novak*", options=(syntax,)) == {"P1", "P2", "P3"}, syntax


ROWS = 600
HISTORY = "Long ago " * 400


@pytest.fixture
def long_rows(node, tmp_path) -> None:
    """Studies whose rows are so long that they do not fit into what the network holds."""
    image = synthetic.dataset(study=1000, patient="LONG", name="LONG", side=2)
    image.AdditionalPatientHistory = image.PatientComments = HISTORY
    content = synthetic.part10(image)
    for study in range(1000, 1000 + ROWS):
        named = content.replace(synthetic.ROOT.encode() + b".1.1000", synthetic.study_uid(study).encode())
        for number in (2, 3):
            old = f"{synthetic.ROOT}.{number}.1000.".encode()
            named = named.replace(old, f"{synthetic.ROOT}.{number}.{study}.".encode())
        write(tmp_path / f"{study}.dcm", named)
    assert Dcmtk(node).send(tmp_path, options=("+sd",)).statuses == [0] * ROWS


def long_query(node: NodeProcess, *options: object) -> Said:
    keys = "QueryRetrieveLevel=STUDY", "PatientID=LONG", "StudyInstanceUID"
    return Dcmtk(node).find(*keys, "AdditionalPatientHistory", "PatientComments", options=options)


def test_a_cancelled_query_ends_as_cancelled(node, long_rows, monkeypatch):
    """The cancel overtakes what the node has not sent yet, since findscu takes it slowly."""
    monkeypatch.setenv("TCP_BUFFER_LENGTH", LITTLE_ROOM)
    whole = long_query(node)
    assert (len(whole.rows), whole.statuses[-1]) == (ROWS, 0)
    cut = long_query(node, "--cancel", 2)
    assert cut.status == CANCELLED, cut.text[-2000:]
    assert 2 <= len(cut.rows) < ROWS
