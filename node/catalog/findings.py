"""Findings as rows: what is wrong, until it is repaired or settled; those that were stay as history."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.finding import UNSETTLED, Finding, FindingState, Trouble
from node.domain.ids import SiteId

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_finding = schema.finding.c
_COLUMNS = (
    _finding.kind,
    _finding.digest,
    _finding.site,
    _finding.instance,
    _finding.size,
    _finding.evidence,
    _finding.found_at,
    _finding.seen_at,
    _finding.state,
    _finding.settled_at,
    _finding.outcome,
)
_NAMED = (
    _finding.kind == bindparam("of_kind"),
    _finding.digest == bindparam("of_digest"),
    _finding.site == bindparam("of_site"),
)
_FIND = Statement(select(*_COLUMNS).where(*_NAMED))
_PUT = Statement(insert(schema.finding).prefix_with("OR REPLACE", dialect="sqlite"))
_SEEN = Statement(
    update(schema.finding).where(*_NAMED).values(seen_at=bindparam("now"), evidence=bindparam("why"))
)
_SETTLE = Statement(
    update(schema.finding)
    .where(*_NAMED, or_(*(_finding.state == state for state in UNSETTLED)))
    .values(state=bindparam("to"), settled_at=bindparam("now"), outcome=bindparam("what"))
)
_PRUNE = Statement(
    delete(schema.finding).where(
        *(_finding.state != state for state in UNSETTLED), _finding.settled_at < bindparam("before")
    )
)


class Findings:
    """What is wrong at this site, as far as it has looked."""

    def __init__(self, unit: Unit) -> None:
        """The findings within a unit of work."""
        self._unit = unit

    def report(self, finding: Finding) -> bool:
        """Open a finding, or see it again; whether it is new."""
        known = self.find(finding)
        if known is not None and known.state in UNSETTLED:
            self._unit.run(_SEEN, **_key(finding), now=self._unit.now, why=finding.evidence)
            return False
        self._unit.run(
            _PUT,
            kind=finding.kind,
            digest=finding.digest or finding.instance,
            site=finding.site,
            instance=finding.instance,
            size=finding.size,
            evidence=finding.evidence,
            found_at=self._unit.now,
            seen_at=self._unit.now,
            state=FindingState.OPEN,
            settled_at=0,
            outcome="",
        )
        return True

    def find(self, finding: Finding) -> Finding | None:
        """The finding of that kind about the same copy."""
        row = self._unit.run(_FIND, **_key(finding)).fetchone()
        return _finding_of(*row) if row else None

    def settle(self, finding: Finding, state: FindingState, outcome: str) -> None:
        """Note what came of a finding; one that was dealt with before stays as it is."""
        self._unit.run(_SETTLE, **_key(finding), to=state, now=self._unit.now, what=outcome)

    def unsettled(
        self, *, kinds: Collection[Trouble] = tuple(Trouble), prefix: str = "", many: int = 1_000_000
    ) -> Sequence[Finding]:
        """Findings that are still to be dealt with and whose digests begin so, the oldest first."""
        query = (
            select(*_COLUMNS)
            .where(_finding.state.in_(UNSETTLED), _finding.kind.in_(kinds))
            .order_by(_finding.found_at, _finding.digest)
            .limit(many)
        )
        if prefix:
            query = query.where(_finding.digest >= prefix, _finding.digest < prefix + "g")
        return [_finding_of(*row) for row in self._unit.rows(query)]

    def all(self, *, since: int = 0, many: int = 1000) -> Sequence[Finding]:
        """Findings in any state, the newest first."""
        query = (
            select(*_COLUMNS).where(_finding.found_at >= since).order_by(_finding.found_at.desc()).limit(many)
        )
        return [_finding_of(*row) for row in self._unit.rows(query)]

    def counts(self) -> dict[Trouble, int]:
        """How many findings of each kind are still to be dealt with."""
        query = (
            select(_finding.kind, func.count())
            .where(_finding.state.in_(UNSETTLED))
            .group_by(_finding.kind)
            .order_by(_finding.kind)
        )
        return {Trouble(kind): count for kind, count in self._unit.rows(query)}

    def found_since(self, moment: int, kinds: Collection[Trouble], site: SiteId) -> int:
        """How many copies of a site were found so since then, but for those that proved to be in order."""
        query = select(func.count()).where(
            _finding.found_at >= moment,
            _finding.kind.in_(kinds),
            _finding.site == site,
            _finding.state != FindingState.SETTLED,
        )
        return int(next(self._unit.rows(query))[0])

    def prune(self, before: int) -> None:
        """Forget what was settled before that moment: the audit record keeps it."""
        self._unit.run(_PRUNE, before=before)


def _key(finding: Finding) -> dict[str, str]:
    kind, digest, site = finding.key
    return {"of_kind": kind, "of_digest": digest, "of_site": site}


def _finding_of(
    kind: str,
    digest: str,
    site: str,
    instance: str,
    size: int,
    evidence: str,
    found_at: int,
    seen_at: int,
    state: str,
    settled_at: int,
    outcome: str,
) -> Finding:
    return Finding(
        kind=Trouble(kind),
        digest="" if digest == instance else digest,
        site=SiteId.trusted(site),
        instance=instance,
        size=size,
        evidence=evidence,
        found_at=found_at,
        seen_at=seen_at,
        state=FindingState(state),
        settled_at=settled_at,
        outcome=outcome,
    )
