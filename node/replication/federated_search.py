"""Search the federation: what is here at once, what other sites tell as it comes, until the deadline.

```
          ┌──▶ this site's rows, at once ──────────────────────────▶┐
 query ───┤                                                          ├──▶ each object once, and one
          └──▶ every active member, each in a call of its own ──────▶┘    answer for each site
               deadline ─▶ whoever has not answered is left behind
```
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from node.archive.apart import released, told_apart
from node.catalog.catalog import Catalog
from node.domain.errors import NodeError, TooBusy
from node.domain.ids import SiteId
from node.domain.member import Member, Standing
from node.domain.principal import Principal
from node.domain.query import Query, Row, Rows
from node.replication.calls import Call, Calls
from node.replication.peer import LONGEST_PAGE, Found, Peers
from node.replication.site_answer import Answer, SiteAnswer, failure, settled
from node.replication.union import Seen, Shape

log = logging.getLogger(__name__)

TICK: Final = 0.25
"""Seconds after which whoever waits for rows hears that there are none yet."""


class Here(Protocol):
    """The door of this site's archive that a search goes through."""

    def search(self, principal: Principal, query: Query) -> Rows:
        """Find what matches here."""
        ...


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of the federation."""

    row: Row
    site: SiteId
    """The site that told it."""
    is_here: bool
    """Whether this site told it; else its instances are brought here when somebody retrieves them."""


@dataclass(slots=True)
class FederatedRows:
    """Rows of a federated result, and what came of asking each site."""

    tags: tuple[tuple[int, str], ...]
    """(tag, VR) of each column: those of the query's keys that this site can answer, ascending."""
    rows: Iterator[Listed | None]
    """This site's rows first; None where there is nothing yet and the deadline has not come."""
    answers: list[SiteAnswer] = field(default_factory=list)
    """One for each site, complete when the rows have been read to their end."""


Outcome = tuple[Member, Found | Exception, float]


