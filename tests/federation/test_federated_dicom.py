"""A device asks the federation through its own node: by the title of the federation, and by the usual one."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from node.domain.ids import AETitle
from node.domain.rule import Match, Terms
from services.dicom.associate import Requestor
from services.dicom.messages import Field
from services.dicom.query import FederatedFind, Find
from services.dicom.retrieve import Get, Move
from services.dicom.send import Sender
from tests.support.dicom_door import MemoryDevices, serving
from tests.support.fake_archive import FakeDevices
from tests.support.federation import federation
from tests.support.searching import Seeker, terms_of
from tests.support.sinks import sink
from tests.support.synthetic import instance, instance_uid, study, study_uid

FIND = StudyRootQueryRetrieveInformationModelFind
GET = StudyRootQueryRetrieveInformationModelGet
MOVE = StudyRootQueryRetrieveInformationModelMove
HERE, ALL = AETitle("KONZILIUM"), AETitle("BRNO-FED")
SHORT = 0.5


class Asked:
    """A node at Brno, and a workstation that asks it."""

    def __init__(self, seeker: Seeker, port: int, devices: FakeDevices) -> None:
        self.seeker = seeker
        self.devices = devices
        self._port = port
        self.got: list[str] = []

    def _take(self, event: evt.Event) -> int:
        self.got.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    @contextmanager
    def association(self, title: str):
        entity = AE(ae_title="CT1")
        for model in (FIND, GET, MOVE):
            entity.add_requested_context(model, ExplicitVRLittleEndian)
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = entity.associate(
            "127.0.0.1",
            self._port,
            ae_title=title,
            ext_neg=[build_role(CTImageStorage, scp_role=True)],
            evt_handlers=[(evt.EVT_C_STORE, self._take)],
        )
        assert association.is_established
        yield association
        association.release()

    def find(self, title: str, **keys: str) -> tuple[Dataset, list[Dataset]]:
        asked = Dataset()
        asked.QueryRetrieveLevel = "STUDY"
        asked.StudyInstanceUID = asked.RetrieveAETitle = asked.InstanceAvailability = ""
        for keyword, value in keys.items():
            setattr(asked, keyword, value)
        with self.association(title) as association:
            *found, (status, _) = association.send_c_find(asked, FIND)
        assert {status.Status for status, _ in found} <= {0xFF00}
        return status, [answer for _, answer in found]

    def retrieve(self, title: str, number: int = 1, destination: str | None = None) -> list[Dataset]:
        asked = Dataset()
        asked.QueryRetrieveLevel = "STUDY"
        asked.StudyInstanceUID = study_uid(number)
        with self.association(title) as association:
            if destination:
                answers = association.send_c_move(asked, destination, MOVE)
            else:
                answers = association.send_c_get(asked, GET)
            return [status for status, _ in answers]


@pytest.fixture
def sites():
    with federation("brno", "prague", "wien") as sites:
        yield sites


@pytest.fixture
def brno(sites):
    site = sites[0]
    seeker, devices = Seeker(site), FakeDevices()
    patience = 2 * SHORT
    sender = Sender(Requestor(ae_title=HERE, patience=5, timeout=5))
    usual = seeker.reader(patience=patience)
    everywhere = seeker.reader(everywhere=True, patience=patience)
    handlers = {
        Field.C_FIND_RQ: Find(site.archive, HERE),
        Field.C_GET_RQ: Get(site.archive, usual),
        Field.C_MOVE_RQ: Move(site.archive, devices, sender, usual),
    }
    federated = {
        Field.C_FIND_RQ: FederatedFind(seeker.search, ALL, patience=patience),
        Field.C_GET_RQ: Get(site.archive, everywhere),
        Field.C_MOVE_RQ: Move(site.archive, devices, sender, everywhere),
    }

    class Known(MemoryDevices):
        def recognise(self, caller, asked):
            return site.device

    with serving(devices=Known(), handlers=handlers, federated=federated, federation_ae_title=ALL) as entity:
        yield Asked(seeker, entity.ports[0], devices)


def test_the_title_of_the_federation_finds_what_is_at_every_site(sites, brno):
    for number, site in enumerate(sites, 1):
        site.admit(instance(study=number))
    status, found = brno.find(ALL)
    assert status.Status == 0x0000
    assert "ErrorComment" not in status
    told = {
        answer.StudyInstanceUID: (answer.RetrieveAETitle, answer.InstanceAvailability) for answer in found
    }
    assert told == {
        study_uid(1): (ALL, "ONLINE"),
        study_uid(2): (ALL, "NEARLINE"),
        study_uid(3): (ALL, "NEARLINE"),
    }


def test_answers_have_no_more_than_was_asked_for(sites, brno):
    sites[1].admit(instance())
    _, (answer,) = brno.find(ALL, PatientName="")
    assert {element.keyword for element in answer} == {
        "SpecificCharacterSet",
        "QueryRetrieveLevel",
        "RetrieveAETitle",
        "InstanceAvailability",
        "PatientName",
        "StudyInstanceUID",
    }


def test_the_usual_title_finds_what_is_here_and_asks_nobody(sites, brno):
    for number, site in enumerate(sites, 1):
        site.admit(instance(study=number))
    _, found = brno.find(HERE)
    assert [answer.StudyInstanceUID for answer in found] == [study_uid(1)]
    assert found[0].RetrieveAETitle == HERE
    assert brno.seeker.moods["prague"].asked == []


def test_the_final_answer_names_who_did_not_answer(sites, brno):
    sites[0].admit(instance())
    sites[0].network.sever("brno", "wien")
    with brno.seeker.hanging("prague"):
        status, found = brno.find(ALL)
    assert status.Status == 0x0000
    assert status.ErrorComment == "wien unreachable; prague timed out"
    assert len(found) == 1


def test_a_cancelled_query_waits_for_nobody(sites, brno):
    sites[0].admit(instance())
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    asked.StudyInstanceUID = ""
    with brno.seeker.hanging("prague"), brno.association(ALL) as association:
        answers = association.send_c_find(asked, FIND, msg_id=5)
        status, _ = next(answers)
        assert status.Status == 0xFF00
        association.send_c_cancel(5, query_model=FIND)
        assert [status.Status for status, _ in answers] == [0xFE00]


@pytest.mark.parametrize("title", [HERE, ALL])
def test_a_study_that_is_elsewhere_can_be_got_by_either_title(sites, brno, title):
    for one in study(3):
        sites[1].admit(one)
    *_, last = brno.retrieve(title)
    assert (last.Status, last.NumberOfCompletedSuboperations) == (0x0000, 3)
    assert sorted(brno.got) == sorted(instance_uid(1, 1, number) for number in (1, 2, 3))


def test_a_study_that_is_elsewhere_can_be_moved_to_a_device(sites, brno):
    for one in study(70, series=3):
        sites[1].admit(one)
    with sink([build_context(CTImageStorage, ExplicitVRLittleEndian)]) as device:
        brno.devices.add("SINK", device.port)
        first, *_, last = brno.retrieve(HERE, destination="SINK")
    assert (first.Status, first.NumberOfRemainingSuboperations) == (0xFF00, 70)
    assert (last.Status, last.NumberOfCompletedSuboperations) == (0x0000, 70)
    assert sites[0].rows("SELECT count(*) FROM instance") == [(70,)]


def test_a_destination_that_cannot_be_reached_fails_what_was_announced(sites, brno):
    for one in study(2):
        sites[1].admit(one)
    brno.devices.add("SINK", 1)
    *_, last = brno.retrieve(HERE, destination="SINK")
    assert (last.Status, last.NumberOfFailedSuboperations) == (0xA702, 2)


def test_what_was_announced_and_cannot_be_had_is_listed_as_failed(sites, brno):
    for one in study(3):
        sites[1].admit(one)
    brno.seeker.moods["prague"].gives = 2
    *_, last = brno.retrieve(ALL)
    assert last.Status == 0xB000
    assert (last.NumberOfCompletedSuboperations, last.NumberOfFailedSuboperations) == (2, 1)


def test_who_waits_for_a_slow_site_is_told_that_it_goes_on(sites, brno, monkeypatch):
    monkeypatch.setattr("services.dicom.retrieve.SECOND", 0.0)
    monkeypatch.setattr("node.replication.read_through.TICK", 0.05)
    sites[1].admit(instance())
    released, told = threading.Event(), []

    class Slow(list):
        def append(self, digest):
            released.wait(10)
            super().append(digest)

    brno.seeker.moods["prague"].fetched = Slow()
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    asked.StudyInstanceUID = study_uid(1)
    with brno.association(HERE) as association:
        for status, _ in association.send_c_get(asked, GET):
            told.append(status.Status)
            if len(told) == 3:
                released.set()
    assert told[:3] == [0xFF00] * 3
    assert told[-1] == 0x0000
    assert brno.got == [instance_uid(1, 1, 1)]


def test_what_the_terms_do_not_accept_is_refused_in_words_of_the_standard(sites, brno):
    sites[1].admit(instance())
    terms_of(sites[0], "prague", accept=Terms(matches=(Match(modalities=("MR",)),)))
    assert [status.Status for status in brno.retrieve(HERE)] == [0x0124]


def test_nothing_anywhere_is_a_success(brno):
    assert [status.Status for status in brno.retrieve(ALL)] == [0x0000]


@pytest.mark.parametrize(("title", "status"), [(None, 7), (HERE, 0)])
def test_a_site_can_have_no_such_title_or_one_for_everything(sites, title, status):
    entered: list[str] = []
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"

    def find(message) -> None:
        entered.append("federated")
        message.respond(0x0000)

    with serving(federated={Field.C_FIND_RQ: find}, federation_ae_title=title) as entity:
        caller = AE(ae_title="CT1")
        caller.add_requested_context(FIND, ExplicitVRLittleEndian)
        called = caller.associate("127.0.0.1", entity.ports[0], ae_title=title or ALL)
        if status:
            assert called.acceptor.primitive.diagnostic == status
            return
        assert [answer.Status for answer, _ in called.send_c_find(asked, FIND)] == [0x0000]
        called.release()
    assert entered == ["federated"]
