"""The catalog from journal and blobs: what the facts add up to, worked out again.

```
journal ──▶ each fact again, in order ──▶ patient ... conflict and quarantine rows      one transaction
blobs ────▶ those that no fact names  ──▶ admitted as new facts                         one by one
```
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from node.archive.archive import Archive
from node.archive.header import read_header
from node.archive.identity import Identified, identify
from node.archive.part10 import StoredFile, offer_of
from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.catalog.conflicts import DIFFERENT, FOLDED
from node.catalog.quarantine import HELD
from node.catalog.unit import Unit
from node.domain.errors import Damaged, Malformed, NodeError, Unidentified
from node.domain.ids import Digest, InstanceUID, TransferSyntaxUID
from node.domain.instance import Quarantined
from node.domain.principal import Principal
from node.journal.entry import Entry, Fact, verify

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Told how many of how many steps are done."""
_CHUNK = 1 << 20


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
    archive: Archive, blobs: BlobStore, catalog: Catalog, principal: Principal, progress: Progress
) -> Rebuilt:
    """Clear the derived tables and make them again from the journal and the stored bytes.

    A failure leaves the catalog as it was.

    Raises:
        Damaged: the journal does not hold together.
    """
    outcome = Rebuilt()
    with catalog.begin() as unit:
        total = verify(unit.journal.after(0)).seq
        unit.clear_derived()
        replay = _Replay(unit, blobs, outcome)
        for entry in unit.journal.after(0):
            replay.fact(entry)
            outcome.facts += 1
            progress(outcome.facts, total)
    _admit_unlisted(archive, blobs, principal, replay.named, outcome)
    return outcome


class _Replay:
    """Applies facts to empty derived tables."""

    def __init__(self, unit: Unit, blobs: BlobStore, outcome: Rebuilt) -> None:
        self.named: set[str] = set()
        self._unit = unit
        self._blobs = blobs
        self._outcome = outcome

    def fact(self, entry: Entry) -> None:
        apply = {
            Fact.INSTANCE: self._instance,
            Fact.COMPARE: self._compare,
            Fact.QUARANTINE: self._quarantine,
            Fact.SETTLE: self._settle,
        }
        apply[entry.kind](entry)

    def _instance(self, entry: Entry) -> None:
        says = entry.says
        digest, uid = Digest.trusted(says["digest"]), InstanceUID.trusted(says["uid"])
        self.named.add(digest)
        archived = self._unit.instances.digest(uid)
        if archived is None:
            self._archive(digest, says["size"], says["source"], entry.at, uid)
        elif archived != digest and self._unit.conflicts.state(uid, digest) is None:
            self._unit.conflicts.add(
                uid,
                digest,
                transfer_syntax=TransferSyntaxUID.trusted(says["syntax"]),
                size=says["size"],
                source=says["source"],
                at=entry.at,
            )

    def _archive(self, digest: Digest, size: int, source: str, at: int, uid: InstanceUID) -> None:
        try:
            identified = read_back(self._blobs, digest)
        except NodeError as error:
            log.error("an instance of the journal is lost", extra={"digest": digest, "error": str(error)})
            self._outcome.lost.append(uid)
            return
        self._unit.instances.add(identified.arrival(digest=digest, size=size, source=source, at=at))

    def _compare(self, entry: Entry) -> None:
        says = entry.says
        state = FOLDED if says["equal"] else DIFFERENT
        self._unit.conflicts.settle(InstanceUID.trusted(says["uid"]), Digest.trusted(says["other"]), state)

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

    def _settle(self, entry: Entry) -> None:
        self._unit.quarantine.settle(Digest.trusted(entry.says["digest"]), entry.says["state"])


def read_back(blobs: BlobStore, digest: Digest) -> Identified:
    """Identity and attributes of a stored instance, from its bytes.

    Raises:
        BlobMissing, Damaged, Malformed, Unidentified: they cannot be had.
    """
    with blobs.open(digest) as file, blobs.mapped(digest) as view:
        offer = offer_of(file)
        return identify(offer, read_header(offer, view[StoredFile.of(file).offset :]))


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
                archive.admit(principal, offer_of(file), _data_set(StoredFile.of(file)))
            outcome.admitted += 1
        except (Damaged, Malformed, Unidentified) as error:
            log.error("a blob cannot be admitted", extra={"digest": digest, "error": str(error)})
            outcome.unreadable.append(digest)


def _data_set(stored: StoredFile) -> Iterator[bytes]:
    position = stored.offset
    while chunk := os.pread(stored.fd, _CHUNK, position):
        position += len(chunk)
        yield chunk
