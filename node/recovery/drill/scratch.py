"""The scratch area: a folder apart in which whole sites are made, damaged and mended, and which goes again.

```
DIR/drills/lock          one drill at a time
DIR/drills/.scratch      where the area is, so that the next drill removes what a crash left
DIR/drills/scratch-*     the area itself, unless another place was chosen
```
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

from node.archive.archive import Archive
from node.blobs.filesystem import FilesystemStore, storage_errors
from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.domain.clock import Clock
from node.domain.errors import StoreFull, TooBusy
from node.domain.ids import AETitle, SiteId
from node.domain.principal import Kind, Principal
from node.identity.home import Home
from node.identity.members import Members, derive_member
from node.recovery.brake import Brake
from node.recovery.check import Check
from node.recovery.relist import Relist
from node.recovery.repair import Repair
from node.replication.answer import Answers
from node.replication.effects import Effects
from node.replication.intake import Intake
from node.replication.peer import Peers
from node.replication.service import Service

DRILLS: Final = "drills"
"""The folder of drills in the site folder."""
POINTER: Final = ".scratch"
LOCK: Final = "lock"
SPARE: Final = 64 << 20
"""Bytes that stay free beside what the drill is going to write."""
_NO_LIMIT: Final = 1 << 50

PeersOf: TypeAlias = Callable[[Members, BlobStore], Peers]
"""Makes the peers of whoever these members know, whose bytes go into this store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The site that holds a drill, as far as it is read."""

    site: SiteId
    folder: Path
    """The site folder."""
    catalog: Catalog
    catalog_file: Path
    blobs: BlobStore
    home: Home
    peers_of: PeersOf
    clock: Clock
    reserve: int = 0
    """Bytes of the file system that stay free."""
    overdue: int = 3600 * 1_000_000
    """Microseconds for which copies may be on their way."""

    @property
    def drills(self) -> Path:
        """Where reports are."""
        return self.folder / DRILLS


class ScratchSite:
    """A whole site in a folder of the scratch area."""

    def __init__(
        self, folder: Path, *, home: Home, clock: Clock, peers_of: PeersOf, name: SiteId | None = None
    ) -> None:
        """Open the stores in a folder, making them where they are missing.

        Args:
            folder: where `catalog.db` and `blobs` are.
            home: how it shows itself to others.
            clock: the time.
            peers_of: makes the peers that it calls.
            name: whose journal it writes; the site of `home` if None.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.name = name or home.site
        self.home = home
        self.blobs: BlobStore = FilesystemStore(folder / "blobs")
        self.catalog = Catalog(folder / "catalog.db", origin=self.name, clock=clock)
        self.archive = Archive(
            self.blobs,
            self.catalog,
            quarantine_limit=_NO_LIMIT,
            owed=lambda unit, traits: unit.rules.desired(traits),
        )
        self.effects = Effects(self.blobs, derive_member)
        self.intake = Intake(self.catalog, self.blobs, self.effects)
        self.members = Members(self.catalog, home)
        self.service = Service(self.catalog, self.blobs, self.intake, home)
        self.answers = Answers(self.archive, self.catalog, AETitle(home.ae_title))
        self.peers = peers_of(self.members, self.blobs)

    def __enter__(self) -> ScratchSite:
        return self

    def __exit__(self, *_: object) -> None:
        self.catalog.close()

    @property
    def node(self) -> Principal:
        """The node itself."""
        return Principal(kind=Kind.NODE, name=self.name, site=self.name)

    @property
    def operator(self) -> Principal:
        """Whoever decides something in the drill."""
        return Principal(kind=Kind.OPERATOR, name="drill", site=self.name)

    @cached_property
    def brake(self) -> Brake:
        """Stops mass repair."""
        return Brake(self.catalog)

    @property
    def check(self) -> Check:
        """Compares catalog and disk; nobody else writes here, so it waits for nobody."""
        return Check(self.catalog, self.blobs, wait=lambda _: None)

    @property
    def repair(self) -> Repair:
        """Mends copies from those of the members."""
        relist = Relist(self.catalog, self.blobs, self.archive)
        return Repair(self.catalog, self.blobs, self.peers, self.brake, relist)

    def active(self) -> list[SiteId]:
        """The members that it exchanges with."""
        return [member.site for member in self.members.active()]


class Area:
    """The folder of one drill."""

    def __init__(self, live: Live, folder: Path) -> None:
        """The area of a drill that this site holds."""
        self.live = live
        self.folder = folder

    def demand_room(self, count: int) -> None:
        """See that so many bytes can be written here.

        Raises:
            StoreFull: they cannot.
        """
        with storage_errors:
            free = shutil.disk_usage(self.folder).free
        needed = count + SPARE + self.live.reserve
        if free < needed:
            raise StoreFull(
                f"the drill needs {_mega(needed)} in {self.folder} and {_mega(free)} are free; "
                "choose another place with --scratch, or take less with --objects or --megabytes"
            )

    def site(self, name: str) -> ScratchSite:
        """A site in this area that is the one that holds the drill, as its members know it."""
        live = self.live
        return ScratchSite(self.folder / name, home=live.home, clock=live.clock, peers_of=live.peers_of)


@contextmanager
def area(live: Live, *, place: Path | None = None, keep: bool = False) -> Iterator[Area]:
    """A new area; it is removed in the end, or by the next drill if this process does not live to do that.

    Args:
        live: who holds the drill.
        place: a folder in which to make it; that of the drills if None.
        keep: leave it where it is.

    Raises:
        TooBusy: another drill is under way.
        StoreFailing, StoreFull: the folder cannot be made.
    """
    with storage_errors:
        live.drills.mkdir(mode=0o700, exist_ok=True)
    with _alone(live):
        pointer = live.drills / POINTER
        _sweep(pointer)
        folder = (place or live.drills) / f"scratch-{secrets.token_hex(6)}"
        with storage_errors:
            pointer.write_text(str(folder.absolute()), "utf-8")
            folder.mkdir(mode=0o700, parents=True)
        try:
            yield Area(live, folder)
        finally:
            if keep:
                pointer.unlink(missing_ok=True)
            else:
                _sweep(pointer)


@contextmanager
def _alone(live: Live) -> Iterator[None]:
    """Hold the lock of the drills.

    Raises:
        TooBusy: another drill is under way.
    """
    with storage_errors:
        descriptor = os.open(live.drills / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TooBusy("a drill is under way at this site already") from None
        yield
    finally:
        os.close(descriptor)


def _sweep(pointer: Path) -> None:
    """Remove the area that the pointer names, if it is one."""
    with suppress(OSError):
        folder = Path(pointer.read_text("utf-8"))
        if folder.name.startswith("scratch-"):
            shutil.rmtree(folder, ignore_errors=True)
        pointer.unlink(missing_ok=True)


def _mega(count: int) -> str:
    return f"{count / 1_000_000:,.0f} MB"
