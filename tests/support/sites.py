"""A whole site in this process: blobs in memory, a real catalog, a clock that is told the time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from node.archive.archive import Archive
from node.blobs.memory import MemoryStore
from node.catalog.catalog import Catalog
from node.domain.ids import SiteId
from node.domain.instance import Admission, Instance, Offer
from node.domain.principal import DEVICE_ACTIONS, Action, Kind, Principal
from node.identity.devices import Devices

BRNO = SiteId("brno")
OPERATOR = Principal(kind=Kind.OPERATOR, name="technician", site=BRNO)
_SHARED_MEMORY = Path("/dev/shm")


def device(name: str = "CT1", may: Iterable[Action] = DEVICE_ACTIONS) -> Principal:
    """A device of the site that may do what is given."""
    return Principal(kind=Kind.DEVICE, name=name, site=BRNO, address="10.0.0.7", may=frozenset(may))


CT1 = device()


class Clock:
    """Says what it was told; every look takes a microsecond."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000

    def __call__(self) -> int:
        self.now += 1
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += int(seconds * 1_000_000)


@dataclass
class TestSite:
    """The stores and the doors of one site; what it is told stays when it is opened again."""

    __test__ = False
    folder: Path
    quarantine_limit: int = 1 << 20
    blobs: MemoryStore = field(default_factory=MemoryStore)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Open the catalog from disk, as the next process does."""
        self.catalog = Catalog(self.folder / "catalog.db", origin=BRNO, clock=self.clock)
        self.archive = Archive(self.blobs, self.catalog, quarantine_limit=self.quarantine_limit)
        self.devices = Devices(self.catalog, BRNO)

    def crash(self) -> None:
        """Leave everything as it is and open the catalog anew; nobody says goodbye to the old one."""
        self.open()

    def lose_catalog(self) -> None:
        """Let the catalog be gone and begin with an empty one."""
        self.catalog.close()
        for path in self.folder.glob("catalog.db*"):
            path.unlink()
        self.open()

    def admit(self, instance: tuple[Offer, bytes], principal: Principal = CT1) -> Admission:
        """Admit one instance as a device sends it."""
        offer, data = instance
        return self.archive.admit(principal, offer, [data])

    def read(self, instance: Instance) -> bytes:
        """The data set of an archived instance, as it goes out."""
        with self.archive.open(instance) as stored:
            stored.file.seek(stored.offset)
            return stored.file.read()

    def rows(self, sql: str) -> list[tuple]:
        """What the catalog says to a question in SQL."""
        with self.catalog.reading() as unit:
            return [tuple(row) for row in unit._connection.exec_driver_sql(sql).fetchall()]


def fast_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder whose disk syncs at once, for tests that commit often."""
    return tempfile.TemporaryDirectory(dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None)


@contextmanager
def site(**options: object) -> Iterator[TestSite]:
    """A new, empty site."""
    with fast_folder() as folder:
        made = TestSite(Path(folder), **options)  # type: ignore[arg-type]
        try:
            yield made
        finally:
            made.catalog.close()
