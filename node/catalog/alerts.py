"""Alerts as rows: those that are not settled, and for a while those that were."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.alert import Alert, AlertState, Severity, Told

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_alert = schema.alert.c
_PUT = Statement(insert(schema.alert).prefix_with("OR REPLACE", dialect="sqlite"))
_FIND = Statement(
    select(schema.alert).where(_alert.key == bindparam("key"), _alert.since_at == bindparam("since_at"))
)
_PENDING = Statement(select(schema.alert).where(_alert.settled == 0).order_by(_alert.since_at, _alert.key))
_ALL = Statement(select(schema.alert).order_by(_alert.since_at.desc(), _alert.key).limit(bindparam("many")))
_PRUNE = Statement(
    delete(schema.alert).where(_alert.state == AlertState.OVER, _alert.over_at < bindparam("before"))
)


class Alerts:
    """What persons are told of."""

    def __init__(self, unit: Unit) -> None:
        """The alerts within a unit of work."""
        self._unit = unit

    def pending(self) -> Sequence[Alert]:
        """Alerts that are not over, and those that some sink was not told all of; the oldest first."""
        return [_alert_of(row) for row in self._unit.run(_PENDING).fetchall()]

    def open(self) -> Sequence[Alert]:
        """Alerts that are not over, the oldest first."""
        return [alert for alert in self.pending() if not alert.is_over]

    def all(self, many: int = 1000) -> Sequence[Alert]:
        """Alerts in any state, the newest first."""
        return [_alert_of(row) for row in self._unit.run(_ALL, many=many).fetchall()]

    def find(self, key: str, since_at: int) -> Alert | None:
        """The episode of that key and beginning."""
        row = self._unit.run(_FIND, key=key, since_at=since_at).fetchone()
        return _alert_of(row) if row else None

    def save(self, alert: Alert) -> None:
        """Write how an episode stands."""
        self._unit.run(
            _PUT,
            key=alert.key,
            since_at=alert.since_at,
            kind=alert.kind,
            subject=alert.subject,
            severity=alert.severity,
            state=alert.state,
            what=alert.what,
            todo=alert.todo,
            said_at=alert.said_at,
            eased_at=alert.eased_at,
            over_at=alert.over_at,
            acknowledged_at=alert.acknowledged_at,
            acknowledged_by=alert.acknowledged_by,
            told=_written(alert.told),
            settled=int(alert.is_settled),
        )

    def prune(self, before: int) -> None:
        """Forget those that were over before that moment."""
        self._unit.run(_PRUNE, before=before)


def _written(told: Mapping[str, Told]) -> str:
    return json.dumps({sink: asdict(one) for sink, one in told.items()})


def _alert_of(row: tuple[Any, ...]) -> Alert:
    values = dict(zip(_alert.keys(), row, strict=True))
    del values["settled"]
    told = json.loads(values["told"]) if values["told"] else {}
    return Alert(
        **{
            **values,
            "severity": Severity(values["severity"]),
            "state": AlertState(values["state"]),
            "told": {sink: Told(**one) for sink, one in told.items()},
        }
    )
