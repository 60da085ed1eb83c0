"""The door in: bytes first, then one unit of work, then the answer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from node.archive.gate import Gate, deed_of
from node.archive.header import peek_header, read_header
from node.archive.identity import identify
from node.archive.part10 import file_meta
from node.audit.record import Event
from node.blobs.store import BlobStore, BlobWriter
from node.catalog.arrival import Arrival
from node.catalog.catalog import Catalog
from node.catalog.conflicts import FOLDED
from node.catalog.quarantine import HELD
from node.catalog.unit import Unit
from node.domain.errors import Malformed, StoreFull, Unidentified
from node.domain.instance import Admission, Chunk, Offer, Outcome, Quarantined
from node.domain.job import Task
from node.domain.principal import Action, Kind, Principal
from node.domain.query import Cell
from node.journal.entry import Fact

log = logging.getLogger(__name__)


class Admit:
    """Takes instances in."""

    def __init__(self, blobs: BlobStore, catalog: Catalog, *, quarantine_limit: int) -> None:
        """The door of an archive.

        Args:
            blobs: where the bytes go.
            catalog: where the facts go.
            quarantine_limit: bytes that may wait in quarantine; more is answered with `StoreFull`.
        """
        self._blobs = blobs
        self._catalog = catalog
        self._gate = Gate(catalog)
        self._quarantine_limit = quarantine_limit

    def admit(self, principal: Principal, offer: Offer, chunks: Iterable[Chunk]) -> Admission:
        """Keep an instance: when this returns, its bytes are on disk and its rows are committed.

        May raise before `chunks` is used up.

        Args:
            principal: who sends it.
            offer: what was announced.
            chunks: the encoded data set; each chunk is used before the next is asked for.

        Raises:
            Forbidden: the policy says no.
            StoreFull, StoreFailing, CatalogBusy: not now; nothing is promised.
            MalformedInstance, MismatchedInstance, Unidentified: kept in quarantine, not in the archive.
        """
        self._gate.demand(principal, Action.STORE)
        with self._blobs.writer() as aside:
            peeked = _write(aside, offer, chunks)
            try:
                identified = identify(offer, peeked or _read(aside, offer))
            except (Malformed, Unidentified) as error:
                self._set_aside(principal, offer, aside, error)
            digest = aside.keep()
        return self._catalog.perform(
            lambda unit: record(
                unit,
                principal,
                identified.arrival(digest=digest, size=aside.size, source=str(principal), at=unit.now),
            )
        )

    def _set_aside(
        self, principal: Principal, offer: Offer, aside: BlobWriter, error: Malformed | Unidentified
    ) -> None:
        """Keep in quarantine what cannot be archived, and raise the error that says so."""
        with self._catalog.reading() as unit:
            if unit.quarantine.held_bytes() + aside.size > self._quarantine_limit:
                raise StoreFull("the quarantine is full; see `konzilium quarantine list`") from error
        digest = aside.keep()
        reason = f"no {error.args[0]}" if isinstance(error, Unidentified) else str(error)
        self._catalog.perform(
            lambda unit: quarantine(
                unit,
                principal,
                Quarantined(
                    digest=digest,
                    reason=reason,
                    source=str(principal),
                    size=aside.size,
                    transfer_syntax=offer.transfer_syntax,
                    arrived_at=unit.now,
                    state=HELD,
                ),
            )
        )
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


def record(unit: Unit, principal: Principal, arrival: Arrival) -> Admission:
    """The journal entry, the catalog rows, the jobs and the audit record of one arrival."""
    archived = unit.instances.digest(arrival.instance)
    if archived is None:
        outcome = Outcome.KEPT
        unit.instances.add(arrival)
    elif archived == arrival.digest:
        outcome = Outcome.KNOWN
    else:
        outcome = _conflict(unit, arrival)
    if outcome is not Outcome.KNOWN:
        unit.journal.append(Fact.INSTANCE, _says(arrival))
    what = f"{arrival.instance} {outcome}"
    unit.audit.append(deed_of(principal, _event(principal), what=what, study=arrival.study))
    return Admission(outcome=outcome, digest=arrival.digest, study=arrival.study)


def _event(principal: Principal) -> Event:
    return Event.IMPORT if principal.kind is Kind.OPERATOR else Event.STORED


def _conflict(unit: Unit, arrival: Arrival) -> Outcome:
    """Note other bytes under a known UID, and owe the comparison of both.

    Bytes that were folded before stay so, and go again when the archived form is verified once more.
    """
    state = unit.conflicts.state(arrival.instance, arrival.digest)
    if state is None:
        unit.conflicts.add(
            arrival.instance,
            arrival.digest,
            transfer_syntax=arrival.transfer_syntax,
            size=arrival.size,
            source=arrival.source,
            at=arrival.at,
        )
    if state in (None, FOLDED):
        unit.jobs.add(Task.COMPARE, f"{arrival.instance} {arrival.digest}")
    return Outcome.KNOWN if state else Outcome.CONFLICT


def _says(arrival: Arrival) -> dict[str, object]:
    """What the journal keeps of an arrival."""
    return {
        "digest": arrival.digest,
        "size": arrival.size,
        "source": arrival.source,
        "syntax": arrival.transfer_syntax,
        "uid": arrival.instance,
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
