"""What one site tells another of its journal: entries after a cursor, with what is withheld as stubs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from node.domain.chain import Head
from node.domain.ids import SiteId


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a journal was read: everything up to `seq` of `epoch` is here."""

    origin: SiteId
    epoch: int
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One entry of a journal as it travels: in full, or with only its place in the chain."""

    seq: int
    previous: str
    hash: str
    at: int = 0
    kind: str = ""
    payload: str | None = None
    """Canonical JSON; None where the entry is withheld."""
    owed: bool = False
    """Whether the bytes it names are owed to who asks."""

    @property
    def withheld(self) -> bool:
        """Whether the origin's terms keep it back."""
        return self.payload is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A run of entries of one journal."""

    origin: SiteId
    epoch: int
    entries: Sequence[Told]
    head: int
    """The end of that journal now."""
    terms: int
    """A number that changes when the origin's terms or rules do: gaps are worth asking for again."""
    lost: Sequence[tuple[int, int]] = ()
    """Ranges of numbers within this run that the origin itself has no more, since it was restored."""
    anew: bool = False
    """Whether these take the place of all that was read of that epoch from the first of them on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a heartbeat tells, in either direction."""

    site: SiteId
    epoch: int
    head: int
    head_hash: str
    terms: int
    metadata: int
    """Version of its metadata."""
    at: int = 0
    """The time by its clock; microseconds since 1970, 0 where it does not tell."""
    audit_head: int = 0
    audit_hash: str = ""
    reached: Mapping[str, int] = field(default_factory=dict)
    """How far it has read the journal of who asks, by epoch (`"1": 4711`)."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """The hashes of the entries that it has reached: whose journal it is sees whether it is the same one."""
    ends: Mapping[str, Head] = field(default_factory=dict)
    """The ends of the earlier epochs of its own journal."""
    recalled: Mapping[str, int] = field(default_factory=dict)
    """How far it has taken back its own earlier epochs from who asks, since it was restored."""
    gaps: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)
    """Entries of the journal of who asks that were withheld from it, by epoch; the first of them."""
