"""The catalog from journal and blobs: what the facts add up to, worked out again.

```
journal ──▶ each fact again, in order ──▶ patient ... conflict and quarantine rows      one transaction
blobs ────▶ those that no fact names  ──▶ admitted as new facts                         one by one
```
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from node.archive.archive import Archive
from node.archive.derive import derive, state_of
from node.archive.part10 import StoredFile, offer_of
from node.archive.reading import read_back
from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.catalog.forms import StoredForm
from node.catalog.quarantine import HELD
from node.catalog.unit import Unit
from node.domain.errors import Damaged, Malformed, NodeError, Unidentified, Withdrawn
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.instance import Quarantined
from node.domain.principal import Principal
from node.identity.members import derive_members
from node.journal.entry import Entry, Fact, verify
from node.replication.effects import Effects

log = logging.getLogger(__name__)

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
                verify(unit.journal.after(0, epoch=epoch))
        total = sum(journals.values())
        unit.clear_derived()
        derive_members(unit)
        replay = _Replay(unit, blobs, Effects(blobs, _known_already), outcome)
        for origin, epoch in journals:
            for entry in unit.journal.after(0, origin=origin, epoch=epoch):
                replay.fact(entry)
                outcome.facts += 1
                progress(min(outcome.facts, total), total)
    _admit_unlisted(archive, blobs, principal, replay.named, outcome)
    return outcome


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
        if digest not in state_of(self._unit, uid).folded:
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
    archive: Archive, blobs: BlobStore, principal: Principal, named: set[str], outcome: Rebuilt
) -> None:
    """Admit blobs that no fact names: what a lost catalog had taken in."""
    for digest in blobs.digests():
        if digest in named:
            continue
        try:
            blobs.verify(digest)
            with blobs.open(digest) as file:
                archive.admit(principal, offer_of(file), StoredFile.of(file).data_set())
            outcome.admitted += 1
        except Withdrawn:
            log.warning("a blob of a withdrawn instance was left out", extra={"digest": digest})
        except (Damaged, Malformed, Unidentified) as error:
            log.error("a blob cannot be admitted", extra={"digest": digest, "error": str(error)})
            outcome.unreadable.append(digest)


def _known_already(_unit: Unit, _site: SiteId) -> None:
    """The members are worked out once, from all facts, before anything else."""
