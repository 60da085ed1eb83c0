"""The door in: bytes first, then one unit of work, then the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from node.archive.derive import derive, state_of
from node.archive.header import peek_header, read_header
from node.archive.identity import Identified, identify
from node.archive.part10 import file_meta
from node.audit.record import Event, deed_of
from node.blobs.store import BlobStore, BlobWriter
from node.catalog import traits
from node.catalog.arrival import Arrival
from node.catalog.catalog import Catalog
from node.catalog.conflicts import FOLDED
from node.catalog.forms import StoredForm
from node.catalog.quarantine import HELD
from node.catalog.unit import Unit
from node.domain.decision import patient_text
from node.domain.errors import CatalogBusy, Malformed, StoreFull, Unidentified, Withdrawn
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.instance import Admission, Chunk, Offer, Outcome, Quarantined
from node.domain.job import Task
from node.domain.principal import Action, Kind, Principal
from node.domain.query import Cell
from node.domain.replica import CopyState, Replica
from node.domain.rule import Traits
from node.identity.gate import Gate, demand_taking
from node.journal.entry import Fact

log = logging.getLogger(__name__)

Owed: TypeAlias = Callable[[Unit, Traits], Sequence[SiteId]]
"""Which other sites owe a copy of an instance with these traits."""


def nowhere(_unit: Unit, _traits: Traits) -> Sequence[SiteId]:
    """A site without a federation owes nobody copies."""
    return ()


class Admit:
    """Takes instances in."""

    def __init__(self, blobs: BlobStore, catalog: Catalog, *, quarantine_limit: int, owed: Owed) -> None:
        """The door of an archive.

        Args:
            blobs: where the bytes go.
            catalog: where the facts go.
            quarantine_limit: bytes that may wait in quarantine; more is answered with `StoreFull`.
            owed: which sites owe a copy of an arrival.
        """
        self._blobs = blobs
        self._catalog = catalog
        self._gate = Gate(catalog)
        self._quarantine_limit = quarantine_limit
        self._owed = owed

    def admit(
        self, principal: Principal, offer: Offer, chunks: Iterable[Chunk], *, found: bool = False
    ) -> Admission:
        """Keep an instance: when this returns, its bytes are on disk and its rows are committed.

        May raise before `chunks` is used up.

        Args:
            principal: who sends it.
            offer: what was announced.
            chunks: the encoded data set; each chunk is used before the next is asked for.
            found: whether this site had taken it before and has found it again; a backup keeps that.

        Raises:
            Forbidden: the policy says no.
            ReadOnly: this site is a backup, which takes nothing new.
            StoreFull, StoreFailing, CatalogBusy: not now; nothing is promised.
            MalformedInstance, MismatchedInstance, Unidentified: kept in quarantine, not in the archive.
        """
        demand = self._gate.demand if found else self._gate.demand_writing
        principal = demand(principal, Action.STORE)
        with self._blobs.writer() as aside:
            peeked = _write(aside, offer, chunks)
            try:
                identified = identify(offer, peeked or _read(aside, offer))
            except (Malformed, Unidentified) as error:
                self._set_aside(principal, offer, aside, error, found=found)
            self._gate.demand_studies(principal, Action.STORE, lambda _: [identified.study])
            digest = aside.keep()
        stored = Stored(identified=identified, digest=digest, size=aside.size)

        def keep(unit: Unit) -> Admission:
            if not found:
                demand_taking(unit)
            return record(unit, self._blobs, principal, stored, self._owed)

        return self._catalog.perform(keep)

    def _set_aside(
        self,
        principal: Principal,
        offer: Offer,
        aside: BlobWriter,
        error: Malformed | Unidentified,
        *,
        found: bool,
    ) -> None:
        """Keep in quarantine what cannot be archived, and raise the error that says so."""
        with self._catalog.reading() as unit:
            if unit.quarantine.held_bytes() + aside.size > self._quarantine_limit:
                raise StoreFull("the quarantine is full; see `konzilium quarantine list`") from error
        digest = aside.keep()
        reason = f"no {error.args[0]}" if isinstance(error, Unidentified) else str(error)

        def keep(unit: Unit) -> None:
            if not found:
                demand_taking(unit)
            held = Quarantined(
                digest=digest,
                reason=reason,
                source=principal.source,
                size=aside.size,
                transfer_syntax=offer.transfer_syntax,
                arrived_at=unit.now,
                state=HELD,
            )
            quarantine(unit, principal, held)

        self._catalog.perform(keep)
        log.warning("an object went to quarantine", extra={"digest": digest, "reason": reason})
        raise Unidentified(error.args[0], digest) if isinstance(error, Unidentified) else error


def _write(aside: BlobWriter, offer: Offer, chunks: Iterable[Chunk]) -> Mapping[int, Cell] | None:
    """Write the file aside; return its attributes where the first chunk told all of them."""
    meta = file_meta(offer)
    aside.write(meta)
    peeked = None
    for number, chunk in enumerate(chunks):
        if number == 0:
            peeked = peek_header(offer, memoryview(chunk))
        aside.write(chunk)
    if peeked is None:
        return None
    attributes, length = peeked
    return attributes if length == aside.size - len(meta) else None


def _read(aside: BlobWriter, offer: Offer) -> Mapping[int, Cell]:
    with aside.view() as view:
        return read_header(offer, view[len(file_meta(offer)) :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An identified instance whose bytes are durable in the store."""

    identified: Identified
    digest: Digest
    size: int

    @property
    def uid(self) -> InstanceUID:
        """Its SOP Instance UID."""
        return self.identified.offer.instance

    def arrival(self, principal: Principal, at: int, stamp: str) -> Arrival:
        """The instance as the catalog takes it in."""
        return self.identified.arrival(
            digest=self.digest, size=self.size, source=principal.source, at=at, stamp=stamp
        )


