"""Audit records: events of PS3.15 A.5, chained so that none can be taken out unnoticed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from node.domain.chain import Head, link
from node.domain.errors import Damaged
from node.domain.principal import Principal


class Event(StrEnum):
    """What happened, in the event names of PS3.15 A.5.3."""

    STORED = "DICOM Instances Transferred: stored"
    """Instances came in (A.5.3.7)."""
    SENT = "DICOM Instances Transferred: sent"
    """Instances went out (A.5.3.7)."""
    QUERY = "Query"
    """Somebody searched (A.5.3.10)."""
    IMPORT = "Data Import"
    """Instances came from media (A.5.3.5)."""
    EXPORT = "Export"
    """Instances went to media (A.5.3.4)."""
    REFUSED = "Security Alert: refused"
    """Somebody asked for what they may not have (A.5.3.11)."""
    SETTLED = "DICOM Instances Accessed: settled"
    """A person decided about a quarantined or conflicting object (A.5.3.6)."""
    AMENDED = "DICOM Instances Accessed: amended"
    """A person corrected, merged, withdrew, restored or locked what is archived (A.5.3.6)."""
    REPAIRED = "DICOM Instances Accessed: repaired"
    """Damaged bytes were replaced by those of a proved copy (A.5.3.6)."""
    DRILLED = "Application Activity: drill"
    """A drill was held (A.5.3.1)."""
    CONFIGURED = "Security Alert: configured"
    """The device list or the roles changed (A.5.3.11)."""
    LOGIN = "User Authentication: login"
    """A person came in, or tried to (A.5.3.12)."""
    LOGOUT = "User Authentication: logout"
    """A person left (A.5.3.12)."""
    EMERGENCY = "Security Alert: emergency override"
    """A person broke the glass (A.5.3.11)."""
    REVIEWED = "Security Alert: emergency reviewed"
    """Another person judged that (A.5.3.11)."""
    AUDIT_USED = "Audit Log Used"
    """Somebody read the audit record (A.5.3.2)."""


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
    patient: str = ""
    """Patient ID and issuer, as HL7 writes them (CX): `ID^^^ISSUER`."""
    issuer: str = ""
    """Who vouched for a person: the entity id of the IdP, or `local`."""
    display: str = ""
    """The name of a person as people say it."""
    via: str = ""
    """The member by whose node the call came."""
    device: str = ""
    """The AE title of the device that a person sat at."""
    roles: tuple[str, ...] = ()
    """The roles of the person that held."""
    purpose: str = ""
    policy: str = ""
    """The version of the policy that decided about a person."""
    reason: str = ""
    """Why it was refused, or why it was allowed although it usually is not."""
    refused: bool = False


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


_PLAIN: Final = ("event", "who", "address", "study", "what")
"""What every deed says, in this order; the other fields follow by name, where they say something."""
_MORE: Final = tuple(one.name for one in fields(Deed) if one.name not in _PLAIN)


def deed_of(
    principal: Principal,
    event: Event,
    *,
    what: str,
    study: str = "",
    patient: str = "",
    reason: str = "",
    policy: str = "",
) -> Deed:
    """What a principal did, ready for the ledger."""
    return Deed(
        event=event,
        who=str(principal),
        address=principal.address,
        study=study,
        what=what,
        patient=patient,
        issuer=principal.issuer,
        display=principal.display,
        via=principal.via or "",
        device=principal.device,
        roles=tuple(sorted(principal.roles)),
        purpose=principal.purpose,
        policy=policy or principal.policy,
        reason=reason,
        refused=event is Event.REFUSED,
    )


def written(deed: Deed) -> str:
    """The one JSON text of a deed."""
    plain = [deed.event, deed.who, deed.address, deed.study, deed.what]
    more = {name: value for name in _MORE if (value := getattr(deed, name))}
    return _encode([*plain, more] if more else plain)


def read(text: str) -> Deed:
    """The deed that `written` wrote."""
    event, who, address, study, what, *more = json.loads(text)
    values: dict[str, Any] = more[0] if more else {}
    if "roles" in values:
        values["roles"] = tuple(values["roles"])
    return Deed(event=Event(event), who=who, address=address, study=study, what=what, **values)


def follow(head: Head, *, at: int, deed: str) -> Record:
    """The record that comes after `head`."""
    seq = head.seq + 1
    return Record(seq=seq, at=at, deed=deed, previous=head.hash, hash=link(head.hash, seq, at, digest(deed)))


def digest(deed: str) -> str:
    """What stands for a deed in the chain: that can be shown without what it tells of persons."""
    return sha256(deed.encode()).hexdigest()


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
