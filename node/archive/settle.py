"""Conflicts and quarantine: what a proof or a person settles."""

from __future__ import annotations

import logging
from io import BytesIO

from pydicom import dcmread
from pydicom.filewriter import dcmwrite

from node.archive.compare import COMPARED, proved_equal
from node.archive.gate import deed_of
from node.archive.header import read_header
from node.archive.identity import identify
from node.archive.part10 import StoredFile
from node.audit.record import Deed, Event
from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.catalog.conflicts import DIFFERENT, FOLDED
from node.catalog.quarantine import HELD
from node.catalog.unit import Unit
from node.domain.errors import MalformedInstance, NodeError, Unknown
from node.domain.ids import Digest, InstanceUID, SOPClassUID, TransferSyntaxUID
from node.domain.instance import Instance, Offer, Quarantined
from node.domain.principal import Principal
from node.journal.entry import Fact

log = logging.getLogger(__name__)


def compare(blobs: BlobStore, catalog: Catalog, instance: InstanceUID, other: Digest) -> bool:
    """Settle a conflict: fold the other form into the archived one if both are proved equal.

    Returns:
        Whether it was folded. The archived form is read back and verified before the other one goes.
    """
    with catalog.reading() as unit:
        archived, state = unit.instances.find(instance), unit.conflicts.state(instance, other)
    if archived is None or state is None:
        return False
    if state == FOLDED and blobs.size(other) is None:
        return True
    equal = _is_equal(blobs, archived, other)
    if state != (FOLDED if equal else DIFFERENT):
        catalog.perform(lambda unit: _settle(unit, archived, other, equal=equal))
    if equal:
        blobs.remove(other)
    return equal


def _is_equal(blobs: BlobStore, archived: Instance, other: Digest) -> bool:
    if max(archived.size, blobs.size(other) or 0) > COMPARED:
        return False
    blobs.verify(archived.digest)
    with blobs.open(archived.digest) as kept, blobs.open(other) as offered:
        return proved_equal(kept, offered)


def _settle(unit: Unit, archived: Instance, other: Digest, *, equal: bool) -> None:
    unit.conflicts.settle(archived.uid, other, FOLDED if equal else DIFFERENT)
    says = {"uid": archived.uid, "kept": archived.digest, "other": other, "equal": equal}
    unit.journal.append(Fact.COMPARE, says)
    what = f"{archived.uid} compared with {other}: {'equal' if equal else 'different'}"
    unit.audit.append(Deed(event=Event.SETTLED, who=f"node:{unit.origin}", study=archived.study, what=what))
    log.info("a conflict was settled", extra={"instance": archived.uid, "folded": equal})


def held_object(catalog: Catalog, digest: Digest) -> Quarantined:
    """The object that waits in quarantine under that name.

    Raises:
        Unknown: none does.
    """
    with catalog.reading() as unit:
        return demand_held(unit, digest)


def demand_held(unit: Unit, digest: Digest) -> Quarantined:
    """The same within a unit of work."""
    held = unit.quarantine.find(digest)
    if held is None or held.state != HELD:
        raise Unknown(digest)
    return held


def amended(stored: StoredFile, patient_id: str, issuer: str) -> tuple[Offer, bytes]:
    """The data set of a quarantined object with the identity that a person gave it.

    Raises:
        MalformedInstance, MismatchedInstance, Unidentified: it lacks more than the patient's identity.
    """
    try:
        dataset = dcmread(stored.file)
        dataset.PatientID = patient_id
        if issuer:
            dataset.IssuerOfPatientID = issuer
        buffer = BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        offer = Offer(
            sop_class=SOPClassUID(dataset.SOPClassUID),
            instance=InstanceUID(dataset.SOPInstanceUID),
            transfer_syntax=TransferSyntaxUID(dataset.file_meta.TransferSyntaxUID),
        )
    except NodeError:
        raise
    except Exception as error:
        raise MalformedInstance(f"it cannot be amended ({type(error).__name__})") from None
    encoded = _without_meta(buffer)
    identified = identify(offer, read_header(offer, memoryview(encoded)))
    if identified.patient_id != patient_id.strip():
        raise MalformedInstance("its character set cannot express the Patient ID")
    return offer, encoded


def _without_meta(buffer: BytesIO) -> bytes:
    encoded = buffer.getvalue()
    return encoded[144 + int.from_bytes(encoded[140:144], "little") :]


def decide(unit: Unit, principal: Principal, digest: Digest, state: str) -> None:
    """Write down what a person decided about a quarantined object."""
    unit.quarantine.settle(digest, state)
    unit.journal.append(Fact.SETTLE, {"digest": digest, "state": state})
    unit.audit.append(deed_of(principal, Event.SETTLED, what=f"{state} {digest}"))
