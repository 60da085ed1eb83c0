"""The scrub: every copy is looked at daily and read back within a period, by itself, at a bounded share.

```
once a day       check of existence and size, catalog against disk                   finding ──▶ repair job
all the time     the copies that were read back longest ago, at the set rate         finding ──▶ repair job
```

What was read is in the table `proof`; a restart goes on where it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from node.blobs.store import BlobStore, Pace
from node.catalog.catalog import Catalog
from node.catalog.proofs import Coverage, Round
from node.catalog.unit import Unit
from node.domain.errors import StoreFailing
from node.domain.finding import DAMAGE, Finding
from node.domain.ids import Digest
from node.domain.job import SECOND, Task
from node.recovery.check import LOOK, READ, Check, Checked
from node.recovery.damage import examine, found_whole

log = logging.getLogger(__name__)

DAY: Final = 24 * 3600 * SECOND
BATCH: Final = 64
"""Copies that are read between two looks at whether to stop."""
JOBS: Final = 1000
"""Repairs that are owed at once."""
HISTORY: Final = 365 * DAY
"""How long findings are kept that were dealt with; the audit record keeps them for good."""
SOON: Final = 0.75
"""The part of the period after which a copy is read again, so that all are within it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How often, and how fast."""

    look: int = DAY
    """Microseconds between two looks at existence and size."""
    period: int = 30 * DAY
    """Microseconds within which every copy is read back."""
    rate: int = 20_000_000
    """Bytes a second at the most; 0 reads none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the scrub covered."""

    look: Round | None
    """The last look at existence and size."""
    coverage: Coverage
    """What was read back within the period."""
    period: int
    """Microseconds."""
    late: bool
    """Whether some copy was not read back within the period."""
    rate: int
    """Bytes a second at the most; 0 reads none."""
    due: int
    """Copies that are to be read back now."""
    next_look: int
    """When existence and size are looked at next."""


class Scrub:
    """Looks after the copies of one site."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        schedule: Schedule,
        *,
        wait: Callable[[float], object] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """A scrub of one site.

        Args:
            catalog: what there ought to be, and what was read when.
            blobs: what is read.
            schedule: how often, and how fast.
            wait: sleeps for seconds.
            monotonic: tells seconds.
        """
        self._catalog = catalog
        self._blobs = blobs
        self._schedule = schedule
        self._pace = throttle(schedule.rate, wait, monotonic)
        self._check = Check(catalog, blobs, wait=wait)

    def turn(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Do what is due now; whether there was anything."""
        if self._look_is_due():
            self.look(stop)
            return True
        return self.read(stop) > 0

    def look(self, stop: Callable[[], bool] = lambda: False) -> Checked:
        """See that everything is there, in its size."""
        begun = self._now()
        checked = self._check.run(stop=stop)
        if not stop():
            self._ended(LOOK, begun, checked)
        self._owe_repairs([one for one in checked.findings if one.kind in DAMAGE])
        return checked

    def read(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Read back some of the copies that were read longest ago; how many were due.

        Raises:
            StoreFailing: none of them can be read now, which says nothing about them.
        """
        if not self._schedule.rate:
            return 0
        with self._catalog.reading() as unit:
            due = unit.proofs.oldest(BATCH, before=self._before(unit))
        whole: list[tuple[Digest, int]] = []
        hurt: list[Finding] = []
        failing: StoreFailing | None = None
        for digest, size in due:
            if stop():
                break
            try:
                self._one(digest, size, whole, hurt)
            except StoreFailing as error:
                log.warning("a copy could not be looked at", extra={"digest": digest, "error": str(error)})
                failing = error
        if whole or hurt:
            self._catalog.perform(lambda unit: _noted(unit, whole, hurt))
        self._owe_repairs(hurt)
        if failing is not None and not (whole or hurt):
            raise failing
        return len(due)

    def again(self) -> None:
        """Let a look, and a reading of everything, be due now."""

        def write(unit: Unit) -> None:
            known = unit.proofs.round(LOOK)
            if known:
                unit.proofs.save_round(LOOK, replace(known, begun_at=0))
            unit.proofs.save_round(READ, Round(begun_at=unit.now))

        self._catalog.perform(write)

    def _before(self, unit: Unit) -> int:
        """What was read back before this moment is due: its time has come, or somebody asked for it since."""
        asked = unit.proofs.round(READ)
        return max(unit.now - int(self._schedule.period * SOON), asked.begun_at if asked else 0)

    def report(self) -> Report:
        """What was covered."""
        with self._catalog.reading() as unit:
            since = unit.now - self._schedule.period
            coverage = unit.proofs.coverage(since)
            look = unit.proofs.round(LOOK)
            return Report(
                look=look,
                coverage=coverage,
                period=self._schedule.period,
                late=coverage.oldest_at is not None and coverage.oldest_at < since,
                rate=self._schedule.rate,
                due=unit.proofs.due(self._before(unit)),
                next_look=look.begun_at + self._schedule.look if look else unit.now,
            )

    def _one(self, digest: Digest, size: int, whole: list[tuple[Digest, int]], hurt: list[Finding]) -> None:
        """Read one copy, twice if the first reading is wrong."""
        with self._catalog.reading() as unit:
            held, site = unit.holdings.find(digest), unit.origin
        if held is None:
            self._catalog.perform(lambda unit: unit.proofs.forget(digest))
            return
        kind = examine(self._blobs, digest, held.size, pace=self._pace)
        if kind is None:
            whole.append((digest, held.size))
            return
        log.error("a copy is damaged", extra={"digest": digest, "kind": kind})
        hurt.append(
            Finding(
                kind=kind,
                digest=digest,
                site=site,
                instance=held.instance,
                size=held.size,
                evidence="found by the scrub, read twice",
            )
        )

    def _look_is_due(self) -> bool:
        with self._catalog.reading() as unit:
            last = unit.proofs.round(LOOK)
            return last is None or unit.now - last.begun_at >= self._schedule.look

    def _ended(self, kind: str, begun: int, checked: Checked) -> None:
        def write(unit: Unit) -> None:
            unit.findings.prune(unit.now - HISTORY)
            unit.proofs.save_round(
                kind,
                Round(
                    begun_at=begun,
                    ended_at=unit.now,
                    objects=checked.objects,
                    bytes=checked.bytes,
                    found=len(checked.findings),
                ),
            )

        self._catalog.perform(write)
        log.info(
            "a round has ended", extra={"kind": kind, "objects": checked.objects, "bytes": checked.bytes}
        )

    def _owe_repairs(self, findings: list[Finding]) -> None:
        """Have damaged copies mended, so many at a time: the rest is owed after the next look."""

        def write(unit: Unit) -> None:
            for finding in findings[:JOBS]:
                unit.jobs.add(Task.REPAIR, finding.digest)

        if findings:
            self._catalog.perform(write)

    def _now(self) -> int:
        with self._catalog.reading() as unit:
            return unit.now


def _noted(unit: Unit, whole: list[tuple[Digest, int]], hurt: list[Finding]) -> None:
    """Write down what was read."""
    for digest, size in whole:
        unit.proofs.put(digest, size)
        for finding in unit.findings.unsettled(kinds=DAMAGE, prefix=digest):
            found_whole(unit, finding, "found in order when read again")
    for finding in hurt:
        unit.findings.report(finding)
        unit.proofs.put(Digest.trusted(finding.digest), finding.size)


def throttle(rate: int, wait: Callable[[float], object], monotonic: Callable[[], float]) -> Pace:
    """A pace of so many bytes a second; a second that was not used is not made up for."""
    due = monotonic()

    def pace(count: int) -> None:
        nonlocal due
        now = monotonic()
        due = max(due, now) + count / rate if rate else now
        if due > now:
            wait(due - now)

    return pace
