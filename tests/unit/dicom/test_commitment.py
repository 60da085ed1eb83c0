"""Storage commitment over real associations: asked here, reported here or by calling back."""

from __future__ import annotations

import threading

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import StorageCommitmentPushModel as PUSH

from node.domain.commitment import Reason, Vouched, Wanted
from node.domain.errors import Forbidden, PeerUnreachable
from node.domain.ids import UID, AETitle, InstanceUID, SOPClassUID
from node.domain.principal import Device
from services.dicom.associate import Requestor
from services.dicom.commitment import N_ACTION_RQ, PUSH_MODEL_INSTANCE, Commitment, ReportRefused, report
from tests.support.face import served
from tests.support.fake_archive import FakeArchive
from tests.support.peers import free_port
from tests.support.synthetic import dataset

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
TRANSACTION = UID("1.2.826.0.1.99")
REQUESTOR = Requestor(ae_title=AETitle("KONZILIUM"), patience=5, timeout=5)


@pytest.fixture
def archive(tmp_path):
    made = FakeArchive(tmp_path)
    for number in range(1, 4):
        made.keep(dataset(number=number))
    return made


@pytest.fixture
def port(archive):
    with served({N_ACTION_RQ: Commitment(archive, grace=0.5)}, [build_context(PUSH, SYNTAXES)]) as port:
        yield port


class Modality:
    """Asks for commitment, and takes reports on its association or when it is called back."""

    def __init__(self, status: int = 0x0000, syntax: str = ExplicitVRLittleEndian) -> None:
        self.reports: list[tuple[int, Dataset]] = []
        self.reported = threading.Event()
        self.status = status
        self.entity = AE(ae_title="SCU")
        self.entity.add_requested_context(PUSH, syntax)
        self.entity.add_supported_context(PUSH, syntax, scu_role=True, scp_role=True)
        self.handlers = [(evt.EVT_N_EVENT_REPORT, self._take)]

    def _take(self, event: evt.Event) -> tuple[int, None]:
        self.reports.append((event.event_type, event.event_information))
        self.reported.set()
        return self.status, None

    def associate(self, port: int):
        association = self.entity.associate("127.0.0.1", port, evt_handlers=self.handlers)
        assert association.is_established
        return association

    def listen(self):
        return self.entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=self.handlers)


def request(*wanted: Wanted, transaction: str | None = TRANSACTION) -> Dataset:
    asked = Dataset()
    if transaction is not None:
        asked.TransactionUID = transaction
    asked.ReferencedSOPSequence = []
    for one in wanted:
        item = Dataset()
        item.ReferencedSOPClassUID = one.sop_class
        item.ReferencedSOPInstanceUID = one.instance
        asked.ReferencedSOPSequence.append(item)
    return asked


def wanted(uid: str, sop_class: str = CTImageStorage) -> Wanted:
    return Wanted(sop_class=SOPClassUID(sop_class), instance=InstanceUID(uid))


def all_of(archive: FakeArchive) -> list[Wanted]:
    return [wanted(instance.uid) for instance in archive.instances]


def asked(association, data: Dataset | None, action: int = 1, instance: str = PUSH_MODEL_INSTANCE) -> int:
    status, _ = association.send_n_action(data, action, PUSH, instance)
    return status.Status


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_device_that_waits_is_told_on_its_association(archive, port, syntax):
    modality = Modality(syntax=syntax)
    association = modality.associate(port)
    assert asked(association, request(*all_of(archive))) == 0x0000
    assert modality.reported.wait(10)
    association.release()
    ((kind, event),) = modality.reports
    assert kind == 1
    assert event.TransactionUID == TRANSACTION
    assert [item.ReferencedSOPInstanceUID for item in event.ReferencedSOPSequence] == [
        instance.uid for instance in archive.instances
    ]
    assert "FailedSOPSequence" not in event
    assert archive.done == [(TRANSACTION, "SCU")]
    assert archive.owed == {}


