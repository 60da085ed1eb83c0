"""Partners as rows: foreign archives that are backed up into, or moved from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import AETitle
from node.domain.partner import Fetch, Partner, Role
from node.domain.rule import Match

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_partner = schema.partner.c
_NAMED = _partner.ae_title == bindparam("which")
_LIST = Statement(select(schema.partner).order_by(_partner.ae_title))
_FIND = Statement(select(schema.partner).where(_NAMED))
_PUT = Statement(insert(schema.partner).prefix_with("OR REPLACE", dialect="sqlite"))
_NOTED = Statement(update(schema.partner).where(_NAMED).values(seen=bindparam("to")))
_LOOKED = Statement(update(schema.partner).where(_NAMED).values(looked_at=bindparam("now")))
_MIGRATED = Statement(update(schema.partner).where(_NAMED).values(migrated_at=bindparam("now")))
_FAILED = Statement(
    update(schema.partner).where(_NAMED).values(failed_at=bindparam("now"), error=bindparam("reason"))
)
_REMOVE = tuple(
    Statement(delete(table).where(column == bindparam("which")))
    for table, column in (
        (schema.partner, _partner.ae_title),
        (schema.partner_copy, schema.partner_copy.c.partner),
        (schema.moving_window, schema.moving_window.c.partner),
        (schema.moving_study, schema.moving_study.c.partner),
        (schema.moving_series, schema.moving_series.c.partner),
        (schema.moving_difference, schema.moving_difference.c.partner),
    )
)


class Partners:
    """Partners by AE title."""

    def __init__(self, unit: Unit) -> None:
        """The partners within a unit of work."""
        self._unit = unit

    def all(self) -> Sequence[Partner]:
        """All partners by AE title."""
        return [_partner_of(row) for row in self._unit.run(_LIST).fetchall()]

    def find(self, ae_title: str) -> Partner | None:
        """The partner of that AE title."""
        row = self._unit.run(_FIND, which=ae_title).fetchone()
        return _partner_of(row) if row else None

    def put(self, partner: Partner) -> None:
        """Add a partner or change the one of that AE title."""
        self._unit.run(
            _PUT,
            ae_title=partner.ae_title,
            roles=",".join(sorted(partner.roles)),
            terms=json.dumps(partner.match.told()),
            hours=partner.hours,
            fetch=partner.fetch,
            since_at=partner.since_at,
            seen=partner.seen,
            looked_at=partner.looked_at,
            migrated_at=partner.migrated_at,
            failed_at=partner.failed_at,
            error=partner.error,
        )

    def remove(self, ae_title: str) -> None:
        """Forget a partner and all that is known of what is there."""
        for statement in _REMOVE:
            self._unit.run(statement, which=ae_title)

    def noted(self, ae_title: str, row: int) -> None:
        """Arrivals up to this row of the catalog are noted for it."""
        self._unit.run(_NOTED, which=ae_title, to=row)

    def looked(self, ae_title: str) -> None:
        """All that ought to be there has been compared."""
        self._unit.run(_LOOKED, which=ae_title, now=self._unit.now)

    def migrated(self, ae_title: str) -> None:
        """All that is there has been brought here, or told as a difference."""
        self._unit.run(_MIGRATED, which=ae_title, now=self._unit.now)

    def failed(self, ae_title: str, reason: str) -> None:
        """It could not be worked with; an empty reason says that it could again."""
        self._unit.run(_FAILED, which=ae_title, reason=reason, now=self._unit.now if reason else 0)


def _partner_of(row: Sequence[Any]) -> Partner:
    ae_title, roles, terms, hours, fetch, since_at, seen, looked_at, migrated_at, failed_at, error = row
    return Partner(
        ae_title=AETitle.trusted(ae_title),
        roles=frozenset(Role(role) for role in roles.split(",")),
        match=Match.read(json.loads(terms or "{}")),
        hours=hours,
        fetch=Fetch(fetch),
        since_at=since_at,
        seen=seen,
        looked_at=looked_at,
        migrated_at=migrated_at,
        failed_at=failed_at,
        error=error,
    )
