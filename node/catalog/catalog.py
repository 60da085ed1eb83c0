"""The catalog of a site: opens units of work and commits concurrent ones as one group.

Every commit waits for the disk, so changes of concurrent callers share one: whoever has the turn carries out
what the others have queued meanwhile and commits once. Each of them goes on when its change is committed;
one that is still queued when the turn is free is woken to take it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, insert, select

from node.catalog import database, schema
from node.catalog.migrations import migrate
from node.catalog.unit import Unit
from node.domain.clock import Clock, system_clock
from node.domain.errors import CatalogBusy, NodeError
from node.domain.ids import SiteId

T = TypeVar("T")
_GROUP = 64
"""Changes in one commit at the most."""


class Catalog:
    """Units of work on one database."""

    def __init__(self, path: Path, *, origin: SiteId, clock: Clock = system_clock) -> None:
        """Open the catalog file, making it and bringing its schema up to date.

        Args:
            path: the SQLite file.
            origin: the site whose catalog it is.
            clock: time in microseconds since 1970.

        Raises:
            SchemaTooNew: a newer program has written it.
            StoreFailing: the file cannot be opened.
        """
        self._origin = origin
        self._clock = clock
        self._turn = Lock()
        self._queue: list[_Ticket[Any]] = []
        self._writer = database.writer(path)
        self._reader = database.reader(path)
        with database.errors, self._writer.connect() as connection, database.transaction(connection):
            migrate(connection)
            _begin(connection, origin)
        self._connection: Connection | None = None

    def close(self) -> None:
        """Give the connections back."""
        with self._turn:
            self._reset()
        self._reader.dispose()
        self._writer.dispose()

    @contextmanager
    def begin(self) -> Iterator[Unit]:
        """A unit of work that commits at the end, durably, or not at all.

        Raises:
            CatalogBusy, StoreFull, StoreFailing: it could not be committed.
        """
        self._turn.acquire()
        try:
            with self._transaction() as unit:
                yield unit
        finally:
            self._pass_on()

    def perform(self, change: Callable[[Unit], T]) -> T:
        """Carry out a change in a unit of work shared with concurrent callers; durable when it returns.

        Args:
            change: may be called more than once, if a neighbour in the group fails; has no effect outside
                the unit.

        Raises:
            CatalogBusy, StoreFull, StoreFailing: it could not be committed.
        """
        ticket = _Ticket(change)
        self._queue.append(ticket)
        if self._turn.acquire(blocking=False):
            self._lead(ticket)
        while not ticket.done:
            ticket.bell.get()
            if not ticket.done:
                self._turn.acquire()
                self._lead(ticket)
        return ticket.outcome()

    @contextmanager
    def reading(self) -> Iterator[Unit]:
        """A unit that sees one state of the catalog and may not change it."""
        with database.errors, self._reader.begin() as connection, closing(self._unit(connection)) as unit:
            yield unit

    def _lead(self, ticket: _Ticket[Any]) -> None:
        """Carry out what is queued, in groups, until the ticket is done; the turn is held and passed on."""
        try:
            while not ticket.done:
                group = self._queue[:_GROUP]
                del self._queue[: len(group)]
                try:
                    self._carry_out(group)
                finally:
                    for neighbour in group:
                        neighbour.give_up()
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        """Give the turn back and wake whoever waits first: it may have found the turn taken until now."""
        self._turn.release()
        for ticket in self._queue[:1]:
            ticket.bell.put(None)

    def _carry_out(self, group: list[_Ticket[Any]]) -> None:
        """Commit a group as one; if that fails and there are several, each by itself."""
        try:
            with self._transaction() as unit:
                results = [ticket.change(unit) for ticket in group]
        except Exception as error:
            if len(group) == 1:
                group[0].fail(error)
                return
            for ticket in group:
                self._carry_out([ticket])
        else:
            for ticket, result in zip(group, results, strict=True):
                ticket.succeed(result)

    @contextmanager
    def _transaction(self) -> Iterator[Unit]:
        """One transaction on the writing connection, which is made anew after a failure."""
        try:
            with database.errors:
                if self._connection is None:
                    self._connection = self._writer.connect()
                with database.transaction(self._connection), closing(self._unit(self._connection)) as unit:
                    yield unit
        except NodeError:
            self._reset()
            raise

    def _reset(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def _unit(self, connection: Connection) -> Unit:
        return Unit(connection, origin=self._origin, now=self._clock())


class _Ticket(Generic[T]):
    """A change that waits for its turn, then its outcome."""

    def __init__(self, change: Callable[[Unit], T]) -> None:
        self.change = change
        self.done = False
        self.bell: SimpleQueue[None] = SimpleQueue()
        self._result: T | None = None
        self._error: Exception | None = None

    def succeed(self, result: T) -> None:
        self._result = result
        self._finish()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._finish()

    def give_up(self) -> None:
        """Whoever carried it out was interrupted before it was done; the caller may repeat it."""
        if not self.done:
            self.fail(CatalogBusy("the writing thread was interrupted"))

    def _finish(self) -> None:
        self.done = True
        self.bell.put(None)

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


def _begin(connection: Connection, origin: SiteId) -> None:
    """The first use of a catalog begins epoch 1."""
    node = schema.node
    if connection.scalar(select(node.c.epoch).where(node.c.origin == origin)) is None:
        connection.execute(insert(node).values(origin=origin, epoch=1))
