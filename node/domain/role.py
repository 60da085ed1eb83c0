"""Roles: which part a site plays in the federation.

```
                takes what devices send   keeps copies for others   answers queries and retrievals
archive                  yes                       yes                          yes
backup                   no                        yes                          yes
communication            yes                       no                           yes
```

A site says itself which role it has, and which sites may take its place: its successors. One of them that
does so (`konzilium promote`) is an archive from then on, and the site whose place it took is a backup.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.ids import SiteId


class Role(StrEnum):
    """The part that a site plays."""

    ARCHIVE = "archive"
    """It takes what devices send and keeps it."""
    BACKUP = "backup"
    """It is read-only: it holds copies and serves every read, and takes nothing from devices or persons."""
    COMMUNICATION = "communication"
    """It takes what devices send and passes it on; copies that count are at other sites."""

    @property
    def takes(self) -> bool:
        """Whether devices and persons may write at such a site."""
        return self is not Role.BACKUP


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRole:
    """The role of a site, as all facts that are known add up to it."""

    site: SiteId
    role: Role = Role.ARCHIVE
    term: int = 0
    """Grows with every change, so that what was said before counts no more; 0 where nothing was said."""
    successors: tuple[SiteId, ...] = ()
    """The sites that may take its place, the first choice first."""
    by: SiteId | None = None
    """The site that said so: itself, or the one that took its place."""
    stamp: str = ""
    """Names the fact that said so."""
    reason: str = ""

    @property
    def was_replaced(self) -> bool:
        """Whether another site has taken its place."""
        return self.by not in (None, self.site)
