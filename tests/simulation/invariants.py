"""What is promised, as functions that look: at every moment, now and then, and in the end.

Each function's first line is the promise. They judge by `tests.simulation.book`, which knows what happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.archive.derive import state_of
from node.audit import record as ledger
from node.domain.finding import Trouble
from node.domain.ids import Digest, InstanceUID, SiteId
from node.journal.entry import Entry, Fact, verify
from node.recovery.rebuild import rebuild
from node.replication.reconcile import reconcile
from tests.simulation.book import Book, samples, told, told_at
from tests.simulation.promises import Broken
from tests.support.pool import PLACES, uid_of
from tests.support.views import shown, view

if TYPE_CHECKING:
    from tests.simulation.site import SimulatedSite
    from tests.simulation.world import World


def demand(holds: bool, promise: str, how: str) -> None:
    """See that a promise is kept.

    Raises:
        Broken: it is not.
    """
    if not holds:
        raise Broken(promise, how)


def at_every_moment(world: World) -> None:
    """Look at what is cheap to look at."""
    acknowledged_is_durable(world)
    damage_does_not_spread(world)
    for site in world.running:
        new = world.book.read(site)
        copies_are_there_when_they_are_claimed(world, site, new)
    claims_are_true(world)


def now_and_then(world: World) -> None:
    """Look at what takes longer."""
    for site in world.running:
        nothing_withdrawn_is_shown(site)
        counts_are_right(site)
        what_is_wanted_is_not_proved(site)


def in_the_end(world: World) -> None:
    """Look at everything, when the sites have come to rest."""
    at_every_moment(world)
    now_and_then(world)
    facts_are_everywhere(world)
    chains_hold(world)
    one_archive_is_left(world)
    all_show_the_same(world)
    nothing_comes_back(world)
    acknowledged_is_shown(world)
    committed_is_kept(world)
    copies_are_known(world)
    comparison_agrees(world)
    if world.plan.thorough:
        check_is_clean(world)
        rebuilt_is_the_same(world)


# ---- acknowledged implies durable


def acknowledged_is_durable(world: World) -> None:
    """What a device was told is safe is whole at some site, unless the saboteur destroyed every copy."""
    missing = world.book.missing()
    demand(not missing, "acknowledged implies durable", f"{sorted(missing)} is whole nowhere")


def acknowledged_is_shown(world: World) -> None:
    """What a device was told is safe is shown at every site, unless it was withdrawn."""
    for sent in world.book.acknowledged.values():
        if sent.content in world.book.excused or is_withdrawn(world.book, sent.uid):
            continue
        for site in world.sites.values():
            forms = {samples()[digest].content for digest in shown(site)}
            there = sent.content in forms
            demand(there, "acknowledged implies durable", f"{sent.content} is not shown at {site.name}")


# ---- convergence


def facts_are_everywhere(world: World) -> None:
    """Every site has every fact that concerns it and that was not lost with the only catalog it was in."""
    told = world.book.concerns_others()
    for site in world.sites.values():
        missing = sorted(told - {fact for origin in world.sites for fact in told_at(site, origin)})
        demand(not missing, "convergence", f"{site.name} has not heard of {missing[:3]}")


def all_show_the_same(world: World) -> None:
    """All sites show the same patients, studies, series, instances, conflicts and merges."""
    first, *others = world.sites.values()
    expected = view(first)
    for other in others:
        for table, rows in view(other).items():
            apart = [row for row in (*rows, *expected[table]) if (row in rows) != (row in expected[table])]
            demand(not apart, "convergence", f"{first.name} and {other.name} differ in {table}: {apart[:2]}")


def copies_are_known(world: World) -> None:
    """Each site knows of the copies at the others, and nothing is owed any more."""
    for site in world.sites.values():
        for other in world.others(site):
            claimed = {digest for digest, at in verified(site, "held") if at == other.name}
            unknown = sorted(shown(other) - claimed)
            demand(not unknown, "convergence", f"{site.name} misses copies at {other.name}: {unknown}")


def comparison_agrees(world: World) -> None:
    """Sites that compare what they hold find no difference."""
    for site in world.sites.values():
        for other in world.others(site):
            if other.callable:
                found = reconcile(site.catalog, site.peer(other.name))
                agrees = found.equal and found.count == len(shown(site))
                demand(agrees, "convergence", f"{site.name} and {other.name} compare: {found}")


def check_is_clean(world: World) -> None:
    """A check that reads every byte finds nothing, but what persons have to settle or have withdrawn."""
    for site in world.sites.values():
        hidden = {row[0] for row in site.rows("SELECT digest FROM withdrawn")}
        found = [
            one
            for one in site.check.run(verify=True).findings
            if one.kind is not Trouble.CONFLICTING and one.digest not in hidden
        ]
        told = [f"{one.kind} {one.digest[:8]} {one.evidence}" for one in found]
        demand(not found, "repair leaves nothing", f"{site.name} is not clean: {told}")


def rebuilt_is_the_same(world: World) -> None:
    """A catalog that is made anew from journal and bytes is what it was."""
    for site in world.sites.values():
        forget_orphans(world, site)
        before = view(site)
        rebuild(site.archive, site.blobs, site.catalog, site.operator, lambda done, total: None)
        for table, rows in view(site).items():
            apart = [row for row in (*rows, *before[table]) if (row in rows) != (row in before[table])]
            demand(not apart, "convergence", f"{site.name} is rebuilt otherwise in {table}: {apart[:2]}")


def forget_orphans(world: World, site: SimulatedSite) -> None:
    """Remove bytes that came before a crash and that no fact names: a rebuild would admit them."""
    named = {entry.says["digest"] for entry in world.book.facts.values() if entry.kind is Fact.INSTANCE}
    for digest in list(site.blobs.blobs):
        if digest not in named:
            site.blobs.blobs.pop(digest)


# ---- no resurrection


def nothing_withdrawn_is_shown(site: SimulatedSite) -> None:
    """What a site knows to be withdrawn it does not show."""
    with site.catalog.reading() as unit:
        for uid in map(uid_of, PLACES):
            if unit.instances.digest(uid) is not None:
                demand(not state_of(unit, uid).withdrawn, "no resurrection", f"{site.name} shows {uid}")


def nothing_comes_back(world: World) -> None:
    """What was withdrawn, and restored by nobody since, is shown nowhere; what was restored is."""
    for uid in map(uid_of, PLACES):
        gone = is_withdrawn(world.book, uid)
        for site in world.sites.values():
            with site.catalog.reading() as unit:
                is_shown = unit.instances.digest(uid) is not None
            if gone:
                demand(not is_shown, "no resurrection", f"{site.name} shows {uid} again")


def is_withdrawn(book: Book, uid: InstanceUID) -> bool:
    """Whether the latest decision about an instance that no lock forbids withdraws it."""
    locks = book.decisions(Fact.LOCK)
    last = False
    for one in book.decisions(Fact.RETRACT):
        withdraws = one.says["withdrawn"]
        if one.says["uid"] == uid and not (withdraws and any(_forbids(lock, one) for lock in locks)):
            last = withdraws
    return last


def _forbids(lock: Entry, withdrawal: Entry) -> bool:
    """Whether somebody locked the study without knowing of the withdrawal, for longer than that took."""
    if lock.says["study"] != withdrawal.says["study"] or lock.says["until"] <= withdrawal.at:
        return False
    if lock.origin == withdrawal.origin:
        return (lock.epoch, lock.seq) < (withdrawal.epoch, withdrawal.seq)
    return lock.says["seen"].get(f"{withdrawal.origin}/{withdrawal.epoch}", 0) < withdrawal.seq


# ---- no split brain


def chains_hold(world: World) -> None:
    """Every journal and every audit ledger is one chain."""
    for site in world.sites.values():
        with site.catalog.reading() as unit:
            for epoch in unit.journal.epochs():
                verify(unit.journal.after(0, epoch=epoch))
            ledger.verify(unit.audit.after())


def one_archive_is_left(world: World) -> None:
    """Of sites that follow each other at most one takes what devices send, and all sites know which."""
    first, *others = world.sites.values()
    for other in others:
        same = first.rows(_ROLES) == other.rows(_ROLES)
        demand(same, "no split brain", f"{first.name} and {other.name} differ about roles")
    if world.plan.line:
        taking = [site.name for site in world.sites.values() if site.roles.here().role.takes]
        demand(len(taking) <= 1, "no split brain", f"{taking} are archives of one line")


_ROLES = "SELECT * FROM role ORDER BY site"


# ---- repair never spreads damage


def damage_does_not_spread(world: World) -> None:
    """Bytes that are not what their name says are only where the saboteur put them."""
    for site in world.sites.values():
        spread = [digest for digest in site.blobs.damaged() if (site.name, digest) not in world.book.damaged]
        demand(not spread, "repair never spreads damage", f"{spread} at {site.name}")


# ---- commitments kept, claims true


def committed_is_kept(world: World) -> None:
    """What was answered as committed is still where its copies were verified, unless they were destroyed."""
    there = world.book.contents() | world.book.excused
    for digest in world.book.committed:
        content = samples()[digest].content
        demand(content in there, "commitments kept", f"{content} was committed, and is whole nowhere")


def copies_are_there_when_they_are_claimed(world: World, site: SimulatedSite, new: list[Entry]) -> None:
    """A site that says that it has read a copy back has it."""
    claimed: set[Digest] = set()
    for entry in new:
        if entry.kind is Fact.COPIES:
            claimed = (claimed | set(entry.says["verified"])) - set(entry.says["gone"])
    false = [digest for digest in sorted(claimed) if not site.blobs.whole(digest)]
    demand(not false, "claims are true", f"{site.name} says that it has read back {false}")


def claims_are_true(world: World) -> None:
    """A copy is called verified only where it is, or where it was damaged or given up since."""
    for site in world.running:
        for digest, at in verified(site):
            other = world.sites[SiteId(at)]
            if other.blobs.whole(digest) or (other.name, digest) in world.book.damaged:
                continue
            true = unread_farewell(world, site, other, digest)
            demand(true, "claims are true", f"{site.name} believes in a copy of {digest[:8]} at {at}")


def unread_farewell(world: World, site: SimulatedSite, other: SimulatedSite, digest: Digest) -> bool:
    """Whether a site has said that its copy is gone, and the other one has not read it or may not."""
    said = {
        told(entry)
        for entry in world.book.facts.values()
        if entry.origin == other.name and entry.kind is Fact.COPIES and digest in entry.says["gone"]
    }
    return bool(said - told_at(site, other.name))


def what_is_wanted_is_not_proved(site: SimulatedSite) -> None:
    """What a site still wants it has not told to be proved."""
    wanted = {Digest(row[0]) for row in site.rows("SELECT digest FROM want WHERE state = 'wanted'")}
    if not wanted:
        return
    proved: set[Digest] = set()
    with site.catalog.reading() as unit:
        for epoch in unit.journal.epochs():
            for entry in unit.journal.after(0, epoch=epoch):
                if entry.kind is Fact.COPIES:
                    proved = (proved | set(entry.says["verified"])) - set(entry.says["gone"])
    both = sorted(digest for digest in wanted & proved if site.blobs.whole(digest))
    demand(not both, "claims are true", f"{site.name} wants {both}, which it has proved")


def verified(site: SimulatedSite, *besides: str) -> list[tuple[Digest, str]]:
    """Copies at other sites, as a site believes."""
    states = "', '".join(["verified", *besides])
    return site.rows(f"SELECT digest, site FROM replica WHERE state IN ('{states}')")  # type: ignore[return-value]


# ---- counts


def counts_are_right(site: SimulatedSite) -> None:
    """What the catalog counts is what a recount finds; and so are the sums by which sites compare."""
    with site.catalog.reading() as unit:
        wrong = unit.holdings.miscounted()
    demand(not wrong, "counts are right", f"{site.name} miscounts {[uid for _, uid in wrong]}")
    common = site.rows("SELECT site, count(*) FROM common GROUP BY site ORDER BY site")
    summed = site.rows(
        "SELECT site, sum(count) FROM common_sum GROUP BY site HAVING sum(count) > 0 ORDER BY site"
    )
    demand(common == summed, "counts are right", f"{site.name} sums up {summed}, not {common}")


# ---- rest


_PENDING = """SELECT 'want', state, digest, error FROM want
    UNION ALL SELECT 'owed', site, digest, '' FROM replica WHERE state = 'owed'
    UNION ALL SELECT 'job', kind, key, error FROM job WHERE kind != 'drop'
        AND (kind != 'repair' OR key NOT IN (SELECT digest FROM withdrawn))
    UNION ALL SELECT 'finding', kind, digest, outcome FROM finding
        WHERE state IN ('open', 'lost') AND kind IN ('missing', 'corrupt', 'truncated')
        AND digest NOT IN (SELECT digest FROM withdrawn)"""
_PROGRESS = """SELECT origin, epoch, seq FROM cursor UNION ALL
    SELECT origin, epoch * 1000000 + first, last FROM gap UNION ALL
    SELECT * FROM (SELECT origin, epoch, max(seq) FROM journal GROUP BY origin, epoch)"""


def pending(site: SimulatedSite, patiently: bool = False) -> list[str]:
    """What a site still has to do; patiently, without what waits for copies that persons gave up."""
    given_up = site.world.book.given_up if patiently else set()
    return [
        f"{name} {what} {which[:60]} {why}"
        for name, what, which, why in site.rows(_PENDING)
        if not (patiently and what == "commitment") and (what, which) not in given_up
    ]


def is_busy(site: SimulatedSite, patiently: bool) -> bool:
    """Whether a site has something to do, or waits before it calls somebody again."""
    return any(courier._pause for courier in site.couriers.values()) or bool(pending(site, patiently))


def progress(site: SimulatedSite) -> tuple[object, ...]:
    """What changes at a site as long as anything goes on."""
    return tuple(site.rows(_PROGRESS))