class FederatedSearch:
    """Searches all sites at once."""

    def __init__(
        self,
        archive: Here,
        catalog: Catalog,
        peers: Peers,
        calls: Calls,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Search an archive and its peers.

        Args:
            archive: this site's; it asks the policy and writes the audit record.
            catalog: to know the members.
            peers: makes the peer of a member.
            calls: bounds what is under way.
            monotonic: seconds.
        """
        self._archive = archive
        self._catalog = catalog
        self._peers = peers
        self._calls = calls
        self._monotonic = monotonic

    def search(self, principal: Principal, query: Query, *, patience: float) -> FederatedRows:
        """Find what matches at any site.

        Args:
            principal: who asks; the other sites are told, and decide for themselves.
            query: its limit holds for all rows together.
            patience: seconds for the other sites to answer.

        Raises:
            Forbidden: the policy of this site says no; nobody else is asked.
        """
        found = self._archive.search(principal, told_apart(query))
        asked = {key.tag for key in query.keys}
        tags = tuple((tag, vr) for tag, vr in found.tags if tag in asked)
        result = FederatedRows(tags, iter(()))
        asking = _Asking(self._peers, self._calls, self._monotonic, patience)
        result.rows = self._rows(principal, query, found, result, asking)
        return result

    def _rows(
        self, principal: Principal, query: Query, found: Rows, result: FederatedRows, asking: _Asking
    ) -> Iterator[Listed | None]:
        """Ask, tell this site's rows, then those that come; at the end, settle what came of it."""
        with self._catalog.reading() as unit:
            origin, members = unit.origin, unit.members.all()
        merging = _Merging(query, [tag for tag, _ in result.tags])
        try:
            result.answers += asking.ask(members, principal, _for_peers(query, found.tags))
            with released(found.rows) as rows:
                for row in merging.new(rows, found.tags):
                    yield Listed(row, origin, is_here=True)
            answer = SiteAnswer(site=origin, state=Answer.ANSWERED, rows=merging.count)
            result.answers.insert(0, answer)
            for outcome in asking.outcomes():
                if outcome is None:
                    yield None
                    continue
                answer, new = merging.read(outcome)
                result.answers.append(answer)
                for row in new:
                    yield Listed(row, answer.site, is_here=False)
        finally:
            asking.leave()
            self._settle(result, asking.unanswered(), members)

    def _settle(
        self, result: FederatedRows, unanswered: Sequence[SiteAnswer], members: Sequence[Member]
    ) -> None:
        """Say of every site what came of it, and write it into the log."""
        known = {member.site: member for member in members}
        with self._catalog.reading() as unit:
            result.answers[:] = [
                settled(unit, known[answer.site], answer) if answer.site in known else answer
                for answer in [*result.answers, *unanswered]
            ]
        for answer in result.answers:
            log.info("a site was asked", extra=_told(answer))


class _Asking:
    """One question to all members."""

    def __init__(self, peers: Peers, calls: Calls, monotonic: Callable[[], float], patience: float) -> None:
        self._peers = peers
        self._calls = calls
        self._monotonic = monotonic
        self._patience = patience
        self._started = monotonic()
        self._open: dict[SiteId, Call] = {}
        self._came: SimpleQueue[Outcome] = SimpleQueue()

    def ask(self, members: Sequence[Member], principal: Principal, query: Query) -> list[SiteAnswer]:
        """Begin to ask; what came of those members that are not asked."""
        self._started = self._monotonic()
        not_asked = []
        for member in members:
            why = _objection(member)
            if why is None:
                continue
            try:
                if why:
                    not_asked.append(SiteAnswer(site=member.site, state=Answer.REFUSED, why=why))
                else:
                    self._begin(member, principal, query)
            except TooBusy as error:
                answer = SiteAnswer(site=member.site, state=Answer.TIMED_OUT, why=str(error))
                not_asked.append(answer)
        return not_asked

    def outcomes(self) -> Iterator[Outcome | None]:
        """What comes until the deadline; None where nothing has come for a while."""
        while self._open:
            left = self._started + self._patience - self._monotonic()
            try:
                outcome = self._came.get(timeout=min(TICK, left)) if left > 0 else self._came.get_nowait()
            except Empty:
                if left <= 0:
                    return
                yield None
                continue
            del self._open[outcome[0].site]
            yield outcome

    def leave(self) -> None:
        """Wait for nobody any more."""
        for call in self._open.values():
            call.leave()

    def unanswered(self) -> list[SiteAnswer]:
        """Those that have not answered."""
        seconds = self._monotonic() - self._started
        return [
            SiteAnswer(site=site, state=Answer.TIMED_OUT, seconds=seconds, why="it did not answer in time")
            for site in self._open
        ]

    def _begin(self, member: Member, principal: Principal, query: Query) -> None:
        def work() -> None:
            try:
                with self._peers(member.site, timeout=self._patience) as peer:
                    told: Found | Exception = peer.search(query, principal)
            except Exception as error:
                told = self._failed(error)
            self._came.put((member, told, self._monotonic() - self._started))

        self._open[member.site] = self._calls.start(member.site, work)

    def _failed(self, error: Exception) -> Exception:
        """The error; one that used up all the time is that."""
        if not isinstance(error, NodeError):
            log.error("a site could not be asked", extra={"error": type(error).__name__})
        late = self._monotonic() - self._started >= self._patience
        return TimeoutError() if late else error


class _Merging:
    """Makes one result of the rows of all sites."""

    def __init__(self, query: Query, shown: Sequence[int]) -> None:
        self._query = query
        self._shown = shown
        self._seen = Seen()
        self.count = 0
        """Rows that were told so far."""

    def new(self, rows: Iterable[Row], tags: Sequence[tuple[int, str]]) -> Iterator[Row]:
        """Rows that nobody has told before, as long as the limit leaves room.

        Raises:
            MalformedMessage: they are not rows of these columns.
        """
        limit = self._query.limit
        for row in self._seen.new(rows, Shape(tags, self._shown, self._query.level)):
            if limit is not None and self.count >= limit:
                return
            self.count += 1
            yield row

    def read(self, outcome: Outcome) -> tuple[SiteAnswer, list[Row]]:
        """The answer of another site, with those of its rows that nobody has told before."""
        member, told, seconds = outcome
        if isinstance(told, Exception):
            return failure(member.site, told, seconds), []
        try:
            page = told.rows[:LONGEST_PAGE]
            Shape(told.tags, self._shown, self._query.level).check(page)
            rows = list(self.new(page, told.tags))
        except NodeError as error:
            return failure(member.site, error, seconds), []
        answer = SiteAnswer(
            site=member.site,
            state=Answer.ANSWERED,
            rows=len(told.rows),
            seconds=seconds,
            complete=told.complete and len(told.rows) <= LONGEST_PAGE,
        )
        return answer, rows


def _objection(member: Member) -> str | None:
    """Why a member is not asked; empty where it is, None for one that has left or never came."""
    if member.standing is Standing.SUSPENDED:
        return "the link is suspended here"
    if not member.is_active:
        return None
    return "nothing is accepted from it here" if member.accept.is_nothing else ""


def _for_peers(query: Query, tags: Sequence[tuple[int, str]]) -> Query:
    """The query as other sites are asked: bounded, and with all that tells rows apart."""
    limit = LONGEST_PAGE if query.limit is None else min(query.limit, LONGEST_PAGE)
    return replace(told_apart(query), limit=limit)


def _told(answer: SiteAnswer) -> dict[str, object]:
    return {
        "peer": answer.site,
        "state": str(answer.state),
        "rows": answer.rows,
        "seconds": round(answer.seconds, 3),
        "why": answer.why,
        "complete": answer.complete,
    }
