"""What this site answers when another one searches it, or asks what it would give (the callee of `Peer`).

Who asks is a principal of the other site. Three have to agree: the policy here, as for every caller; the link
with its site; and the terms, which say what that site is given at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Final, Protocol

from node.archive.apart import released, told_apart
from node.archive.partial import Part
from node.audit.record import Event
from node.catalog import traits
from node.catalog.catalog import Catalog
from node.catalog.selection import absent
from node.catalog.unit import Unit
from node.domain.errors import Forbidden, LinkSuspended
from node.domain.ids import AETitle, StudyUID
from node.domain.member import Member
from node.domain.principal import Action, Principal
from node.domain.query import Query, Rows, Selection
from node.identity.gate import Gate
from node.journal.entry import Fact
from node.replication.peer import LONGEST_PAGE, Announced, Found
from node.replication.telling import travelling

MOST_ROWS: Final = 20_000
"""Rows that are read to find those that a member may see a part of."""


class Searched(Protocol):
    """The door of the archive that searches go through."""

    def search(self, principal: Principal, query: Query) -> Rows:
        """Find what matches."""
        ...


class Answers:
    """Answers the searches of other sites."""

    def __init__(self, archive: Searched, catalog: Catalog, ae_title: AETitle) -> None:
        """Answer for an archive.

        Args:
            archive: asks the policy and writes the audit record.
            catalog: what is here.
            ae_title: of this site.
        """
        self._archive = archive
        self._catalog = catalog
        self._gate = Gate(catalog)
        self._ae_title = ae_title

    def search_for(self, member: Member, principal: Principal, query: Query) -> Found:
        """What matches here and may be shown to another site, the newest first.

        Raises:
            Forbidden: the policy does not let the principal search, or the terms give its site nothing.
            LinkSuspended: the link is cut.
        """
        self._demand(member, principal, "search")
        limit = min(query.limit or LONGEST_PAGE, LONGEST_PAGE)
        whole = member.export.is_everything
        bound = limit + 1 if whole else MOST_ROWS
        found = self._archive.search(principal, replace(told_apart(query), limit=bound))
        with self._catalog.reading() as unit, released(found.rows) as rows:
            origin, part = unit.origin, Part(unit, partial(member.export.allow, now=unit.now))
            shown = list(islice(rows if whole else part.rows(rows, found.tags, query), limit + 1))
            is_end = whole or part.read < bound
        return Found(
            site=origin,
            ae_title=self._ae_title,
            tags=found.tags,
            rows=shown[:limit],
            complete=len(shown) <= limit and is_end and not part.is_exhausted,
        )

    def announce_for(
        self, member: Member, principal: Principal, studies: Sequence[StudyUID]
    ) -> list[Announced]:
        """What another site would be given of these studies.

        Raises:
            Forbidden: the policy does not let the principal retrieve, or the terms give its site nothing.
            LinkSuspended: the link is cut.
        """
        self._demand(member, principal, "retrieve")
        caller = self._gate.demand(principal, Action.RETRIEVE)
        asked = studies[:LONGEST_PAGE]
        refused = self._gate.leave_out(caller, Action.RETRIEVE, asked)
        allowed = [study for study in asked if study not in refused]
        with self._catalog.reading() as unit:
            announced = [one for study in allowed for one in _announced(unit, member, study)]
        told: list[str] = sorted({one.study for one in announced}) or [""]
        what = f"{len(announced)} instances announced to {member.site}"
        self._gate.record(caller, Event.QUERY, what=what, studies=told)
        return announced

    def _demand(self, member: Member, principal: Principal, what: str) -> None:
        if not member.is_active:
            with self._catalog.reading() as unit:
                raise LinkSuspended(unit.origin, member.site)
        if principal.site != member.site:
            why = f"{member.site} may speak for its own people and devices only"
        elif member.export.is_nothing:
            why = f"the terms give {member.site} nothing"
        else:
            return
        self._gate.record(principal, Event.REFUSED, what=what, reason=why)
        error = Forbidden(principal, what, why)
        error.is_recorded = True
        raise error


def _announced(unit: Unit, member: Member, study: StudyUID) -> Iterator[Announced]:
    """What is here of a study and may be given to a member, each with the fact that tells of it."""
    away = absent(unit, Selection(studies=(study,)))
    for known in traits.of_study(unit, study):
        if known.uid in away or not member.export.allow(known.traits, now=unit.now):
            continue
        facts = [
            fact
            for fact in unit.journal.about(known.uid)
            if fact.kind is Fact.INSTANCE and fact.says["digest"] == known.digest
        ]
        if facts:
            fact = next((one for one in facts if one.origin == unit.origin), facts[0])
            yield Announced(
                uid=known.uid,
                series=known.series,
                study=study,
                digest=known.digest,
                size=fact.says["size"],
                origin=fact.origin,
                epoch=fact.epoch,
                entry=travelling(fact, owed=True),
            )
