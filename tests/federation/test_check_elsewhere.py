"""Another site is compared and lets its copies be read back: what one of both lacks is named, and why."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from node.domain.errors import BrakeTripped, LastCopy
from node.domain.finding import Trouble
from node.domain.ids import Digest
from node.domain.job import Task
from node.domain.rule import NOTHING
from node.recovery.brake import DELETION, Brake, Limits
from node.recovery.elsewhere import SAMPLE, Compared, Elsewhere
from node.replication.dropping import Dropping
from tests.support.federation import FederatedSite, federation, settle
from tests.support.synthetic import instance


@pytest.fixture
def two() -> Iterator[list[FederatedSite]]:
    """Two sites that hold the same objects."""
    with federation("brno", "prague") as sites:
        for number in range(8):
            sites[number % 2].admit(instance(number=number + 1))
        settle(*sites)
        yield sites


def digests(site: FederatedSite) -> list[Digest]:
    return [Digest(row[0]) for row in site.rows("SELECT digest FROM instance ORDER BY uid")]


def compared(one: FederatedSite, other: FederatedSite, *, verify: bool = True) -> Compared:
    elsewhere = Elsewhere(one.catalog, wait=lambda _: None, rng=random.Random(1))
    with one.peer(other.name) as peer:
        return elsewhere.run(peer, verify=verify)


def named(outcome: Compared) -> set[tuple[str, str, str]]:
    return {(finding.kind, finding.digest, finding.site) for finding in outcome.findings}


def unsettled(site: FederatedSite):
    with site.catalog.reading() as unit:
        return unit.findings.unsettled()


def test_two_sites_that_hold_the_same_have_nothing_to_tell(two):
    brno, prague = two
    outcome = compared(brno, prague)
    assert (named(outcome), outcome.objects, outcome.read, outcome.unanswered) == (set(), 8, 8, 0)


def test_a_copy_that_is_damaged_there_is_a_stale_belief_here(two):
    brno, prague = two
    hurt, gone = digests(prague)[:2]
    prague.blobs.blobs[hurt] += b"!"
    del prague.blobs.blobs[gone]
    outcome = compared(brno, prague)
    assert named(outcome) == {(Trouble.STALE, digest, "prague") for digest in (hurt, gone)}
    assert brno.check.run().is_clean
    assert {one.digest for one in unsettled(brno)} == {hurt, gone}
    assert {key for (key,) in prague.rows(f"SELECT key FROM job WHERE kind = '{Task.REPAIR}'")} == {
        hurt,
        gone,
    }
    prague.work()
    assert brno.repair.run(brno.operator, unsettled(brno)).is_whole
    assert unsettled(brno) == []


def test_a_row_that_was_lost_there_is_named_here(two):
    brno, prague = two
    digest = digests(prague)[0]
    with prague.catalog.begin() as unit:
        unit._connection.exec_driver_sql(f"DELETE FROM instance WHERE digest = '{digest}'")
    assert named(compared(brno, prague)) == {(Trouble.STALE, digest, "prague")}
    prague.check.run()
    prague.repair.run(prague.operator, unsettled(prague))
    assert named(compared(brno, prague)) == set()
    assert unsettled(brno) == []


def test_what_was_lost_here_and_is_there_is_missing_here(two):
    brno, prague = two
    digest = digests(brno)[0]
    del brno.blobs.blobs[digest]
    brno.check.run()
    assert {(one.kind, one.digest) for one in unsettled(brno)} == {(Trouble.MISSING, digest)}
    assert named(compared(brno, prague)) == set()


def test_what_is_on_its_way_is_no_finding_and_what_stays_away_is_one(two):
    brno, prague = two
    brno.network.sever("brno", "prague")
    there = prague.admit(instance(number=100)).digest
    here = brno.admit(instance(number=101)).digest
    brno.network.heal()
    assert brno.courier("prague").round() in (True, False)
    brno.blobs.blobs.pop(there, None)
    outcome = compared(brno, prague)
    assert (Trouble.UNDER_REPLICATED, here, "prague") not in named(outcome)
    assert outcome.on_the_way >= 1
    brno.clock.forward(2 * 3600)
    assert (Trouble.UNDER_REPLICATED, here, "prague") in named(compared(brno, prague))


def test_a_sample_is_read_back_where_not_all_is_asked_for():
    with federation("brno", "prague") as (brno, prague):
        for number in range(SAMPLE + 20):
            brno.admit(instance(number=number + 1))
        settle(brno, prague)
        assert 0 < compared(brno, prague, verify=False).read <= SAMPLE
        assert compared(brno, prague, verify=True).read == SAMPLE + 20


def test_a_site_that_gives_us_nothing_still_tells_how_what_we_gave_it_is(two):
    brno, prague = two
    prague.members.consent(prague.operator, brno.name, export=NOTHING)
    ours = {Digest(digest) for (digest,) in brno.rows(
        "SELECT json_extract(payload, '$.digest') FROM journal WHERE origin = 'brno' AND kind = 'instance'"
    )}  # fmt: skip
    with brno.peer("prague") as peer:
        assert {proof.digest for proof in peer.verify(digests(brno))} == ours
    outcome = compared(brno, prague)
    assert {digest for kind, digest, _ in named(outcome) if kind is Trouble.STALE} <= ours


# giving up copies


def dropping(site: FederatedSite, brake: Brake) -> Dropping:
    return Dropping(site.catalog, site.blobs, site.peer, brake=brake)


def test_giving_up_many_copies_trips_the_brake_and_a_person_releases_it(two):
    brno, _ = two
    brno.check.run()
    brake = Brake(brno.catalog, Limits(share=0.25, least=2))
    some = digests(brno)
    for digest in some[:2]:
        dropping(brno, brake).drop(brno.operator, digest)
    with pytest.raises(BrakeTripped, match="3 of 8 copies within a day"):
        dropping(brno, brake).drop(brno.operator, some[2])
    assert brno.blobs.size(some[2]) is not None
    assert [state.name for state in brake.standing()] == [DELETION]
    brno.clock.forward(3 * 86_400)
    with pytest.raises(BrakeTripped):
        dropping(brno, brake).drop(brno.operator, some[2])
    brake.release(brno.operator, DELETION, "the rule is right")
    dropping(brno, brake).drop(brno.operator, some[2])
    assert brno.blobs.size(some[2]) is None


def test_a_copy_that_was_not_given_up_does_not_count(two):
    brno, prague = two
    brno.check.run()
    brake = Brake(brno.catalog, Limits(share=0.0, least=1))
    prague.blobs.blobs.clear()
    for digest in digests(brno)[:3]:
        with pytest.raises(LastCopy):
            dropping(brno, brake).drop(brno.operator, digest)
    assert brake.counted()[DELETION] == 0


def test_a_repair_brake_holds_until_somebody_has_looked_even_when_a_day_has_passed(two):
    brno, _ = two
    brake = Brake(brno.catalog, Limits(share=0.2, least=2))
    kept = {}
    for digest in digests(brno)[:4]:
        kept[digest] = brno.blobs.blobs.pop(digest)
    brno.check.run()
    with pytest.raises(BrakeTripped):
        brake.demand_repair()
    brno.clock.forward(2 * 86_400)
    with pytest.raises(BrakeTripped):
        brake.demand_repair()
    brno.blobs.blobs |= kept
    brno.check.run()
    brake.demand_repair()
    assert brake.standing() == []


def test_what_a_person_has_allowed_is_not_allowed_for_ever(two):
    brno, _ = two
    brake = Brake(brno.catalog, Limits(share=0.2, least=2))
    some = digests(brno)
    kept = {digest: brno.blobs.blobs.pop(digest) for digest in some[:4]}
    brno.check.run()
    brake.release(brno.operator, "repair", "a cable")
    brake.demand_repair()
    brno.blobs.blobs |= kept
    brno.check.run()
    brno.clock.forward(30 * 86_400)
    for digest in some[:4]:
        del brno.blobs.blobs[digest]
    brno.check.run()
    with pytest.raises(BrakeTripped):
        brake.demand_repair()
