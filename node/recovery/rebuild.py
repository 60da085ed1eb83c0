"""The catalog from journal and blobs: what the facts add up to, worked out again.

```
journal ──▶ each fact again, in order ──▶ patient ... conflict and quarantine rows      one transaction
blobs ────▶ those that no fact names  ──▶ admitted as new facts                         one by one
```
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from node.archive.archive import Archive
from node.archive.derive import derive, state_of
from node.archive.part10 import StoredFile, offer_of
from node.archive.reading import read_back
from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.catalog.forms import StoredForm
from node.catalog.quarantine import HELD
from node.catalog.unit import Unit
from node.domain.chain import Head
from node.domain.errors import Damaged, Malformed, NodeError, Unidentified, Withdrawn
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.instance import Quarantined
from node.domain.principal import Principal
from node.identity.members import derive_members
from node.journal.entry import Entry, Fact, verify
from node.replication.effects import Effects
from node.replication.epochs import begin_epoch

log = logging.getLogger(__name__)

PACK = 256
"""Blobs that are archived in one unit of work."""
Progress = Callable[[int, int], None]
"""Told how many of how many steps are done."""


@dataclass(slots=True)
class Rebuilt:
    """What came of a rebuild."""

    facts: int = 0
    admitted: int = 0
    """Blobs that no fact named, admitted anew."""
    lost: list[str] = field(default_factory=list)
    """Instances of the journal whose bytes are gone or damaged."""
    unreadable: list[str] = field(default_factory=list)
    """Blobs that could not be admitted; they stay in the store."""


def rebuild(
    archive: Archive,
    blobs: BlobStore,
    catalog: Catalog,
    principal: Principal,
    progress: Progress,
) -> Rebuilt:
    """Clear the derived tables and make them again from the journal and the stored bytes.

    A failure leaves the catalog as it was.

    Raises:
        Damaged: the journal does not hold together.
    """
    outcome = Rebuilt()
    with catalog.begin() as unit:
        journals = unit.journal.origins()
        for origin, epoch in journals:
            if origin == unit.origin:
                verify_runs(unit.journal.after(0, epoch=epoch))
        if blobs_remain(blobs) and unit.origin not in {origin for origin, _ in journals}:
            begin_epoch(unit)
        total = sum(journals.values())
        unit.clear_derived()
        derive_members(unit)
        replay = _Replay(unit, blobs, Effects(blobs, _known_already), outcome)
        for origin, epoch in journals:
            for entry in unit.journal.after(0, origin=origin, epoch=epoch):
                replay.fact(entry)
                outcome.facts += 1
                progress(min(outcome.facts, total), total)
    _admit_unlisted(archive, blobs, principal, replay.named, outcome, progress)
    return outcome


def admit_unnamed(
    archive: Archive, blobs: BlobStore, catalog: Catalog, principal: Principal, progress: Progress
) -> Rebuilt:
    """Archive blobs that no fact of any site names: what this one had taken in and nobody else had read."""
    outcome, named = Rebuilt(), set[str]()
    with catalog.reading() as unit:
        for origin, epoch in unit.journal.origins():
            for entry in unit.journal.after(0, origin=origin, epoch=epoch):
                if entry.kind in (Fact.INSTANCE, Fact.QUARANTINE):
                    named.add(entry.says["digest"])
    _admit_unlisted(archive, blobs, principal, named, outcome, progress)
    return outcome


def blobs_remain(blobs: BlobStore) -> bool:
    """Whether there are any bytes: then a journal that says nothing of them was lost."""
    return next(iter(blobs.digests()), None) is not None


def verify_runs(entries: Iterable[Entry]) -> None:
    """Walk a journal of one epoch that may have holes, where a restored site did not get all of it back.

    Raises:
        Damaged: an entry is altered, or does not follow the one before it.
    """
    head = Head()
    for entry in entries:
        if entry.seq > head.seq + 1:
            head = Head(seq=entry.seq - 1, hash=entry.previous)
        head = verify([entry], head)


class _Replay:
    """Applies the facts of all sites to empty derived tables."""

    def __init__(self, unit: Unit, blobs: BlobStore, effects: Effects, outcome: Rebuilt) -> None:
        self.named: set[str] = set()
        self._unit = unit
        self._blobs = blobs
        self._effects = effects
        self._outcome = outcome

    def fact(self, entry: Entry) -> None:
        match entry.kind:
            case Fact.INSTANCE:
                self._instance(entry)
            case Fact.QUARANTINE:
                self._quarantine(entry)
            case Fact.SETTLE:
                digest = Digest.trusted(entry.says["digest"])
                self._unit.quarantine.settle(digest, entry.says["state"])
        self._effects.apply(self._unit, entry)

    def _instance(self, entry: Entry) -> None:
        """Catalogue an instance whose bytes are here; one whose bytes ought to be here is lost."""
        says = entry.says
        uid, digest = InstanceUID.trusted(says["uid"]), Digest.trusted(says["digest"])
        self.named.add(digest)
        if digest in (form.digest for form in self._unit.forms.here(uid)):
            return
        if self._blobs.size(digest) is None and entry.origin != self._unit.origin:
            return
        try:
            identified = read_back(self._blobs, digest)
        except NodeError as error:
            self._lost(uid, digest, error)
            return
        form = StoredForm(
            digest=digest,
            size=says["size"],
            transfer_syntax=identified.offer.transfer_syntax,
            source=says["source"],
            arrived_at=entry.at,
            stamp=entry.stamp,
        )
        derive(self._unit, self._blobs, uid, (form, identified))

    def _lost(self, uid: InstanceUID, digest: Digest, error: NodeError) -> None:
        """Bytes that are gone; those of a form that was folded into another may be."""
        is_away = self._unit.wants.find(digest) or self._unit.recalls.is_given_up(digest)
        if not is_away and digest not in state_of(self._unit, uid).folded:
            log.error("an instance of the journal is lost", extra={"digest": digest, "error": str(error)})
            self._outcome.lost.append(uid)

    def _quarantine(self, entry: Entry) -> None:
        says = entry.says
        self.named.add(says["digest"])
        self._unit.quarantine.add(
            Quarantined(
                digest=Digest.trusted(says["digest"]),
                reason=says["reason"],
                source=says["source"],
                size=says["size"],
                transfer_syntax=says["syntax"],
                arrived_at=entry.at,
                state=HELD,
            )
        )


def _admit_unlisted(
    archive: Archive,
    blobs: BlobStore,
    principal: Principal,
    named: set[str],
    outcome: Rebuilt,
    progress: Progress,
) -> None:
    """Archive blobs that no fact names: what a lost catalog had taken in."""
    total = sum(1 for digest in blobs.digests() if digest not in named)
    left, done = (digest for digest in blobs.digests() if digest not in named), 0
    while pack := list(islice(left, PACK)):
        adopted = archive.adopt(principal, pack)
        outcome.admitted += len(adopted.archived)
        for digest, error in adopted.refused:
            _admit_otherwise(archive, blobs, principal, digest, error, outcome)
        done += len(pack)
        progress(min(done, total), total)


def _admit_otherwise(
    archive: Archive,
    blobs: BlobStore,
    principal: Principal,
    digest: Digest,
    error: NodeError,
    outcome: Rebuilt,
) -> None:
    """Let a blob that cannot be archived as it is go through the door, as what just arrived."""
    try:
        if not isinstance(error, Malformed | Unidentified):
            raise error
        with blobs.open(digest) as file:
            archive.admit(principal, offer_of(file), StoredFile.of(file).data_set(), found=True)
        outcome.admitted += 1
    except Withdrawn:
        log.warning("a blob of a withdrawn instance was left out", extra={"digest": digest})
    except (Damaged, Malformed, Unidentified) as failure:
        log.error("a blob cannot be admitted", extra={"digest": digest, "error": str(failure)})
        outcome.unreadable.append(digest)


def _known_already(_unit: Unit, _site: SiteId) -> None:
    """The members are worked out once, from all facts, before anything else."""
