"""Orthanc both ways: it sends to the node, queries it, retrieves from it, and receives from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import uid

from tests.support import synthetic
from tests.support.dcmtk import Dcmtk
from tests.support.node_process import NodeProcess
from tests.support.orthanc import AE_TITLE, Orthanc, finished, orthanc
from tests.support.part10 import File, archived
from tests.support.peers import run
from tests.support.serving import serving

pytestmark = pytest.mark.peer

ABSENT = f"{synthetic.ROOT}.404"
CONVERTERS = {
    "explicit": (uid.ExplicitVRLittleEndian, "-xe", ("dcmconv", "+te")),
    "implicit": (uid.ImplicitVRLittleEndian, "-xi", ("dcmconv", "+ti")),
    "rle": (uid.RLELossless, "-xr", ("dcmcrle",)),
    "jpeg-lossless": (uid.JPEGLosslessSV1, "-xs", ("dcmcjpeg", "+e1")),
    "jpeg-ls": (uid.JPEGLSLossless, "-xt", ("dcmcjpls", "+el")),
}
"""Syntax, storescu's option to propose it, and the program that makes it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="module")
def node(tmp_path_factory, server) -> Iterator[NodeProcess]:
    with serving(
        tmp_path_factory.mktemp("node"), ("SENDER",), (AE_TITLE, "127.0.0.1", server.dicom_port)
    ) as node:
        about = {"AET": node.ae_title, "Host": node.host, "Port": node.dicom_port}
        server.put("modalities/konzilium", about | {"AllowStorageCommitment": True})
        yield node


@pytest.fixture(autouse=True)
def empty(server) -> None:
    """Let Orthanc hold nothing when a test begins."""
    server.clear()


def make(folder: Path, study: int, size: int = 1, kind: str = "explicit") -> list[File]:
    """Write a study by DCMTK, in files that Orthanc (which uses DCMTK) passes on as they stand."""
    (folder / "files").mkdir(parents=True)
    for path in synthetic.write_study(folder / "raw", size, study=study, patient=f"P-{study}", side=64):
        run(*CONVERTERS[kind][2], path, folder / "files" / path.name)
    return [File.read(path) for path in sorted((folder / "files").iterdir())]


def upload(server: Orthanc, folder: Path) -> list[str]:
    return [server.upload(path) for path in sorted((folder / "files").iterdir())]


def send(server: Orthanc, resources: list[str]) -> dict[str, object]:
    return dict(server.post("modalities/konzilium/store", {"Resources": resources, "Synchronous": True}))


def store(node: NodeProcess, folder: Path, kind: str = "explicit") -> None:
    """Put the files into the node by DCMTK."""
    said = Dcmtk(node).store(*sorted((folder / "files").iterdir()), options=(CONVERTERS[kind][1],))
    assert set(said.statuses) == {0}


def study_key(study: int) -> tuple[str, str]:
    return "QueryRetrieveLevel=STUDY", f"StudyInstanceUID={synthetic.study_uid(study)}"


def query(server: Orthanc, level: str, keys: dict[str, str]) -> tuple[str, list[dict[str, str]]]:
    """Let Orthanc query the node; its name of the query, and the answers."""
    found = server.post("modalities/konzilium/query", {"Level": level, "Query": keys})["ID"]
    answers = server.get(f"queries/{found}/answers")
    return found, [server.get(f"queries/{found}/answers/{one}/content?simplify") for one in answers]


def test_orthanc_gets_its_echo(node, server):
    assert server.post("modalities/konzilium/echo", {}) == {}


@pytest.mark.parametrize("kind", CONVERTERS)
def test_what_orthanc_sends_is_archived_byte_by_byte(node, server, tmp_path, kind):
    study = 10 + list(CONVERTERS).index(kind)
    (file,) = make(tmp_path, study, kind=kind)
    told = send(server, upload(server, tmp_path))
    assert (told["InstancesCount"], told["FailedInstancesCount"]) == (1, 0)
    assert archived(node, file.instance) == file


def test_orthanc_sends_a_study_of_several_series_at_once(node, server, tmp_path):
    synthetic.write_study(tmp_path / "files", 20, series=4, study=20, patient="P-20")
    upload(server, tmp_path)
    (study,) = server.get("studies")
    assert send(server, [study])["FailedInstancesCount"] == 0
    (row,) = (
        Dcmtk(node).find(*study_key(20), "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances").rows
    )
    assert (row.NumberOfStudyRelatedSeries, row.NumberOfStudyRelatedInstances) == (4, 20)


