"""What is seen of a site at one moment: everything that conditions are judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node.domain.finding import Trouble
from node.watch.rhythm import Rhythm

Samples = Sequence[tuple[int, int]]
"""(when, value), the oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A file system that the node writes to."""

    name: str
    """What lives there: `store` or `catalog`."""
    free: int
    reserve: int
    """Bytes that stay free."""
    samples: Samples = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What is owed in one direction."""

    objects: int = 0
    oldest_at: int = 0
    """Since when the oldest is; 0 for nothing."""
    counts: Samples = ()
    oldest: Samples = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """An active member."""

    site: str
    heard_at: int = 0
    error: str = ""
    certificate_days: int = 1000
    out: Flow = field(default_factory=Flow)
    """What it owes copies of."""
    coming: Flow = field(default_factory=Flow)
    """What is wanted of it."""
    lost: int = 0
    """Copies that the rules want there, and that it has no more."""
    skew: int = 0
    """Microseconds by which its clock is ahead of ours."""
    unaudited: int = 0
    """For how long it could be reached and has not shown its audit record; microseconds."""
    rtt: int = 0
    """Microseconds that the call took by which that was measured; 0 where it was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A source of identity providers."""

    name: str
    failed_at: int = 0
    """Since when it cannot be refreshed; 0 while it can."""
    error: str = ""
    valid_until: int = 0
    """Until when it is believed; 0 for what says no end."""
    certificate_days: Mapping[str, int] = field(default_factory=dict)
    """Days left of the certificates of the identity providers that this site vouches for itself, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A site at one moment."""

    directory: Path
    """Its folder, as commands are told."""
    now: int
    """Microseconds since 1970, as all moments."""
    awake: int
    """Since when it watches without a break; `now` or later where it does not."""
    disks: Sequence[Disk] = ()
    neighbours: Sequence[Neighbour] = ()
    waiting: Sequence[str] = ()
    """Sites that have joined and wait to be confirmed."""
    certificates: Mapping[str, int] = field(default_factory=dict)
    """Days left, by the name of each certificate of this site: `dicom`, `node`."""
    damage: Mapping[Trouble, int] = field(default_factory=dict)
    brakes: Mapping[str, str] = field(default_factory=dict)
    """Reasons of those that have tripped."""
    oldest_proof_at: int | None = None
    scrub_days: float = 0
    """The period within which everything is read back; 0 where nothing is by itself."""
    rhythms: Mapping[str, Rhythm] = field(default_factory=dict)
    """Of the devices on the list."""
    stalled: int = 0
    oldest_job_at: int | None = None
    quarantined: int = 0
    conflicts: int = 0
    shared_studies: int = 0
    strangers: int = 0
    emergencies: Mapping[int, int] = field(default_factory=dict)
    """When what was opened in an emergency was, by number, as far as nobody has reviewed it."""
    audit_faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What is wrong with audit records and was not settled, by site, in words."""
    repository: str = ""
    """Where audit messages go, if that fails now."""
    repository_failed_at: int = 0
    """Since when it does."""
    repository_error: str = ""
    store_error: str = ""
    """Why a file could not be written, if it could not."""
    opened_at: int = 0
    """When the sealed account was used last, if it was since it was sealed."""
    mute: Mapping[str, int] = field(default_factory=dict)
    """Since when each sink that cannot be told anything could not."""
    feeds: Sequence[Feed] = ()
    login_days: int | None = None
    """Days left of the certificate with which this site logs people in; None where it has none."""
