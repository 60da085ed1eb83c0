"""Audit records: events of PS3.15 A.5, chained so that none can be taken out unnoticed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from node.domain.chain import Head, link
from node.domain.errors import Damaged


class Event(StrEnum):
    """What happened, in the event names of PS3.15 A.5.3."""

    STORED = "DICOM Instances Transferred: stored"
    """Instances came in (A.5.3.7)."""
    SENT = "DICOM Instances Transferred: sent"
    """Instances went out (A.5.3.7)."""
    QUERY = "Query"
    """Somebody searched (A.5.3.10)."""
    IMPORT = "Data Import"
    """Instances came from media (A.5.3.6)."""
    EXPORT = "Export"
    """Instances went to media (A.5.3.5)."""
    REFUSED = "Security Alert: refused"
    """Somebody asked for what they may not have (A.5.3.11)."""
    SETTLED = "DICOM Instances Accessed: settled"
    """A person decided about a quarantined or conflicting object (A.5.3.8)."""
    AMENDED = "DICOM Instances Accessed: amended"
    """A person corrected, merged, withdrew, restored or locked what is archived (A.5.3.8)."""
    REPAIRED = "DICOM Instances Accessed: repaired"
    """Damaged bytes were replaced by those of a proved copy (A.5.3.8)."""
    DRILLED = "Application Activity: drill"
    """A drill was held (A.5.3.1)."""
    CONFIGURED = "Security Alert: configured"
    """The device list or the roles changed (A.5.3.11)."""


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What is to be recorded, before it has its place in the chain."""

    event: Event
    who: str
    """The principal, as `kind:name@site`."""
    address: str = ""
    study: str = ""
    what: str = ""
    """The objects, in words of the event: a UID, the keys of a query, a device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A deed in its place: numbered without gaps, chained to the one before."""

    seq: int
    at: int
    """Microseconds since 1970."""
    deed: str
    """Canonical JSON of the `Deed`."""
    previous: str
    hash: str


def written(deed: Deed) -> str:
    """The one JSON text of a deed."""
    return _encode([deed.event, deed.who, deed.address, deed.study, deed.what])


def read(text: str) -> Deed:
    """The deed that `written` wrote."""
    event, who, address, study, what = json.loads(text)
    return Deed(event=Event(event), who=who, address=address, study=study, what=what)


def follow(head: Head, *, at: int, deed: str) -> Record:
    """The record that comes after `head`."""
    seq = head.seq + 1
    return Record(seq=seq, at=at, deed=deed, previous=head.hash, hash=link(head.hash, seq, at, deed))


def verify(records: Iterable[Record]) -> Head:
    """Walk the ledger from its start and return its end.

    Raises:
        Damaged: a record is missing, out of order or altered.
    """
    head = Head()
    for record in records:
        if follow(head, at=record.at, deed=record.deed) != record:
            raise Damaged(f"audit record {record.seq} does not follow {head.seq}")
        head = Head(seq=record.seq, hash=record.hash)
    return head
