"""Bytes that no row names: catalogued again from the journal, or admitted as what just arrived."""

from __future__ import annotations

import logging

from node.archive.archive import Archive
from node.archive.derive import derive
from node.archive.part10 import StoredFile, offer_of
from node.archive.reading import read_back
from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.catalog.forms import StoredForm
from node.catalog.unit import Unit
from node.domain.errors import BlobMissing, Damaged, Malformed, Unidentified, Withdrawn
from node.domain.ids import Digest, TransferSyntaxUID
from node.domain.principal import Principal
from node.journal.entry import Entry

log = logging.getLogger(__name__)


class Relist:
    """Catalogues bytes that are in the store."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, archive: Archive) -> None:
        """The catalog of a site, its bytes, and its door."""
        self._catalog = catalog
        self._blobs = blobs
        self._archive = archive

    def again(self, principal: Principal, digest: Digest) -> str:
        """Give bytes their rows; what was done, in words.

        The sums of their study are for the caller to make right (`node.catalog.holdings`).

        Bytes that are damaged, or of an instance that was withdrawn, are moved to the evidence: nothing is
        lost, and nothing comes back that a person has taken out.

        Raises:
            BlobMissing: they are not in the store any more.
            StoreFull, StoreFailing, CatalogBusy: not now.
        """
        try:
            self._blobs.verify(digest)
            identified = read_back(self._blobs, digest)
        except BlobMissing:
            raise
        except Damaged:
            return self._away(digest, "its bytes are damaged")
        except (Malformed, Unidentified):
            return self._admitted(principal, digest)
        uid = identified.offer.instance
        with self._catalog.reading() as unit:
            facts = [fact for fact in unit.journal.about(uid) if fact.says.get("digest") == digest]
        if not facts:
            return self._admitted(principal, digest)

        def write(unit: Unit) -> None:
            form = _form(facts[0], identified.offer.transfer_syntax, unit)
            state = derive(unit, self._blobs, uid, (form, identified))
            if not state.withdrawn:
                unit.wants.drop(digest)

        self._catalog.perform(write)
        return "catalogued again from the journal"

    def _admitted(self, principal: Principal, digest: Digest) -> str:
        """Let bytes that nobody knows go through the door, as new ones do."""
        try:
            with self._blobs.open(digest) as file:
                data_set = StoredFile.of(file).data_set()
                admission = self._archive.admit(principal, offer_of(file), data_set, found=True)
        except Withdrawn:
            return self._away(digest, "its instance was withdrawn")
        except (Damaged, Malformed, Unidentified) as error:
            return self._away(digest, str(error))
        if admission.digest != digest:
            self._away(digest, "it was written anew")
        return "admitted anew"

    def _away(self, digest: Digest, why: str) -> str:
        """Move bytes to the evidence, unless a row names them by now."""
        with self._catalog.begin() as unit:
            if unit.holdings.find(digest) is not None:
                return "catalogued meanwhile"
            self._blobs.set_aside(digest)
            self._blobs.remove(digest)
            unit.proofs.forget(digest)
        log.warning("bytes were moved to the evidence", extra={"digest": digest, "why": why})
        return f"moved to the evidence: {why}"


def _form(fact: Entry, transfer_syntax: TransferSyntaxUID, unit: Unit) -> StoredForm:
    """The stored form that a fact tells of."""
    says = fact.says
    return StoredForm(
        digest=Digest.trusted(says["digest"]),
        size=says["size"],
        transfer_syntax=transfer_syntax,
        source=says["source"],
        arrived_at=fact.at if fact.origin == unit.origin else unit.now,
        stamp=fact.stamp,
    )
