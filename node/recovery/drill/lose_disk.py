"""A lost disk: the catalog is there, the store is empty; the bytes come back from the members.

```
snapshot ──▶ sample ──▶ empty store ──▶ check: all missing ──▶ brake: a person looks ──▶ repair from members
                                                   what no member has: the recovery point, of the whole site
```
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from node.catalog.samples import Samples
from node.domain.errors import BrakeTripped
from node.domain.finding import DAMAGE, Finding, Trouble
from node.domain.ids import Digest
from node.domain.job import SECOND
from node.recovery.brake import REPAIR, Limits
from node.recovery.drill.order import Order
from node.recovery.drill.outcome import Course, first, plural
from node.recovery.drill.sample import compare, snapshot, some_objects
from node.recovery.drill.scratch import Area, ScratchSite


def hold(area: Area, order: Order, course: Course) -> None:
    """Hold the drill.

    Raises:
        NodeError: it could not be held to its end.
    """
    with snapshot(area, course) as site:
        chosen = some_objects(site.catalog, order, course)
        area.demand_room(sum(chosen.values()))
        measure_loss(area, site, course)
        with course.step("let the copy hold the sample alone"), site.catalog.begin() as unit:
            Samples(unit).narrow(chosen)
        findings = _noticed(site, chosen, course)
        if course.demand(bool(site.active()), "this site has no member that could give anything back"):
            _fetch(site, findings, course)
        compare(site.blobs, chosen, course)


def measure_loss(area: Area, site: ScratchSite, course: Course) -> None:
    """What would be lost of all that the live site holds, as far as it knows what members have."""
    loss, allowed = course.outcome.loss, area.live.overdue
    with course.step("look for what no member has") as timed, site.catalog.reading() as unit:
        samples, members = Samples(unit), site.active()
        alone = samples.alone(members, unit.now + SECOND)
        late = samples.alone(members, unit.now - allowed)
        aside, taken = samples.quarantined(), samples.withdrawn()
        now = unit.now
        timed.told = f"{plural(alone.weight.objects)} of all that is here"
    loss.objects = alone.weight.objects
    loss.seconds = (now - alone.oldest_at) / SECOND if alone.oldest_at else 0.0
    loss.allowed_seconds = allowed / SECOND
    loss.told = (
        f"{plural(alone.weight.objects)} ({alone.weight.bytes:,} bytes) would be lost, of "
        f"{course.outcome.sample.of_objects:,} that the site holds: no member has a copy"
    )
    course.demand(
        not late.weight.objects,
        f"{plural(late.weight.objects)} came more than {allowed // SECOND // 60} minutes ago "
        "and no member has a copy: see `konzilium rule` and `konzilium status`",
    )
    if taken:
        course.outcome.notes.append(
            f"what persons have withdrawn ({plural(taken)}) was left out: no site gives it to another"
        )
    if aside:
        course.outcome.notes.append(f"what is in quarantine ({plural(aside)}) is kept at this site alone")


def _noticed(site: ScratchSite, chosen: Collection[Digest], course: Course) -> Sequence[Finding]:
    """The check has to call everything missing, and nothing else."""
    with course.step("check the empty store") as timed:
        known = site.check.run(progress=lambda done, *_: course.tell(done, 256)).findings
        timed.told = plural(len(known), "finding")
    findings = [one for one in known if one.kind in DAMAGE]
    missing = {one.digest for one in findings if one.kind is Trouble.MISSING}
    outcome = course.outcome
    outcome.planted = {str(Trouble.MISSING): len(chosen)}
    outcome.found = {str(Trouble.MISSING): len(missing)}
    outcome.missed = first(set(chosen) - missing)
    outcome.false_alarms = first(one.digest for one in findings if one.digest not in chosen)
    course.demand(not outcome.missed, f"the check has missed {plural(len(set(chosen) - missing))}")
    course.demand(not outcome.false_alarms, "the check has raised false alarms")
    return findings


def _fetch(site: ScratchSite, findings: Sequence[Finding], course: Course) -> None:
    """Bring everything back; the brake has to ask a person first."""
    _stopped(site, findings, course)
    with course.step("fetch from the members") as timed:
        try:
            done = site.repair.run(site.operator, findings, progress=course.tell)
        except BrakeTripped as error:
            course.fail(str(error))
            return
        came = [one for one in done.repaired if one.kind in DAMAGE]
        size = sum(one.size for one in came)
        timed.told = f"{plural(len(came))}, {size / 1_000_000:,.1f} MB"
    course.outcome.repaired = len(came)
    lost = [one for one in done.left if one.kind in DAMAGE]
    course.outcome.loss.named = first(one.digest for one in lost)
    course.demand(not lost, f"{plural(len(lost))} of the sample could not be had from any member")
    course.brought("have all bytes back", timed, objects=len(came), size=size)


def _stopped(site: ScratchSite, findings: Sequence[Finding], course: Course) -> None:
    """See that mass repair waits for a person, then decide as that person."""
    with course.step("see that the brake asks a person") as timed:
        if not Limits().exceeded(len(findings), len(findings)):
            timed.told = "too few objects to trip it"
            return
        try:
            site.brake.demand_repair()
            course.fail("a mass repair began without asking a person")
        except BrakeTripped:
            timed.told = "it tripped, and was released"
        site.brake.release(site.operator, REPAIR, "drill")
