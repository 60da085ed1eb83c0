"""What looks after the copies of a site: the scrub, repairs, and reading through damage."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from node.archive.archive import LEASE
from node.catalog.proofs import Round
from node.catalog.unit import Unit
from node.domain.errors import NodeError, NoWholeCopy
from node.domain.finding import DAMAGE, Trouble
from node.domain.ids import Digest
from node.domain.job import SECOND, Job
from node.recovery.check import Check
from node.recovery.doors import REBUILD, Doors
from node.recovery.elsewhere import Elsewhere
from node.recovery.heal import Healing
from node.recovery.repair import Repair
from node.recovery.scrub import DAY, Schedule, Scrub
from node.replication.peer import Peers
from node.wiring import Site

log = logging.getLogger(__name__)

IDLE = 10.0
"""Seconds between two looks for something to read back when there was nothing."""
NICE = 15
"""How far the scrub stands aside for everything else."""
PATIENCE = 10.0
"""Seconds that another site may take for one call while somebody waits for a damaged copy."""
SAY = 5.0
"""Seconds between two notes of how far a rebuild is."""
_MB = 1_000_000


def repair_of(site: Site, peers: Peers, *, patience: float | None = None) -> Repair:
    """The repair of a site."""
    return Repair(site.catalog, site.blobs, peers, site.brake, site.relist, patience=patience)


def healing_of(site: Site, peers: Peers) -> Healing:
    """The archive of a site as readers see it."""
    return Healing(site.archive, site.catalog, repair_of(site, peers, patience=PATIENCE), site.node())


def check_of(site: Site, *, wait: Callable[[float], object] = time.sleep) -> Check:
    """The check of a site, at full speed; `wait` gives writers their time."""
    return Check(site.catalog, site.blobs, overdue=_overdue(site), wait=wait)


def elsewhere_of(site: Site, *, wait: Callable[[float], object] = time.sleep) -> Elsewhere:
    """The check of other sites."""
    return Elsewhere(site.catalog, overdue=_overdue(site), wait=wait)


def _overdue(site: Site) -> int:
    return int(site.settings.recovery.overdue_minutes * 60 * SECOND)


def scrub_of(site: Site, stop: threading.Event, *, rate: int | None = None) -> Scrub:
    """The scrub of a site, which waits no longer than until it is told to stop.

    Args:
        site: whose copies.
        stop: set when it is to stop.
        rate: bytes a second, if not those of the settings.
    """
    settings = site.settings.recovery
    schedule = Schedule(
        look=int(settings.look_hours * 3600 * SECOND),
        period=int(settings.scrub_days * DAY),
        rate=settings.scrub_mb * _MB if rate is None else rate,
    )
    return Scrub(site.catalog, site.blobs, schedule, wait=stop.wait)


def recovery_of(site: Site, peers: Peers) -> Doors:
    """What programs of a site may ask of its recovery."""
    return Doors(
        site.catalog,
        site.brake,
        scrub_of(site, threading.Event()),
        repair_of(site, peers, patience=PATIENCE),
        site.directory,
    )


def make_again(site: Site, repair: Repair, job: Job) -> None:
    """Look at everything, and make again what was lost of it, as far as that can be done now.

    Raises:
        BrakeTripped: a person has to look first.
    """
    told = Progress(site, job)
    check_of(site).run(progress=told)
    with site.catalog.reading() as unit:
        known = [one for one in unit.findings.unsettled() if one.kind is not Trouble.CONFLICTING]
    repair.run(site.node(), known, progress=lambda _done, _of: told.still())
    told.ended()


class Progress:
    """Tells the catalog how far a rebuild is, and that its worker still lives."""

    def __init__(self, site: Site, job: Job) -> None:
        """A rebuild that begins now."""
        self._catalog = site.catalog
        self._job = job
        with site.catalog.reading() as unit:
            self._round = Round(begun_at=unit.now)
        self._said = 0.0
        self._tell()

    def __call__(self, _folders: int, objects: int, found: int) -> None:
        """A folder was looked at."""
        self._round = replace(self._round, objects=objects, found=found)
        self.still()

    def still(self) -> None:
        """It goes on; said once in a few seconds."""
        if time.monotonic() - self._said >= SAY:
            self._tell()

    def ended(self) -> None:
        """It is done."""
        with self._catalog.reading() as unit:
            self._round = replace(self._round, ended_at=unit.now)
        self._tell()

    def _tell(self) -> None:
        self._said = time.monotonic()

        def write(unit: Unit) -> None:
            unit.proofs.save_round(REBUILD, self._round)
            if unit.jobs.find(self._job.kind, self._job.key) is not None:
                unit.jobs.save(replace(self._job, due_at=unit.now + LEASE))

        self._catalog.perform(write)


def mend(site: Site, repair: Repair, job: Job) -> None:
    """Mend one copy that was found damaged.

    Raises:
        BrakeTripped: a person has to look first.
        NoWholeCopy: no other site has proved one now; it is tried again.
    """
    digest = Digest(job.key)
    with site.catalog.reading() as unit:
        known = list(unit.findings.unsettled(kinds=DAMAGE, prefix=digest))
    if site.settings.recovery.repair:
        site.brake.demand_repair()
        done = repair.run(site.node(), known).is_whole if known else repair.heal(site.node(), digest)
        if not done:
            raise NoWholeCopy(digest)


class Caretaker:
    """Reads back what is due, as long as the process lives."""

    def __init__(self, scrub: Scrub) -> None:
        """Look after the copies that this scrub reads."""
        self._scrub = scrub

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        with suppress(OSError):  # where it may not stand aside, it works beside the others
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while not stop.is_set():
            try:
                if self._scrub.turn(stop.is_set):
                    continue
            except NodeError as error:
                log.warning("copies could not be read back", extra={"error": str(error)})
            except Exception:
                log.exception("the scrub failed unexpectedly; it goes on in a moment")
            stop.wait(IDLE)
