"""A unit of work: everything in it commits together or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Select, Update, delete

from node.catalog import schema
from node.catalog.audit import AuditLedger
from node.catalog.conflicts import Conflicts
from node.catalog.corrections import Corrections
from node.catalog.cursors import Cursors
from node.catalog.devices import DeviceList
from node.catalog.digests import Digests
from node.catalog.forms import Forms
from node.catalog.instances import Instances
from node.catalog.jobs import Jobs
from node.catalog.journal import Journal
from node.catalog.members import MemberList
from node.catalog.quarantine import Quarantine
from node.catalog.replicas import Replicas
from node.catalog.rules import Rules
from node.catalog.statement import Cursor, Statement
from node.catalog.tickets import Tickets
from node.catalog.wants import Wants
from node.domain.ids import SiteId

_PAGE = 500
_CLEAR = tuple(Statement(delete(table)) for table in schema.DERIVED)


class Unit:
    """The repositories of one transaction.

    ```python
    with catalog.begin() as unit:
        unit.instances.add(arrival)
        unit.journal.append(Fact.INSTANCE, says)
    ```
    """

    def __init__(self, connection: Connection, *, origin: SiteId, epoch: int, now: int) -> None:
        """A unit on an open transaction.

        Args:
            connection: its transaction has begun; who began it ends it.
            origin: the site whose journal this is.
            epoch: the site's current epoch.
            now: microseconds since 1970; one moment for the whole unit.
        """
        self.origin = origin
        self.epoch = epoch
        self.now = now
        self.dialect = connection.dialect
        self._connection = connection
        self._cursor: Cursor = connection.connection.cursor()  # type: ignore[assignment]

    def run(self, statement: Statement, /, **values: Any) -> Cursor:
        """Execute a statement and return the cursor with its rows."""
        statement.run(self._cursor, self.dialect, values)
        return self._cursor

    def rows(self, query: Select[Any]) -> Iterator[tuple[Any, ...]]:
        """Run a query that was put together just now and yield the driver's own tuples."""
        cursor: Any = self._connection.execute(query).cursor
        while rows := cursor.fetchmany(_PAGE):
            yield from rows

    def change(self, statement: Update) -> None:
        """Run a change that was put together just now."""
        self._connection.execute(statement)

    def clear_derived(self) -> None:
        """Empty the tables that a rebuild makes again."""
        for statement in _CLEAR:
            self.run(statement)

    @cached_property
    def instances(self) -> Instances:
        """Patients, studies, series and instances."""
        return Instances(self)

    @cached_property
    def corrections(self) -> Corrections:
        """What persons decided about patients and studies."""
        return Corrections(self)

    @cached_property
    def conflicts(self) -> Conflicts:
        """Other bytes under a known UID."""
        return Conflicts(self)

    @cached_property
    def forms(self) -> Forms:
        """What is here of an instance, shown or not."""
        return Forms(self)

    @cached_property
    def quarantine(self) -> Quarantine:
        """What could not be archived."""
        return Quarantine(self)

    @cached_property
    def journal(self) -> Journal:
        """The site's facts."""
        return Journal(self)

    @cached_property
    def audit(self) -> AuditLedger:
        """Who did what."""
        return AuditLedger(self)

    @cached_property
    def replicas(self) -> Replicas:
        """Copies at other sites."""
        return Replicas(self)

    @cached_property
    def rules(self) -> Rules:
        """Where copies are owed."""
        return Rules(self)

    @cached_property
    def digests(self) -> Digests:
        """What this site and another one both hold, to be compared."""
        return Digests(self)

    @cached_property
    def wants(self) -> Wants:
        """Bytes to be fetched and proved."""
        return Wants(self)

    @cached_property
    def cursors(self) -> Cursors:
        """How far the journals of peers are read."""
        return Cursors(self)

    @cached_property
    def members(self) -> MemberList:
        """The other sites of the federation."""
        return MemberList(self)

    @cached_property
    def tickets(self) -> Tickets:
        """Who may carry which bytes."""
        return Tickets(self)

    @cached_property
    def jobs(self) -> Jobs:
        """What is still to do."""
        return Jobs(self)

    @cached_property
    def devices(self) -> DeviceList:
        """Who may call, and who knocked."""
        return DeviceList(self)
