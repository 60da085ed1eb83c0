"""A partition: two sites made from the sample are cut off from each other, and come together again.

```
one  ── half of the sample ──▶ in step ── cut ── new, corrected, withdrawn, merged ──┐
                                                                                     ├─ healed ──▶ the same?
other ── half of the sample ─▶ in step ── cut ── new, other bytes, corrected ────────┘
```

Nobody else is called: both sites are in the scratch area, with keys of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from node.archive.part10 import StoredFile, offer_of
from node.catalog.samples import Samples
from node.domain.errors import NodeError
from node.domain.ids import AETitle, Digest, InstanceUID, SiteId, StudyUID
from node.domain.instance import Offer
from node.domain.member import Standing
from node.domain.principal import DEVICE_ACTIONS, Kind, Principal
from node.domain.query import Selection
from node.domain.rule import EVERYTHING
from node.identity import keys
from node.identity.home import Home
from node.identity.members import derive_members, state_consent, state_standing
from node.journal.entry import Fact
from node.recovery.drill.direct import Caller, Lines
from node.recovery.drill.order import Order
from node.recovery.drill.outcome import Course, plural
from node.recovery.drill.sample import compare, snapshot, some_studies
from node.recovery.drill.scratch import Area, ScratchSite
from node.replication.courier import Courier
from node.replication.habits import Habits
from node.replication.reconcile import reconcile

ONE, OTHER = SiteId("drill-one"), SiteId("drill-other")
ROUNDS: Final = 500
"""Turns in which both sites exchange until neither has anything left to do."""
DESCRIPTION: Final = 0x00081030
PROVED: Final = 1000
"""Copies that are read back in one turn."""


@dataclass(slots=True)
class Acknowledged:
    """What the sites have promised to keep."""

    digests: set[Digest] = field(default_factory=set)
    withdrawn: set[InstanceUID] = field(default_factory=set)


def hold(area: Area, order: Order, course: Course) -> None:
    """Hold the drill.

    Raises:
        NodeError: it could not be held to its end.
    """
    with snapshot(area, course) as site:
        studies, held = some_studies(site.catalog, order, course)
    area.demand_room(2 * sum(held.values()))
    dealt = sorted(held)
    order.dice("halves").shuffle(dealt)
    before, meanwhile = dealt[: len(dealt) // 2], dealt[len(dealt) // 2 :]
    promised, lines = Acknowledged(), Lines()
    with ExitStack() as stack:
        one, other = (stack.enter_context(_site(area, lines, name)) for name in (ONE, OTHER))
        with course.step("two sites join, and exchange half of the sample"):
            _join(one, other)
            _admit(area, before[::2], one, promised, course)
            _admit(area, before[1::2], other, promised, course)
            course.demand(_settle(one, other), "the sites did not come to rest before anything happened")
        with course.step("the line is cut, and both go on working") as timed:
            lines.cut(ONE, OTHER)
            _admit(area, [*meanwhile[::2], *meanwhile[1::10]], one, promised, course)
            _admit(area, meanwhile[1::2], other, promised, course)
            timed.told = _decide(area, one, other, before, promised, course)
            course.demand(not _settle(one, other, rounds=2), "the line was cut, and yet they exchanged")
        with course.step("the line heals, and both exchange until neither has anything to do") as timed:
            lines.heal()
            course.demand(_settle(one, other), "the sites did not come to rest after the line was healed")
        course.took(
            "be the same again", timed, done=len(meanwhile), of=max(1, len(meanwhile)), unit="new objects"
        )
        _judge(one, other, studies, promised, course)


def _site(area: Area, lines: Lines, name: SiteId) -> ScratchSite:
    """A new site of the scratch area, with a key of its own."""
    folder = area.folder / name
    folder.mkdir(mode=0o700)
    keys.make(folder / "keys", site=name, now=area.live.clock())
    home = Home(
        site=name,
        key_folder=folder / "keys",
        url=f"https://{name}.invalid:8443",
        ae_title=AETitle(name.upper()),
    )
    site = ScratchSite(
        folder,
        home=home,
        clock=area.live.clock,
        peers_of=lambda _, blobs: lines.peers(Caller(name=name, home=home, blobs=blobs)),
    )
    lines.open(site)
    return site


def _join(*sites: ScratchSite) -> None:
    """Let each know the other and exchange everything with it."""
    told = {site.name: site.catalog.perform(site.home.announce) for site in sites}
    for site in sites:
        with site.catalog.begin() as unit:
            for other in sites:
                if other is not site:
                    unit.journal.append(Fact.MEMBER, {"site": other.name, "descriptor": told[other.name]})
                    state_standing(unit, site.operator, other.name, Standing.ACTIVE)
                    state_consent(unit, site.operator, other.name, export=EVERYTHING, accept=EVERYTHING)
            derive_members(unit)


def _admit(
    area: Area, digests: Sequence[Digest], site: ScratchSite, promised: Acknowledged, course: Course
) -> None:
    """Send objects of the live site to one of the two, as a modality does."""
    for number, digest in enumerate(digests, start=1):
        try:
            with area.live.blobs.open_whole(digest) as file:
                offer, content = offer_of(file), b"".join(StoredFile.of(file).data_set())
        except NodeError as error:
            course.fail(f"an object of the live site could not be read: {error}")
            continue
        _send(site, offer, content, promised)
        course.tell(number, len(digests))


def _send(site: ScratchSite, offer: Offer, content: bytes, promised: Acknowledged) -> None:
    device = Principal(kind=Kind.DEVICE, name="DRILL", site=site.name, may=DEVICE_ACTIONS)
    promised.digests.add(site.archive.admit(device, offer, [content]).digest)


def _decide(
    area: Area,
    one: ScratchSite,
    other: ScratchSite,
    common: Sequence[Digest],
    promised: Acknowledged,
    course: Course,
) -> str:
    """Let persons at both sites decide about what both have, without knowing of each other."""
    with one.catalog.reading() as unit:
        samples = Samples(unit)
        shown = samples.shown(common)
        studies = sorted(samples.studies_of(shown))
    if not course.demand(len(shown) > 1, "the sample is too small: take more with --objects"):
        return ""
    for site in (one, other):
        said = {DESCRIPTION: f"corrected at {site.name}"}
        site.archive.correct(site.operator, studies[0], said, "drill")
    other.archive.correct(other.operator, studies[-1], {DESCRIPTION: "corrected once"}, "drill")
    taken, changed = sorted(shown)[:2]
    promised.withdrawn |= _withdraw(one, taken)
    _send_changed(area, other, changed, promised)
    return "3 corrections, 1 withdrawal and other bytes under a known UID beside the new objects"


def _withdraw(site: ScratchSite, digest: Digest) -> set[InstanceUID]:
    with site.catalog.reading() as unit:
        uid = unit.forms.holder_of(digest)
    assert uid is not None, "what is shown has a UID"
    return set(site.archive.retract(site.operator, Selection(instances=(uid,)), "drill"))


def _send_changed(area: Area, site: ScratchSite, digest: Digest, promised: Acknowledged) -> None:
    """Send other bytes under a known UID: both have to be kept."""
    with area.live.blobs.open_whole(digest) as file:
        offer, content = offer_of(file), bytearray(b"".join(StoredFile.of(file).data_set()))
    content[-1] ^= 1
    _send(site, offer, bytes(content), promised)


def _settle(*sites: ScratchSite, rounds: int = ROUNDS) -> bool:
    """Let both exchange until neither has anything left to do; whether they came to that."""
    for _ in range(rounds):
        busy = [_exchange(site) for site in sites]
        if not any(busy):
            return _reach(*sites)
    return False


def _exchange(site: ScratchSite) -> bool:
    """Call every member once and prove what came; whether anything went on."""
    more = False
    for name in site.active():
        courier = Courier(
            name,
            catalog=site.catalog,
            blobs=site.blobs,
            intake=site.intake,
            service=site.service,
            peers=site.peers,
            habits=Habits(streams=1),
        )
        try:
            more |= courier.round()
        except NodeError:
            continue
        finally:
            courier.close()
    return bool(site.intake.prove(PROVED)) or more


def _reach(one: ScratchSite, other: ScratchSite) -> bool:
    """Whether each has heard all that the other one says."""
    return all(_has_heard(*pair) for pair in ((one, other), (other, one)))


def _has_heard(site: ScratchSite, teller: ScratchSite) -> bool:
    with teller.catalog.reading() as unit:
        epochs = unit.journal.epochs()
    with site.catalog.reading() as unit:
        return all(unit.cursors.find(teller.name, epoch).seq >= last for epoch, last in epochs.items())


def _judge(
    one: ScratchSite,
    other: ScratchSite,
    studies: set[StudyUID],
    promised: Acknowledged,
    course: Course,
) -> None:
    """Compare rows, fingerprints and bytes of both with each other and with what was promised."""
    with course.step("compare both sites") as timed:
        portraits = []
        for site in (one, other):
            with site.catalog.reading() as unit:
                portraits.append(Samples(unit).portrait(studies))
        apart = [table for table in portraits[0] if portraits[0][table] != portraits[1][table]]
        course.demand(not apart, f"both sites tell different things after the line has healed: {apart}")
        with one.peers(OTHER) as peer:
            found = reconcile(one.catalog, peer)
        timed.told = f"both have the fingerprint {found.fingerprint}" if found.equal else ""
        course.demand(found.equal, f"both sites differ in {plural(len(found.differences))}")
        _stays_withdrawn(one, other, promised, course)
    for site in (one, other):
        compare(site.blobs, promised.digests, course)
        _know_all(site, promised, course)
    lost = course.outcome.digests.missing + course.outcome.digests.different
    course.outcome.loss.objects = lost
    course.outcome.loss.told = (
        f"{plural(lost)} of {len(promised.digests):,} that were acknowledged on either side were lost"
    )


def _know_all(site: ScratchSite, promised: Acknowledged, course: Course) -> None:
    """See that everything that was acknowledged is in the rows of a site."""
    with site.catalog.reading() as unit:
        lacking = [digest for digest in promised.digests if unit.holdings.find(digest) is None]
    course.demand(
        not lacking, f"{plural(len(lacking))} that were acknowledged are not in the catalog of {site.name}"
    )


def _stays_withdrawn(one: ScratchSite, other: ScratchSite, promised: Acknowledged, course: Course) -> None:
    """See that what a person withdrew on one side has not come back from the other."""
    for site in (one, other):
        with site.catalog.reading() as unit:
            back = [uid for uid in promised.withdrawn if unit.forms.shown(uid) is not None]
        course.demand(
            not back, f"{plural(len(back), 'instance')} withdrawn by a person came back at {site.name}"
        )
