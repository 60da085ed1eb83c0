"""What is remembered of the audit record of a site, and what is wrong with it.

```
heard ── the record shown reaches it ──▶ checked            passed: computed here while reading, not signed
  │                                         │                  │
  └────────────── it does not any more ─────┴──▶ refuted ◀─────┘     and a fault says which records
```
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.chain import Head
from node.domain.ids import SiteId


class State(StrEnum):
    """What is known of a remembered head."""

    HEARD = "heard"
    """The site has signed it; the records up to it were not looked at yet."""
    CHECKED = "checked"
    """The site has signed it, and has shown records that lead to it."""
    PASSED = "passed"
    """Computed here from the records that the site has shown."""
    REFUTED = "refuted"
    """The records that the site shows now do not lead to it; it is kept as evidence."""


class Fault(StrEnum):
    """What can be wrong with a range of an audit record."""

    ALTERED = "altered"
    """Contents do not agree with the hashes beside them."""
    MISSING = "missing"
    """Records were taken out of the midst."""
    TRUNCATED = "truncated"
    """The record ends before what the site had signed."""
    REORDERED = "reordered"
    """Records stand in another order than they were written in."""
    REWRITTEN = "rewritten"
    """The chain holds in itself, and is another one than before."""
    FORKED = "forked"
    """The site has signed one record and shows another, or signed two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A head that the record of a site has to lead to."""

    seq: int
    hash: str
    state: State

    @property
    def head(self) -> Head:
        """The place in the chain."""
        return Head(seq=self.seq, hash=self.hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Records that are not what they were, both ends included."""

    kind: Fault
    first: int
    last: int
    what: str = ""
    """Where it shows, in words. The change itself may be anywhere in the range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFault:
    """A break in the audit record of a site, as it is kept."""

    site: SiteId
    first: int
    last: int
    kind: Fault
    what: str = ""
    """How it was found, in words."""
    found_at: int = 0
    settled_at: int = 0
    """When a person has looked into it; 0 for not yet."""
    settled_by: str = ""
    note: str = ""

    def __str__(self) -> str:
        """In words: `records 7 to 9 of prague: altered`."""
        which = f"record {self.first}" if self.first == self.last else f"records {self.first} to {self.last}"
        return f"{which} of {self.site}: {self.kind}"
