"""Emergencies: a person opens what is closed to them, says why, and another person judges it afterwards.

```
open ── its time is up, or it is judged wrong ──▶ closed        waiting ── another person judges ──▶ reviewed
```

Both run side by side: one that is still open can be reviewed, one that is closed waits until it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What the second person found."""

    JUSTIFIED = "justified"
    UNJUSTIFIED = "unjustified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Emergency:
    """One study that a person has opened so."""

    id: int = 0
    """Its number at this site; 0 before it has one."""
    issuer: str
    name: str
    study: str
    reason: str
    at: int = 0
    until: int
    """Microseconds since 1970."""
    reviewed_at: int = 0
    reviewed_by: str = ""
    verdict: Verdict | None = None
    note: str = ""

    @property
    def holder(self) -> str:
        """Whose it is, as `node.identity.grants.signature` writes a person."""
        return f"{self.issuer} {self.name}"

    @property
    def is_reviewed(self) -> bool:
        """Whether another person has judged it."""
        return bool(self.reviewed_at)
