"""A partner: a foreign archive that is backed up into, or moved from, by plain DICOM.

The copy of an instance at a partner that is a backup:

```
owed ── C-STORE succeeded ──▶ sent ── C-FIND lists it ──▶ found ── the partner committed itself ──▶ committed
 ▲  └── C-STORE failed ──▶ refused (tried again daily)      │                                          │
 └── C-FIND does not list it any more ◀─────────────────────┴──────────────────────────────────────────┘
```

A study of a partner that is a source:

```
listed ── every series compared, nothing missing ──▶ here
 ▲ │ └── something is missing: due again after a pause that doubles ──┐
 │ │◀─────────────────────────────────────────────────────────────────┘
 │ └── missing after the last attempt ──▶ differs
 └── a later run finds another number of instances there, or is told to verify
```
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from node.domain.errors import Rejected
from node.domain.ids import (
    UID,
    AETitle,
    Digest,
    InstanceUID,
    SeriesUID,
    SOPClassUID,
    StudyUID,
    TransferSyntaxUID,
)
from node.domain.rule import Match

_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
HOURS: Final = re.compile(f"({_TIME}-{_TIME})?")
"""Hours of the day, as in `22:00-06:00`; empty is always."""


class Role(StrEnum):
    """What a partner is for."""

    BACKUP = "backup"
    """It holds copies of what is here."""
    SOURCE = "source"
    """What it holds is brought here."""


class Fetch(StrEnum):
    """How instances come from a source."""

    AUTO = "auto"
    """By C-GET where the partner offers it, by C-MOVE otherwise."""
    MOVE = "move"
    GET = "get"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """A device of the list that is a partner."""

    ae_title: AETitle
    roles: frozenset[Role]
    match: Match = field(default_factory=Match)
    """What it is a backup of, or what is brought from it."""
    hours: str = ""
    """Hours of the day in which it may be busied, as in `22:00-06:00`; empty is always."""
    fetch: Fetch = Fetch.AUTO
    since_at: int = 0
    """Microseconds since 1970."""
    seen: int = 0
    """How far arrivals were noted for it (rows of the catalog)."""
    looked_at: int = 0
    """When all that ought to be there was compared last; 0 for never."""
    migrated_at: int = 0
    """When all that is there was brought here last; 0 for never."""
    failed_at: int = 0
    error: str = ""
    """Why it could not be worked with last, empty when it could."""

    def __post_init__(self) -> None:
        """Refuse what cannot be carried out.

        Raises:
            Rejected: it is for nothing, its hours are none, or a source is asked for what it cannot tell.
        """
        if not self.roles:
            raise Rejected("a partner is a backup, a source, or both")
        if HOURS.fullmatch(self.hours) is None:
            raise Rejected("hours are written as in 22:00-06:00")
        if Role.SOURCE in self.roles and (self.match.ae_titles or self.match.body_parts):
            raise Rejected("a source cannot be asked by device or body part, by modality and age only")

    def is_for(self, role: Role) -> bool:
        """Whether it has this role."""
        return role in self.roles


class CopyThere(StrEnum):
    """What is known of a copy at a partner."""

    OWED = "owed"
    SENT = "sent"
    """The partner took it, and nobody has looked yet."""
    FOUND = "found"
    """Its C-FIND lists it; that proves nothing of its bytes."""
    COMMITTED = "committed"
    """The partner has taken the responsibility for it (PS3.4 J)."""
    REFUSED = "refused"
    """The partner did not take it."""


THERE: Final = frozenset({CopyThere.SENT, CopyThere.FOUND, CopyThere.COMMITTED})
"""Copies that the partner has, as far as is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerCopy:
    """The copy of an instance at a partner."""

    instance: InstanceUID
    study: StudyUID
    digest: Digest | None = None
    """Of what was sent; None where it was there before."""
    state: CopyThere = CopyThere.OWED
    at: int = 0
    """When it came to this state, in microseconds since 1970."""
    transaction: UID | None = None
    """Of the last Storage Commitment request about it."""
    asked_at: int = 0
    """When that was made."""
    why: str = ""
    """Why it was refused, is not committed, or has to be sent again."""


class Moving(StrEnum):
    """Where a study or series of a source stands."""

    LISTED = "listed"
    HERE = "here"
    DIFFERS = "differs"


class Unlike(StrEnum):
    """How an instance at a source differs from what is archived here."""

    MISSING = "missing"
    """It did not come."""
    CONVERTED = "converted"
    """It came in another transfer syntax than it is stored in there."""
    WITHDRAWN = "withdrawn"
    """A person has withdrawn it here, so it is not taken again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyThere:
    """A study at a partner, as its C-FIND tells of it."""

    uid: StudyUID
    date: str = ""
    """Study Date (0008,0020); empty where it has none."""
    instances: int | None = None
    """Number of Study Related Instances (0020,1208); None where it is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesThere:
    """A series at a partner."""

    uid: SeriesUID
    modality: str = ""
    instances: int | None = None
    """Number of Series Related Instances (0020,1209); None where it is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceThere:
    """An instance at a partner."""

    uid: InstanceUID
    sop_class: SOPClassUID | None = None
    transfer_syntax: TransferSyntaxUID | None = None
    """In which it is stored there (0008,3002); None where it is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MovingStudy:
    """A study of a source on its way here."""

    uid: StudyUID
    date: str = ""
    told: int | None = None
    """Instances there, where the partner told."""
    state: Moving = Moving.LISTED
    attempts: int = 0
    due_at: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MovingSeries:
    """A series of a source on its way here."""

    uid: SeriesUID
    study: StudyUID
    modality: str = ""
    there: int = 0
    """Instances at the partner."""
    here: int = 0
    """Those of them that are archived here."""
    bytes: int = 0
    """Of those."""
    fetched: int = 0
    """Those of them that had to be brought."""
    state: Moving = Moving.LISTED
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An instance that is not here as it is at the source."""

    instance: InstanceUID
    study: StudyUID
    series: SeriesUID
    kind: Unlike
    why: str = ""
