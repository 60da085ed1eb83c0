"""A site that has lost everything comes back from its peers: facts, then rows, then bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.domain.errors import Rejected
from node.domain.query import Key, Level, Query, Selection
from node.domain.rule import NOTHING
from node.identity import addresses
from node.recovery.restore import Restore
from node.replication.describing import Describing
from tests.federation.test_epochs import alike, epoch, read_alike, send
from tests.support.federation import FederatedSite, federation, settle
from tests.support.fragile import Crash
from tests.support.pool import study_of, uid_of
from tests.support.views import holds, shown, view

DESCRIPTION = 0x00081030


@pytest.fixture
def two() -> Iterator[list[FederatedSite]]:
    with federation("brno", "prague") as sites:
        yield sites


def loses_everything(site: FederatedSite, *, addresses_too: bool = False) -> None:
    """The folder is gone, but for the keys, which somebody had saved."""
    addresses.save(site.folder / "keys", site.members.all())
    site.catalog.close()
    for path in site.folder.glob("catalog.db*"):
        path.unlink()
    site.blobs.blobs.clear()
    if addresses_too:
        (site.folder / "keys" / addresses.FILE).unlink()
    site.crash()


def restore_of(site: FederatedSite) -> Restore:
    return Restore(site.catalog, site.blobs, site.intake, site.service, site.home, site.peer)


def found(site: FederatedSite) -> list[tuple]:
    """What a search for all studies tells."""
    keys = (Key(tag=0x0020000D, vr="UI"), Key(tag=DESCRIPTION, vr="LO"), Key(tag=0x00201208, vr="IS"))
    return sorted(site.archive.search(site.device, Query(level=Level.STUDY, keys=keys)).rows, key=str)


def test_a_site_that_lost_everything_comes_back_and_nothing_is_lost(two):
    brno, prague = two
    for number in (1, 2):
        send(brno, number)
        send(prague, number, "other")
    send(prague, 3)
    brno.archive.correct(brno.operator, study_of(1), {DESCRIPTION: "corrected"}, "typing error")
    settle(brno, prague, work=True)
    before = view(brno)
    loses_everything(brno)
    restore = restore_of(brno)
    assert [one.error for one in restore.facts()] == [""]
    restore.rows()
    settle(brno, prague, work=True)
    assert epoch(brno) == 2
    assert view(brno) == before
    alike(brno, prague)
    read_alike(prague, brno)
    assert restore.left().is_over
    assert restore.missing() == []


def test_searches_find_everything_before_any_byte_is_back(two):
    brno, prague = two
    for number in (1, 2, 3):
        send(brno, number)
    brno.archive.correct(brno.operator, study_of(1), {DESCRIPTION: "corrected"}, "typing error")
    settle(brno, prague)
    before = found(brno)
    loses_everything(brno)
    restore = restore_of(brno)
    restore.facts()
    assert restore.rows() == 3
    assert found(brno) == before
    assert not brno.blobs.blobs
    assert shown(brno) == set()
    assert restore.left().objects == 3


def test_bytes_tell_the_rows_when_they_come_whatever_was_described(two):
    brno, prague = two
    for number in (1, 2, 3):
        send(brno, number)
    settle(brno, prague)
    before = view(brno)
    with prague.catalog.begin() as unit:
        for table in ("study", "series"):
            unit._connection.exec_driver_sql(f"UPDATE {table} SET description = 'what was never said'")
    loses_everything(brno)
    restore = restore_of(brno)
    restore.facts()
    restore.rows()
    settle(brno, prague)
    assert view(brno) == before


def test_new_instances_are_received_before_the_old_ones_are_back(two):
    brno, prague = two
    old = send(brno, 1)
    settle(brno, prague)
    loses_everything(brno)
    restore = restore_of(brno)
    restore.facts()
    restore.rows()
    new = send(brno, 2)
    assert shown(brno) == {new.digest}
    settle(brno, prague)
    assert shown(brno) == shown(prague) == {old.digest, new.digest}
    alike(brno, prague)


def test_what_was_withdrawn_is_not_found_or_fetched_again(two):
    brno, prague = two
    kept, withdrawn = send(brno, 1), send(brno, 2)
    settle(brno, prague)
    brno.archive.retract(brno.operator, Selection(instances=(uid_of(2),)), "wrong patient")
    settle(brno, prague)
    loses_everything(brno)
    restore = restore_of(brno)
    restore.facts()
    restore.rows()
    settle(brno, prague)
    assert shown(brno) == {kept.digest}
    assert not holds(brno, withdrawn.digest)
    brno.archive.restore(brno.operator, Selection(instances=(uid_of(2),)), "right patient")
    settle(brno, prague)
    assert shown(brno) == shown(prague) == {kept.digest, withdrawn.digest}
    assert holds(brno, withdrawn.digest)


def test_a_copy_that_was_given_up_stays_given_up_and_is_no_loss(two):
    brno, prague = two
    kept, given_up = send(brno, 1), send(prague, 2)
    settle(brno, prague)
    brno.dropping.drop(brno.operator, given_up.digest)
    settle(brno, prague)
    loses_everything(brno)
    restore = restore_of(brno)
    restore.facts()
    restore.rows()
    settle(brno, prague)
    assert shown(brno) == {kept.digest}
    assert restore.missing() == []


def test_what_nobody_has_is_named(two):
    brno, prague = two
    send(brno, 1)
    settle(brno, prague)
    lost = send(brno, 2)
    for _ in range(3):
        prague.courier("brno").catch_up()
    loses_everything(brno)
    restore = restore_of(brno)
    restore.facts()
    restore.rows()
    settle(brno, prague)
    assert [one.digest for one in restore.missing()] == [lost.digest]
    assert restore.left().is_over


def test_bytes_that_survived_are_used_and_not_fetched_again(two):
    brno, prague = two
    sent = {send(brno, number).digest for number in (1, 2)}
    settle(brno, prague)
    survived = dict(brno.blobs.blobs)
    loses_everything(brno)
    brno.blobs.blobs.update(survived)
    calls: list[str] = []
    restore = restore_of(brno)
    restore.facts()
    brno.network.meanwhile = lambda call, called: calls.append(call)
    restore.rows()
    settle(brno, prague)
    assert shown(brno) == sent
    assert "fetch" not in calls
    alike(brno, prague)


def test_bytes_that_went_while_the_catalog_stayed_come_back(two):
    brno, prague = two
    sent = {send(brno, 1).digest, send(prague, 2).digest}
    settle(brno, prague)
    brno.blobs.blobs.clear()
    assert restore_of(brno).vanished() == 2
    assert shown(brno) == set()
    settle(brno, prague)
    assert shown(brno) == sent
    assert all(holds(brno, digest) for digest in sent)
    alike(brno, prague)
    assert epoch(brno) == 1


def test_the_report_tells_the_last_fact_that_others_had(two):
    brno, prague = two
    send(brno, 1)
    settle(brno, prague)
    with brno.catalog.reading() as unit:
        head = unit.journal.head()
        last = unit.journal.at(brno.name, 1, head.seq)
    send(brno, 2)
    loses_everything(brno)
    restore = restore_of(brno)
    restore.facts()
    told = restore.recalled()
    assert (told.epoch, told.last_epoch, told.last_seq) == (2, 1, head.seq)
    assert last is not None
    assert told.last_at == last.at
    assert told.unknown == 0


def test_a_site_that_knows_nobody_says_what_to_do(two):
    brno, _ = two
    loses_everything(brno, addresses_too=True)
    with pytest.raises(Rejected, match="konzilium invite DIR --site brno --returning"):
        restore_of(brno).facts()


def test_a_peer_that_has_cut_the_link_is_named_with_its_reason(two):
    brno, prague = two
    send(brno, 1)
    settle(brno, prague)
    prague.members.suspend(prague.operator, brno.name, "its key is in wrong hands")
    loses_everything(brno)
    heard = restore_of(brno).facts()
    assert [one.site for one in heard] == ["prague"]
    assert "suspended" in heard[0].error or "cut" in heard[0].error


def test_a_restore_may_be_broken_off_at_any_write_and_begun_again():
    for fuse in range(1, 40, 3):
        with federation("brno", "prague") as (brno, prague):
            sent = {send(brno, 1).digest, send(prague, 2).digest}
            settle(brno, prague)
            loses_everything(brno)
            brno.fuse = fuse
            try:
                restore_of(brno).facts()
                restore_of(brno).rows()
                survived = brno.fuse > 0
            except Crash:
                brno.crash()
                survived = False
            brno.fuse = 0
            restore = restore_of(brno)
            assert [one.error for one in restore.facts()] == [""]
            restore.rows()
            settle(brno, prague)
            assert shown(brno) == sent
            alike(brno, prague)
            read_alike(prague, brno)
        if survived:
            return
    raise AssertionError("the site was still busy after all these writes")


def test_a_member_is_described_only_what_the_terms_give_it(two):
    brno, prague = two
    digest = send(brno, 1).digest
    settle(brno, prague)
    assert [one.digest for one in prague.peer("brno").describe([digest])] == [digest]
    brno.members.consent(brno.operator, prague.name, export=NOTHING)
    assert prague.peer("brno").describe([digest]) == []


def test_nothing_is_catalogued_by_a_description_that_was_not_asked_for(two):
    brno, prague = two
    send(brno, 1)
    settle(brno, prague)
    assert Describing(prague.catalog).describe(prague.peer("brno")) == 0
    assert shown(prague) == shown(brno)
