"""Tickets as a test hands them out."""

from __future__ import annotations

from collections.abc import Sequence

from node.blobs.store import BlobStore
from node.domain.errors import Forbidden, Unauthenticated
from node.domain.ids import Digest


class TicketBook:
    """Tickets for one bearer each; a verb and, where they are named, the digests that it covers."""

    def __init__(self, store: BlobStore | None = None) -> None:
        self.store = store
        self.rows: dict[str, tuple[str, str, set[Digest] | None]] = {}

    def issue(
        self, verb: str, fingerprint: str, digests: Sequence[Digest] | None = None, name: str | None = None
    ) -> str:
        name = name or f"{verb}-{len(self.rows)}"
        self.rows[name] = (verb, fingerprint, set(digests) if digests is not None else None)
        return name

    def to_get(self, ticket: str, fingerprint: str, digests: Sequence[Digest]) -> None:
        self._check("get", ticket, fingerprint, digests)

    def to_put(self, ticket: str, fingerprint: str, digests: Sequence[Digest]) -> None:
        self._check("put", ticket, fingerprint, digests)

    def store_of(self, ticket: str) -> BlobStore:
        assert self.store is not None, "no store for what is put"
        return self.store

    def _check(self, verb: str, ticket: str, fingerprint: str, digests: Sequence[Digest]) -> None:
        row = self.rows.get(ticket)
        if row is None or row[1] != fingerprint:
            raise Unauthenticated("the ticket is not known")
        if row[0] != verb or (row[2] is not None and not set(digests) <= row[2]):
            raise Forbidden("the bearer", verb, "the ticket does not cover it")
