"""What programs of a site may ask of its recovery, and how far it is: the doors behind the Recovery service.

Long work is owed as a job, which the worker carries out; a door answers at once with its name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.audit.record import Event, deed_of
from node.catalog.brakes import BrakeState
from node.catalog.catalog import Catalog
from node.catalog.proofs import Round
from node.catalog.unit import Unit
from node.domain.errors import NoWholeCopy, Unknown
from node.domain.finding import Finding, Trouble
from node.domain.ids import Digest
from node.domain.job import Job, Task
from node.domain.principal import Action, Principal
from node.domain.role import SiteRole
from node.identity.gate import Gate
from node.recovery.brake import Brake
from node.recovery.check import LOOK, READ
from node.recovery.drill import door
from node.recovery.drill.order import Order
from node.recovery.repair import Repair
from node.recovery.scrub import Report, Scrub

REBUILD: Final = "rebuild"
"""The round in which a rebuild tells how far it is."""
FRESH: Final = 5.0
"""Seconds for which a count of all copies is told again."""
LONG: Final = (Task.REBUILD, Task.DRILL)
"""Jobs that somebody has asked for here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the recovery of a site stands."""

    role: SiteRole
    findings: dict[Trouble, int]
    """Still to be dealt with, by kind."""
    brakes: Sequence[BrakeState]
    """Those that have tripped."""
    scrub: Report
    rounds: dict[str, Round]
    """What was looked at, and how far it is."""
    jobs: Sequence[Job]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """A drill: where it is, and its report."""

    name: str
    state: str
    """`waiting`, `done` or `stalled`."""
    why: str = ""
    report: str = ""
    """JSON."""


class Doors:
    """What may be asked of the recovery of a site."""

    def __init__(
        self,
        catalog: Catalog,
        brake: Brake,
        scrub: Scrub,
        repair: Repair,
        folder: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """The doors of the site of this catalog.

        Args:
            catalog: what there is.
            brake: stops mass repair.
            scrub: reads copies back.
            repair: mends them.
            folder: of the site, where the reports of drills are.
            monotonic: tells seconds.
        """
        self._monotonic = monotonic
        self._counted: tuple[float, Report] | None = None
        self._catalog = catalog
        self._brake = brake
        self._scrub = scrub
        self._repair = repair
        self._folder = folder
        self._gate = Gate(catalog)

    def standing(self) -> Standing:
        """How the recovery of this site stands."""
        brakes, scrub = self._brake.standing(), self._covered()
        with self._catalog.reading() as unit:
            found = {name: unit.proofs.round(name) for name in (LOOK, READ, REBUILD)}
            return Standing(
                role=unit.roles.here(),
                findings=unit.findings.counts(),
                brakes=brakes,
                scrub=scrub,
                rounds={name: one for name, one in found.items() if one is not None},
                jobs=[job for task in LONG for job in unit.jobs.of_kind(task)],
            )

    def _covered(self) -> Report:
        """What the scrub has covered, counted once in some seconds, however often somebody asks."""
        now = self._monotonic()
        if self._counted is None or now - self._counted[0] > FRESH:
            self._counted = now, self._scrub.report()
        return self._counted[1]

    def findings(self, principal: Principal, many: int) -> Sequence[Finding]:
        """What is still to be dealt with here, the oldest first.

        Raises:
            Forbidden: the policy says no.
        """
        self._gate.demand(principal, Action.ADMINISTER)
        with self._catalog.reading() as unit:
            return unit.findings.unsettled(many=many)

    def demand_repair(self) -> None:
        """See that repairs are not held up.

        Raises:
            BrakeTripped: a person has to look first.
        """
        self._brake.demand_repair()

    def repair_now(self, principal: Principal, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Look at copies at once, and mend what is damaged.

        Raises:
            Forbidden: the policy says no.
            NoWholeCopy: no member has proved a copy of one of them now.
        """
        self._gate.demand(principal, Action.ADMINISTER)
        with self._catalog.reading() as unit:
            ours = [digest for digest in digests if unit.holdings.find(digest) is not None]
        for digest in ours:
            if not self._repair.heal(principal, digest):
                raise NoWholeCopy(digest)
        return ours

    def start_scrub(self, principal: Principal) -> Report:
        """Let everything be looked at and read back from now on.

        Raises:
            Forbidden: the policy says no.
        """
        self._gate.demand(principal, Action.ADMINISTER)
        self._scrub.again()
        self._gate.record(principal, Event.CONFIGURED, what="everything is read back again")
        return self._scrub.report()

    def rebuild(self, principal: Principal) -> Job:
        """Let everything be looked at, and what was lost of it be made again; asked twice, it is done once.

        Raises:
            Forbidden: the policy says no.
        """
        return self._owe(principal, Task.REBUILD, "rows")

    def start_drill(self, principal: Principal, order: Order) -> str:
        """Let the worker hold a drill; the name of its report.

        Raises:
            Forbidden: the policy says no.
        """
        name = door.start(self._catalog, principal, self._folder, order)
        self._gate.record(principal, Event.CONFIGURED, what=f"{Task.DRILL} {name} was asked for")
        return name

    def drilled(self, principal: Principal, name: str) -> Drilled:
        """How far a drill is, and its report when it is done.

        Raises:
            Forbidden: the policy says no.
            Unknown: there is none of that name.
            BadSignature: the report was changed after it was signed.
        """
        self._gate.demand(principal, Action.ADMINISTER)
        signed = door.find(self._catalog, self._folder, name)
        if signed is not None:
            return Drilled(name=name, state="done", report=signed.text)
        with self._catalog.reading() as unit:
            job = unit.jobs.find(Task.DRILL, name)
        if job is None:
            raise Unknown(name)
        return Drilled(name=name, state="waiting" if job.state == "due" else "stalled", why=job.error)

    def _owe(self, principal: Principal, task: Task, key: str) -> Job:
        self._gate.demand(principal, Action.ADMINISTER)

        def owe(unit: Unit) -> Job:
            unit.jobs.add(task, key)
            unit.audit.append(deed_of(principal, Event.CONFIGURED, what=f"{task} {key} was asked for"))
            job = unit.jobs.find(task, key)
            assert job is not None
            return job

        return self._catalog.perform(owe)
