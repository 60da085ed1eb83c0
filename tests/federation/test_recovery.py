"""Copies that are damaged, lost or forgotten are found, each by its name, and mended from other sites."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.audit.record import read
from node.domain.errors import BlobMissing, BrakeTripped
from node.domain.finding import FindingState, Trouble
from node.domain.ids import Digest
from node.domain.job import Task
from node.domain.query import Selection
from node.domain.replica import CopyState
from node.recovery.brake import REPAIR
from node.recovery.check import Checked
from node.recovery.heal import Healing
from node.recovery.scrub import DAY, Schedule, Scrub
from tests.support.federation import FederatedSite, federation, settle
from tests.support.synthetic import instance
from tests.support.views import view

MANY = 60


@pytest.fixture
def two() -> Iterator[list[FederatedSite]]:
    """Two sites that hold the same objects."""
    with federation("brno", "prague") as sites:
        for number in range(MANY):
            sites[number % 2].admit(instance(number=number))
        settle(*sites)
        yield sites


def digests(site: FederatedSite) -> list[Digest]:
    return [Digest(row[0]) for row in site.rows("SELECT digest FROM instance ORDER BY uid")]


def flip(site: FederatedSite, digest: Digest) -> None:
    content = bytearray(site.blobs.blobs[digest])
    content[len(content) // 2] ^= 1
    site.blobs.blobs[digest] = bytes(content)


def truncate(site: FederatedSite, digest: Digest) -> None:
    site.blobs.blobs[digest] = site.blobs.blobs[digest][:-7]


def forget(site: FederatedSite, digest: Digest) -> None:
    """Drop the row of an instance, as a broken catalog does."""
    with site.catalog.begin() as unit:
        unit._connection.exec_driver_sql(f"DELETE FROM instance WHERE digest = '{digest}'")


def named(checked: Checked) -> set[tuple[str, str]]:
    return {(finding.kind, finding.digest) for finding in checked.findings if finding.digest}


def mend(site: FederatedSite):
    with site.catalog.reading() as unit:
        findings = unit.findings.unsettled()
    return site.repair.run(site.operator, findings)


def audit(site: FederatedSite) -> list[str]:
    return [read(row[0]).what for row in site.rows("SELECT deed FROM audit ORDER BY seq")]


def test_a_check_of_a_site_in_order_finds_nothing(two):
    for site in two:
        assert site.check.run(verify=True).is_clean
        assert site.check.run().is_clean


def test_a_check_names_everything_that_is_wrong_and_nothing_else(two):
    brno, _ = two
    some = digests(brno)
    for digest in some[:6]:
        flip(brno, digest)
    for digest in some[6:10]:
        del brno.blobs.blobs[digest]
    for digest in some[10:13]:
        truncate(brno, digest)
    for digest in some[13:16]:
        forget(brno, digest)
    checked = brno.check.run(verify=True)
    assert named(checked) == {
        *((Trouble.CORRUPT, digest) for digest in some[:6]),
        *((Trouble.MISSING, digest) for digest in some[6:10]),
        *((Trouble.TRUNCATED, digest) for digest in some[10:13]),
        *((Trouble.UNLISTED, digest) for digest in some[13:16]),
    }


def test_a_repair_leaves_nothing_wrong_and_says_who_and_from_where(two):
    brno, prague = two
    some, before = digests(brno), view(brno)
    for digest in some[:6]:
        flip(brno, digest)
    del brno.blobs.blobs[some[6]]
    truncate(brno, some[7])
    forget(brno, some[8])
    brno.check.run(verify=True)
    outcome = mend(brno)
    assert outcome.is_whole
    assert len(outcome.repaired) >= 9
    assert brno.check.run(verify=True).is_clean
    settle(brno, prague)
    assert view(brno) == before
    told = [what for what in audit(brno) if "repaired from the copy at prague" in what]
    assert {digest for digest in some[:8] if any(digest in what for what in told)} == set(some[:8])
    assert {digest for digest, _ in brno.blobs.evidence} == {*some[:6], some[7]}


def test_damage_of_many_copies_trips_the_brake_and_a_person_releases_it(two):
    brno, _ = two
    some = digests(brno)
    for digest in some[: MANY * 2 // 5]:
        flip(brno, digest)
    brno.check.run(verify=True)
    with pytest.raises(BrakeTripped, match="corrupt"):
        mend(brno)
    assert brno.brake.standing()[0].name == REPAIR
    assert sum(brno.blobs.size(digest) is None for digest in some) == 0
    brno.brake.release(brno.operator, REPAIR, "the disk was replaced")
    assert brno.brake.standing() == []
    assert mend(brno).is_whole
    assert brno.check.run(verify=True).is_clean


def test_nothing_is_repaired_from_a_copy_that_is_not_whole_itself(two):
    brno, prague = two
    digest = digests(brno)[0]
    flip(brno, digest)
    flip(prague, digest)
    brno.check.run(verify=True)
    bad = brno.blobs.blobs[digest]
    outcome = mend(brno)
    assert [finding.digest for finding in outcome.left] == [digest]
    assert brno.blobs.blobs[digest] == bad
    settle(brno, prague)
    with prague.catalog.reading() as unit:
        assert unit.replicas.state(digest, brno.name)[0] is CopyState.GONE


def test_what_nobody_could_repair_is_repaired_when_a_whole_copy_is_there_again(two):
    brno, prague = two
    digest = digests(brno)[0]
    whole = brno.blobs.blobs[digest]
    flip(brno, digest)
    flip(prague, digest)
    brno.check.run(verify=True)
    mend(brno)
    prague.blobs.blobs[digest] = whole
    assert mend(brno).is_whole
    settle(brno, prague)
    with prague.catalog.reading() as unit:
        assert unit.replicas.state(digest, brno.name)[0] is CopyState.VERIFIED


def test_a_copy_that_is_whole_when_read_again_is_no_damage(two):
    brno, _ = two
    digest = digests(brno)[0]
    whole = brno.blobs.blobs[digest]
    flip(brno, digest)
    brno.check.run(verify=True)
    brno.blobs.blobs[digest] = whole
    outcome = mend(brno)
    assert [finding.digest for finding in outcome.settled] == [digest]
    assert brno.blobs.evidence == []


def test_a_finding_is_settled_by_a_check_that_finds_the_copy_in_order(two):
    brno, _ = two
    digest = digests(brno)[0]
    whole = brno.blobs.blobs[digest]
    flip(brno, digest)
    brno.check.run(verify=True)
    brno.blobs.blobs[digest] = whole
    assert brno.check.run().closed == 0
    assert brno.check.run(verify=True).closed == 1
    with brno.catalog.reading() as unit:
        assert unit.findings.all()[0].state is FindingState.SETTLED


def test_a_reader_gets_a_whole_instance_although_the_copy_here_is_damaged(two):
    brno, _ = two
    digest = digests(brno)[0]
    flip(brno, digest)
    whole = Healing(brno.archive, brno.catalog, brno.repair, brno.node)
    with brno.catalog.reading() as unit:
        archived = unit.instances.find(unit.forms.holder_of(digest))
    with whole.open(archived) as stored:
        assert stored.size == archived.size
    brno.blobs.verify(digest)
    with brno.catalog.reading() as unit:
        assert unit.findings.all()[0].state is FindingState.REPAIRED


def test_a_reader_never_gets_damaged_bytes_and_the_repair_is_owed(two):
    brno, _ = two
    digest = digests(brno)[0]
    del brno.blobs.blobs[digest]
    brno.network.sever("brno", "prague")
    whole = Healing(brno.archive, brno.catalog, brno.repair, brno.node)
    with brno.catalog.reading() as unit:
        archived = unit.instances.find(unit.forms.holder_of(digest))
    with pytest.raises(BlobMissing):
        whole.open(archived)
    brno.network.heal()
    brno.clock.forward(60)
    brno.work()
    brno.blobs.verify(digest)


def test_the_scrub_reads_every_copy_within_its_period_and_has_damage_mended(two):
    brno, prague = two
    scrub = Scrub(brno.catalog, brno.blobs, Schedule(period=30 * DAY, rate=10**9), wait=lambda _: None)
    assert scrub.turn()
    assert not scrub.turn()
    for digest in digests(brno)[:3]:
        flip(brno, digest)
    brno.clock.forward(25 * 86_400)
    while scrub.turn():
        pass
    assert scrub.report().coverage.recent_objects == MANY
    assert not scrub.report().late
    for _ in range(3):
        brno.work()
    settle(brno, prague)
    assert brno.check.run(verify=True).is_clean


def test_bytes_that_belong_to_nothing_go_to_the_evidence(two):
    brno, _ = two
    held = digests(brno)[0]
    stray = brno.blobs.put([b"this is nothing"])
    checked = brno.check.run()
    assert named(checked) == {(Trouble.UNLISTED, stray)}
    assert mend(brno).is_whole
    assert stray not in brno.blobs.blobs
    assert [digest for digest, _ in brno.blobs.evidence] == [stray]
    assert held in brno.blobs.blobs


def test_a_member_that_hears_of_damage_looks_itself(two):
    brno, prague = two
    digest = digests(brno)[0]
    flip(prague, digest)
    with brno.peer("prague") as peer:
        assert peer.repair([digest]) == [digest]
        assert peer.repair([Digest("0" * 64)]) == []
    assert prague.rows(f"SELECT key FROM job WHERE kind = '{Task.REPAIR}'") == [(digest,)]
    prague.work()
    prague.blobs.verify(digest)


def test_a_copy_that_another_site_owes_for_too_long_is_named(two):
    brno, prague = two
    brno.network.sever("brno", "prague")
    digest = brno.admit(instance(number=1000)).digest
    assert brno.check.run().is_clean
    brno.clock.forward(2 * 3600)
    assert named(brno.check.run()) == {(Trouble.UNDER_REPLICATED, digest)}
    brno.network.heal()
    settle(brno, prague)
    assert brno.check.run().is_clean


def test_what_arrives_while_a_check_runs_raises_no_alarm(two):
    brno, _ = two
    listing = brno.blobs.listing
    numbers = iter(range(2000, 3000))

    def meanwhile(prefix: str):
        before = listing(prefix)
        if prefix.endswith("0"):
            brno.admit(instance(number=next(numbers)))
        return before | listing(prefix)

    brno.blobs.listing = meanwhile
    assert brno.check.run(verify=True).is_clean


def test_bytes_of_a_withdrawn_instance_that_were_left_behind_do_not_bring_it_back(two):
    brno, prague = two
    digest = digests(brno)[0]
    with brno.catalog.reading() as unit:
        uid = unit.forms.holder_of(digest)
    brno.archive.retract(brno.operator, Selection(instances=(uid,)), "wrong patient")
    with brno.catalog.begin() as unit:
        unit._connection.exec_driver_sql(f"DELETE FROM withdrawn WHERE digest = '{digest}'")
    assert named(brno.check.run()) == {(Trouble.UNLISTED, digest)}
    assert mend(brno).is_whole
    assert brno.check.run().is_clean
    settle(brno, prague)
    assert uid not in {row[0] for site in two for row in site.rows("SELECT uid FROM instance")}
    assert brno.blobs.size(digest) is not None


def test_a_damaged_copy_of_a_withdrawn_instance_is_repaired_and_stays_withdrawn(two):
    brno, prague = two
    digest = digests(brno)[0]
    with brno.catalog.reading() as unit:
        uid = unit.forms.holder_of(digest)
    brno.archive.retract(brno.operator, Selection(instances=(uid,)), "wrong patient")
    settle(brno, prague)
    for hurt in two:
        flip(hurt, digest)
        assert named(hurt.check.run(verify=True)) == {(Trouble.CORRUPT, digest)}
        assert mend(hurt).is_whole
        assert uid not in {row[0] for row in hurt.rows("SELECT uid FROM instance")}
