"""What is looked at is what is there; what is kept of a look makes the next one wiser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.catalog import measures
from node.domain.alert import SECOND, Severity
from node.domain.emergency import Emergency, Verdict
from node.domain.errors import CatalogBusy, StoreFailing
from node.domain.finding import Finding, Trouble
from node.domain.ids import AETitle, Digest, InstanceUID, SiteId
from node.domain.job import Task
from node.domain.member import Contact, Member, Standing
from node.domain.principal import Action, Device
from node.domain.replica import CopyState, Replica
from node.domain.rule import EVERYTHING
from node.watch.look import AWAKE, BREAK, COUNT, FREE, MUTE, Eye, Look, Place, keep
from node.watch.rhythm import Rhythm
from node.watch.watch import Watch
from node.wiring import Site, open_site
from services.run.watch import probe
from tests.support import synthetic
from tests.support.sites import CT1, Clock, fast_folder

PRAGUE = SiteId("prague")
MINUTE = 60 * SECOND


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(clock) -> Iterator[Site]:
    with fast_folder() as folder:
        (Path(folder) / "keys").mkdir()
        for name in ("site.crt", "site.key"):
            (Path(folder) / "keys" / name).write_text("none")
            (Path(folder) / "keys" / name).chmod(0o600)
        (Path(folder) / "site.toml").write_text('[site]\nname = "brno"\n')
        with open_site(Path(folder), clock=clock) as opened:
            yield opened


@pytest.fixture
def eye(site) -> Eye:
    return Eye(Place(settings=site.settings, home=site.home))


def look(site: Site, eye: Eye) -> Look:
    with site.catalog.reading() as unit:
        return eye.look(unit)


def kept(site: Site, eye: Eye) -> Look:
    found = look(site, eye)
    site.catalog.perform(lambda unit: keep(unit, found))
    return found


def watch_over(site: Site, eye: Eye, probing=lambda: "") -> Watch:
    return Watch(site.catalog, eye, sinks={"log": Severity.INFO}, clock=site.clock, probe=probing)


def test_a_new_site_is_seen_as_it_is(site, eye):
    seen = look(site, eye).seen
    assert [disk.name for disk in seen.disks] == ["store"]
    assert seen.disks[0].free > 0
    assert seen.disks[0].reserve == 1 << 30
    assert seen.certificates.keys() == {"node"}
    assert not seen.neighbours
    assert not seen.damage
    assert not seen.brakes


def test_a_site_is_awake_since_its_first_look_without_a_break(site, eye, clock):
    first = kept(site, eye).seen
    assert first.awake == first.now
    for _ in range(3):
        clock.forward(BREAK / SECOND - 10)
        assert kept(site, eye).seen.awake == first.awake
    clock.forward(BREAK / SECOND + 10)
    after = kept(site, eye).seen
    assert after.awake == after.now


def test_free_space_is_sampled_every_half_hour_and_forgotten_after_a_week(site, eye, clock):
    for _ in range(4):
        kept(site, eye)
        clock.forward(600)
    with site.catalog.reading() as unit:
        assert len(unit.gauges.series(FREE, "store", 0)) == 2
    clock.forward(9 * 86400)
    kept(site, eye)
    with site.catalog.reading() as unit:
        assert len(unit.gauges.series(FREE, "store", 0)) == 1
        assert unit.gauges.noted(AWAKE) > 0


def test_findings_of_damage_are_counted_and_others_are_not(site, eye):
    def report(unit):
        for kind in (Trouble.CORRUPT, Trouble.STALE):
            unit.findings.report(
                Finding(kind=kind, digest="a" * 64, site=site.settings.site.name, instance="1.2")
            )

    site.catalog.perform(report)
    assert look(site, eye).seen.damage == {Trouble.CORRUPT: 1}


def test_proofs_brakes_jobs_and_failing_sinks_are_seen(site, eye, clock):
    def note(unit):
        unit.proofs.put(Digest("b" * 64), 10)
        unit.brakes.save(replace(unit.brakes.find("repair"), tripped_at=unit.now, reason="Too many."))
        unit.jobs.add(Task.COMPARE, "a")
        unit.gauges.note(MUTE, "mail", unit.now)
        unit.gauges.note(MUTE, "webhook", 0)

    begun = clock.now
    site.catalog.perform(note)
    seen = look(site, eye).seen
    assert begun < seen.oldest_proof_at < clock.now
    assert seen.brakes == {"repair": "Too many."}
    assert seen.oldest_job_at is not None
    assert seen.stalled == 0
    assert seen.mute.keys() == {"mail"}


def test_a_job_that_stalled_waits_for_a_person_and_is_not_late(site, eye):
    def stall(unit):
        unit.jobs.add(Task.COMPARE, "a")
        unit.jobs.save(unit.jobs.find(Task.COMPARE, "a").failed(unit.now, "no", for_good=True))

    site.catalog.perform(stall)
    seen = look(site, eye).seen
    assert (seen.stalled, seen.oldest_job_at) == (1, None)


# members


@pytest.fixture
def prague(site) -> Site:
    """The site after prague has become a member."""
    own = site.home.certificates()[0]
    member = Member(
        site=PRAGUE,
        descriptor="",
        certificates=(own.pem,),
        fingerprints=(own.fingerprint,),
        version=1,
        url=None,
        ae_title="PRAGUE",
        standing=Standing.ACTIVE,
        introduced_by=site.settings.site.name,
        export=EVERYTHING,
        accept=EVERYTHING,
        gives=EVERYTHING,
        takes=EVERYTHING,
    )
    site.catalog.perform(lambda unit: unit.members.put(member))
    return site


def owe(site: Site, count: int, state: CopyState = CopyState.OWED) -> None:
    def note(unit):
        for number in range(count):
            unit.replicas.put(
                Replica(
                    instance=InstanceUID(f"1.2.{number + 1}"),
                    digest=Digest(f"{number:064x}"),
                    site=PRAGUE,
                    state=state,
                    size=10,
                    at=unit.now,
                )
            )

    site.catalog.perform(note)


def test_what_a_member_owes_is_measured_every_ten_minutes(prague, eye, clock):
    owe(prague, 3)
    flow = kept(prague, eye).seen.neighbours[0].out
    assert (flow.objects, len(flow.counts)) == (3, 1)
    owe(prague, 5)
    clock.forward(300)
    assert kept(prague, eye).seen.neighbours[0].out.objects == 3
    clock.forward(301)
    flow = kept(prague, eye).seen.neighbours[0].out
    assert [value for _, value in flow.counts] == [3, 5]
    with prague.catalog.reading() as unit:
        assert unit.gauges.sampled_at(COUNT, "from prague") > 0


def test_a_contact_is_seen_with_its_clock(prague, eye):
    contact = Contact(site=PRAGUE, heard_at=7, error="away", skew=5, rtt=2)
    prague.catalog.perform(lambda unit: unit.members.save_contact(contact))
    one = look(prague, eye).seen.neighbours[0]
    assert (one.heard_at, one.error, one.skew, one.rtt) == (7, "away", 5, 2)


def test_a_copy_that_is_gone_counts_only_where_the_rules_want_it(prague):
    offer, data = synthetic.instance()
    prague.archive.admit(CT1, offer, [data])

    def gone(unit):
        digest = unit.instances.find(offer.instance).digest
        unit.replicas.put(
            Replica(
                instance=offer.instance,
                digest=digest,
                site=PRAGUE,
                state=CopyState.GONE,
                size=10,
                at=unit.now,
            )
        )

    prague.catalog.perform(gone)
    with prague.catalog.reading() as unit:
        wanted = measures.lost(unit, PRAGUE, 100)
    prague.catalog.perform(lambda unit: unit.members.drop(PRAGUE))
    with prague.catalog.reading() as unit:
        unwanted = measures.lost(unit, PRAGUE, 100)
    assert (wanted, unwanted) == (1, 0)


# arrivals


def put_on_list(site: Site, name: str = "CT1", may=frozenset({Action.STORE})) -> None:
    device = Device(ae_title=AETitle(name), host="10.0.0.7", port=104, may=may, certificate=None)
    site.catalog.perform(lambda unit: unit.devices.put(device))


def send(site: Site, number: int) -> None:
    offer, data = synthetic.instance(number=number)
    site.archive.admit(CT1, offer, [data])


def rhythms(site: Site) -> dict[str, Rhythm]:
    with site.catalog.reading() as unit:
        return {name: Rhythm.read(text) for name, text in unit.gauges.rhythms().items()}


def test_arrivals_are_learned_once(site, eye, clock):
    put_on_list(site)
    send(site, 1)
    assert kept(site, eye).learned.keys() == {"CT1"}
    first = rhythms(site)["CT1"]
    assert kept(site, eye).learned == {}
    clock.forward(3600)
    send(site, 2)
    kept(site, eye)
    second = rhythms(site)["CT1"]
    assert second.last > first.last == first.since == second.since


def test_a_device_that_is_not_on_the_list_or_only_asks_is_learned_and_not_judged(site, eye):
    send(site, 1)
    assert kept(site, eye).seen.rhythms == {}
    put_on_list(site, may=frozenset({Action.QUERY}))
    assert look(site, eye).seen.rhythms == {}
    put_on_list(site)
    assert look(site, eye).seen.rhythms.keys() == {"CT1"}


def test_after_a_rebuild_has_numbered_arrivals_anew_what_is_new_is_learned(site, eye, clock):
    put_on_list(site)
    send(site, 1)
    kept(site, eye)
    site.catalog.perform(lambda unit: unit.gauges.note("read", "", 1000))
    clock.forward(7200)
    send(site, 2)
    assert kept(site, eye).learned.keys() == {"CT1"}
    assert rhythms(site)["CT1"].shares.count(1000) == 2


# the watch


def test_a_round_keeps_the_book_and_the_next_process_goes_on_with_it(site, eye, clock):
    site.catalog.perform(lambda unit: unit.jobs.add(Task.COMPARE, "a"))
    clock.forward(2 * 86400)
    watch_over(site, eye).round()
    with site.catalog.reading() as unit:
        begun = unit.alerts.open()
    assert "jobs-late" in {one.key for one in begun}
    clock.forward(60)
    watch_over(site, eye).round()
    with site.catalog.reading() as unit:
        assert [(one.key, one.since_at) for one in unit.alerts.open()] == [
            (one.key, one.since_at) for one in begun
        ]


def test_what_was_over_for_ninety_days_is_forgotten(site, eye, clock):
    site.catalog.perform(lambda unit: unit.jobs.add(Task.COMPARE, "a"))
    clock.forward(2 * 86400)
    watch = watch_over(site, eye)
    watch.round()
    site.catalog.perform(lambda unit: unit.jobs.done(Task.COMPARE, "a"))
    for seconds in (1, 301):
        clock.forward(seconds)
        watch.round()
    with site.catalog.reading() as unit:
        assert [one.is_over for one in unit.alerts.all() if one.key == "jobs-late"] == [True]
    clock.forward(91 * 86400)
    watch.round()
    with site.catalog.reading() as unit:
        assert [one for one in unit.alerts.all() if one.key == "jobs-late"] == []


def test_a_catalog_that_cannot_be_written_is_told_from_memory_until_it_can(site, eye, clock, monkeypatch):
    watch = watch_over(site, eye)

    def busy(change):
        raise CatalogBusy("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(site.catalog, "perform", busy)
        with pytest.raises(CatalogBusy):
            watch.round()
        assert watch.emergencies.pending() == []
        with pytest.raises(CatalogBusy):
            watch.round()
    (alert,) = watch.emergencies.pending()
    assert alert.severity is Severity.CRITICAL
    assert "the disk is full" in alert.what
    raised = alert.due("log", site.settings.site.name, clock())
    watch.emergencies.heard(alert, "log", raised)
    for seconds in (1, 301):
        clock.forward(seconds)
        watch.round()
    (alert,) = watch.emergencies.pending()
    assert alert.is_over
    watch.emergencies.heard(alert, "log", alert.due("log", site.settings.site.name, clock()))
    assert watch.emergencies.pending() == []


def test_a_store_that_cannot_be_written_is_an_alert(site, eye):
    watch = watch_over(site, eye, lambda: "the store says no")
    assert "store-failing" in {one.key for one in watch.round()}


def test_the_probe_writes_leaves_nothing_and_says_why_not(site, monkeypatch):
    assert probe(site) == ""
    assert list(site.blobs.digests()) == []

    def fail():
        raise StoreFailing("Input/output error")

    monkeypatch.setattr(type(site.blobs), "writer", lambda self: fail())
    assert "Input/output error" in probe(site)


def test_what_was_opened_in_an_emergency_is_seen_until_it_is_reviewed(site, eye):
    with site.catalog.begin() as unit:
        opened = unit.emergencies.add(
            Emergency(issuer="local", name="petr@brno", study="1.2", reason="urgent", until=unit.now + 1)
        )
    assert look(site, eye).seen.emergencies == {opened.id: opened.at}
    site.emergencies.review(site.operator(), opened.id, Verdict.JUSTIFIED)
    assert look(site, eye).seen.emergencies == {}
