"""Identity and attributes of a stored instance, from its bytes."""

from __future__ import annotations

from node.archive.header import read_header
from node.archive.identity import Identified, identify
from node.archive.part10 import StoredFile, offer_of
from node.blobs.store import BlobStore
from node.domain.ids import Digest


def read_back(blobs: BlobStore, digest: Digest) -> Identified:
    """Identity and attributes of a stored instance, from its bytes.

    Raises:
        BlobMissing, Damaged, Malformed, Unidentified: they cannot be had.
    """
    with blobs.open(digest) as file, blobs.mapped(digest) as view:
        offer = offer_of(file)
        return identify(offer, read_header(offer, view[StoredFile.of(file).offset :]))
