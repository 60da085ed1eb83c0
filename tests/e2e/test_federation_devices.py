"""What a device at one site has of the other: a commitment that waits for copies, searches, retrievals.

The other site's audit says which device caused the call.
"""

from __future__ import annotations

import queue

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.support import synthetic
from tests.support.caller import STUDY_ROOT_FIND, STUDY_ROOT_GET, Caller
from tests.support.commitments import modality, request
from tests.support.federated import books, in_step, is_at, joined, send
from tests.support.node_process import NodeProcess
from tests.support.serving import eventually

COPIES = {"dicom.commitment": "copies"}


def test_a_commitment_is_reported_only_when_the_other_site_has_proved_its_copy(tmp_path, port):
    instances = synthetic.study(3, study=1)
    with joined(tmp_path, "brno", "prague", settings=COPIES) as (brno, prague):
        brno.command("device", "remove", ..., "SENDER")
        brno.add_device("SENDER", "127.0.0.1", port)
        prague.kill()
        with modality(port) as reports:
            sent, transaction = send(brno, instances), generate_uid()
            request(brno, [offer for offer, _ in instances], transaction)
            eventually(lambda: waits(brno), "Brno has looked and waits for Prague")
            with pytest.raises(queue.Empty):
                reports.get(block=False)
            prague.start()
            report = reports.get(timeout=60)
            assert is_at(sent, prague, brno)
        assert report.TransactionUID == transaction
        assert {item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence} == set(sent)
        assert "FailedSOPSequence" not in report


def waits(node: NodeProcess) -> bool:
    """Whether the commitment was looked at and is not due."""
    return bool(books(node).ask("SELECT 1 FROM job WHERE kind = 'commitment' AND error != ''"))


def test_the_other_site_knows_which_device_searched_it_and_fetched_from_it(tmp_path):
    """No rule of Prague wants a copy at Brno; a workstation there finds the study and retrieves it."""
    with joined(tmp_path, "brno", "prague") as (brno, prague):
        brno.add_device("WS1")
        prague.command("rule", "add", ..., "only-ultrasound", "--modality", "US")
        sent = send(prague, synthetic.study(3, study=1))
        eventually(lambda: in_step(brno, prague), "Brno has read the journal of Prague")
        assert not books(brno).instances()
        assert found(brno, synthetic.study_uid(1)) == 1
        assert fetched(brno, synthetic.study_uid(1)) == set(sent)
        deeds = {(event.partition(":")[0], who) for event, who, *_ in books(prague).deeds()}
        assert ("Query", "device:WS1@brno") in deeds
        assert ("DICOM Instances Transferred", "device:WS1@brno") in deeds


def found(node: NodeProcess, study: str) -> int:
    """Search the federation for a study through a node; how many matches came."""
    with Caller.open(
        node.dicom_port, classes=[STUDY_ROOT_FIND], calling="WS1", called=f"{node.ae_title}-FED"
    ) as caller:
        end, rows = caller.find(synthetic.encoded(wanted(study)))
    assert end[0x0900] == 0
    return len(rows)


def fetched(node: NodeProcess, study: str) -> set[str]:
    """Retrieve a study through a node by its usual title; the UIDs that came."""
    came: set[str] = set()

    def keep(uid: str, fragments: object) -> int:
        came.add(uid)
        for _ in fragments:  # type: ignore[attr-defined]
            pass
        return 0

    with Caller.open(
        node.dicom_port,
        classes=[STUDY_ROOT_GET],
        receives=[str(synthetic.dataset().SOPClassUID)],
        calling="WS1",
        called=node.ae_title,
    ) as caller:
        assert caller.get(synthetic.encoded(wanted(study)), keep)[0x0900] == 0
    return came


def wanted(study: str) -> Dataset:
    """The identifier of a study."""
    made = Dataset()
    made.QueryRetrieveLevel = "STUDY"
    made.StudyInstanceUID = study
    return made
