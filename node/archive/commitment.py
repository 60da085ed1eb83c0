"""Storage Commitment: requests are owed as jobs, and answered from what the catalog and the store hold."""

from __future__ import annotations

import json
from collections.abc import Sequence

from node.archive.admit import Owed, nowhere
from node.blobs.store import BlobStore
from node.catalog import traits
from node.catalog.unit import Unit
from node.domain.commitment import CommitmentRequest, Reason, Vouched, Wanted
from node.domain.errors import CopiesOwed
from node.domain.ids import UID, Digest, InstanceUID, SiteId, SOPClassUID
from node.domain.job import SECOND, Job, Task
from node.domain.replica import CopyState
from node.journal.entry import Fact

GRACE = 15 * SECOND
"""The face may report on the association of the request itself; after this the worker calls the device."""


def owe(unit: Unit, request: CommitmentRequest) -> None:
    """Write the request as a job; the same transaction of the same device is owed once."""
    payload = {
        "device": request.device,
        "transaction": request.transaction,
        "wanted": [[wanted.sop_class, wanted.instance] for wanted in request.wanted],
    }
    unit.jobs.add(Task.COMMITMENT, key(request.device, request.transaction), json.dumps(payload), after=GRACE)


def key(device: str, transaction: UID) -> str:
    """The name of the job."""
    return f"{device} {transaction}"


def requested(job: Job) -> CommitmentRequest:
    """The request that `owe` wrote."""
    payload = json.loads(job.payload)
    return CommitmentRequest(
        device=payload["device"],
        transaction=UID.trusted(payload["transaction"]),
        wanted=tuple(
            Wanted(sop_class=SOPClassUID.trusted(sop_class), instance=InstanceUID.trusted(instance))
            for sop_class, instance in payload["wanted"]
        ),
    )


def vouch(unit: Unit, blobs: BlobStore, wanted: Sequence[Wanted], owed: Owed = nowhere) -> Vouched:
    """Say of each instance whether it is safe: catalogued, and its bytes there in full.

    Args:
        unit: of the catalog.
        blobs: the bytes.
        wanted: the instances.
        owed: the sites at which a copy has to be verified before anything is said.

    Raises:
        CopiesOwed: some copy is not verified yet, so it is too early to say.
    """
    _demand_copies(unit, wanted, owed)
    held: list[Wanted] = []
    failed: list[tuple[Wanted, Reason]] = []
    for one in wanted:
        reason = _doubt(unit, blobs, one)
        if reason is None:
            held.append(one)
        else:
            failed.append((one, reason))
    return Vouched(held=tuple(held), failed=tuple(failed))


def _demand_copies(unit: Unit, wanted: Sequence[Wanted], owed: Owed) -> None:
    """Make sure that every copy which the rules want has been read back at its site.

    What is not catalogued here is owed nowhere; it is reported as a failure in its turn.

    Raises:
        CopiesOwed: one has not.
    """
    missing = 0
    for uid, known in traits.of(unit, [one.instance for one in wanted]).items():
        digest = unit.instances.digest(uid)
        if digest is not None:
            missing += sum(not _is_safe(unit, uid, digest, site) for site in owed(unit, known))
    if missing:
        raise CopiesOwed(missing)


def _is_safe(unit: Unit, uid: InstanceUID, digest: Digest, site: SiteId) -> bool:
    """Whether a site has proved its copy, or received it itself: it has said so when that was durable."""
    known = unit.replicas.state(digest, site)
    if known is None or known[0] is not CopyState.HELD:
        return known is not None and known[0] is CopyState.VERIFIED
    return any(
        fact.kind is Fact.INSTANCE and fact.origin == site and fact.says["digest"] == digest
        for fact in unit.journal.about(uid)
    )


def _doubt(unit: Unit, blobs: BlobStore, wanted: Wanted) -> Reason | None:
    instance = unit.instances.find(wanted.instance)
    if instance is None:
        return Reason.NO_SUCH_INSTANCE
    if instance.sop_class != wanted.sop_class:
        return Reason.CLASS_CONFLICT
    if blobs.size(instance.digest) != instance.size:
        return Reason.PROCESSING_FAILURE
    return None
