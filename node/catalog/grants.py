"""Grants as rows: which roles the persons of each issuer have here; an ended one stays for the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, or_, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.grant import ANYBODY, Grant, GrantState, Holding
from node.domain.principal import Attributes
from node.policy.rules import MODALITY, Policy, folded

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_grant = schema.role_grant.c
_WRITTEN = [column for column in _grant if column.name != "id"]
_ADD = Statement(insert(schema.role_grant).values({c.name: bindparam(c.name) for c in _WRITTEN}))
_FIND = Statement(select(schema.role_grant).where(_grant.id == bindparam("which")))
_ALL = Statement(select(schema.role_grant).order_by(_grant.id))
_NAMED = or_(_grant.name == bindparam("called"), _grant.name == ANYBODY)
_HELD = Statement(
    select(schema.role_grant)
    .where(_grant.issuer == bindparam("given_by"), _NAMED, _grant.state == GrantState.ACTIVE)
    .order_by(_grant.id)
)
_APPROVE = Statement(
    update(schema.role_grant)
    .where(_grant.id == bindparam("which"))
    .values(state=GrantState.ACTIVE, approved_by=bindparam("whom"))
)
_END = Statement(
    update(schema.role_grant)
    .where(_grant.id == bindparam("which"))
    .values(state=GrantState.ENDED, ended_at=bindparam("now"), ended_by=bindparam("whom"))
)


class Grants:
    """Which person has which role at this site."""

    def __init__(self, unit: Unit) -> None:
        """The grants within a unit of work."""
        self._unit = unit

    def holding(self, issuer: str, name: str, attributes: Attributes, policy: Policy) -> Holding:
        """What a person may call upon now.

        Args:
            issuer: who vouches for the person.
            name: the person's name there.
            attributes: what the issuer says of the person.
            policy: names the roles that there are, and those that need a second person.
        """
        rows = self._unit.run(_HELD, given_by=issuer, called=name).fetchall()
        held = [grant for grant in map(_grant_of, rows) if self._holds(grant, attributes, policy)]
        return Holding(
            roles=frozenset(grant.role for grant in held),
            names=frozenset(folded(grant.referring) for grant in held) - {""},
            expires=min((grant.until for grant in held if grant.until), default=0),
        )

    def add(self, grant: Grant) -> Grant:
        """Write a grant down, beginning now; with its number."""
        given = {
            "issuer": grant.issuer,
            "name": grant.name,
            "role": grant.role,
            "options": _options(grant),
            "state": grant.state,
            "since_at": self._unit.now,
            "until_at": grant.until,
            "said_by": grant.by,
            "reason": grant.reason,
            "approved_by": grant.approved_by,
            "ended_at": 0,
            "ended_by": "",
        }
        number = self._unit.run(_ADD, **given).lastrowid
        return _grant_of((number, *given.values()))

    def find(self, number: int) -> Grant | None:
        """The grant of that number."""
        row = self._unit.run(_FIND, which=number).fetchone()
        return _grant_of(row) if row else None

    def all(self) -> Sequence[Grant]:
        """Every grant that there ever was, the oldest first."""
        return [_grant_of(row) for row in self._unit.run(_ALL).fetchall()]

    def approve(self, number: int, by: str) -> None:
        """Another person stands for it, too; it holds from now on."""
        self._unit.run(_APPROVE, which=number, whom=by)

    def end(self, number: int, by: str) -> None:
        """It holds no longer, from the next call on."""
        self._unit.run(_END, which=number, whom=by, now=self._unit.now)

    def _holds(self, grant: Grant, attributes: Attributes, policy: Policy) -> bool:
        return (
            grant.holds_at(self._unit.now)
            and grant.role in policy.roles.keys() - {MODALITY}
            and grant.is_for(attributes)
            and (grant.role not in policy.dual or grant.is_seconded)
        )


def _options(grant: Grant) -> str:
    """The conditions of a grant, as JSON."""
    options: dict[str, Any] = {}
    if grant.attribute:
        options["attribute"] = list(grant.attribute)
    if grant.referring:
        options["referring"] = grant.referring
    return json.dumps(options, ensure_ascii=False, separators=(",", ":")) if options else ""


def _grant_of(row: Sequence[Any]) -> Grant:
    number, issuer, name, role, written, state, since, until, by, reason, approved, ended, ended_by = row
    options: dict[str, Any] = json.loads(written) if written else {}
    attribute = options.get("attribute")
    return Grant(
        id=number,
        issuer=issuer,
        name=name,
        role=role,
        attribute=(attribute[0], attribute[1]) if attribute else None,
        referring=options.get("referring", ""),
        state=GrantState(state),
        since=since,
        until=until,
        by=by,
        reason=reason,
        approved_by=approved,
        ended_at=ended,
        ended_by=ended_by,
    )
