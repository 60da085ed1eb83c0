"""Grants: which role a person has at this site, since when, until when, and who said so.

```
given ── the role needs nobody else ──────────────▶ active ──┐
  │                                                          ├── somebody ends it ──▶ ended
  └── the role needs two ──▶ waiting ── another approves ────┘
```

A grant whose time is up stays `active` and holds no longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ANYBODY: Final = "*"
"""The name in a grant to everybody of an issuer of whom it says a certain attribute."""


class GrantState(StrEnum):
    """How far a grant is."""

    WAITING = "waiting"
    """A second person has to approve it."""
    ACTIVE = "active"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role of a person, as this site has given it."""

    id: int = 0
    """Its number at this site; 0 before it has one."""
    issuer: str
    """Who vouches for the person: the entity id of an IdP, `local`, or `x509:` and an authority."""
    name: str
    """The person's name there; `*` is everybody of whom the issuer says the attribute."""
    role: str
    attribute: tuple[str, str] | None = None
    """An attribute and a value that the issuer has to say of the person at each login."""
    referring: str = ""
    """The name by which referrals call the person, as DICOM writes it."""
    state: GrantState = GrantState.ACTIVE
    since: int = 0
    until: int = 0
    """Microseconds since 1970; 0 is until it is ended."""
    by: str = ""
    """Who gave it, as `node.identity.grants.signature` writes it."""
    reason: str = ""
    approved_by: str = ""
    ended_at: int = 0
    ended_by: str = ""

    def holds_at(self, now: int) -> bool:
        """Whether it is in force at a moment."""
        return self.state is GrantState.ACTIVE and (not self.until or now < self.until)

    def is_for(self, attributes: tuple[tuple[str, tuple[str, ...]], ...]) -> bool:
        """Whether what the issuer says of a person now is what the grant asks for.

        One to everybody that asks for nothing is for nobody.
        """
        if self.attribute is None:
            return self.name != ANYBODY
        name, value = self.attribute
        return value in dict(attributes).get(name, ())

    @property
    def is_seconded(self) -> bool:
        """Whether two persons stand for it, and neither is the one who got it."""
        return bool(self.approved_by) and self.approved_by not in {self.by, self.holder}

    @property
    def holder(self) -> str:
        """Who got it, written as `by` is."""
        return f"{self.issuer} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a person may call upon now."""

    roles: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    """The names by which referrals call the person, folded."""
    expires: int = 0
    """When the first of it ends, in microseconds since 1970; 0 where no end was set."""
