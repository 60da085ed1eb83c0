"""Conflicts and quarantine: what a proof or a person settles."""

from __future__ import annotations

import logging
from io import BytesIO

from pydicom import dcmread
from pydicom.filewriter import dcmwrite

from node.archive.compare import COMPARED, proved_equal
from node.archive.derive import derive, state_of
from node.archive.header import read_header
from node.archive.identity import identify
from node.archive.part10 import StoredFile
from node.audit.record import Deed, Event, deed_of
from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.catalog.conflicts import FOLDED, OPEN
from node.catalog.quarantine import HELD
from node.catalog.unit import Unit
from node.domain.errors import BlobMissing, DigestMismatch, MalformedInstance, NodeError, Unknown
from node.domain.ids import Digest, InstanceUID, SOPClassUID, TransferSyntaxUID
from node.domain.instance import Instance, Offer, Quarantined
from node.domain.job import Task
from node.domain.principal import Principal
from node.journal.entry import Fact

log = logging.getLogger(__name__)


def compare(blobs: BlobStore, catalog: Catalog, instance: InstanceUID, other: Digest) -> bool:
    """Settle a conflict: prove two forms equal or different, and drop the bytes of a folded one.

    Returns:
        Whether they are one. The form that is kept is read back and verified before the other one goes.

    Raises:
        BlobMissing, DigestMismatch: one of them is damaged; it is repaired first.
    """
    with catalog.reading() as unit:
        archived, state = unit.instances.find(instance), unit.conflicts.state(instance, other)
        is_here, keepers = unit.instances.is_held(instance), _keepers(unit, instance, other)
    if archived is None or state is None:
        return False
    if blobs.size(other) is None:
        catalog.perform(lambda unit: _without_bytes(unit, instance, other))
        if state != FOLDED:
            raise BlobMissing(other)
        return True
    if state != FOLDED:
        if not is_here:
            return False  # this copy was given up; the sites that hold both forms compare them
        keepers = [archived.digest]
    kept = next(
        (keeper for keeper in keepers if _is_equal(blobs, keeper, other, folded=state == FOLDED)), None
    )
    if state == OPEN:
        catalog.perform(lambda unit: _settle(unit, blobs, archived, other, equal=kept is not None))
    if kept is not None:
        with catalog.begin() as unit:
            _drop(unit, blobs, instance, kept, other)
    return kept is not None


def _keepers(unit: Unit, instance: InstanceUID, other: Digest) -> list[Digest]:
    """The forms that stay here, into one of which another one was folded: mostly the archived one."""
    here = [form.digest for form in unit.forms.here(instance)]
    return [one for one in here if one != other and unit.conflicts.state(instance, one) != FOLDED]


def _is_equal(blobs: BlobStore, keeper: Digest, other: Digest, *, folded: bool) -> bool:
    """Whether two forms are proved to be one; where that was proved elsewhere, damage changes nothing.

    Raises:
        BlobMissing, DigestMismatch: one of them is damaged, and not done without.
    """
    if max(blobs.size(keeper) or 0, blobs.size(other) or 0) > COMPARED:
        return False
    blobs.verify(keeper)
    try:
        blobs.verify(other)
    except DigestMismatch:
        if not folded:
            raise
        log.warning("damaged bytes of a folded form were set aside", extra={"digest": other})
        return blobs.set_aside(other)
    with blobs.open(keeper) as kept, blobs.open(other) as offered:
        return proved_equal(kept, offered)


def _settle(unit: Unit, blobs: BlobStore, archived: Instance, other: Digest, *, equal: bool) -> None:
    says = {"uid": archived.uid, "kept": archived.digest, "other": other, "equal": equal}
    unit.journal.append(Fact.COMPARE, says)
    derive(unit, blobs, archived.uid)
    what = f"{archived.uid} compared with {other}: {'equal' if equal else 'different'}"
    unit.audit.append(Deed(event=Event.SETTLED, who=f"node:{unit.origin}", study=archived.study, what=what))
    log.info("a conflict was settled", extra={"instance": archived.uid, "folded": equal})


def _drop(unit: Unit, blobs: BlobStore, instance: InstanceUID, kept: Digest, other: Digest) -> None:
    """Drop the bytes of a folded form while the one that was just verified still stays."""
    folded = unit.conflicts.state(instance, other) == FOLDED
    if folded and kept in _keepers(unit, instance, other):
        unit.wants.drop(other)
        _gone(unit, instance, other)
        blobs.remove(other)


def _without_bytes(unit: Unit, instance: InstanceUID, other: Digest) -> None:
    """What was folded needs its bytes no more; what is not settled yet has lost them, and gets them back."""
    if unit.conflicts.state(instance, other) == FOLDED:
        _gone(unit, instance, other)
    else:
        unit.jobs.add(Task.REPAIR, other)


def _gone(unit: Unit, instance: InstanceUID, other: Digest) -> None:
    """Note that the bytes of a form are not here any more, and tell those who count on them."""
    if unit.forms.holder_of(other) is None:
        return
    unit.conflicts.set_held(instance, other, held=False)
    form = state_of(unit, instance).form(other)
    says = {"of": form.origin if form else unit.origin, "verified": [], "gone": [other]}
    unit.journal.append(Fact.COPIES, says)


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
