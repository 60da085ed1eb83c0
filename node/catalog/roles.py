"""Roles as rows: which part each site plays, worked out from the facts about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import SiteId
from node.domain.role import Role, SiteRole

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_role = schema.role.c
_PUT = Statement(insert(schema.role).prefix_with("OR REPLACE", dialect="sqlite"))
_DROP = Statement(delete(schema.role).where(_role.site == bindparam("of")))
_OF = Statement(select(schema.role).where(_role.site == bindparam("site")))
_ALL = Statement(select(schema.role).order_by(_role.site))


class Roles:
    """The roles of all sites of which one is known; the others are archives."""

    def __init__(self, unit: Unit) -> None:
        """The roles within a unit of work."""
        self._unit = unit

    def put(self, one: SiteRole) -> None:
        """Write the role of a site, in place of what was known before."""
        self._unit.run(
            _PUT,
            site=one.site,
            role=one.role,
            term=one.term,
            successors=json.dumps(one.successors),
            said_by=one.by or "",
            stamp=one.stamp,
            reason=one.reason,
        )

    def drop(self, site: SiteId) -> None:
        """Forget the role of a site."""
        self._unit.run(_DROP, of=site)

    def of(self, site: SiteId) -> SiteRole:
        """The role of a site."""
        row = self._unit.run(_OF, site=site).fetchone()
        return _read(*row) if row else SiteRole(site=site)

    def here(self) -> SiteRole:
        """The role of this site."""
        return self.of(self._unit.origin)

    def all(self) -> Sequence[SiteRole]:
        """Every role of which anything was said, by site."""
        return [_read(*row) for row in self._unit.run(_ALL).fetchall()]


def _read(site: str, role: str, term: int, successors: str, by: str, stamp: str, reason: str) -> SiteRole:
    names: list[Any] = json.loads(successors)
    return SiteRole(
        site=SiteId.trusted(site),
        role=Role(role),
        term=term,
        successors=tuple(SiteId.trusted(name) for name in names),
        by=SiteId.trusted(by) if by else None,
        stamp=stamp,
        reason=reason,
    )