def test_what_is_not_safe_here_is_reported_with_its_reason(archive, port):
    modality = Modality()
    association = modality.associate(port)
    held, other = archive.instances[0].uid, archive.instances[1].uid
    assert asked(association, request(wanted(held), wanted("9.9.9"), wanted(other, MRImageStorage))) == 0
    assert modality.reported.wait(10)
    association.release()
    ((kind, event),) = modality.reports
    assert kind == 2
    assert [item.ReferencedSOPInstanceUID for item in event.ReferencedSOPSequence] == [held]
    assert [(item.ReferencedSOPInstanceUID, item.FailureReason) for item in event.FailedSOPSequence] == [
        ("9.9.9", 0x0112),
        (other, 0x0119),
    ]


def test_a_device_that_leaves_is_still_owed_its_report(archive, port):
    modality = Modality()
    association = modality.associate(port)
    assert asked(association, request(*all_of(archive))) == 0x0000
    association.release()
    assert association.is_released
    assert not modality.reported.wait(1)
    assert list(archive.owed) == [TRANSACTION]


def test_a_device_that_goes_on_working_is_not_interrupted(archive, port):
    modality = Modality()
    association = modality.associate(port)
    transactions = [f"1.2.3.{number}" for number in range(5)]
    for transaction in transactions:
        assert asked(association, request(*all_of(archive), transaction=transaction)) == 0x0000
    assert modality.reported.wait(10)
    association.release()
    assert list(archive.owed) == transactions[:-1]


def test_a_refused_report_is_still_owed(archive, port):
    modality = Modality(status=0x0110)
    association = modality.associate(port)
    assert asked(association, request(*all_of(archive))) == 0x0000
    assert modality.reported.wait(10)
    association.release()
    assert list(archive.owed) == [TRANSACTION]
    assert archive.done == []


@pytest.mark.parametrize(
    ("data", "action", "instance", "status"),
    [
        (request(wanted("1.2")), 1, "1.2.3", 0x0112),
        (request(wanted("1.2")), 2, PUSH_MODEL_INSTANCE, 0x0123),
        (request(wanted("1.2"), transaction=None), 1, PUSH_MODEL_INSTANCE, 0x0114),
        (request(), 1, PUSH_MODEL_INSTANCE, 0x0115),
        (None, 1, PUSH_MODEL_INSTANCE, 0x0114),
    ],
)
def test_a_request_that_is_none_is_refused_for_its_reason(archive, port, data, action, instance, status):
    association = Modality().associate(port)
    assert asked(association, data, action, instance) == status
    assert association.is_established
    association.release()
    assert archive.owed == {}


def test_a_device_that_may_not_store_may_not_ask(archive, port, monkeypatch):
    def refuse(*_: object) -> None:
        raise Forbidden("device:SCU@brno", "store", "it was added without")

    monkeypatch.setattr(FakeArchive, "request_commitment", refuse)
    association = Modality().associate(port)
    assert asked(association, request(wanted("1.2"))) == 0x0124
    association.release()


def device(port: int) -> Device:
    return Device(ae_title=AETitle("SCU"), host="127.0.0.1", port=port)


VOUCHED = Vouched(held=(wanted("1.2.3"),), failed=((wanted("1.2.4"), Reason.PROCESSING_FAILURE),))


def test_a_device_is_called_back_with_its_report():
    modality = Modality()
    server = modality.listen()
    try:
        report(REQUESTOR, device(server.socket.getsockname()[1]), TRANSACTION, VOUCHED)
    finally:
        server.shutdown()
    ((kind, event),) = modality.reports
    assert kind == 2
    assert event.TransactionUID == TRANSACTION
    assert event.FailedSOPSequence[0].FailureReason == 0x0110


def test_a_device_that_refuses_the_report_is_named():
    modality = Modality(status=0x0211)
    server = modality.listen()
    try:
        with pytest.raises(ReportRefused, match=r"SCU did not accept .* status 0211"):
            report(REQUESTOR, device(server.socket.getsockname()[1]), TRANSACTION, VOUCHED)
    finally:
        server.shutdown()


def test_a_device_that_cannot_be_called_back_is_unreachable():
    with pytest.raises(PeerUnreachable):
        report(REQUESTOR, device(free_port()), TRANSACTION, VOUCHED)
