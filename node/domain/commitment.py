"""Storage Commitment: what a device asks us to vouch for, and our answer (PS3.4 J)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.ids import UID, InstanceUID, SOPClassUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One instance that a device wants to be vouched for."""

    sop_class: SOPClassUID
    instance: InstanceUID


class Reason(StrEnum):
    """Why an instance cannot be vouched for (PS3.3 C.14.1.1)."""

    NO_SUCH_INSTANCE = "no-such-instance"
    CLASS_CONFLICT = "class-instance-conflict"
    PROCESSING_FAILURE = "processing-failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """Which instances are safe here, and which are not."""

    held: tuple[Wanted, ...]
    failed: tuple[tuple[Wanted, Reason], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentRequest:
    """A request that a device has made and that is answered when its time comes."""

    device: str
    """AE title to report to."""
    transaction: UID
    wanted: tuple[Wanted, ...]
