"""What a node owes is done by its worker, also after the asker has gone and the node was stopped."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager

from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from node.domain.commitment import Wanted
from node.domain.ids import UID, AETitle, InstanceUID
from node.domain.principal import DEVICE_ACTIONS, Kind, Principal
from node.wiring import open_site
from tests.support import synthetic

TRANSACTION = UID("1.2.3.4")


@contextmanager
def modality(port: int) -> Iterator[queue.Queue]:
    """A modality that takes reports of storage commitment."""
    reports: queue.Queue = queue.Queue()

    def take(event: evt.Event) -> tuple[int, None]:
        reports.put(event.event_information)
        return 0x0000, None

    entity = AE(ae_title="SENDER")
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)]
    )
    try:
        yield reports
    finally:
        server.shutdown()


def test_a_commitment_is_reported_by_calling_the_device_back(make_node, port):
    node = make_node()
    node.add_device("SENDER", "127.0.0.1", port)
    offer, encoded = synthetic.instance()
    other = InstanceUID("1.2.3.9")
    with open_site(node.folder) as site:
        sender = Principal(
            kind=Kind.DEVICE, name=AETitle("SENDER"), site=site.settings.site.name, may=DEVICE_ACTIONS
        )
        site.archive.admit(sender, offer, [encoded])
        wanted = [Wanted(sop_class=offer.sop_class, instance=uid) for uid in (offer.instance, other)]
        site.archive.request_commitment(sender, TRANSACTION, wanted)
    with modality(port) as reports, node:
        report = reports.get(timeout=90)
    assert report.TransactionUID == TRANSACTION
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [offer.instance]
    assert [item.ReferencedSOPInstanceUID for item in report.FailedSOPSequence] == [other]
    assert node.status()["jobs"] == 0
