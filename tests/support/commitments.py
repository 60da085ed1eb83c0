"""A modality that asks for Storage Commitment and takes the reports (PS3.4 J)."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from node.domain.instance import Offer
from tests.support.node_process import NodeProcess

REQUEST = 1
"""Action type ID (PS3.4 J.3.2)."""


@contextmanager
def modality(port: int, ae_title: str = "SENDER") -> Iterator[queue.Queue[Dataset]]:
    """A modality that takes reports of storage commitment."""
    reports: queue.Queue[Dataset] = queue.Queue()

    def take(event: evt.Event) -> tuple[int, None]:
        reports.put(event.event_information)
        return 0x0000, None

    entity = AE(ae_title=ae_title)
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)]
    )
    try:
        yield reports
    finally:
        server.shutdown()


def request(node: NodeProcess, offers: Iterable[Offer], transaction: str, ae_title: str = "SENDER") -> None:
    """Ask a node to commit itself to these instances, and see that it has understood."""
    wanted = Dataset()
    wanted.TransactionUID = transaction
    wanted.ReferencedSOPSequence = [_reference(offer) for offer in offers]
    entity = AE(ae_title=ae_title)
    entity.add_requested_context(StorageCommitmentPushModel, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", node.dicom_port, ae_title=node.ae_title)
    assert association.is_established
    status, _ = association.send_n_action(
        wanted, REQUEST, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    association.release()
    assert status.Status == 0


def _reference(offer: Offer) -> Dataset:
    named = Dataset()
    named.ReferencedSOPClassUID = str(offer.sop_class)
    named.ReferencedSOPInstanceUID = str(offer.instance)
    return named
