"""Bit rot: bytes of a copy of the site are damaged; the check has to name each, and the repair to mend it.

```
snapshot ──▶ sample ──▶ check: in order? ──▶ plant ──▶ check: just what was planted? ──▶ repair from members
                                                                         every digest, and the rows, again
```
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node.catalog.samples import Portrait, Samples
from node.domain.errors import BrakeTripped
from node.domain.finding import DAMAGE, Finding, Trouble
from node.domain.ids import Digest, StudyUID
from node.recovery.drill.order import Order
from node.recovery.drill.outcome import Course, first, listed, plural
from node.recovery.drill.sample import bring, compare, snapshot, some_objects
from node.recovery.drill.scratch import Area, ScratchSite

SHARES: Final[Mapping[Trouble, float]] = {
    Trouble.UNLISTED: 0.015,
    Trouble.CORRUPT: 0.05,
    Trouble.MISSING: 0.025,
    Trouble.TRUNCATED: 0.01,
}
"""How much of the sample is damaged in which way; the brake trips at a fifth."""
Named = tuple[str, str]
"""What is wrong, and with what."""


@dataclass(slots=True)
class Planted:
    """The faults that the check has to find."""

    faults: dict[Trouble, list[Digest]] = field(default_factory=dict)
    studies: set[StudyUID] = field(default_factory=set)
    """Whose counts are wrong, since rows are gone."""

    @property
    def names(self) -> set[Named]:
        """What the check has to say."""
        damaged = {(kind, digest) for kind, digests in self.faults.items() for digest in digests}
        return {(str(kind), str(name)) for kind, name in damaged} | {
            (str(Trouble.STALE), str(study)) for study in self.studies
        }


def hold(area: Area, order: Order, course: Course) -> None:
    """Hold the drill.

    Raises:
        NodeError: it could not be held to its end.
    """
    with snapshot(area, course) as site:
        chosen = some_objects(site.catalog, order, course)
        came = bring(area, site.blobs, chosen, course)
        with course.step("let the copy hold the sample alone"), site.catalog.begin() as unit:
            Samples(unit).narrow(came)
        before = _rows(site, came)
        known = set(_named(_checked(site, course, "check the copy before anything is damaged")))
        planted = _plant(area, site, order, came, course)
        findings = _checked(site, course, "check the damaged copy")
        _judge(findings, known, planted, course)
        _repair(site, [one for one in findings if _name(one) not in known], course)
        compare(site.blobs, came, course)
        left = set(_named(_checked(site, course, "check the mended copy"))) - known
        course.demand(not left, f"{plural(len(left), 'finding')} are left after the repair")
        course.demand(_rows(site, came) == before, "the rows of the catalog are not those of before")


def _rows(site: ScratchSite, came: Collection[Digest]) -> Portrait:
    """The rows of the studies that the sample is from."""
    with site.catalog.reading() as unit:
        samples = Samples(unit)
        return samples.portrait(samples.studies_of(came))


def _checked(site: ScratchSite, course: Course, name: str) -> list[Finding]:
    """What a check that reads every byte finds."""
    with course.step(name) as timed:
        checked = site.check.run(verify=True, progress=lambda done, *_: course.tell(done, 256))
        timed.told = f"{plural(checked.read)} read, {plural(len(checked.findings), 'finding')}"
    if name.endswith("damaged copy"):
        sample = course.outcome.sample
        course.brought(
            "read everything back and find all damage", timed, objects=sample.objects, size=sample.bytes
        )
    return checked.findings


def _plant(area: Area, site: ScratchSite, order: Order, came: Collection[Digest], course: Course) -> Planted:
    """Damage the copy, each fault on an object of its own."""
    dice = order.dice("faults")
    planted = Planted()
    with course.step("plant faults") as timed:
        left = sorted(came)
        dice.shuffle(left)
        with site.catalog.reading() as unit:
            shown = set(Samples(unit).shown(left))
        for kind, share in SHARES.items():
            fit = [one for one in left if kind is not Trouble.UNLISTED or one in shown]
            taken = fit[: max(1, round(share * len(came)))]
            planted.faults[kind], left = taken, [one for one in left if one not in set(taken)]
        blobs = area.folder / "site" / "blobs"
        for kind in DAMAGE:
            for digest in planted.faults[Trouble(kind)]:
                damage(blobs / digest[:2] / digest, Trouble(kind), dice)
        with site.catalog.begin() as unit:
            planted.studies = {Samples(unit).drop(digest) for digest in planted.faults[Trouble.UNLISTED]}
        course.outcome.planted = {str(kind): len(digests) for kind, digests in planted.faults.items()}
        timed.told = listed([*course.outcome.planted.items()])
    return planted


def damage(path: Path, kind: Trouble, dice: random.Random) -> None:
    """Damage a file of the scratch area."""
    match kind:
        case Trouble.MISSING:
            path.unlink()
        case Trouble.TRUNCATED:
            with path.open("r+b") as file:
                file.truncate(dice.randrange(path.stat().st_size))
        case _:
            content = bytearray(path.read_bytes())
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
            path.write_bytes(content)


def _judge(findings: Sequence[Finding], known: set[Named], planted: Planted, course: Course) -> None:
    """Compare what was found with what was planted."""
    new = set(_named(findings)) - known
    outcome = course.outcome
    outcome.found = dict(Counter(kind for kind, _ in sorted(new)))
    outcome.missed = first(f"{kind} {name}" for kind, name in planted.names - new)
    outcome.false_alarms = first(f"{kind} {name}" for kind, name in new - planted.names)
    course.demand(not outcome.missed, f"the check has missed {plural(len(outcome.missed), 'fault')}")
    course.demand(
        not outcome.false_alarms,
        f"the check has raised {plural(len(outcome.false_alarms), 'false alarm')}",
    )
    if known:
        course.outcome.notes.append(
            f"{plural(len(known), 'finding')} of the live catalog came to light before anything was planted; "
            "see `konzilium check`"
        )


def _repair(site: ScratchSite, findings: Sequence[Finding], course: Course) -> None:
    """Mend what was found from copies of the members."""
    if not course.demand(
        bool(site.active()),
        "this site has no member that could give back what is damaged: nothing can be repaired here",
    ):
        return
    damaged = [one for one in findings if one.kind in DAMAGE]
    with course.step("repair from the members") as timed:
        try:
            done = site.repair.run(site.operator, findings, progress=course.tell)
        except BrakeTripped as error:
            course.fail(str(error))
            return
        course.outcome.repaired = len(done.repaired)
        timed.told = f"{plural(len(done.repaired), 'finding')} repaired, {len(done.left)} left"
    lost = [one.digest for one in done.left if one.kind in DAMAGE]
    course.outcome.loss.objects = len(lost)
    course.outcome.loss.named = first(lost)
    course.outcome.loss.told = (
        f"{plural(len(lost))} that no member could give back, of {len(damaged)} damaged"
    )
    course.demand(not done.left, f"{plural(len(done.left), 'finding')} could not be repaired")
    course.took("mend what is damaged", timed, done=len(damaged), of=len(damaged), unit="damaged objects")


def _name(finding: Finding) -> Named:
    return str(finding.kind), finding.digest or finding.instance


def _named(findings: Iterable[Finding]) -> list[Named]:
    return [_name(finding) for finding in findings]
