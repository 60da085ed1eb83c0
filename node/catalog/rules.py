"""Rules as this site decided them, and who owes a copy of what by them.

```
rules of this site ─────────┐
                            ├──▶ a policy, read once for as long as none of them changes ──▶ who owes a copy
members, with their terms ──┘
```

Every admission asks, so nothing is parsed for it: the texts of the rows are compared with those of the
policy that was read last.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, bindparam, func, literal_column, select

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import SiteId
from node.domain.job import Task
from node.domain.member import Standing
from node.domain.role import Role
from node.domain.rule import DAY, EVERYWHERE, Match, Rule, Terms, Traits
from node.journal.entry import Fact

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_journal, _member, _role = schema.journal.c, schema.member.c, schema.role.c
_SELDOM: ColumnElement[bool] = literal_column(
    "kind NOT IN ('instance', 'copies', 'compare', 'quarantine', 'settle')"
)
"""The condition of the index by kind."""
_RULES = Statement(
    select(_journal.payload)
    .where(_SELDOM, _journal.kind == bindparam("kind"), _journal.origin == bindparam("origin"))
    .order_by(_journal.at, _journal.epoch, _journal.seq)
)
_MEMBERS = Statement(
    select(_member.site, _member.standing, _member.export, func.coalesce(_role.role, Role.ARCHIVE))
    .outerjoin(schema.role, _role.site == _member.site)
    .order_by(_member.site)
)
_ROLES_SAID = Statement(select(func.count()).where(_SELDOM, _journal.kind == Fact.ROLE))
_DECIDED = (Fact.RULE, Fact.CONSENT, Fact.STANDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """A member as rules see it."""

    site: SiteId
    standing: Standing
    export: Terms
    """What this site gives it."""
    role: Role = Role.ARCHIVE

    @property
    def keeps(self) -> bool:
        """Whether it is a place for copies: nothing goes to a member that is not active."""
        return self.standing is Standing.ACTIVE and self.role is not Role.COMMUNICATION

    def may_have(self, traits: Traits, *, now: int) -> bool:
        """Whether it may have a copy that counts."""
        return self.keeps and self.export.allow(traits, now=now)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Policy:
    """The rules of a site and the members that they are about."""

    rules: tuple[Rule, ...]
    """In the order in which they were added; without any, `EVERYWHERE` holds."""
    partners: tuple[Partner, ...]

    def matching(self, traits: Traits, *, now: int) -> tuple[Rule, ...]:
        """The rules that are about an instance; they add up."""
        return tuple(rule for rule in self.rules or (EVERYWHERE,) if rule.match.holds(traits, now=now))

    def desired(self, traits: Traits, *, now: int) -> tuple[SiteId, ...]:
        """The sites that owe a copy of an instance: those that any rule about it names."""
        members = tuple(one.site for one in self.partners if one.may_have(traits, now=now))
        if not members:
            return ()
        rules = self.rules or (EVERYWHERE,)
        holding = tuple(place for place, rule in enumerate(rules) if rule.match.holds(traits, now=now))
        return _holders(self, holding, traits.study, members)

    @property
    def is_dated(self) -> bool:
        """Whether time alone changes what is owed, because a condition asks for the age of a study."""
        terms = [match for partner in self.partners for match in partner.export.matches]
        return any(_asks_for_age(match) for match in (*(rule.match for rule in self.rules), *terms))


class Rules:
    """The rules of this site."""

    def __init__(self, unit: Unit) -> None:
        """The rules within a unit of work."""
        self._unit = unit

    @cached_property
    def policy(self) -> Policy:
        """Rules and members, as this unit of work found them at first."""
        rules = tuple(
            text for (text,) in self._unit.run(_RULES, kind=Fact.RULE, origin=self._unit.origin).fetchall()
        )
        return _policy(rules, tuple(self._unit.run(_MEMBERS).fetchall()))

    def forget(self) -> None:
        """Read rules and members again: this unit of work has changed them."""
        self.__dict__.pop("policy", None)

    def changed(self) -> None:
        """Rules, terms or the standing of a member have changed in this unit: owe the work that follows.

        Each change has a job of its own, since one that is being carried out may have passed by already
        what it changes.
        """
        self.forget()
        self._unit.jobs.add(Task.RECONSIDER, f"since {self._unit.now}")

    def all(self) -> Sequence[Rule]:
        """The rules, in the order in which they were added; none where `EVERYWHERE` holds."""
        return self.policy.rules

    def desired(self, traits: Traits) -> Sequence[SiteId]:
        """The sites that owe a copy of an instance now."""
        return self.policy.desired(traits, now=self._unit.now)

    def terms_number(self) -> int:
        """A number that changes when what this site gives may have changed.

        It does so with every rule, consent and standing that this site decides, with every role that any
        site states, and daily where one of them asks for the age of a study.
        """
        unit = self._unit
        last = max(unit.journal.last(kind) for kind in _DECIDED)
        last += int(unit.run(_ROLES_SAID).fetchall()[0][0])
        day = unit.now // DAY % (1 << 14) if self.policy.is_dated else 0
        return unit.epoch << 44 | last << 14 | day


@lru_cache(maxsize=1024)
def _holders(
    policy: Policy, matching: tuple[int, ...], study: str, members: tuple[SiteId, ...]
) -> tuple[SiteId, ...]:
    """The members that any of these rules of a policy names; mostly the same for all of a study."""
    rules = policy.rules or (EVERYWHERE,)
    return tuple(sorted({site for place in matching for site in rules[place].holders(study, members)}))


@lru_cache(maxsize=16)
def _policy(rules: tuple[str, ...], members: tuple[tuple[str, str, str, str], ...]) -> Policy:
    """The policy of these texts: payloads of rules in the order of their stamps, and rows of members."""
    return Policy(
        rules=_added_up(rules),
        partners=tuple(
            Partner(
                site=SiteId.trusted(site),
                standing=Standing(standing),
                export=Terms.read(json.loads(export)) if export else Terms(),
                role=Role(role),
            )
            for site, standing, export, role in members
        ),
    )


def _added_up(texts: Sequence[str]) -> tuple[Rule, ...]:
    """The rules that stay: the latest fact of a name says what it is, or that it is removed."""
    latest = {says["name"]: says for says in map(json.loads, texts)}
    staying = [says for says in latest.values() if says["rule"] is not None]
    staying.sort(key=lambda says: (says["position"], says["name"]))
    return tuple(Rule.read(says["rule"]) for says in staying)


def _asks_for_age(match: Match) -> bool:
    return match.younger_than is not None or match.older_than is not None
