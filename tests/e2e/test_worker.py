"""What a node owes is done by its worker, also after the asker has gone and the node was stopped."""

from __future__ import annotations

from node.domain.commitment import Wanted
from node.domain.ids import UID, AETitle, InstanceUID
from node.domain.principal import DEVICE_ACTIONS, Kind, Principal
from node.wiring import open_site
from tests.support import synthetic
from tests.support.commitments import modality

TRANSACTION = UID("1.2.3.4")


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
