"""C-FIND over real associations, against an archive in memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from node.domain.errors import CatalogBusy, Forbidden
from node.domain.ids import AETitle
from node.domain.principal import Device
from node.domain.query import Level
from services.dicom.associate import Proposal, Requestor
from services.dicom.channel import Limits
from services.dicom.messages import Field, build
from services.dicom.query import Find
from tests.support.face import served
from tests.support.fake_archive import FakeArchive
from tests.support.peers import requires
from tests.support.synthetic import dataset, encoded

STUDY_ROOT = StudyRootQueryRetrieveInformationModelFind
PATIENT_ROOT = PatientRootQueryRetrieveInformationModelFind
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
CONTEXTS = [build_context(STUDY_ROOT, SYNTAXES), build_context(PATIENT_ROOT, SYNTAXES)]


@pytest.fixture
def archive(tmp_path):
    made = FakeArchive(tmp_path)
    for number in range(1, 4):
        made.keep(dataset(study=number, name="Nováková^Jana" if number == 1 else "SMITH^JOHN"))
    return made


def find_handlers(archive):
    return {Field.C_FIND_RQ: Find(archive, AETitle("KONZILIUM"))}


@pytest.fixture
def port(archive):
    with served(find_handlers(archive), CONTEXTS) as port:
        yield port


def keys(level: str = "STUDY", **values: object) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for keyword, value in values.items():
        setattr(asked, keyword, value)
    return asked


def associated(
    port: int, model: str = STUDY_ROOT, syntax: str = ExplicitVRLittleEndian, max_pdu: int = 16382
):
    entity = AE(ae_title="SCU")
    entity.add_requested_context(model, syntax)
    association = entity.associate("127.0.0.1", port, max_pdu=max_pdu)
    assert association.is_established
    return association


def found(port: int, asked: Dataset, model: str = STUDY_ROOT, **how: object) -> tuple[int, list[Dataset]]:
    association = associated(port, model, **how)
    answers = [(status.Status, answer) for status, answer in association.send_c_find(asked, model)]
    association.release()
    assert {status for status, _ in answers[:-1]} <= {0xFF00}
    return answers[-1][0], [answer for _, answer in answers[:-1]]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_matches_are_answered_with_where_to_retrieve_them_from(port, archive, syntax):
    status, answers = found(
        port, keys(PatientName="", StudyInstanceUID="", InstanceAvailability=""), syntax=syntax
    )
    assert status == 0x0000
    assert [str(answer.PatientName) for answer in answers] == ["Nováková^Jana", "SMITH^JOHN", "SMITH^JOHN"]
    assert [answer.get("SpecificCharacterSet") for answer in answers] == ["ISO_IR 192", None, None]
    assert {answer.RetrieveAETitle for answer in answers} == {"KONZILIUM"}
    assert {answer.InstanceAvailability for answer in answers} == {"ONLINE"}
    assert archive.queries[0].level is Level.STUDY
    assert not archive.queries[0].patient_root


def test_the_information_model_and_its_levels_are_told_to_the_archive(port, archive):
    status, answers = found(port, keys("PATIENT", PatientID="P0001"), PATIENT_ROOT)
    assert status == 0x0000
    assert len(answers) == 3
    assert archive.queries[0].patient_root
    assert archive.queries[0].level is Level.PATIENT


@pytest.mark.parametrize("asked", [Dataset(), keys("PATIENT"), keys("NONSENSE")])
def test_an_identifier_of_another_model_does_not_match_the_sop_class(port, asked):
    asked.PatientID = ""
    assert found(port, asked) == (0xA900, [])


def test_an_identifier_that_is_too_long_is_refused_and_the_association_lives_on(archive):
    with served(find_handlers(archive), CONTEXTS, limits=Limits(max_identifier=5000)) as port:
        association = associated(port)
        for description, expected in (("x" * 9000, 0xA900), ("", 0x0000)):
            answers = list(association.send_c_find(keys(StudyDescription=description), STUDY_ROOT))
            assert answers[-1][0].Status == expected
        association.release()


def test_a_query_in_a_context_for_something_else_is_refused(archive):
    move = StudyRootQueryRetrieveInformationModelMove
    requestor = Requestor(ae_title=AETitle("SCU"), patience=5, timeout=5)
    proposal = Proposal(abstract_syntax=move, transfer_syntaxes=(ImplicitVRLittleEndian,))
    with served(find_handlers(archive), [build_context(move)]) as port:
        device = Device(ae_title=AETitle("KONZILIUM"), host="127.0.0.1", port=port)
        with requestor.associate(device, [proposal]) as association:
            channel, asked = association.channel, encoded(keys(PatientID=""), ImplicitVRLittleEndian)
            command = {0x0100: b"\x20\0", 0x0110: b"\1\0", 0x0800: b"\1\0"}
            channel.send(1, build(command), [asked], len(asked))
            assert channel.response_to(1).status == 0xA900
    assert archive.queries == []


def test_a_denied_query_is_answered_as_not_authorized(port, archive, monkeypatch):
    def refuse(*_: object) -> None:
        raise Forbidden("device:SCU@brno", "query", "it was added without")

    monkeypatch.setattr(FakeArchive, "search", refuse)
    assert found(port, keys(PatientID="")) == (0x0124, [])


def test_an_archive_that_fails_in_the_middle_ends_the_answer_with_a_failure(port, archive):
    def rows():
        yield ("1",)
        raise CatalogBusy("locked")

    archive.rows = rows()
    assert found(port, keys(PatientID=""))[0] == 0xA700


@pytest.mark.parametrize("max_pdu", [4096, 0])
def test_many_rows_come_whole_and_in_order_whatever_the_length_of_pdus(port, archive, max_pdu):
    archive.rows = ((f"P{number}", "x" * (number % 5000)) for number in range(3000))
    status, answers = found(port, keys(StudyDescription="", PatientID=""), max_pdu=max_pdu)
    assert status == 0x0000
    assert [answer.StudyDescription for answer in answers] == [f"P{number}" for number in range(3000)]
    assert [len(answer.PatientID or "") for answer in answers] == [number % 5000 for number in range(3000)]


def test_a_cancelled_query_ends_and_lets_go_of_its_rows(port, archive):
    closed = threading.Event()

    def rows():
        try:
            for number in range(10_000_000):
                time.sleep(0.001)
                yield (str(number),)
        finally:
            closed.set()

    archive.rows = rows()
    association = associated(port)
    statuses = []
    for status, _ in association.send_c_find(keys(PatientID=""), STUDY_ROOT, msg_id=7):
        statuses.append(status.Status)
        if len(statuses) == 5:
            association.send_c_cancel(7, query_model=STUDY_ROOT)
    assert statuses[-1] == 0xFE00
    assert closed.is_set()
    archive.rows = iter([("1",)])
    again = [status.Status for status, _ in association.send_c_find(keys(PatientID=""), STUDY_ROOT, msg_id=7)]
    assert again == [0xFF00, 0x0000]
    association.release()


def test_rows_of_a_slow_search_do_not_wait_for_each_other(port, archive):
    more = threading.Event()

    def rows():
        yield ("1",)
        time.sleep(0.15)
        yield ("2",)
        assert more.wait(20)
        yield ("3",)

    archive.rows = rows()
    association = associated(port)
    answers = association.send_c_find(keys(PatientID=""), STUDY_ROOT)
    assert next(answers)[1].PatientID == "1"
    more.set()
    assert [status.Status for status, _ in answers] == [0xFF00, 0xFF00, 0x0000]
    association.release()


def test_a_peer_that_goes_away_in_the_middle_stops_the_search(port, archive):
    closed = threading.Event()

    def rows():
        try:
            while True:
                yield ("x" * 1000,)
        finally:
            closed.set()

    archive.rows = rows()
    association = associated(port)
    next(iter(association.send_c_find(keys(PatientID=""), STUDY_ROOT)))
    association.abort()
    assert closed.wait(20)


@pytest.mark.peer
def test_dcmtk_finds_what_it_asks_for(port, archive):
    findscu = requires("findscu")
    output = subprocess.run(
        [
            findscu, "-S", "-aet", "SCU", "-aec", "KONZILIUM", "127.0.0.1", str(port),
            "-k", "QueryRetrieveLevel=STUDY", "-k", "SpecificCharacterSet=ISO_IR 101",
            "-k", "PatientName=NOV*", "-k", "StudyInstanceUID",
        ],
        env=os.environ | {"TCP_NODELAY": "1"}, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    text = (output.stdout + output.stderr).decode("iso8859_2")
    assert text.count("(Pending)") == 1
    assert "Nováková^Jana" in text
    assert "ISO_IR 101" in text
