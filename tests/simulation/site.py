"""One simulated site: the doors of the node over a simulated disk, started again after every crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from node.archive.archive import Archive
from node.archive.commitment import requested
from node.catalog import database
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import NoWholeCopy
from node.domain.ids import AETitle, Digest, InstanceUID, SiteId
from node.domain.job import Job, Task
from node.identity.home import Home
from node.identity.members import Members, derive_member
from node.recovery.check import Check
from node.recovery.roles import on_demoted
from node.replication import rules
from node.replication.courier import Courier
from node.replication.effects import Effects
from node.replication.habits import Habits
from node.replication.intake import Intake
from node.replication.service import Service
from services.run.worker import Handler, Worker
from tests.simulation import templates
from tests.simulation.clock import SiteClock
from tests.simulation.disk import Disk, PowerCut
from tests.simulation.wire import SimulatedPeer, Wire, peer_of
from tests.support.federation import FederatedSite

if TYPE_CHECKING:
    from tests.simulation.world import World


class SimulatedCatalog(Catalog):
    """A catalog that may lose its power before or after a commit, and that a dead process cannot use."""

    burn: Callable[[], None] = staticmethod(lambda: None)
    demand: Callable[[], None] = staticmethod(lambda: None)

    @contextmanager
    def _transaction(self) -> Iterator[Unit]:
        self.demand()
        with super()._transaction() as unit:
            yield unit
            self.burn()
        self.burn()

    @contextmanager
    def reading(self) -> Iterator[Unit]:
        """One state of the catalog, on a connection that stays open: to make one takes too long."""
        self.demand()
        with database.errors:
            idle = self.__dict__.setdefault("idle", [])
            connection = idle.pop() if idle else self._reader.connect()
            driver = connection.connection.driver_connection
            driver.execute("BEGIN")
            try:
                with closing(self._unit(connection)) as unit:
                    yield unit
            finally:
                driver.execute("COMMIT")
                idle.append(connection)

    def abandon(self) -> None:
        """The process is gone, and its connections with it; what was not committed was never there."""
        for connection in (self._connection, *self.__dict__.pop("idle", ())):
            if connection is not None:
                connection.close()
        self._connection = None
        self._reader.dispose()
        self._writer.dispose()

    @property
    def is_writing(self) -> bool:
        """Whether a unit of work is under way."""
        return self._turn.locked()


class SimulatedSite(FederatedSite):
    """A whole site of a simulated world."""

    blobs: Disk  # type: ignore[assignment]
    catalog: SimulatedCatalog  # type: ignore[assignment]
    network: Wire

    def __init__(self, world: World, name: SiteId, *, callable: bool, clock: SiteClock) -> None:
        self.world = world
        self.name = name
        self.network = world.wire
        self.clock = clock
        self.callable = callable
        self.folder = world.folder / name
        self.folder.mkdir()
        self.fuse = 0
        self.is_down = False
        self.backup: tuple[bytes, dict[int, int]] | None = None
        """An image of the catalog, and how far the journal went then."""
        self.blobs = Disk(self.burn, lambda: world.meanwhile(name))
        templates.put(self.path, templates.acquainted(world.plan.hidden)[name])
        self.couriers: dict[SiteId, Courier] = {}
        self.open()

    @property
    def path(self) -> Path:
        """The file of the catalog."""
        return self.folder / "catalog.db"

    def open(self) -> None:
        """Start the node, as the next process does."""
        self.is_down = False
        self.fuse = 0
        self.catalog = SimulatedCatalog(self.path, origin=self.name, clock=self.clock)
        self.catalog.burn = self.burn
        self.catalog.demand = self.demand_power
        self.archive = Archive(
            self.blobs,
            self.catalog,
            quarantine_limit=1 << 20,
            owed=lambda unit, traits: unit.rules.desired(traits),
            commit_copies=self.world.plan.commits_copies,
        )
        url = f"https://{self.name}.test:8443" if self.callable else None
        self.home = Home(
            site=self.name,
            key_folder=templates.key_folder(self.name, self.world.plan.hidden),
            url=url,
            ae_title=AETitle(self.name.upper()),
        )
        self.members = Members(self.catalog, self.home)
        self.effects = Effects(self.blobs, derive_member)
        self.intake = Intake(self.catalog, self.blobs, self.effects)
        self.service = Service(self.catalog, self.blobs, self.intake, self.home)
        self.network.sites[self.name] = self
        self.couriers = {}

    @property
    def fingerprint(self) -> str:
        """That of the certificate which it shows."""
        return fingerprint(self.home)

    def crash(self) -> None:
        """Lose the power; somebody has to start it again."""
        self.is_down = True
        self.fuse = 0
        lost = self.blobs.cut_power()
        self.world.says(f"{self.name} loses its power{f', with {len(lost)} unsynced blobs' if lost else ''}")
        self.catalog.abandon()

    def stop(self) -> None:
        """Say goodbye."""
        if not self.is_down:
            self.is_down = True
            self.catalog.abandon()

    def start(self) -> None:
        """Start it again, where it is down."""
        if self.is_down:
            self.open()
            self.world.says(f"{self.name} is started again")

    def burn(self) -> None:
        self.demand_power()
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                self.is_down = True
                raise PowerCut(self.name)

    def demand_power(self) -> None:
        """Nothing goes on in a process that is gone.

        Raises:
            PowerCut: it is.
        """
        if self.is_down:
            raise PowerCut(self.name)

    def peer(self, to: str, *, timeout: float | None = None) -> SimulatedPeer:
        return peer_of(self, SiteId(to))

    def courier(self, site: str) -> Courier:
        """The courier to another site, as long as the process lives."""
        name = SiteId(site)
        if name not in self.couriers:
            self.couriers[name] = Courier(
                name,
                catalog=self.catalog,
                blobs=self.blobs,
                intake=self.intake,
                service=self.service,
                peers=self.peer,
                habits=Habits(streams=self.world.plan.streams, only_calls=not self.callable),
            )
        return self.couriers[name]

    def turn(self, other: str) -> float:
        """One turn of the courier's loop; how long it would wait then."""
        return self.courier(other)._turn()

    # ---- recovery

    @property
    def check(self) -> Check:
        """Compares catalog and disk."""
        return Check(self.catalog, self.blobs, wait=self.clock.forward)

    def _carry_out(self, job: Job) -> bool:
        """Carry out a job as the worker process does."""
        return bool(Worker(self.archive, self._handlers)._carry_out(job))

    @property
    def _handlers(self) -> dict[Task, Handler]:
        return {
            Task.COMPARE: self._compare,
            Task.COMMITMENT: self._report,
            Task.RECONSIDER: lambda job: rules.reconsider(self.catalog) and None,
            Task.DROP: lambda job: None,
            Task.REPAIR: self._heal,
            Task.STEP_DOWN: lambda job: on_demoted(self.catalog, job.key),
            Task.GIVE_UP: lambda job: self.passing_on.round() and None,
        }

    def _compare(self, job: Job) -> None:
        uid, digest = job.key.split(" ")
        self.archive.compare(InstanceUID(uid), Digest(digest))

    def _report(self, job: Job) -> None:
        """Tell a device what is committed: it may forget its own copy then."""
        vouched = self.archive.vouch(requested(job).wanted)
        self.world.book.promised(self, [one.instance for one in vouched.held])

    def _heal(self, job: Job) -> None:
        with self.world.book.repair(self, alone=not self.world.plan.interleaved):
            whole = self.repair.heal(self.node, Digest(job.key))
        if not whole:
            raise NoWholeCopy(job.key)

    def back_up(self) -> None:
        """Keep the catalog as it is, to be restored some day."""
        with self.catalog.reading() as unit:
            heads = unit.journal.epochs()
        self.backup = templates.image(self.path), heads

    def restore(self) -> None:
        """The disk of the catalog is broken; its last backup takes its place."""
        assert self.backup is not None
        image, heads = self.backup
        self.stop()
        self.world.book.catalog_lost(self, heads)
        templates.put(self.path, image)
        self.open()


_FINGERPRINTS: dict[Path, str] = {}


def fingerprint(home: Home) -> str:
    """The fingerprint of a site's certificate, read once."""
    if home.key_folder not in _FINGERPRINTS:
        _FINGERPRINTS[home.key_folder] = home.key().fingerprint
    return _FINGERPRINTS[home.key_folder]
