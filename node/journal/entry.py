"""The journal: each site appends to its own, numbers its entries without gaps, and chains them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
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
    COPIES = "copies"
    """This site has read back copies of other sites' instances, or has none of them any more."""
    CORRECT = "correct"
    """A person corrected attributes of a patient or a study; the bytes stay as they are."""
    MERGE = "merge"
    """A person found two patients to be one, or took that back."""
    RETRACT = "retract"
    """A person withdrew an instance."""
    LOCK = "lock"
    """A person set until when a study may not be withdrawn."""
    RULE = "rule"
    """Where copies of what this site receives are owed."""
    MEMBER = "member"
    """The signed metadata of a site that this one vouches for."""
    STANDING = "standing"
    """What this site decided about a member."""
    CONSENT = "consent"
    """What this site gives a member and takes from it."""
    ROLE = "role"
    """Which part this site plays, or that it takes the place of another one."""
    MARK = "mark"
    """How sensitive a study or patient is, or what the patient has agreed to or refused."""


LOCAL = frozenset({Fact.QUARANTINE, Fact.SETTLE, Fact.RULE})
"""Facts that concern no other site."""
FEDERATION = frozenset({Fact.MEMBER, Fact.STANDING, Fact.CONSENT, Fact.ROLE})
"""Facts that every member is told."""


def patient_subject(issuer: str, patient_id: str) -> str:
    """The subject of facts about a patient."""
    return f"patient {issuer}^{patient_id}"


def _corrected(says: Mapping[str, Any]) -> str:
    return str(says["study"]) if "study" in says else patient_subject(*says["patient"])


_SUBJECTS: dict[Fact, Callable[[Mapping[str, Any]], str]] = {
    Fact.INSTANCE: lambda says: says["uid"],
    Fact.COMPARE: lambda says: says["uid"],
    Fact.RETRACT: lambda says: says["uid"],
    Fact.LOCK: lambda says: says["study"],
    Fact.CORRECT: _corrected,
    Fact.MARK: _corrected,
    Fact.MERGE: lambda says: patient_subject(*says["patient"]),
    Fact.MEMBER: lambda says: f"site {says['site']}",
    Fact.STANDING: lambda says: f"site {says['site']}",
    Fact.CONSENT: lambda says: f"site {says['site']}",
    Fact.ROLE: lambda says: f"site {says['site']}",
    Fact.RULE: lambda says: f"rule {says['name']}",
    Fact.QUARANTINE: lambda says: says["digest"],
    Fact.SETTLE: lambda says: says["digest"],
    Fact.COPIES: lambda says: "",
}


def subject_of(kind: Fact, says: Mapping[str, Any]) -> str:
    """What a fact is about: facts of one subject add up to its state, in whatever order they came.

    ```
    instance, compare, retract    the SOP Instance UID
    lock, correct, mark (study)   the Study Instance UID
    correct, mark, merge          issuer and Patient ID
    member, standing, consent     the site
    role                          the site
    ```
    """
    return _SUBJECTS[kind](says)


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

    @property
    def stamp(self) -> str:
        """Where the fact stands among all facts of the federation; texts sort as the facts do."""
        return f"{self.at:016d} {self.origin} {self.epoch} {self.seq:010d}"


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
