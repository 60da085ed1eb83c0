"""Who asks: the caller as every face names it, and what the answer was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.ids import AETitle, SiteId


class Kind(StrEnum):
    """What sort of caller a principal is."""

    DEVICE = "device"
    OPERATOR = "operator"
    NODE = "node"


class Action(StrEnum):
    """What a principal can be allowed to do."""

    STORE = "store"
    QUERY = "query"
    RETRIEVE = "retrieve"
    ADMINISTER = "administer"


DEVICE_ACTIONS = frozenset({Action.STORE, Action.QUERY, Action.RETRIEVE})
"""What a device may do unless it was added with less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A caller whose identity a face has established."""

    kind: Kind
    name: str
    site: SiteId
    address: str = ""
    may: frozenset[Action] = frozenset()
    via: SiteId | None = None
    """The member whose node brings the call; None for callers of this site itself."""

    def __str__(self) -> str:
        """As logs and audit records name it: `device:CT1@brno`."""
        return f"{self.kind}:{self.name}@{self.site}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer of the policy, with the reason that led to it."""

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a device shows of itself when it asks for an association."""

    calling: AETitle
    called: str
    address: str
    certificate: str | None = None
    """SHA-256 of the client certificate (DER, hexadecimal); None on the plain port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A modality, workstation or archive that may associate, and where to call it back."""

    ae_title: AETitle
    host: str
    port: int
    may: frozenset[Action] = DEVICE_ACTIONS
    certificate: str | None = None
    """PEM of the only certificate it may show; with one, the plain port is closed to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """An unknown device that asked for an association, kept until somebody decides."""

    ae_title: str
    address: str
    called: str
    asked: str
    """What it asked for, in words: the SOP classes it proposed."""
    count: int
    first_at: int
    last_at: int
    """Microseconds since 1970."""
