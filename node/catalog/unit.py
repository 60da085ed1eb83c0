"""A unit of work: everything in it commits together or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Select, Update, delete

from node.catalog import schema
from node.catalog.accounts import AccountList
from node.catalog.alerts import Alerts
from node.catalog.audit import AuditLedger
from node.catalog.audit_sent import AuditSent
from node.catalog.brakes import Brakes
from node.catalog.conflicts import Conflicts
from node.catalog.corrections import Corrections
from node.catalog.cursors import Cursors
from node.catalog.devices import DeviceList
from node.catalog.digests import Digests
from node.catalog.emergencies import Emergencies
from node.catalog.findings import Findings
from node.catalog.forms import Forms
from node.catalog.gauges import Gauges
from node.catalog.grants import Grants
from node.catalog.holdings import Holdings
from node.catalog.instances import Instances
from node.catalog.jobs import Jobs
from node.catalog.journal import Journal
from node.catalog.logins import LoginList
from node.catalog.members import MemberList
from node.catalog.moving import MovingRows
from node.catalog.partner_copies import PartnerCopies
from node.catalog.partners import Partners
from node.catalog.policies import Policies
from node.catalog.proofs import Proofs
from node.catalog.providers import ProviderRows
from node.catalog.quarantine import Quarantine
from node.catalog.recalls import Recalls
from node.catalog.replicas import Replicas
from node.catalog.roles import Roles
from node.catalog.rules import Rules
from node.catalog.sessions import SessionList
from node.catalog.statement import Cursor, Statement
from node.catalog.tickets import Tickets
from node.catalog.wants import Wants
from node.catalog.witnesses import Witnesses
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

    def __init__(self, connection: Connection, *, origin: SiteId, now: int) -> None:
        """A unit on an open transaction.

        Args:
            connection: its transaction has begun; who began it ends it.
            origin: the site whose journal this is.
            now: microseconds since 1970; one moment for the whole unit.
        """
        self.origin = origin
        self.now = now
        self.dialect = connection.dialect
        self._connection = connection
        self._cursor: Cursor = connection.connection.cursor()  # type: ignore[assignment]

    @cached_property
    def epoch(self) -> int:
        """The site's current epoch, as the catalog says now: any process of the node may begin a new one."""
        return self.journal.epoch()

    def epoch_begun(self) -> None:
        """The epoch is to be read again."""
        self.__dict__.pop("epoch", None)

    def run(self, statement: Statement, /, **values: Any) -> Cursor:
        """Execute a statement and return the cursor with its rows."""
        statement.run(self._cursor, self.dialect, values)
        return self._cursor

    def rows(self, query: Select[Any]) -> Iterator[tuple[Any, ...]]:
        """Run a query that was put together just now and yield the driver's own tuples."""
        cursor: Any = self._connection.execute(query).cursor
        try:
            while rows := cursor.fetchmany(_PAGE):
                yield from rows
        finally:
            cursor.close()

    def close(self) -> None:
        """End what was begun to be read.

        A statement of which rows are left keeps the connection in the state of the catalog that it saw, also
        when the transaction is over: whoever uses the connection next would see that state. So this does not
        wait until nothing refers to the unit any more; the traceback of an error may do so for long.
        """
        self._cursor.close()

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
    def audit_sent(self) -> AuditSent:
        """How far that has gone to repositories outside."""
        return AuditSent(self)

    @cached_property
    def witnesses(self) -> Witnesses:
        """Signed ends of audit records, and what is wrong with them."""
        return Witnesses(self)

    @cached_property
    def replicas(self) -> Replicas:
        """Copies at other sites."""
        return Replicas(self)

    @cached_property
    def rules(self) -> Rules:
        """Where copies are owed."""
        return Rules(self)

    @cached_property
    def roles(self) -> Roles:
        """Which part each site plays."""
        return Roles(self)

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
    def recalls(self) -> Recalls:
        """What was taken back from peers of this site's own journal."""
        return Recalls(self)

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
    def partners(self) -> Partners:
        """Foreign archives that are backed up into, or moved from."""
        return Partners(self)

    @cached_property
    def providers(self) -> ProviderRows:
        """Identity providers, and who told this site of them."""
        return ProviderRows(self)

    @cached_property
    def partner_copies(self) -> PartnerCopies:
        """What is known of the copies there."""
        return PartnerCopies(self)

    @cached_property
    def moving(self) -> MovingRows:
        """What is on its way from there to here."""
        return MovingRows(self)

    @cached_property
    def logins(self) -> LoginList:
        """Logins that have begun, and messages that were taken."""
        return LoginList(self)

    @cached_property
    def devices(self) -> DeviceList:
        """Who may call, and who knocked."""
        return DeviceList(self)

    @cached_property
    def accounts(self) -> AccountList:
        """Who may log in by a password of this site."""
        return AccountList(self)

    @cached_property
    def grants(self) -> Grants:
        """Which person has which role."""
        return Grants(self)

    @cached_property
    def policies(self) -> Policies:
        """Who may do what."""
        return Policies(self)

    @cached_property
    def emergencies(self) -> Emergencies:
        """What was opened without a right to it, and has to be reviewed."""
        return Emergencies(self)

    @cached_property
    def findings(self) -> Findings:
        """What is wrong."""
        return Findings(self)

    @cached_property
    def proofs(self) -> Proofs:
        """What was read back, and when."""
        return Proofs(self)

    @cached_property
    def holdings(self) -> Holdings:
        """What ought to be in the store."""
        return Holdings(self)

    @cached_property
    def brakes(self) -> Brakes:
        """What holds mass repair and mass deletion up."""
        return Brakes(self)

    @cached_property
    def alerts(self) -> Alerts:
        """What persons are told of."""
        return Alerts(self)

    @cached_property
    def gauges(self) -> Gauges:
        """What was measured, now and then."""
        return Gauges(self)

    @cached_property
    def sessions(self) -> SessionList:
        """Who is logged in."""
        return SessionList(self)