def test_orthanc_finds_studies_series_and_instances(node, server, tmp_path):
    make(tmp_path, 30, 3)
    store(node, tmp_path)
    _, (patient,) = query(server, "Patient", {"PatientID": "P-30", "PatientName": ""})
    assert patient["PatientName"] == "Nováková^Jana"
    _, (study,) = query(
        server, "Study", {"PatientName": "NOVAK*", "PatientID": "P-30", "StudyDate": "20260101-"}
    )
    assert (study["StudyInstanceUID"], study["AccessionNumber"]) == (synthetic.study_uid(30), "A000030")
    _, (series,) = query(
        server, "Series", {"StudyInstanceUID": synthetic.study_uid(30), "SeriesInstanceUID": ""}
    )
    assert series["SeriesInstanceUID"] == synthetic.series_uid(30, 1)
    keys = {key: series[key] for key in ("StudyInstanceUID", "SeriesInstanceUID")}
    _, instances = query(server, "Instance", keys | {"SOPInstanceUID": ""})
    assert {one["SOPInstanceUID"] for one in instances} == {
        synthetic.instance_uid(30, 1, number) for number in (1, 2, 3)
    }
    _, nothing = query(server, "Study", {"PatientID": "NOBODY"})
    assert nothing == []


@pytest.mark.parametrize("kind", CONVERTERS)
def test_orthanc_retrieves_what_it_has_found_byte_by_byte(node, server, tmp_path, kind):
    study = 40 + list(CONVERTERS).index(kind)
    files = make(tmp_path, study, 2, kind=kind)
    store(node, tmp_path, kind)
    found, answers = query(server, "Study", {"PatientID": f"P-{study}", "StudyInstanceUID": ""})
    assert len(answers) == 1
    server.post(f"queries/{found}/retrieve", {"TargetAet": AE_TITLE, "Synchronous": True})
    assert server.files() == {file.instance: file for file in files}


@pytest.mark.parametrize("kind", CONVERTERS)
def test_what_is_moved_to_orthanc_arrives_byte_by_byte(node, server, tmp_path, kind):
    study = 50 + list(CONVERTERS).index(kind)
    files = make(tmp_path, study, 2, kind=kind)
    store(node, tmp_path, kind)
    said = Dcmtk(node).move(AE_TITLE, *study_key(study))
    assert (said.status, said.counts) == (0, {"completed": 2, "failed": 0, "warning": 0}), said.text
    assert server.files() == {file.instance: file for file in files}


def test_a_study_goes_to_orthanc_and_back_and_is_still_the_same(node, server, tmp_path):
    """What comes back is known already: nothing is kept twice, nothing is a conflict."""
    make(tmp_path, 60, 5)
    store(node, tmp_path)
    assert Dcmtk(node).move(AE_TITLE, *study_key(60)).status == 0
    before = node.status()
    told = send(server, server.get("studies"))
    assert (told["InstancesCount"], told["FailedInstancesCount"]) == (5, 0)
    after = node.status()
    assert all(after[what] == before[what] for what in ("instances", "bytes", "conflicts"))


@pytest.fixture(scope="module")
def commitments(node, server, tmp_path_factory) -> dict[str, str]:
    """Let Orthanc ask for storage commitment in three ways at once, since it is called back after a while."""
    folder = tmp_path_factory.mktemp("commitments")
    asked = {}
    for study, name in enumerate(("held", "absent"), 70):
        files = make(folder / name, study, 3)
        send(server, upload(server, folder / name))
        wanted = [(file.sop_class, file.instance) for file in files]
        if name == "absent":
            wanted[0] = (uid.CTImageStorage, ABSENT)
        told = server.post("modalities/konzilium/storage-commitment", {"DicomInstances": wanted})
        asked[name] = told["ID"]
    make(folder / "stored", 72, 2)
    resources = upload(server, folder / "stored")
    told = server.post(
        "modalities/konzilium/store", {"Resources": resources, "Synchronous": True, "StorageCommitment": True}
    )
    return asked | {"stored": told["StorageCommitmentTransactionUID"]}


def instances(*wanted: tuple[int, int]) -> set[str]:
    return {synthetic.instance_uid(study, 1, number) for study, number in wanted}


def reported(said: dict[str, list[dict[str, str]]], outcome: str) -> set[str]:
    return {one["SOPInstanceUID"] for one in said[outcome]}


def test_orthanc_is_called_back_with_the_storage_commitment_it_asked_for(server, commitments):
    said = finished(server, f"storage-commitment/{commitments['held']}")
    assert reported(said, "Success") == instances((70, 1), (70, 2), (70, 3))
    assert said["Failures"] == []


def test_orthanc_learns_which_instances_are_not_here(server, commitments):
    said = finished(server, f"storage-commitment/{commitments['absent']}", until="Failure")
    assert reported(said, "Success") == instances((71, 2), (71, 3))
    assert reported(said, "Failures") == {ABSENT}


def test_orthanc_stores_and_asks_for_commitment_in_one_job(server, commitments):
    said = finished(server, f"storage-commitment/{commitments['stored']}")
    assert reported(said, "Success") == instances((72, 1), (72, 2))
