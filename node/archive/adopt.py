"""Taking in bytes that are in the store already, without writing them again: what a lost catalog held."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from node.archive.admit import Owed, Stored, nowhere, record
from node.archive.header import read_header
from node.archive.identity import identify
from node.archive.part10 import file_meta, offer_of
from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.domain.errors import CatalogBusy, Damaged, Malformed, NodeError, Unidentified, Withdrawn
from node.domain.ids import Digest
from node.domain.principal import Action, Principal
from node.identity.gate import Gate

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Adopted:
    """What came of it."""

    archived: list[Digest] = field(default_factory=list)
    refused: list[tuple[Digest, NodeError]] = field(default_factory=list)
    """What cannot be archived as it is, and why."""


class Adopt:
    """Archives what is in the store."""

    def __init__(self, blobs: BlobStore, catalog: Catalog, *, owed: Owed = nowhere) -> None:
        """The door for what is inside already.

        Args:
            blobs: where the bytes are.
            catalog: where the facts go.
            owed: which sites owe a copy.
        """
        self._blobs = blobs
        self._catalog = catalog
        self._gate = Gate(catalog)
        self._owed = owed

    def __call__(self, principal: Principal, digests: Sequence[Digest]) -> Adopted:
        """Archive objects, all in one unit of work; each is read back whole before.

        Raises:
            Forbidden: the policy says no.
            CatalogBusy, StoreFull, StoreFailing: not now.
        """
        self._gate.demand(principal, Action.STORE)
        outcome = Adopted()
        read = [stored for digest in digests if (stored := self._read(digest, outcome)) is not None]
        if read:
            with self._catalog.begin() as unit:
                for stored in read:
                    try:
                        record(unit, self._blobs, principal, stored, self._owed)
                        outcome.archived.append(stored.digest)
                    except (Withdrawn, CatalogBusy) as error:  # raised before anything is written
                        outcome.refused.append((stored.digest, error))
        return outcome

    def _read(self, digest: Digest, outcome: Adopted) -> Stored | None:
        """An object as its bytes tell, where they are whole and written as this node writes."""
        try:
            self._blobs.verify(digest)
            with self._blobs.open(digest) as file, self._blobs.mapped(digest) as view:
                offer = offer_of(file)
                meta = file_meta(offer)
                if bytes(view[: len(meta)]) != meta:
                    raise Malformed("another program wrote the file")
                identified = identify(offer, read_header(offer, view[len(meta) :]))
                return Stored(identified=identified, digest=digest, size=len(view))
        except (Damaged, Malformed, Unidentified) as error:
            log.warning(
                "an object cannot be taken in as it is", extra={"digest": digest, "error": str(error)}
            )
            outcome.refused.append((digest, error))
            return None
