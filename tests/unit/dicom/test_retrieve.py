"""C-GET and C-MOVE over real associations, against an archive in memory."""

from __future__ import annotations

import os
import subprocess
import threading
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread, read_dataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MRImageStorage,
)
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from node.domain.errors import CatalogBusy, Forbidden
from node.domain.ids import AETitle
from services.dicom.associate import Requestor
from services.dicom.messages import Field
from services.dicom.retrieve import Get, Move
from services.dicom.send import Sender
from tests.support.face import served
from tests.support.fake_archive import FakeArchive, FakeDevices, encoded
from tests.support.peers import free_port, requires
from tests.support.sinks import sink, storescp
from tests.support.synthetic import dataset, study_uid
from tests.unit.dicom.test_send import compressed

GET = StudyRootQueryRetrieveInformationModelGet
MOVE = StudyRootQueryRetrieveInformationModelMove
IDENTIFIERS = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]
STORED = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit]


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    return FakeArchive(folder)


@pytest.fixture
def devices():
    return FakeDevices()


@pytest.fixture
def port(archive, devices):
    sender = Sender(Requestor(ae_title=AETitle("KONZILIUM"), patience=5, timeout=5))
    handlers = {Field.C_GET_RQ: Get(archive), Field.C_MOVE_RQ: Move(archive, devices, sender)}
    contexts = [build_context(GET, IDENTIFIERS), build_context(MOVE, IDENTIFIERS)]
    for kind in (CTImageStorage, MRImageStorage):
        context = build_context(kind, STORED)
        context.scu_role, context.scp_role = True, True
        contexts.append(context)
    with served(handlers, contexts) as port:
        yield port


def keys(level: str = "STUDY", **values: object) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for keyword, value in (values or {"StudyInstanceUID": study_uid(1)}).items():
        setattr(asked, keyword, value)
    return asked


class Workstation:
    """A pynetdicom SCU that gets and moves."""

    def __init__(self, port: int, *, identifiers: str = ImplicitVRLittleEndian, stored=STORED) -> None:
        self.got: list[tuple[str, str, bytes]] = []
        self.status = 0x0000
        entity = AE(ae_title="SCU")
        entity.add_requested_context(GET, identifiers)
        entity.add_requested_context(MOVE, identifiers)
        for syntax in stored:
            entity.add_requested_context(CTImageStorage, syntax)
        self.association = entity.associate(
            "127.0.0.1",
            port,
            ext_neg=[build_role(CTImageStorage, scp_role=True)] if stored else [],
            evt_handlers=[(evt.EVT_C_STORE, self._take)],
        )
        assert self.association.is_established

    def _take(self, event: evt.Event) -> int:
        request = event.request
        self.got.append(
            (str(request.AffectedSOPInstanceUID), event.context.transfer_syntax, request.DataSet.getvalue())
        )
        return self.status

    def get(self, asked: Dataset) -> list[tuple[Dataset, Dataset | None]]:
        return list(self.association.send_c_get(asked, GET))

    def move(self, asked: Dataset, destination: str = "SINK") -> list[tuple[Dataset, Dataset | None]]:
        return list(self.association.send_c_move(asked, destination, MOVE, msg_id=77))

    def __enter__(self) -> Workstation:
        return self

    def __exit__(self, *_: object) -> None:
        self.association.release()


def counts(status: Dataset) -> tuple[int | None, ...]:
    return tuple(
        status.get(f"NumberOf{what}Suboperations") for what in ("Remaining", "Completed", "Failed", "Warning")
    )


def test_a_study_is_got_byte_for_byte_with_its_counts(archive, port):
    archive.keep(dataset(number=1, side=256), ExplicitVRLittleEndian)
    archive.keep(dataset(number=2), ImplicitVRLittleEndian)
    archive.keep(compressed(3), JPEGBaseline8Bit)
    archive.keep(dataset(study=2))
    with Workstation(port) as workstation:
        answers = workstation.get(keys())
    assert [status.Status for status, _ in answers] == [0xFF00, 0x0000]
    assert counts(answers[0][0]) == (3, 0, 0, 0)
    assert counts(answers[-1][0]) == (None, 3, 0, 0)
    assert len(workstation.got) == 3
    for uid, _, content in workstation.got:
        assert content == encoded(archive.folder / uid)


def test_nothing_to_get_is_a_success(port):
    with Workstation(port) as workstation:
        ((status, identifier),) = workstation.get(keys())
    assert (status.Status, identifier) == (0x0000, None)
    assert counts(status) == (None, 0, 0, 0)


