"""What devices see of a backup: it refuses what they send, with a reason, and answers what they ask."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from node.domain.ids import AETitle
from node.domain.role import Role
from services.dicom.messages import Field
from services.dicom.query import Find
from services.dicom.retrieve import Get
from tests.support.dicom_door import MemoryDevices, serving
from tests.support.federation import federation, settle
from tests.support.synthetic import dataset, instance, instance_uid, study_uid

FIND, GET = StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet
TITLE = AETitle("KONZILIUM")


@pytest.fixture
def two():
    with federation("brno", "prague") as sites:
        brno, prague = sites
        brno.roles.state(brno.operator, successors=["prague"], reason="the second machine")
        prague.roles.state(prague.operator, Role.BACKUP, reason="the second machine")
        brno.admit(instance(number=1))
        settle(brno, prague)
        yield sites


@pytest.fixture
def backup(two):
    """A modality with an association to the backup, and what it has got there."""
    prague, got = two[1], []

    class Known(MemoryDevices):
        def recognise(self, caller, asked):
            return prague.device

    def take(event: evt.Event) -> int:
        got.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    handlers = {Field.C_FIND_RQ: Find(prague.archive, TITLE), Field.C_GET_RQ: Get(prague.archive)}
    with serving(prague.archive, devices=Known(), handlers=handlers) as entity:
        modality = AE(ae_title="CT1")
        for context in (FIND, GET, CTImageStorage):
            modality.add_requested_context(context, ExplicitVRLittleEndian)
        association = modality.associate(
            "127.0.0.1",
            entity.ports[0],
            ae_title=TITLE,
            ext_neg=[build_role(CTImageStorage, scu_role=True, scp_role=True)],
            evt_handlers=[(evt.EVT_C_STORE, take)],
        )
        assert association.is_established
        yield association, got
        association.release()


def slice_(number: int) -> Dataset:
    sent = dataset(number=number)
    sent.file_meta = FileMetaDataset()
    sent.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return sent


def asked() -> Dataset:
    keys = Dataset()
    keys.QueryRetrieveLevel = "STUDY"
    keys.StudyInstanceUID = study_uid(1)
    return keys


def test_a_backup_refuses_a_store_and_says_where_to_send(backup):
    association, _ = backup
    status = association.send_c_store(slice_(2))
    assert status.Status == 0x0124
    assert status.ErrorComment == "This archive is a read-only backup; send to another"


def test_a_backup_answers_queries_and_retrievals(backup):
    association, got = backup
    found = [answer for status, answer in association.send_c_find(asked(), FIND) if answer]
    assert [answer.StudyInstanceUID for answer in found] == [study_uid(1)]
    *_, (status, _) = association.send_c_get(asked(), GET)
    assert (status.Status, got) == (0x0000, [instance_uid(1, 1, 1)])


def test_a_store_is_taken_in_the_same_association_once_it_is_promoted(two, backup):
    association, prague = backup[0], two[1]
    assert association.send_c_store(slice_(2)).Status == 0x0124
    prague.roles.promote(prague.operator, reason="brno does not answer")
    assert association.send_c_store(slice_(2)).Status == 0x0000