def record(
    unit: Unit, blobs: BlobStore, principal: Principal, stored: Stored, owed: Owed = nowhere
) -> Admission:
    """The journal entry, the catalog rows, the copies owed, the jobs and the audit record of one arrival.

    Raises:
        Withdrawn: a person has withdrawn the instance; it does not come back by itself.
        CatalogBusy: the same bytes were given up here just now; they have to be sent again.
    """
    if blobs.size(stored.digest) is None:
        raise CatalogBusy("the same bytes were given up just now")
    archived = unit.instances.digest(stored.uid)
    if archived == stored.digest and unit.instances.is_held(stored.uid):
        outcome = Outcome.KNOWN
    elif archived is None and not unit.journal.about(stored.uid):
        outcome = _new(unit, principal, stored, owed)
    else:
        outcome = _joined(unit, blobs, principal, stored, owed)
    study = stored.identified.study
    what = f"{stored.uid} {outcome}"
    patient = patient_text(stored.identified.patient_id, stored.identified.issuer)
    unit.audit.append(deed_of(principal, _event(principal), what=what, study=study, patient=patient))
    return Admission(outcome=outcome, digest=stored.digest, study=study)


def _new(unit: Unit, principal: Principal, stored: Stored, owed: Owed) -> Outcome:
    """An instance that nobody has told of before."""
    entry = unit.journal.append(Fact.INSTANCE, _says(principal, stored))
    arrival = stored.arrival(principal, unit.now, entry.stamp)
    unit.instances.add(arrival)
    _owe(unit, arrival, owed)
    return Outcome.KEPT


def _joined(unit: Unit, blobs: BlobStore, principal: Principal, stored: Stored, owed: Owed) -> Outcome:
    """An instance of which there are facts or other forms."""
    if state_of(unit, stored.uid).withdrawn:
        raise Withdrawn(stored.uid)
    listed = unit.conflicts.state(stored.uid, stored.digest)
    if listed is not None:
        return _again(unit, stored, listed)
    entry = unit.journal.append(Fact.INSTANCE, _says(principal, stored))
    arrival = stored.arrival(principal, unit.now, entry.stamp)
    form = StoredForm(
        digest=stored.digest,
        size=stored.size,
        transfer_syntax=arrival.transfer_syntax,
        source=arrival.source,
        arrived_at=unit.now,
        stamp=entry.stamp,
    )
    before = unit.forms.shown(stored.uid)
    derive(unit, blobs, stored.uid, (form, stored.identified))
    unit.wants.arrived(stored.digest)
    _owe(unit, arrival, owed)
    return Outcome.KEPT if before is None or before[0] == stored.digest else Outcome.CONFLICT


def _again(unit: Unit, stored: Stored, listed: str) -> Outcome:
    """Bytes that are listed beside the archived ones already.

    Those that were folded go again when the archived form is verified once more.
    """
    if listed == FOLDED:
        unit.conflicts.set_held(stored.uid, stored.digest, held=True)
        unit.jobs.add(Task.COMPARE, f"{stored.uid} {stored.digest}")
    return Outcome.KNOWN


def _owe(unit: Unit, arrival: Arrival, owed: Owed) -> None:
    """Owe the copies that the rules want at other sites."""
    for site in owed(unit, traits.of_arrival(arrival)):
        if unit.replicas.state(arrival.digest, site) is None:
            unit.replicas.put(
                Replica(
                    instance=arrival.instance,
                    digest=arrival.digest,
                    site=site,
                    state=CopyState.OWED,
                    size=arrival.size,
                    at=unit.now,
                )
            )


def _event(principal: Principal) -> Event:
    return Event.IMPORT if principal.kind is Kind.OPERATOR else Event.STORED


def _says(principal: Principal, stored: Stored) -> dict[str, object]:
    """What the journal keeps of an arrival."""
    return {
        "digest": stored.digest,
        "modality": stored.identified.modality,
        "size": stored.size,
        "source": principal.source,
        "study": stored.identified.study,
        "syntax": stored.identified.offer.transfer_syntax,
        "uid": stored.uid,
    }


def quarantine(unit: Unit, principal: Principal, held: Quarantined) -> None:
    """The journal entry, the row and the audit record of an object that could not be archived."""
    unit.quarantine.add(held)
    says = {
        "digest": held.digest,
        "reason": held.reason,
        "size": held.size,
        "source": held.source,
        "syntax": held.transfer_syntax,
    }
    unit.journal.append(Fact.QUARANTINE, says)
    what = f"quarantine {held.digest}"
    unit.audit.append(deed_of(principal, _event(principal), what=what))