@pytest.mark.parametrize("identifiers", IDENTIFIERS)
def test_what_the_requestor_cannot_take_is_listed_as_failed(archive, port, identifiers):
    archive.keep(dataset(number=1))
    failed = archive.keep(compressed(2), JPEGBaseline8Bit)
    other = archive.keep(dataset(number=3, sop_class=MRImageStorage))
    with Workstation(port, identifiers=identifiers, stored=[ExplicitVRLittleEndian]) as workstation:
        status, identifier = workstation.get(keys())[-1]
    assert status.Status == 0xB000
    assert counts(status) == (None, 1, 2, 0)
    assert list(identifier.FailedSOPInstanceUIDList) == [failed.uid, other.uid]


def test_a_requestor_of_the_default_syntax_gets_native_images_in_it(archive, port):
    instance = archive.keep(dataset(number=1, side=64), ExplicitVRLittleEndian)
    with Workstation(port, stored=[ImplicitVRLittleEndian]) as workstation:
        assert workstation.get(keys())[-1][0].Status == 0x0000
    ((_, syntax, content),) = workstation.got
    assert syntax == ImplicitVRLittleEndian
    assert read_dataset(BytesIO(content), True, True) == dcmread(archive.folder / instance.uid)


def test_all_failed_is_a_failure(archive, port):
    uids = [archive.keep(dataset(number=number)).uid for number in range(1, 3)]
    for uid in uids:
        (archive.folder / uid).unlink()
    with Workstation(port) as workstation:
        status, identifier = workstation.get(keys())[-1]
        assert status.Status == 0xA702
        assert counts(status) == (None, 0, 2, 0)
        assert list(identifier.FailedSOPInstanceUIDList) == uids
        assert workstation.get(keys(StudyInstanceUID="9.9"))[-1][0].Status == 0x0000


def test_warnings_of_the_requestor_are_counted(archive, port):
    archive.keep(dataset(number=1))
    with Workstation(port) as workstation:
        workstation.status = 0xB000
        status, identifier = workstation.get(keys())[-1]
    assert status.Status == 0xB000
    assert counts(status) == (None, 0, 0, 1)
    assert not identifier


def test_a_long_retrieval_is_told_of_now_and_then(archive, port):
    for number in range(1, 121):
        archive.keep(dataset(number=number))
    with Workstation(port) as workstation:
        answers = workstation.get(keys())
    assert [counts(status)[0] for status, _ in answers[:3]] == [120, 70, 20]
    assert answers[-1][0].Status == 0x0000
    assert len(workstation.got) == 120


def test_a_cancelled_retrieval_stops_and_says_what_is_left(archive, port):
    for number in range(1, 201):
        archive.keep(dataset(number=number))
    with Workstation(port) as workstation:
        answers = workstation.association.send_c_get(keys(), GET, msg_id=9)
        assert next(answers)[0].Status == 0xFF00
        workstation.association.send_c_cancel(9, query_model=GET)
        status, _ = list(answers)[-1]
        assert status.Status == 0xFE00
        remaining, completed, failed, warning = counts(status)
        assert remaining + completed == 200
        assert remaining > 0
        assert (failed, warning) == (0, 0)
        assert workstation.get(keys("IMAGE", SOPInstanceUID=archive.instances[0].uid))[-1][0].Status == 0


@pytest.mark.parametrize(
    ("asked", "status"),
    [(keys(PatientID="1"), 0xA900), (keys("PATIENT", PatientID="1"), 0xA900), (Dataset(), 0xA900)],
)
def test_a_retrieval_without_unique_keys_does_not_match_the_sop_class(port, devices, asked, status):
    asked.StudyDescription = ""
    devices.add("SINK", 1)
    with Workstation(port) as workstation:
        assert workstation.get(asked)[-1][0].Status == status
        assert workstation.move(asked)[-1][0].Status == status


@pytest.mark.parametrize(
    ("error", "status"),
    [(Forbidden("device:SCU@brno", "retrieve", "no"), 0x0124), (CatalogBusy("locked"), 0xA701)],
)
def test_an_archive_that_refuses_is_answered_for(port, monkeypatch, error, status):
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(FakeArchive, "select", refuse)
    with Workstation(port) as workstation:
        assert workstation.get(keys())[-1][0].Status == status


def test_a_study_is_moved_byte_for_byte_and_says_who_asked(archive, devices, port):
    archive.keep(dataset(number=1, side=256), ExplicitVRLittleEndian)
    archive.keep(compressed(2), JPEGBaseline8Bit)
    with sink([build_context(CTImageStorage, STORED)]) as taken, Workstation(port) as workstation:
        devices.add("SINK", taken.port)
        answers = workstation.move(keys())
    assert [status.Status for status, _ in answers] == [0xFF00, 0x0000]
    assert counts(answers[-1][0]) == (None, 2, 0, 0)
    assert taken.associations == 1
    assert {(one.originator, one.originator_message_id) for one in taken.received} == {("SCU", 77)}
    for one in taken.received:
        assert one.content == encoded(archive.folder / one.uid)


