"""Everything that may happen in a simulated world; each deed draws from the chance of its step.

Devices and persons, what nodes do by themselves, and trouble. A deed returns what came of it, in words, or
None where nothing did.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, TypeAlias

from node.domain.commitment import Wanted
from node.domain.errors import BrakeTripped, NodeError
from node.domain.ids import UID, Digest, SiteId
from node.domain.query import Selection
from node.domain.role import Role
from node.domain.rule import EVERYTHING, NOTHING, Match, Rule, Terms
from node.replication.rules import RuleBook
from tests.simulation.book import samples
from tests.simulation.wire import Weather
from tests.support.pool import PATIENTS, PLACES, STUDIES, Sample, sample, study_of, uid_of
from tests.support.views import copies_of, shown

if TYPE_CHECKING:
    from tests.simulation.site import SimulatedSite
    from tests.simulation.world import World

Deed: TypeAlias = "Callable[[World], str | None]"
KINDS = ("plain", "plain", "plain", "implicit", "other", "stranger")
CT = Terms(matches=(Match(modalities=("CT",)),))
DAY = 86_400_000_000
POLICIES = (
    None,
    None,
    Rule(name="one", copies=1),
    Rule(name="ct", match=Match(modalities=("CT",))),
    Rule(name="there", sites=(SiteId("prague"),)),
)


# ---- devices


def device_sends(world: World) -> str:
    """A device sends some instances to a site."""
    site = world.site()
    told = [send(world, site, a_sample(world.chance)) for _ in range(world.chance.choice((1, 1, 2, 4)))]
    return f"to {site.name}: {', '.join(told)}"


def a_sample(chance: random.Random) -> Sample:
    return sample(chance.choice(sorted(PLACES)), chance.choice(KINDS))


def send(world: World, site: SimulatedSite, sent: Sample) -> str:
    """One instance; whatever the site answers holds from then on."""
    try:
        admitted = site.admit((sent.offer, sent.data))
    except NodeError as error:
        return f"{sent.content} {type(error).__name__}"
    book = world.book
    book.acknowledged[admitted.digest] = sent
    book.received[admitted.digest].add(site.name)
    book.excused.discard(sent.content)
    book.mended()
    return f"{sent.content} {admitted.digest[:8]} {admitted.outcome}"


def device_asks_for_commitment(world: World) -> str:
    """A device asks a site to vouch for what it has sent."""
    site = world.site()
    sent = [a_sample(world.chance) for _ in range(world.chance.choice((1, 2)))]
    wanted = [Wanted(sop_class=one.offer.sop_class, instance=one.uid) for one in sent]
    transaction = UID(f"1.2.826.{world.chance.randrange(10**9)}")
    site.archive.request_commitment(site.device, transaction, wanted)
    return f"{site.name} about {[one.content[0] for one in sent]}"


# ---- persons


def study_is_corrected(world: World) -> str:
    site, study = world.site(), world.chance.choice(STUDIES)
    value = world.chance.choice((None, "corrected", "corrected again", ""))
    site.archive.correct(site.operator, study, {0x00081030: value}, "typing error")
    return f"{site.name} {study[-3:]} {value!r}"


def patient_is_corrected(world: World) -> str:
    site, patient = world.site(), world.chance.choice(PATIENTS)
    value = world.chance.choice((None, "Svobodová^Eva", "Svobodová^Eva^A"))
    site.archive.correct(site.operator, patient, {0x00100010: value}, "married")
    return f"{site.name} {patient[1]} {value!r}"


def patients_are_merged(world: World) -> str:
    site, pair = world.site(), world.chance.sample(PATIENTS, 2)
    site.archive.merge(site.operator, pair[0], pair[1], "one person")
    return f"{site.name} {pair[0][1]} into {pair[1][1]}"


def merge_is_taken_back(world: World) -> str:
    site, patient = world.site(), world.chance.choice(PATIENTS)
    site.archive.unmerge(site.operator, patient, "two persons")
    return f"{site.name} {patient[1]}"


def chosen(chance: random.Random) -> tuple[int, Selection]:
    number = chance.choice(sorted(PLACES))
    if chance.random() < 0.5:
        return number, Selection(studies=(study_of(number),))
    return number, Selection(instances=(uid_of(number),))


def something_is_withdrawn(world: World) -> str:
    site, (number, selection) = world.site(), chosen(world.chance)
    done = site.archive.retract(site.operator, selection, "wrong patient")
    return f"{site.name} {number} {'study' if selection.studies else 'instance'}: {len(done)}"


def something_is_restored(world: World) -> str:
    site, (number, selection) = world.site(), chosen(world.chance)
    done = site.archive.restore(site.operator, selection, "right patient")
    return f"{site.name} {number} {'study' if selection.studies else 'instance'}: {len(done)}"


def study_is_locked(world: World) -> str:
    site, number = world.site(), world.chance.choice(sorted(PLACES))
    days = world.chance.choice((0.01, 1, 1000))
    site.archive.lock(site.operator, study_of(number), site.clock.now + int(days * DAY), "litigation")
    return f"{site.name} study of {number} for {days} days"


def terms_change(world: World) -> str:
    site = world.site()
    other = world.chance.choice(world.others(site))
    export, accept = (world.chance.choice((EVERYTHING, EVERYTHING, NOTHING, CT)) for _ in range(2))
    site.members.consent(site.operator, other.name, export=export, accept=accept)
    return f"{site.name} gives {other.name} {export}, takes {accept}"


def member_is_suspended(world: World) -> str:
    site = world.site()
    other = world.chance.choice(world.others(site))
    site.members.suspend(site.operator, other.name, "maintenance")
    world.later(world.chance.choice((60, 5000)), lambda: _resume(site, other.name))
    return f"{other.name} by {site.name}"


def _resume(site: SimulatedSite, other: SiteId) -> None:
    if not site.is_down:
        site.members.resume(site.operator, other)


def rules_change(world: World) -> str:
    site, policy = world.site(), world.chance.choice(POLICIES)
    _set_rule(site, policy)
    return f"{site.name}: {policy.name if policy else 'none'}"


def _set_rule(site: SimulatedSite, policy: Rule | None) -> None:
    book = RuleBook(site.catalog)
    if policy is not None:
        book.add(site.operator, policy, replace=True)
        return
    for known in book.all():
        book.remove(site.operator, known.name)


def copy_is_given_up(world: World) -> str | None:
    site, number = world.site(), world.chance.choice(sorted(PLACES))
    with site.catalog.reading() as unit:
        digest = unit.instances.digest(uid_of(number))
    if digest is None:
        return None
    world.book.given_up.add((site.name, digest))
    keeper = site.dropping.drop(site.operator, digest)
    return f"{digest[:8]} by {site.name}; {keeper} keeps it"


def catalog_is_backed_up(world: World) -> str:
    site = world.site()
    site.back_up()
    return site.name


def catalog_is_restored(world: World) -> str | None:
    """The disk of a catalog breaks, and all there is is its last backup."""
    site = world.site()
    if site.backup is None:
        return None
    site.restore()
    return f"{site.name}; {len(world.book.lost)} facts are lost for good"


def site_is_promoted(world: World) -> str:
    site = world.site()
    role = site.roles.promote(site.operator, reason="the archive does not answer")
    return f"{site.name}, term {role.term}"


def site_is_demoted(world: World) -> str:
    site = world.site()
    role = site.roles.demote(site.operator, reason="the archive is to be elsewhere")
    return f"{site.name}, term {role.term}"


# ---- what nodes do by themselves


def courier_calls(world: World) -> str:
    site = world.site()
    other = world.chance.choice(world.others(site))
    pause = site.turn(other.name)
    return f"{site.name} calls {other.name}{', more' if not pause else ''}"


def all_couriers_call(world: World) -> str:
    for site in world.running:
        for other in world.others(site):
            if not site.is_down:
                site.turn(other.name)
        if not site.is_down:
            site.intake.prove(100)
    return "each the others"


def prover_reads(world: World) -> str | None:
    site = world.site()
    read = site.intake.prove(world.chance.choice((1, 100)))
    return f"{site.name}: {read}" if read else None


def worker_works(world: World) -> str | None:
    site = world.site()
    done = site.work(world.chance.choice((1, 100)))
    return f"{site.name}: {done}" if done else None


def site_checks_itself(world: World) -> str:
    site = world.site()
    verify = world.chance.random() < 0.5
    found = site.check.run(verify=verify)
    return f"{site.name}: {[f'{one.kind} {one.digest[:8]}' for one in found.findings]}"


def site_repairs_itself(world: World) -> str:
    site = world.site()
    found = site.check.run(verify=True).findings
    if not found:
        return f"{site.name}: nothing to repair"
    return f"{site.name}: {repaired(world, site)}"


def repaired(world: World, site: SimulatedSite) -> str:
    """Repair what is found at a site; a person looks where the brake asks for one."""
    with site.catalog.reading() as unit:
        findings = unit.findings.unsettled()
    with world.book.repair(site, alone=not world.plan.interleaved):
        try:
            outcome = site.repair.run(site.operator, findings)
        except BrakeTripped:
            site.brake.release(site.operator, "repair", "looked at")
            outcome = site.repair.run(site.operator, findings)
    return f"{len(outcome.repaired)} repaired, {len(outcome.settled)} in order, {len(outcome.left)} left"


# ---- trouble


def link_is_cut(world: World) -> str:
    one, other = world.chance.sample(sorted(world.sites), 2)
    both = world.chance.random() < 0.5
    (world.wire.sever if both else world.wire.sever_one_way)(one, other)
    world.later(world.chance.choice((20, 1000, 50_000)), lambda: world.wire.mend(one, other))
    return f"between {one} and {other}" if both else f"from {one} to {other}"


def late_call_arrives(world: World) -> str | None:
    return "a call that was made before" if world.wire.deliver_late() else None


def weather_changes(world: World) -> str:
    chance = world.chance
    world.wire.weather = Weather(
        lost=chance.choice((0, 0, 0.2)),
        twice=chance.choice((0, 0.2)),
        late=chance.choice((0, 0.2)),
        torn=chance.choice((0, 0.5)),
        latency=chance.choice((0.001, 0.1, 5)),
    )
    return str(world.wire.weather)


def power_is_cut(world: World) -> str:
    site = world.site()
    site.crash()
    return site.name


def site_is_stopped(world: World) -> str:
    site = world.site()
    site.stop()
    return site.name


def clock_jumps(world: World) -> str:
    site, seconds = world.site(), world.chance.choice((-3600, -5, 1, 60, 3600, 100_000))
    site.clock.jump(seconds)  # type: ignore[attr-defined]
    return f"{site.name} by {seconds} s"


def disk_fills(world: World) -> str:
    site = world.site()
    site.blobs.full = True
    world.later(world.chance.choice((10, 500)), lambda: setattr(site.blobs, "full", False))
    return site.name


def disk_refuses(world: World) -> str:
    """A cable is loose: now and then a read or a write fails."""
    site, odds = world.site(), world.chance.choice((0.2, 1.0))
    site.blobs.refuses = lambda: world.wire.happens(odds)
    world.later(world.chance.choice((10, 500)), lambda: setattr(site.blobs, "refuses", lambda: False))
    return site.name


def bytes_are_damaged(world: World) -> str | None:
    """Some copies rot, are cut short or vanish; mostly only where a whole one is elsewhere, too."""
    site = world.chance.choice(list(world.sites.values()))
    here = sorted(site.blobs.blobs)
    world.chance.shuffle(here)
    harm: list[tuple[SimulatedSite, Digest, bytes | None]] = []
    for digest in here[: world.chance.choice((1, 1, 3))]:
        if world.plan.reckless or is_safe_besides(world, site, digest):
            harm.append((site, digest, _harmed(world.chance, digest, site.blobs.blobs[digest])))
    world.book.sabotage(harm)
    told = [f"{digest[:8]} {'is gone' if made is None else 'is damaged'}" for _, digest, made in harm]
    return f"at {site.name}: {', '.join(told)}" if told else None


def _harmed(chance: random.Random, digest: Digest, content: bytes) -> bytes | None:
    how = chance.choice(("rot", "rot", "short", "gone"))
    if how == "gone" or not content:
        return None
    if how == "short":
        return content[: chance.randrange(len(content))]
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]


def is_safe_besides(world: World, site: SimulatedSite, digest: Digest) -> bool:
    """Whether another site shows these bytes, whole."""
    return any(
        not other.is_down and other.blobs.whole(digest) and digest in copies_of(other)
        for other in world.others(site)
    )


DEEDS: Mapping[str, tuple[Deed, int]] = {
    deed.__name__: (deed, weight)
    for deed, weight in (
        (device_sends, 22),
        (device_asks_for_commitment, 4),
        (study_is_corrected, 3),
        (patient_is_corrected, 3),
        (patients_are_merged, 3),
        (merge_is_taken_back, 1),
        (something_is_withdrawn, 6),
        (something_is_restored, 5),
        (study_is_locked, 3),
        (terms_change, 4),
        (member_is_suspended, 2),
        (rules_change, 4),
        (copy_is_given_up, 5),
        (catalog_is_backed_up, 4),
        (catalog_is_restored, 4),
        (site_is_promoted, 5),
        (site_is_demoted, 1),
        (courier_calls, 16),
        (all_couriers_call, 14),
        (prover_reads, 6),
        (worker_works, 10),
        (site_checks_itself, 3),
        (site_repairs_itself, 4),
        (link_is_cut, 4),
        (late_call_arrives, 3),
        (weather_changes, 2),
        (power_is_cut, 3),
        (site_is_stopped, 2),
        (clock_jumps, 3),
        (disk_fills, 2),
        (disk_refuses, 2),
        (bytes_are_damaged, 6),
    )
}
NEEDED = frozenset({"device_sends", "courier_calls", "all_couriers_call"})
"""Deeds that occur in every run."""
NESTED: Mapping[str, tuple[Deed, int]] = {
    name: DEEDS[name]
    for name in (
        "device_sends",
        "something_is_withdrawn",
        "something_is_restored",
        "copy_is_given_up",
        "rules_change",
        "courier_calls",
        "prover_reads",
        "worker_works",
        "site_repairs_itself",
        "power_is_cut",
        "late_call_arrives",
    )
}
"""Deeds that may happen in the middle of another one."""


IN_A_LINE = frozenset({"site_is_promoted", "site_is_demoted"})
"""Deeds that occur where sites follow each other."""
NOT_IN_A_LINE = frozenset({"copy_is_given_up"})


def line_up(world: World) -> None:
    """The first site is the archive; the others are backups that may take its place."""
    first, *others = world.sites.values()
    first.roles.state(first.operator, successors=[other.name for other in others], reason="the line")
    for other in others:
        other.roles.state(other.operator, Role.BACKUP, reason="the line")


def draw(chance: random.Random, deeds: Mapping[str, tuple[Deed, int]], kinds: Collection[str]) -> Deed:
    """One of these deeds, by their weights, of those kinds that occur."""
    found = [deed for name, deed in deeds.items() if name in kinds]
    return chance.choices([deed for deed, _ in found], [weight for _, weight in found])[0]


# ---- the end


def mend(world: World) -> None:
    """Mend everything that was broken, as persons and time do."""
    world.wire.heal()
    for site in world.sites.values():
        site.blobs.full = False
        site.blobs.refuses = lambda: False
        site.start()
        site.fuse = 0
    for site in world.sites.values():
        _set_rule(site, None)
        for member in site.members.all():
            if not member.is_active:
                site.members.resume(site.operator, member.site)
            if (member.export, member.accept) != (EVERYTHING, EVERYTHING):
                site.members.consent(site.operator, member.site, export=EVERYTHING, accept=EVERYTHING)
    _send_again(world)


def _send_again(world: World) -> None:
    """What was destroyed everywhere comes from the device once more, byte for byte."""
    for site in world.sites.values():
        for digest in sorted(copies_of(site)):
            if not world.book.holders(digest):
                world.says(f"sent again to {site.name}: {send(world, site, samples()[digest])}")


def by_itself(world: World, site: SimulatedSite) -> None:
    """What a site does when nobody disturbs it: call, prove, work, look at its own disk."""
    for other in world.others(site):
        site.turn(other.name)
    site.intake.prove(1000)
    site.work(100)
    if site.blobs.damaged() or any(name == site.name for name, _ in world.book.damaged):
        site.check.run(verify=True)
        repaired(world, site)


def take_back(world: World) -> bool:
    """Sites look at their disks, and are sent again what they gave up; whether there was anything to do."""
    begun = False
    for site in world.sites.values():
        if world.plan.thorough or set(site.blobs.blobs) != copies_of(site):
            found = site.check.run(verify=True).findings
            begun |= bool(found)
            world.says(f"{site.name}: {repaired(world, site) if found else 'in order'}")
    for name, digest in sorted(world.book.given_up):
        site = world.sites[name]
        if digest not in shown(site) and any(digest in shown(other) for other in world.sites.values()):
            world.says(f"taken back by {name}: {send(world, site, samples()[digest])}")
            begun = True
    return begun or any(site.rows("SELECT 1 FROM job WHERE kind != 'drop'") for site in world.sites.values())
