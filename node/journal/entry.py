"""The journal: each site appends to its own, numbers its entries without gaps, and chains them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from node.domain.chain import Head, link
from node.domain.errors import Damaged
from node.domain.ids import SiteId


class Fact(StrEnum):
    """Kinds of journal entries."""

    INSTANCE = "instance"
    """Bytes were admitted under a SOP Instance UID."""
    COMPARE = "compare"
    """Two stored forms of an instance were compared; where they were proved equal, one of them stays."""
    QUARANTINE = "quarantine"
    """An object that cannot be archived was kept aside."""
    SETTLE = "settle"
    """A person released or discarded an object in quarantine."""


_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One fact, chained to the one before it at the same site and epoch."""

    origin: SiteId
    epoch: int
    seq: int
    """From 1, without gaps."""
    at: int
    """Microseconds since 1970, by the clock of the origin."""
    kind: Fact
    payload: str
    """Canonical JSON."""
    previous: str
    hash: str

    @property
    def says(self) -> dict[str, Any]:
        """The payload as values."""
        values: dict[str, Any] = json.loads(self.payload)
        return values


def canonical(values: Mapping[str, object]) -> str:
    """The one JSON text of these values."""
    return _encode(values)


def follow(head: Head, *, origin: SiteId, epoch: int, at: int, kind: Fact, payload: str) -> Entry:
    """The entry that comes after `head`."""
    seq = head.seq + 1
    return Entry(
        origin=origin,
        epoch=epoch,
        seq=seq,
        at=at,
        kind=kind,
        payload=payload,
        previous=head.hash,
        hash=link(head.hash, origin, epoch, seq, at, kind, payload),
    )


def verify(entries: Iterable[Entry], head: Head | None = None) -> Head:
    """Walk a journal of one origin and epoch and return its end.

    Raises:
        Damaged: an entry is missing, out of order or altered.
    """
    head = head or Head()
    for entry in entries:
        expected = follow(
            head, origin=entry.origin, epoch=entry.epoch, at=entry.at, kind=entry.kind, payload=entry.payload
        )
        if expected != entry:
            raise Damaged(
                f"journal entry {entry.origin}/{entry.epoch}/{entry.seq} does not follow {head.seq}"
            )
        head = Head(seq=entry.seq, hash=entry.hash)
    return head
