"""The archive: every door that a face may open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from node.archive import commitment, settle, visible
from node.archive.admit import Admit, Owed, nowhere
from node.archive.adopt import Adopt, Adopted
from node.archive.amend import Amend, Values
from node.archive.named import named
from node.archive.part10 import StoredFile
from node.audit.record import Event, deed_of
from node.blobs.store import BlobStore
from node.catalog import search
from node.catalog.catalog import Catalog
from node.catalog.counts import Counts, count, shared_studies
from node.catalog.quarantine import DISCARDED, RELEASED
from node.catalog.selection import chosen
from node.catalog.unit import Unit
from node.domain.commitment import CommitmentRequest, Vouched, Wanted
from node.domain.errors import Unidentified
from node.domain.ids import UID, Digest, InstanceUID, StudyUID
from node.domain.instance import Admission, Chunk, Conflict, Instance, Offer, Quarantined
from node.domain.job import SECOND, Job, Task
from node.domain.principal import Action, Principal
from node.domain.query import Query, Rows, Selection
from node.identity.gate import Gate
from node.journal.merge import Patient

LEASE = 600 * SECOND
"""How long a worker may take for one job before another may try."""
BEGUN = 3
"""How often a job that was begun when its worker ended is taken up at once: it may be why that ended."""


class Archive:
    """The doors in and out, all of which ask the policy and write the audit record themselves."""

    def __init__(
        self,
        blobs: BlobStore,
        catalog: Catalog,
        *,
        quarantine_limit: int,
        owed: Owed = nowhere,
        commit_copies: bool = False,
        verify_reads: bool = True,
    ) -> None:
        """An archive of these bytes and these facts.

        Args:
            blobs: the bytes.
            catalog: the facts.
            quarantine_limit: bytes that may wait in quarantine.
            owed: which other sites owe a copy of what arrives here.
            commit_copies: vouch for an instance only when those copies are verified.
            verify_reads: see that bytes are what they were before anybody gets them.
        """
        self._blobs = blobs
        self._catalog = catalog
        self._verify_reads = verify_reads
        self._gate = Gate(catalog)
        self._amend = Amend(blobs, catalog)
        self._waits_for = owed if commit_copies else nowhere
        self._admit = Admit(blobs, catalog, quarantine_limit=quarantine_limit, owed=owed)
        self._adopt = Adopt(blobs, catalog, owed=owed)

    def admit(
        self, principal: Principal, offer: Offer, chunks: Iterable[Chunk], *, found: bool = False
    ) -> Admission:
        """Keep an instance (see `node.archive.admit.Admit.admit`)."""
        return self._admit.admit(principal, offer, chunks, found=found)

    def adopt(self, principal: Principal, digests: Sequence[Digest]) -> Adopted:
        """Archive what is in the store already (see `node.archive.adopt.Adopt`)."""
        return self._adopt(principal, digests)

    def search(self, principal: Principal, query: Query) -> Rows:
        """Find patients, studies, series or instances; rows are read from the catalog as they are iterated.

        Raises:
            Forbidden: the policy says no.
        """
        caller = self._gate.demand(principal, Action.QUERY)
        self._record_search(caller, query)
        with self._catalog.reading() as unit:
            sees_all = self._gate.sight(unit, caller, Action.QUERY) is None
        if sees_all:
            return search.search(self._catalog.reading, query)
        sight = partial(self._gate.sight, caller=caller, action=Action.QUERY)
        return visible.search(self._catalog, sight, query)

    def _record_search(self, caller: Principal, query: Query) -> None:
        """Record a search, for each study or patient that it names."""
        what, about = f"{query.level.name} {_shown(query)}", named(self._catalog, query)

        def write(unit: Unit) -> None:
            for study, patient in about:
                unit.audit.append(deed_of(caller, Event.QUERY, what=what, study=study, patient=patient))

        self._catalog.perform(write)

    def select(
        self, principal: Principal, selection: Selection, *, destination: str = "", event: Event = Event.SENT
    ) -> list[Instance]:
        """The instances that a retrieval is about, series by series.

        Args:
            principal: who asks.
            selection: unique keys.
            destination: where they go, for the audit record, if not to who asks.
            event: how the audit record calls it.

        Raises:
            Forbidden: the policy says no, to all of it; of what it allows in part, the rest is left out.
            MalformedQuery: the selection names nothing, or an ambiguous patient.
        """
        caller = self._gate.demand(principal, Action.RETRIEVE)
        with self._catalog.reading() as unit:
            found = chosen(unit, selection)
        refused = self._gate.leave_out(caller, Action.RETRIEVE, [one.study for one in found])
        instances = [one for one in found if one.study not in refused]
        studies: list[str] = sorted({instance.study for instance in instances}) or [""]
        what = f"{len(instances)} instances {destination}".strip()
        self._gate.record(caller, event, what=what, studies=studies)
        return instances

    def open(self, instance: Instance) -> StoredFile:
        """The stored Part 10 file of an instance that `select` gave, whose bytes are what they were.

        Raises:
            BlobMissing: its bytes are gone.
            DigestMismatch: they are not those that were stored.
            Damaged: it does not begin as such a file does.
        """
        read = self._blobs.open_whole if self._verify_reads else self._blobs.open
        return StoredFile.of(read(instance.digest))

    def request_commitment(self, principal: Principal, transaction: UID, wanted: Sequence[Wanted]) -> None:
        """Owe a device the answer to its Storage Commitment request; durable when this returns."""
        caller = self._gate.demand(principal, Action.STORE)
        request = CommitmentRequest(device=principal.ae_title, transaction=transaction, wanted=tuple(wanted))

        def owe(unit: Unit) -> None:
            commitment.owe(unit, request)
            what = f"commitment of {len(wanted)} instances asked for"
            unit.audit.append(deed_of(caller, Event.QUERY, what=what))

        self._catalog.perform(owe)

    def vouch(self, wanted: Sequence[Wanted]) -> Vouched:
        """Say which instances are safe.

        Raises:
            CopiesOwed: too early: copies that have to be verified at other sites are not yet.
        """
        with self._catalog.reading() as unit:
            return commitment.vouch(unit, self._blobs, wanted, self._waits_for)

    def commitment_done(self, transaction: UID, device: str) -> None:
        """The device has the answer to its request."""
        self._catalog.perform(
            lambda unit: unit.jobs.done(Task.COMMITMENT, commitment.key(device, transaction))
        )

    def compare(self, instance: InstanceUID, other: Digest) -> bool:
        """Settle a conflict by comparing both forms; whether they were one (see `node.archive.settle`)."""
        return settle.compare(self._blobs, self._catalog, instance, other)

    def counts(self) -> Counts:
        """How much there is of everything."""
        with self._catalog.reading() as unit:
            return count(unit)

    def conflicts(self) -> Sequence[Conflict]:
        """Instances that arrived with different bytes under one UID."""
        with self._catalog.reading() as unit:
            return unit.conflicts.unsettled()

    def quarantined(self) -> Sequence[Quarantined]:
        """Objects that wait for a person."""
        with self._catalog.reading() as unit:
            return unit.quarantine.held()

    def shared_studies(self) -> Sequence[StudyUID]:
        """Study Instance UIDs that came for more than one patient."""
        with self._catalog.reading() as unit:
            return shared_studies(unit)

    def open_quarantined(self, principal: Principal, digest: Digest) -> StoredFile:
        """The stored file of an object in quarantine.

        Raises:
            Forbidden: the policy says no.
            Unknown: none waits under that name.
        """
        self._gate.demand(principal, Action.AMEND)
        self._gate.record(principal, Event.SETTLED, what=f"opened {digest}")
        return StoredFile.of(self._blobs.open(settle.held_object(self._catalog, digest).digest))

    def release(self, principal: Principal, digest: Digest, patient_id: str, issuer: str = "") -> Admission:
        """Archive a quarantined object under the identity that a person gives; the original stays.

        Raises:
            Unknown: none waits under that name.
            MalformedInstance, Unidentified: it lacks more than the patient's identity.
        """
        with self.open_quarantined(principal, digest) as stored:
            try:
                offer, dataset = settle.amended(stored, patient_id, issuer)
            except Unidentified as error:
                raise Unidentified(error.args[0], digest) from None
        admission = self.admit(principal, offer, [dataset])
        self._catalog.perform(lambda unit: settle.decide(unit, principal, digest, RELEASED))
        return admission

    def discard(self, principal: Principal, digest: Digest) -> None:
        """Throw a quarantined object away.

        Raises:
            Unknown: none waits under that name.
        """
        self._gate.demand(principal, Action.AMEND)
        with self._catalog.begin() as unit:
            settle.demand_held(unit, digest)
            settle.decide(unit, principal, digest, DISCARDED)
            self._blobs.remove(digest)

    def lease_jobs(self, many: int = 8) -> Sequence[Job]:
        """Jobs that are due, for a worker to carry out."""
        with self._catalog.reading() as unit:
            if not unit.jobs.any_due():
                return ()
        with self._catalog.begin() as unit:
            return unit.jobs.lease(many, LEASE)

    def take_up_jobs(self) -> None:
        """Let what an earlier worker had begun be due now; no other worker may be at work."""
        self._catalog.perform(lambda unit: unit.jobs.take_up(BEGUN))

    def job_done(self, job: Job) -> None:
        """The effect of the job is committed."""
        self._catalog.perform(lambda unit: unit.jobs.done(job.kind, job.key))

    def job_failed(self, job: Job, error: str, *, for_good: bool = False) -> None:
        """The job has to be tried again later, or waits for a person."""
        self._catalog.perform(lambda unit: unit.jobs.save(job.failed(unit.now, error, for_good=for_good)))

    def job_waits(self, job: Job, why: str) -> None:
        """What the job waits for has not come yet; it is looked at again before long."""
        self._catalog.perform(lambda unit: unit.jobs.save(job.waits(unit.now, why)))

    def correct(self, principal: Principal, about: StudyUID | Patient, values: Values, reason: str) -> None:
        """Correct what is told of a study or patient (see `node.archive.amend.Amend.correct`)."""
        self._amend.correct(principal, about, values, reason)

    def merge(self, principal: Principal, patient: Patient, into: Patient, reason: str) -> None:
        """Show a patient's studies under another one (see `node.archive.amend.Amend.merge`)."""
        self._amend.merge(principal, patient, into, reason)

    def unmerge(self, principal: Principal, patient: Patient, reason: str) -> None:
        """Take a merge back (see `node.archive.amend.Amend.unmerge`)."""
        self._amend.unmerge(principal, patient, reason)

    def retract(self, principal: Principal, selection: Selection, reason: str) -> list[InstanceUID]:
        """Withdraw instances (see `node.archive.amend.Amend.retract`)."""
        return self._amend.retract(principal, selection, reason)

    def restore(self, principal: Principal, selection: Selection, reason: str) -> list[InstanceUID]:
        """Show withdrawn instances again (see `node.archive.amend.Amend.restore`)."""
        return self._amend.restore(principal, selection, reason)

    def lock(self, principal: Principal, study: StudyUID, until: int, reason: str) -> None:
        """Forbid to withdraw a study for some time (see `node.archive.amend.Amend.lock`)."""
        self._amend.lock(principal, study, until, reason)


def _shown(query: Query) -> str:
    """The keys of a query as the audit record keeps them."""
    return " ".join(f"{key.tag:08X}={key.value}" for key in query.keys if key.value)
