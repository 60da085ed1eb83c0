"""Which role each site has: a pure function of the facts about roles, in whatever order they came.

A site speaks for itself. It also names its successors, and so agrees in advance that one of them takes its
place without being asked: when it is lost, it cannot be. Nobody else's word about it counts.

```
b1  brno: archive, successors prague, olomouc
    ├── p1  prague takes the place of b1 ──▶ prague is an archive, brno a backup
    │       └── b3  brno, having heard that, takes the place of p1 ──▶ the other way round
    ├── o1  olomouc takes the place of b1, too, not having heard of p1: only one of them does
    └── b2  brno, not having heard of p1, says something: it counts for nothing
```

Every statement names the one after which it comes: that by which its author had the role that it had, as far
as it knew. If that is not so, it counts for nothing. So an old primary that comes back says nothing until it
has heard who took its place, and what was built on a promotion that failed fails with it.

A statement that takes a place has to take it from the last statement there, which has to name its author, and
is the only one that does: of several the one with the lowest term, then that of the successor who was named
first, then that which was stated first. As soon as the site whose place was taken says anything, it has
answered one of them, and that is settled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from node.domain.errors import Rejected
from node.domain.ids import SiteId
from node.domain.role import Role, SiteRole
from node.journal.entry import Entry, Fact
from node.journal.shape import demand_shape


def roles(facts: Iterable[Entry]) -> dict[SiteId, SiteRole]:
    """The role of every site about which anything was said that counts; the others are archives.

    Args:
        facts: ROLE facts of all sites, in any order.
    """
    return _Fold([_read(fact) for fact in set(facts) if _is_well_formed(fact)]).roles()


def said(
    here: SiteRole, role: Role, *, successors: Sequence[SiteId], in_place_of: SiteRole | None = None
) -> dict[str, Any]:
    """What the fact says by which a site states its role, or that it takes the place of another one.

    Args:
        here: the site that states it, as it is until then.
        role: of this site; where it takes a place, of the one whose place that was.
        successors: of this site.
        in_place_of: the site whose place it takes, as it is known here.
    """
    return {
        "site": in_place_of.site if in_place_of else here.site,
        "role": role,
        "term": max(here.term, in_place_of.term if in_place_of else 0) + 1,
        "successors": list(successors),
        "of": in_place_of.stamp if in_place_of else "",
        "after": here.stamp,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statement:
    """What one site says: of itself, or that it takes the place of another."""

    stamp: str
    """Its time, origin and term: the same where a site that lost its memory has stated it again."""
    turn: tuple[int, int]
    """Epoch and number: where it stands in the journal of its origin."""
    origin: SiteId
    site: SiteId
    role: Role
    """The role of `site` from then on."""
    term: int
    successors: tuple[SiteId, ...]
    """Those of the origin."""
    of: str
    """The stamp of the statement whose place is taken; empty where a site speaks of itself."""
    after: str
    """The stamp of the statement by which the origin had its role until then; empty for the first."""
    reason: str


class _Fold:
    """Statements by what they take the place of, and what is in force so far."""

    def __init__(self, statements: Iterable[_Statement]) -> None:
        self._known = {one.stamp: one for one in _in_turn(statements)}
        self._last: dict[SiteId, int] = {}
        """The last term that each site stated."""
        self._claims: dict[str, list[_Statement]] = defaultdict(list)
        """By the statement whose place they take, each site once."""
        self._answers: dict[str, str] = {}
        """By the statement whose place was taken: the one that did, as the site itself says."""
        for one in self._known.values():
            self._last[one.origin] = one.term
            if self._is_consented(one) and one.origin not in [o.origin for o in self._claims[one.of]]:
                self._claims[one.of].append(one)
        for one in self._known.values():
            taker = self._known.get(one.after)
            if taker is not None and taker.site == one.origin != taker.origin:
                self._answers.setdefault(taker.of, taker.stamp)
        self._passed: set[str] = set()
        self._in_force: dict[SiteId, _Statement] = {}
        """The last statement of each site that counts."""
        self._replaced: dict[SiteId, _Statement] = {}
        """By which statement the place of a site was taken."""
        for one in sorted(self._known.values(), key=self._order):
            self._consider(one)

    def roles(self) -> dict[SiteId, SiteRole]:
        """What came of it."""
        return {site: self._role(site) for site in sorted(self._in_force.keys())}

    def _is_consented(self, one: _Statement) -> bool:
        """Whether the site whose place is taken has named this one in the statement that it takes."""
        basis = self._known.get(one.of)
        return (
            basis is not None
            and basis.origin == one.site
            and one.origin in basis.successors
            and one.term > basis.term
        )

    def _order(self, one: _Statement) -> tuple[int, bool, int, str]:
        basis = self._known.get(one.of)
        named = basis.successors if basis else ()
        rank = named.index(one.origin) if one.origin in named else len(named)
        return one.term, not one.of, rank, one.stamp

    def _consider(self, one: _Statement) -> None:
        """Let a statement come into force, or count for nothing."""
        self._passed.add(one.stamp)
        if not self._follows(one) or self._is_fenced(one):
            return
        if one.of in self._known:
            if not self._is_free(one):
                return
            self._replaced[one.site] = one
        self._in_force[one.origin] = one
        self._replaced.pop(one.origin, None)

    def _follows(self, one: _Statement) -> bool:
        """Whether its author had its role as it believed; what nobody here has heard of is believed, too."""
        return one.after == self._stamp(one.origin) or (one.after != "" and one.after not in self._known)

    def _is_fenced(self, one: _Statement) -> bool:
        """Whether another site is about to take the place of the author, who has not answered that."""
        before = self._in_force.get(one.origin)
        if before is None or one.origin in self._replaced:
            return False
        return any(self._may_count(claim) for claim in self._claims[before.stamp] if self._is_open(claim))

    def _may_count(self, claim: _Statement) -> bool:
        """Whether a statement is still to be looked at, and its author where it has to be for that."""
        if claim.stamp in self._passed:
            return False
        return claim.after not in self._passed or claim.after == self._stamp(claim.origin)

    def _is_free(self, one: _Statement) -> bool:
        """Whether the place that a statement takes is there for it."""
        is_last = self._stamp(one.site) == one.of
        return is_last and one in self._claims[one.of] and self._is_open(one)

    def _is_open(self, claim: _Statement) -> bool:
        """Whether the site whose place is taken has answered no other one."""
        return self._answers.get(claim.of, claim.stamp) == claim.stamp

    def _stamp(self, site: SiteId) -> str:
        """The statement by which a site has its role so far."""
        told = self._replaced.get(site) or self._in_force.get(site)
        return told.stamp if told else ""

    def _role(self, site: SiteId) -> SiteRole:
        own = self._in_force[site]
        told = self._replaced.get(site, own)
        return SiteRole(
            site=site,
            role=Role.ARCHIVE if told is own and own.of else told.role,
            term=max(told.term, self._last[site]),
            successors=own.successors,
            by=told.origin,
            stamp=told.stamp,
            reason=told.reason,
        )


def _in_turn(statements: Iterable[_Statement]) -> Iterator[_Statement]:
    """The statements of each site with terms that grow, also where it was set back and repeats one."""
    terms: dict[SiteId, int] = defaultdict(int)
    known: set[str] = set()
    for one in sorted(statements, key=lambda one: (one.origin, one.turn)):
        if one.stamp in known:
            continue
        known.add(one.stamp)
        terms[one.origin] = max(one.term, terms[one.origin] + 1)
        yield replace(one, term=terms[one.origin])


def _is_well_formed(fact: Entry) -> bool:
    try:
        demand_shape(fact)
    except Rejected:
        return False
    return fact.kind is Fact.ROLE and (fact.says["site"] == fact.origin) == (not fact.says["of"])


def _read(fact: Entry) -> _Statement:
    says = fact.says
    return _Statement(
        stamp=f"{fact.at:016d} {fact.origin} {says['term']}",
        turn=(fact.epoch, fact.seq),
        origin=fact.origin,
        site=SiteId.trusted(says["site"]),
        role=Role(says["role"]),
        term=says["term"],
        successors=tuple(SiteId.trusted(one) for one in says["successors"]),
        of=says["of"],
        after=says["after"],
        reason=says.get("reason", ""),
    )