def test_an_unknown_destination_is_refused(archive, port):
    archive.keep(dataset(number=1))
    with Workstation(port) as workstation:
        ((status, _),) = workstation.move(keys(), "NOWHERE")
    assert status.Status == 0xA801


def test_an_unreachable_destination_fails_all_and_is_logged_by_its_name(archive, devices, port, caplog):
    uids = [archive.keep(dataset(number=number)).uid for number in range(1, 4)]
    devices.add("SINK", free_port())
    with Workstation(port) as workstation:
        status, identifier = workstation.move(keys())[-1]
    assert status.Status == 0xA702
    assert counts(status) == (None, 0, 3, 0)
    assert list(identifier.FailedSOPInstanceUIDList) == uids
    record = next(record for record in caplog.records if record.name == "services.dicom.retrieve")
    assert record.destination == "SINK"


def test_a_destination_that_goes_away_fails_what_it_did_not_get(archive, devices, port):
    for number in range(1, 6):
        archive.keep(dataset(number=number))
    with sink([build_context(CTImageStorage, STORED)]) as taken, Workstation(port) as workstation:
        devices.add("SINK", taken.port)
        taken.status = lambda event: 0 if len(taken.received) < 3 else event.assoc.abort() or 0
        status, identifier = workstation.move(keys())[-1]
    assert status.Status == 0xB000
    assert counts(status) == (None, 2, 3, 0)
    assert len(identifier.FailedSOPInstanceUIDList) == 3


def test_failures_of_the_destination_are_counted_and_listed(archive, devices, port):
    for number in range(1, 4):
        archive.keep(dataset(number=number))
    with sink([build_context(CTImageStorage, STORED)]) as taken, Workstation(port) as workstation:
        devices.add("SINK", taken.port)
        taken.status = lambda event: {1: 0xB000, 2: 0xA700}.get(len(taken.received), 0)
        status, identifier = workstation.move(keys())[-1]
    assert status.Status == 0xB000
    assert counts(status) == (None, 1, 1, 1)
    assert identifier.FailedSOPInstanceUIDList == archive.instances[1].uid


def test_a_requestor_that_goes_away_ends_the_move(archive, devices, port):
    for number in range(1, 2001):
        archive.keep(dataset(number=number, side=1))
    gone = threading.Event()
    with sink([build_context(CTImageStorage, STORED)]) as taken:
        devices.add("SINK", taken.port)
        workstation = Workstation(port)
        workstation.association.dimse_timeout = 1

        def leave(event: evt.Event) -> int:
            if len(taken.received) == 3:
                workstation.association.abort()
                gone.set()
            return 0

        taken.status = leave
        list(workstation.association.send_c_move(keys(), "SINK", MOVE))
        assert gone.wait(10)
    assert len(taken.received) < 1000


def test_a_failed_list_has_its_bounds(archive, port):
    for number in range(1, 1101):
        (archive.folder / archive.keep(dataset(number=number, side=1)).uid).unlink()
    with Workstation(port, identifiers=ExplicitVRLittleEndian) as workstation:
        status, identifier = workstation.get(keys())[-1]
    assert counts(status) == (None, 0, 1100, 0)
    assert len(identifier.FailedSOPInstanceUIDList) == 1000


@pytest.mark.peer
def test_dcmtk_gets_a_study(archive, port, tmp_path):
    getscu = requires("getscu")
    for number in range(1, 31):
        archive.keep(dataset(number=number, side=64))
    folder = tmp_path / "got"
    folder.mkdir()
    subprocess.run(
        [
            getscu, "-S", "+B", "-aet", "SCU", "-aec", "KONZILIUM", "-od", str(folder),
            "127.0.0.1", str(port),
            "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study_uid(1)}",
        ],
        env=os.environ | {"TCP_NODELAY": "1"}, check=True, timeout=60,
    )  # fmt: skip
    got = list(folder.iterdir())
    assert len(got) == 30
    for path in got:
        uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
        assert encoded(path) == encoded(archive.folder / uid)


@pytest.mark.peer
def test_dcmtk_moves_a_study_to_dcmtk(archive, devices, port, tmp_path):
    movescu = requires("movescu")
    for number in range(1, 31):
        archive.keep(dataset(number=number, side=64))
    folder = tmp_path / "moved"
    folder.mkdir()
    with storescp(folder, "+xa") as destination:
        devices.add("SINK", destination)
        subprocess.run(
            [
                movescu, "-S", "-aet", "SCU", "-aec", "KONZILIUM", "-aem", "SINK", "127.0.0.1", str(port),
                "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study_uid(1)}",
            ],
            env=os.environ | {"TCP_NODELAY": "1"}, check=True, timeout=60,
        )  # fmt: skip
    moved = list(folder.iterdir())
    assert len(moved) == 30
    for path in moved:
        uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
        assert encoded(path) == encoded(archive.folder / uid)
