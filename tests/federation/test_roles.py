"""Failover of whole sites: one archive in a line, nothing lost, nothing twice, and reads go on everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from node.blobs.memory import MemoryStore
from node.domain.errors import Forbidden, ReadOnly, Rejected, UnknownMember
from node.domain.ids import Digest, SiteId
from node.domain.instance import Outcome
from node.domain.principal import Action, Kind, Principal
from node.domain.query import Selection
from node.domain.role import Role
from node.domain.rule import DAY
from node.journal.entry import Fact
from node.recovery.rebuild import rebuild
from node.recovery.roles import on_demoted
from node.replication.storing import Storing
from tests.support.federation import FederatedSite, federation, settle
from tests.support.synthetic import instance, study_uid

BRNO, PRAGUE, OLOMOUC = SiteId("brno"), SiteId("prague"), SiteId("olomouc")


@pytest.fixture
def two() -> Iterator[list[FederatedSite]]:
    with federation("brno", "prague") as sites:
        line(*sites)
        yield sites


@pytest.fixture
def three() -> Iterator[list[FederatedSite]]:
    with federation("brno", "prague", "olomouc") as sites:
        line(*sites)
        yield sites


def line(primary: FederatedSite, *others: FederatedSite) -> None:
    """An archive, and backups that may take its place in this order."""
    names = [other.name for other in others]
    primary.roles.state(primary.operator, successors=names, reason="the successors")
    for other in others:
        other.roles.state(other.operator, Role.BACKUP, reason="a backup of brno")
    settle(primary, *others)


def promote(site: FederatedSite) -> None:
    site.roles.promote(site.operator, reason="brno does not answer")


def archives(*sites: FederatedSite) -> list[SiteId]:
    """The sites that are archives as each of them sees itself."""
    return [site.name for site in sites if site.roles.here().role is Role.ARCHIVE]


def digests(site: FederatedSite) -> list[str]:
    return sorted(row[0] for row in site.rows("SELECT digest FROM instance WHERE held = 1"))


def agree(*sites: FederatedSite) -> None:
    """All sites show the same instances, each once, and believe the same of the roles."""
    first = sites[0]
    uids = first.rows("SELECT uid FROM instance")
    assert len(set(uids)) == len(uids)
    for other in sites[1:]:
        assert digests(other) == digests(first)
        assert other.rows("SELECT * FROM role ORDER BY site") == first.rows(
            "SELECT * FROM role ORDER BY site"
        )


def test_a_backup_takes_nothing_and_holds_everything(two):
    brno, prague = two
    brno.admit(instance(number=1))
    settle(brno, prague)
    with pytest.raises(ReadOnly, match="prague is a backup, which takes nothing new"):
        prague.admit(instance(number=2))
    with pytest.raises(ReadOnly):
        prague.archive.lock(prague.operator, study_uid(1), prague.clock() + DAY, "court")
    agree(brno, prague)
    assert len(prague.archive.select(prague.device, Selection(studies=(study_uid(1),)))) == 1
    assert not prague.rows("SELECT * FROM quarantine")


def test_the_backup_is_promoted_when_the_primary_is_lost_and_devices_store_there(two):
    brno, prague = two
    brno.admit(instance(number=1))
    settle(brno, prague)
    brno.network.sever("brno", "prague")
    promote(prague)
    prague.admit(instance(number=2))
    assert archives(prague) == [PRAGUE]
    assert prague.roles.all()[1].role is Role.BACKUP


def test_a_primary_that_comes_back_refuses_stores_and_gives_what_it_had_taken(two):
    brno, prague = two
    brno.network.sever("brno", "prague")
    last = brno.admit(instance(number=1))
    promote(prague)
    first = prague.admit(instance(number=2))
    brno.network.heal()
    settle(brno, prague, work=True)
    with pytest.raises(ReadOnly, match="send to prague, which has taken its place"):
        brno.admit(instance(number=3))
    agree(brno, prague)
    assert digests(brno) == sorted([last.digest, first.digest])
    assert archives(brno, prague) == [PRAGUE]


def test_it_begins_a_new_epoch_then_once(two):
    brno, prague = two
    promote(prague)
    settle(brno, prague)
    keys = [row[0] for row in brno.rows("SELECT key FROM job WHERE kind = 'step down'")]
    assert len(keys) == 1
    for _ in range(2):
        on_demoted(brno.catalog, keys[0])
    assert brno.rows("SELECT epoch FROM node") == [(2,)]
    settle(brno, prague, work=True)
    agree(brno, prague)
    assert any("has taken its place" in row[0] for row in brno.rows("SELECT deed FROM audit"))


def test_what_is_stored_in_both_during_a_partition_is_everywhere_once(two):
    brno, prague = two
    brno.network.sever("brno", "prague")
    promote(prague)
    for number in range(4):
        brno.admit(instance(number=number))
        prague.admit(instance(number=number + 2))
    brno.network.heal()
    settle(brno, prague, work=True)
    agree(brno, prague)
    assert len(digests(brno)) == 6


def test_no_store_slips_through_after_the_site_has_learned_of_its_successor(two):
    """The gate looks at the role once a second only; the unit of work looks each time."""
    brno, prague = two
    brno.admit(instance(number=1))
    promote(prague)
    settle(brno, prague)
    with pytest.raises(ReadOnly):
        brno.admit(instance(number=2))
    assert brno.rows("SELECT count(*) FROM journal WHERE kind = 'instance' AND origin = 'brno'") == [(1,)]


def test_of_two_promotions_at_the_same_time_one_stays(three):
    brno, prague, olomouc = three
    for one, other in (("brno", "prague"), ("brno", "olomouc"), ("prague", "olomouc")):
        brno.network.sever(one, other)
    promote(olomouc)
    promote(prague)
    for number, site in enumerate(three):
        site.admit(instance(number=number))
    brno.network.heal()
    settle(*three, work=True)
    assert archives(*three) == [PRAGUE]
    agree(*three)
    assert len(digests(brno)) == 3
    with pytest.raises(ReadOnly):
        olomouc.admit(instance(number=9))


def test_promoted_demoted_and_promoted_back(two):
    brno, prague = two
    promote(prague)
    settle(brno, prague, work=True)
    promote(brno)
    settle(brno, prague, work=True)
    assert archives(brno, prague) == [BRNO]
    brno.admit(instance(number=1))
    brno.roles.demote(brno.operator, reason="maintenance")
    settle(brno, prague)
    assert archives(brno, prague) == []
    promote(prague)
    settle(brno, prague, work=True)
    assert archives(brno, prague) == [PRAGUE]
    prague.admit(instance(number=2))
    settle(brno, prague)
    agree(brno, prague)


def test_a_primary_that_was_replaced_does_not_make_itself_a_second_one(two):
    brno, prague = two
    promote(prague)
    settle(brno, prague)
    with pytest.raises(Rejected, match="prague has taken its place"):
        brno.roles.state(brno.operator, Role.ARCHIVE, reason="I am back")
    prague.members.revoke(prague.operator, BRNO, "gone")
    brno.members.revoke(brno.operator, PRAGUE, "burnt down")
    assert brno.roles.state(brno.operator, Role.ARCHIVE, reason="it is gone").role is Role.ARCHIVE


def test_who_is_not_named_takes_no_place(three):
    brno, _, olomouc = three
    brno.roles.state(brno.operator, successors=[PRAGUE], reason="olomouc moves")
    settle(*three)
    with pytest.raises(Rejected, match="no site has named olomouc"):
        promote(olomouc)
    with pytest.raises(Rejected, match="brno has not named olomouc"):
        olomouc.roles.promote(olomouc.operator, BRNO, reason="all the same")
    with pytest.raises(UnknownMember):
        brno.roles.state(brno.operator, successors=[SiteId("ostrava")], reason="unknown")
    with pytest.raises(Rejected, match="not its own successor"):
        brno.roles.state(brno.operator, successors=[BRNO], reason="myself")
    with pytest.raises(Rejected, match="a reason"):
        brno.roles.demote(brno.operator, reason=" ")


def test_a_promotion_that_is_repeated_is_one(two):
    _, prague = two
    for _ in range(2):
        prague.roles.promote(prague.operator, BRNO, reason="the answer was lost")
    with prague.catalog.reading() as unit:
        own = [fact for fact in unit.journal.of_kind(Fact.ROLE) if fact.origin == PRAGUE]
    assert len(own) == 2


def guest(site: FederatedSite, name: str = "technician") -> Principal:
    """Somebody of another site, as the face names them whom it lets in."""
    return Principal(kind=Kind.OPERATOR, name=name, site=site.name, via=site.name)


def test_somebody_of_another_site_decides_only_what_that_relation_allows(three):
    brno, prague, olomouc = three
    brno.roles.state(brno.operator, successors=[PRAGUE], reason="prague alone")
    settle(*three)
    with pytest.raises(Forbidden):
        brno.roles.demote(guest(olomouc), reason="a stranger")
    with pytest.raises(Forbidden):
        prague.roles.promote(guest(olomouc), BRNO, reason="a stranger")
    with pytest.raises(Forbidden):
        prague.roles.promote(guest(brno), None, reason="no place named")
    with pytest.raises(Rejected, match="decides that itself"):
        brno.roles.demote(guest(prague), OLOMOUC, reason="another one")
    assert brno.roles.demote(guest(prague), BRNO, reason="maintenance").role is Role.BACKUP
    settle(*three)
    assert prague.roles.promote(guest(brno), BRNO, reason="its place").role is Role.ARCHIVE


def test_a_communication_site_is_no_place_for_copies_and_gives_up_what_it_has_passed_on(two):
    brno, prague = two
    prague.roles.state(prague.operator, Role.ARCHIVE, reason="it keeps")
    brno.roles.state(brno.operator, Role.COMMUNICATION, reason="a gateway")
    settle(brno, prague)
    there, here = prague.admit(instance(number=1)), brno.admit(instance(number=2))
    settle(brno, prague)
    assert digests(prague) == sorted([there.digest, here.digest])
    assert digests(brno) == [here.digest]
    assert brno.passing_on.round() == 0
    brno.clock.forward(2 * 86400)
    assert brno.passing_on.round() == 1
    assert digests(brno) == []
    settle(brno, prague)
    assert len(prague.rows("SELECT * FROM replica WHERE state = 'gone'")) == 1


def test_a_communication_site_keeps_what_nobody_has_proved(two):
    brno, prague = two
    brno.roles.state(brno.operator, Role.COMMUNICATION, reason="a gateway")
    settle(brno, prague)
    here = brno.admit(instance(number=1))
    brno.clock.forward(2 * 86400)
    assert brno.passing_on.round() == 0
    settle(brno, prague)
    prague.blobs.blobs[here.digest] = b"damaged"
    assert brno.passing_on.round() == 0
    assert digests(brno) == [here.digest]


def test_a_site_that_becomes_an_archive_again_gets_what_it_had_missed(two):
    brno, prague = two
    prague.roles.state(prague.operator, Role.COMMUNICATION, reason="a gateway")
    settle(brno, prague, work=True)
    brno.admit(instance(number=1))
    settle(brno, prague, work=True)
    assert digests(prague) == []
    prague.roles.state(prague.operator, Role.BACKUP, reason="it keeps")
    settle(brno, prague, work=True)
    assert digests(prague) == digests(brno)


def test_the_roles_are_made_again_with_the_catalog(two):
    brno, prague = two
    brno.admit(instance(number=1))
    promote(prague)
    settle(brno, prague, work=True)
    before = brno.rows("SELECT * FROM role ORDER BY site")
    jobs = "SELECT * FROM job WHERE kind = 'step down'"
    rebuild(brno.archive, brno.blobs, brno.catalog, brno.operator, lambda done, total: None)
    assert brno.rows("SELECT * FROM role ORDER BY site") == before
    assert brno.rows(jobs) == []


def test_objects_of_other_sites_people_are_refused_too_and_replication_goes_on(two):
    """What a face of another site puts here goes through the same fence; copies that are owed do not."""
    brno, prague = two
    storing = Storing(prague.catalog, MemoryStore(), prague.archive, prague.service, prague.dropping)
    member = prague.members.find(BRNO)
    asks = replace(guest(brno), may=frozenset({Action.STORE}))
    _, data = instance(number=1)
    with pytest.raises(ReadOnly):
        storing.prepare(member, asks, [(Digest("ab" * 32), 5)])
    with pytest.raises(ReadOnly):
        storing.put(member, asks, [data])
    kept = brno.admit(instance(number=1))
    settle(brno, prague)
    assert digests(prague) == [kept.digest]


def test_what_a_backup_finds_in_its_own_store_comes_back_into_its_catalog(two):
    _, prague = two
    offer, data = instance(number=1)
    assert prague.archive.admit(prague.operator, offer, [data], found=True).outcome is Outcome.KEPT


def test_nothing_is_decided_any_more_after_the_site_has_learned_of_its_successor(two):
    brno, prague = two
    brno.admit(instance(number=1))
    brno.archive.lock(brno.operator, study_uid(1), brno.clock() + DAY, "court")
    promote(prague)
    settle(brno, prague)
    with pytest.raises(ReadOnly):
        brno.archive.lock(brno.operator, study_uid(1), brno.clock() + 9 * DAY, "court")


def test_copies_are_owed_by_archives_and_backups_and_not_by_a_site_that_passes_them_on(two):
    brno, prague = two
    settle(brno, prague, work=True)
    owed = "SELECT count(*) FROM replica WHERE state = 'owed'"
    prague.members.suspend(prague.operator, BRNO, "maintenance")
    brno.admit(instance(number=1))
    assert brno.rows(owed) == [(1,)]
    prague.members.resume(prague.operator, BRNO)
    prague.roles.state(prague.operator, Role.COMMUNICATION, reason="a gateway")
    with closing(brno.courier("prague")) as courier:
        courier.round()
    while brno.work():
        pass
    assert brno.rows(owed) == [(0,)]
    settle(brno, prague, work=True)
    assert digests(prague) == []


def test_a_communication_site_keeps_its_copy_until_all_are_proved_that_the_rules_want(three):
    brno, _, olomouc = three
    brno.roles.state(brno.operator, Role.COMMUNICATION, reason="a gateway")
    settle(*three)
    for other in ("brno", "prague"):
        brno.network.sever(other, "olomouc")
    brno.admit(instance(number=1))
    settle(*three)
    brno.clock.forward(2 * 86400)
    assert brno.passing_on.round() == 0
    brno.network.heal()
    settle(*three)
    assert len(digests(olomouc)) == 1
    assert brno.passing_on.round() == 1
