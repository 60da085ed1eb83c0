"""The doors for drills: hold one now, have one held soon, read what came of it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from node import telemetry
from node.audit.record import Event, deed_of
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import Misconfigured, NodeError, Rejected, StoreFull, Unknown
from node.domain.job import Job, Task
from node.domain.principal import Action, Principal
from node.identity.gate import Gate
from node.recovery.drill import (
    bit_rot,
    corrupt_catalog,
    lose_disk,
    lose_site,
    partition,
    report,
)
from node.recovery.drill.order import LONGEST_NAME, Order, Scenario, read
from node.recovery.drill.outcome import Course, Progress, untold
from node.recovery.drill.report import Summary, summary
from node.recovery.drill.scratch import DRILLS, Area, Live, area
from node.recovery.drill.sign import Signed

log = logging.getLogger(__name__)

Hold: TypeAlias = Callable[[Area, Order, Course], None]
SCENARIOS: Final[Mapping[Scenario, Hold]] = MappingProxyType(
    {
        Scenario.BIT_ROT: bit_rot.hold,
        Scenario.CORRUPT_CATALOG: corrupt_catalog.hold,
        Scenario.LOSE_DISK: lose_disk.hold,
        Scenario.LOSE_SITE: lose_site.hold,
        Scenario.PARTITION: partition.hold,
    }
)


def hold(
    live: Live,
    principal: Principal,
    order: Order,
    *,
    place: Path | None = None,
    keep: bool = False,
    progress: Progress = untold,
    monotonic: Callable[[], float] = time.monotonic,
) -> Signed:
    """Hold a drill; its report, which is kept and signed whether it has passed or failed.

    Args:
        live: the site.
        principal: who holds it.
        order: what, and on how much.
        place: a folder for the scratch area; that of the drills if None.
        keep: leave the scratch area where it is.
        progress: is told how it goes.
        monotonic: tells seconds.

    Raises:
        Forbidden: the policy says no.
        TooBusy: another drill is under way.
        StoreFull: there is too little room.
        UnusableKey: the report could not be signed.
    """
    Gate(live.catalog).demand(principal, Action.ADMINISTER)
    return _hold(live, principal, order, place, Course(monotonic, progress), keep=keep)


def _hold(
    live: Live, principal: Principal, order: Order, place: Path | None, course: Course, *, keep: bool = False
) -> Signed:
    """Hold a drill that somebody may ask for."""
    key, began = live.home.key(), live.clock()
    with area(live, place=place, keep=keep) as scratch:
        name = order.name or report.new_name(live.drills, order.scenario, began)
        with telemetry.bound(drill=name):  # what is logged meanwhile is about the scratch area
            _held(scratch, order, course)
        if keep:
            course.outcome.notes.append(f"the scratch area was kept: {scratch.folder.name}")
        said = report.told(
            course.outcome,
            order,
            name=name,
            site=live.site,
            began=began,
            ended=live.clock(),
            by=order.by or str(principal),
        )
        path = report.keep(live.drills, said, key)
    _record(live.catalog, principal, f"drill {name} {said['verdict']}")
    return report.load(path)


def start(catalog: Catalog, principal: Principal, folder: Path, order: Order) -> str:
    """Have the worker of this site hold a drill; the name that its report will have.

    Args:
        catalog: of the site.
        principal: who asks for it.
        folder: of the site.
        order: what, and on how much; its name is chosen here.

    Raises:
        Forbidden: the policy says no.
    """
    Gate(catalog).demand(principal, Action.ADMINISTER)

    def owe(unit: Unit) -> str:
        name = report.new_name(folder / DRILLS, order.scenario, unit.now)
        owed = replace(order, name=name, by=str(principal))
        unit.jobs.add(Task.DRILL, name, json.dumps(owed.told()))
        return name

    return catalog.perform(owe)


def carry_out(
    live: Live, principal: Principal, job: Job, *, stop: Callable[[], bool] = lambda: False
) -> None:
    """Hold the drill that a job asks for, unless its report is there already.

    Args:
        live: the site.
        principal: who carries it out.
        job: as `start` owed it.
        stop: whether to leave off; it is begun anew another time.

    Raises:
        What `hold` raises: it is tried again.
    """
    order = owed(job)
    if (live.drills / f"{order.name}.json").exists():
        return
    try:
        _hold(live, principal, order, None, Course(time.monotonic, stop=stop))
    except Misconfigured as error:
        raise Rejected(str(error)) from None


def owed(job: Job) -> Order:
    """The order that a job holds.

    Raises:
        Rejected: it holds none.
    """
    try:
        order = read(json.loads(job.payload))
    except ValueError:
        raise Rejected("this is no order for a drill") from None
    if order.name != job.key or not report.NAME.fullmatch(order.name) or len(order.name) > LONGEST_NAME:
        raise Rejected("the order names another report")
    return order


def find(catalog: Catalog, folder: Path, name: str) -> Signed | None:
    """The report of a drill; None while it is still to be held.

    Args:
        catalog: of the site.
        folder: of the site.
        name: as `start` gave it.

    Raises:
        Unknown: nobody has asked for a drill of that name.
        BadSignature: the report was changed after it was signed.
    """
    try:
        return report.find(folder / DRILLS, name)
    except Unknown:
        with catalog.reading() as unit:
            if unit.jobs.find(Task.DRILL, name) is None:
                raise
        return None


def last(folder: Path, scenario: Scenario | None = None) -> Summary | None:
    """The last drill of a site (of a scenario), as its signed report tells it; None where there was none."""
    return report.last(folder / DRILLS, scenario)


def _held(scratch: Area, order: Order, course: Course) -> None:
    """Hold the drill; what keeps it from its end is a reason to fail."""
    try:
        SCENARIOS[order.scenario](scratch, order, course)
    except StoreFull:
        raise
    except NodeError as error:
        if course.is_to_stop():
            raise
        log.warning("a drill could not be held to its end", extra={"error": str(error)})
        course.fail(f"it could not be held to its end: {error}")
    except Exception as error:
        log.exception("a drill failed unexpectedly")
        course.fail(f"it could not be held to its end: {type(error).__name__}")


def _record(catalog: Catalog, principal: Principal, what: str) -> None:
    catalog.perform(lambda unit: unit.audit.append(deed_of(principal, Event.DRILLED, what=what)))


__all__ = ["SCENARIOS", "carry_out", "find", "hold", "last", "owed", "start", "summary"]
