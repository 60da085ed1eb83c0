"""An instance: what was offered, what is kept, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from node.domain.ids import Digest, InstanceUID, SeriesUID, SOPClassUID, StudyUID, TransferSyntaxUID
from node.domain.query import Cell

Chunk: TypeAlias = bytes | bytearray | memoryview
"""A run of bytes; a memoryview is valid only until the next chunk is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a sender says of the data set that follows (PS3.7 9.3.1.1)."""

    sop_class: SOPClassUID
    instance: InstanceUID
    transfer_syntax: TransferSyntaxUID


class Outcome(StrEnum):
    """What became of an admitted instance."""

    KEPT = "kept"
    KNOWN = "known"
    """The same bytes were here before."""
    CONFLICT = "conflict"
    """The UID was here with other bytes: both are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The answer to an offer: the promise, with the name of the bytes it is about."""

    outcome: Outcome
    digest: Digest
    study: StudyUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One archived instance, as retrieval needs it."""

    uid: InstanceUID
    series: SeriesUID
    study: StudyUID
    sop_class: SOPClassUID
    transfer_syntax: TransferSyntaxUID
    digest: Digest
    size: int
    """Bytes of the stored Part 10 file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Other bytes under a UID that was archived before; nothing of either is lost."""

    instance: InstanceUID
    kept: Digest
    other: Digest
    transfer_syntax: TransferSyntaxUID
    size: int
    source: str
    arrived_at: int
    state: str
    """`open` until somebody or a proof of equality settles it; then `folded`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """An object that could not be archived, kept aside with the reason."""

    digest: Digest
    reason: str
    source: str
    size: int
    transfer_syntax: str
    arrived_at: int
    state: str
    """`held`, then `released` or `discarded` by a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is catalogued of an instance, without its bytes."""

    instance: InstanceUID
    digest: Digest
    transfer_syntax: TransferSyntaxUID
    attributes: Mapping[int, Cell]
    """Values of the catalogued attributes of all levels, by tag."""
