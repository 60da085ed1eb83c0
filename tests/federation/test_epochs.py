"""A site that was restored from an old backup notices, begins a new epoch, and nothing of it is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from node.archive.derive import state_of
from node.audit import record as ledger
from node.domain.chain import Head
from node.domain.change import Cursor
from node.domain.errors import Damaged, Forbidden, MalformedMessage, NodeError
from node.domain.query import Selection
from node.domain.rule import EVERYTHING, NOTHING, Rule
from node.identity.members import state_consent
from node.journal.entry import Fact, canonical, follow
from node.recovery.rebuild import rebuild
from node.replication.reconcile import reconcile
from node.replication.rules import RuleBook
from tests.support.backups import copied, restore
from tests.support.federation import FederatedSite, federation, settle
from tests.support.fragile import Crash
from tests.support.pool import sample, study_of, uid_of
from tests.support.views import holds, shown, view

DESCRIPTION = 0x00081030


@pytest.fixture
def two() -> Iterator[list[FederatedSite]]:
    with federation("brno", "prague") as sites:
        yield sites


@pytest.fixture
def three() -> Iterator[list[FederatedSite]]:
    with federation("brno", "prague", "olomouc") as sites:
        yield sites


def send(site: FederatedSite, number: int, kind: str = "plain"):
    sent = sample(number, kind)
    return site.admit((sent.offer, sent.data))


def alike(*sites: FederatedSite) -> None:
    """All sites show the same, and agree when they compare."""
    first = view(sites[0])
    for site in sites[1:]:
        assert view(site) == first
    for site in sites:
        for other in sites:
            if other is not site and other.callable:
                compared = reconcile(site.catalog, site.peer(other.name))
                assert compared.equal
                assert compared.count == len(shown(site))
        assert site.rows("SELECT * FROM want") == []
        assert site.rows("SELECT * FROM replica WHERE state = 'owed'") == []


def epoch(site: FederatedSite) -> int:
    return site.rows("SELECT epoch FROM node")[0][0]


def facts(site: FederatedSite, origin: str) -> set[tuple]:
    """What a site has of another one's journal, wherever it stands there."""
    return {
        (kind, at, payload)
        for kind, at, payload in site.rows(f"SELECT kind, at, payload FROM journal WHERE origin = '{origin}'")
    }


def read_alike(reader: FederatedSite, origin: FederatedSite) -> None:
    """What a site has read of another one's journal is what stands there, epoch by epoch."""
    question = f"SELECT epoch, seq, hash FROM journal WHERE origin = '{origin.name}'"
    assert set(reader.rows(question)) <= set(origin.rows(question))
    known = {(e, s): h for e, s, h in origin.rows(question)}
    for e, s, h in reader.rows(f"SELECT epoch, seq, hash FROM cursor WHERE origin = '{origin.name}'"):
        assert known[e, s] == h
        assert not any(other == e and seq > s for other, seq in known)


# ---- one peer


def test_a_restored_site_takes_its_own_facts_back_and_begins_a_new_epoch(two):
    brno, prague = two
    send(brno, 1)
    settle(brno, prague)
    old = copied(brno)
    lost = send(brno, 2)
    settle(brno, prague)
    restore(brno, old)
    assert lost.digest not in shown(brno)
    settle(brno, prague)
    assert (epoch(brno), epoch(prague)) == (2, 1)
    assert lost.digest in shown(brno)
    alike(brno, prague)
    read_alike(prague, brno)


def test_what_was_written_before_it_noticed_is_stated_again_and_stays(two):
    brno, prague = two
    old = copied(brno)
    lost = send(brno, 1)
    settle(brno, prague)
    restore(brno, old)
    brno.network.sever("brno", "prague")
    written = [send(brno, 2), send(brno, 3)]
    brno.network.heal()
    settle(brno, prague)
    assert epoch(brno) == 2
    assert {lost.digest, *(one.digest for one in written)} <= shown(prague)
    alike(brno, prague)
    read_alike(prague, brno)


def test_a_fork_that_is_longer_than_what_was_lost_is_noticed(two):
    brno, prague = two
    old = copied(brno)
    lost = send(brno, 1)
    settle(brno, prague)
    restore(brno, old)
    written = [send(brno, number) for number in (2, 3, 4)]
    settle(brno, prague)
    assert epoch(brno) == 2
    assert {lost.digest, *(one.digest for one in written)} <= shown(prague)
    alike(brno, prague)
    read_alike(prague, brno)


def test_the_same_instance_sent_again_before_it_noticed_is_one(two):
    brno, prague = two
    old = copied(brno)
    first = send(brno, 1)
    settle(brno, prague)
    restore(brno, old)
    assert send(brno, 1).digest == first.digest
    settle(brno, prague)
    alike(brno, prague)
    read_alike(prague, brno)
    assert brno.rows("SELECT stamp FROM instance") == prague.rows("SELECT stamp FROM instance")


def test_decisions_that_were_lost_hold_again(two):
    brno, prague = two
    send(brno, 1)
    send(brno, 2)
    settle(brno, prague)
    old = copied(brno)
    brno.archive.correct(brno.operator, study_of(1), {DESCRIPTION: "corrected"}, "typing error")
    brno.archive.retract(brno.operator, Selection(instances=(uid_of(2),)), "wrong patient")
    settle(brno, prague)
    restore(brno, old)
    assert shown(brno) != shown(prague)
    settle(brno, prague)
    with brno.catalog.reading() as unit:
        assert state_of(unit, uid_of(2)).withdrawn
        assert unit.instances.digest(uid_of(2)) is None
    alike(brno, prague)


def test_a_withdrawal_before_it_noticed_is_not_undone_at_any_moment(two):
    brno, prague = two
    send(brno, 1)
    settle(brno, prague)
    old = copied(brno)
    send(brno, 2)
    settle(brno, prague)
    restore(brno, old)
    prague.network.sever("prague", "brno")
    brno.archive.retract(brno.operator, Selection(instances=(uid_of(1),)), "wrong patient")
    prague.network.heal()
    for _ in range(6):
        brno.exchange()
        prague.exchange()
        with brno.catalog.reading() as unit:
            assert unit.instances.digest(uid_of(1)) is None
    settle(brno, prague)
    with prague.catalog.reading() as unit:
        assert unit.instances.digest(uid_of(1)) is None
    alike(brno, prague)


def test_a_second_and_a_third_restore_are_noticed_too(two):
    brno, prague = two
    old = copied(brno)
    sent = []
    for number in (1, 2, 3):
        sent.append(send(brno, number).digest)
        settle(brno, prague)
        restore(brno, old)
        sent.append(send(brno, number, "implicit").digest)
        settle(brno, prague)
        assert epoch(brno) == number + 1
        alike(brno, prague)
        read_alike(prague, brno)
    assert shown(brno) <= set(sent)
    assert sorted(brno.rows("SELECT uid FROM instance")) == sorted((uid_of(n),) for n in (1, 2, 3))


def test_a_restore_to_a_time_in_the_second_epoch_is_noticed(two):
    brno, prague = two
    old = copied(brno)
    sent = [send(brno, 1)]
    settle(brno, prague)
    restore(brno, old)
    settle(brno, prague)
    sent.append(send(brno, 2))
    second = copied(brno, "second.db")
    sent.append(send(brno, 3))
    settle(brno, prague)
    restore(brno, second)
    sent.append(send(brno, 4))
    settle(brno, prague)
    assert epoch(brno) == 3
    assert shown(brno) == {one.digest for one in sent}
    alike(brno, prague)
    read_alike(prague, brno)


def test_a_site_that_lost_everything_but_its_bytes_takes_all_facts_back(two):
    brno, prague = two
    empty = copied(brno)
    sent = {send(brno, number).digest for number in (1, 2, 3)}
    settle(brno, prague)
    fetched = []
    brno.network.meanwhile = lambda call, called: fetched.append(call)
    restore(brno, empty)
    settle(brno, prague)
    assert shown(brno) == sent
    assert "fetch" not in fetched
    alike(brno, prague)


def test_bytes_that_went_with_the_catalog_come_back(two):
    brno, prague = two
    empty = copied(brno)
    sent = {send(brno, number).digest for number in (1, 2, 3)}
    settle(brno, prague)
    restore(brno, empty)
    brno.blobs.blobs.clear()
    settle(brno, prague)
    assert shown(brno) == sent
    assert all(holds(brno, digest) for digest in sent)
    alike(brno, prague)


def test_a_copy_that_was_given_up_stays_given_up(two):
    brno, prague = two
    empty = copied(brno)
    kept, given_up = send(brno, 1), send(prague, 2)
    settle(brno, prague)
    brno.dropping.drop(brno.operator, given_up.digest)
    settle(brno, prague)
    restore(brno, empty)
    settle(brno, prague)
    assert shown(brno) == {kept.digest}
    assert not holds(brno, given_up.digest)
    assert brno.rows("SELECT * FROM want") == []


def test_a_copy_that_an_old_catalog_lists_and_that_was_given_up_is_not_claimed(two):
    brno, prague = two
    send(brno, 1)
    given_up = send(prague, 2)
    settle(brno, prague)
    old = copied(brno)
    brno.dropping.drop(brno.operator, given_up.digest)
    settle(brno, prague)
    restore(brno, old)
    assert given_up.digest in shown(brno)
    settle(brno, prague)
    assert given_up.digest not in shown(brno)
    assert not holds(brno, given_up.digest)


def test_what_concerns_this_site_alone_is_lost_and_leaves_holes(two):
    """Members are never told of rules; what stood beside them comes back."""
    brno, prague = two
    old = copied(brno)
    first = send(brno, 1)
    RuleBook(brno.catalog).add(brno.operator, Rule(name="ct", copies=1))
    second = send(brno, 2)
    settle(brno, prague)
    restore(brno, old)
    settle(brno, prague)
    assert shown(brno) == {first.digest, second.digest}
    with brno.catalog.reading() as unit:
        assert len(unit.journal.holes(brno.name, 1)) == 1
    rebuild(brno.archive, brno.blobs, brno.catalog, brno.operator, lambda done, total: None)
    alike(brno, prague)


def test_a_site_that_joins_later_reads_an_epoch_with_holes(two):
    with federation("brno", "prague", "olomouc") as (brno, prague, olomouc):
        olomouc.network.sever("olomouc", "brno")
        olomouc.network.sever("olomouc", "prague")
        old = copied(brno)
        send(brno, 1)
        RuleBook(brno.catalog).add(brno.operator, Rule(name="ct", copies=1))
        send(brno, 2)
        settle(brno, prague)
        restore(brno, old)
        settle(brno, prague)
        olomouc.network.heal()
        settle(brno, prague, olomouc)
        alike(brno, prague, olomouc)
        read_alike(olomouc, brno)


def test_rules_that_were_written_before_it_noticed_hold_on(two):
    brno, prague = two
    old = copied(brno)
    send(brno, 1)
    settle(brno, prague)
    restore(brno, old)
    RuleBook(brno.catalog).add(brno.operator, Rule(name="ct", copies=1))
    settle(brno, prague)
    assert [rule.name for rule in RuleBook(brno.catalog).all()] == ["ct"]
    assert epoch(brno) == 2


def test_the_new_epoch_is_in_the_audit_ledger_which_holds_together(two):
    brno, prague = two
    old = copied(brno)
    send(brno, 1)
    settle(brno, prague)
    restore(brno, old)
    settle(brno, prague)
    with brno.catalog.reading() as unit:
        deeds = [ledger.read(record.deed).what for record in unit.audit.after()]
        ledger.verify(unit.audit.after())
    assert any(what.startswith("epoch 2 begun: prague has read") for what in deeds)


def test_every_process_of_the_node_writes_in_the_new_epoch_at_once(two):
    """The epoch is read where a fact is written: each process has a catalog of its own."""
    brno, prague = two
    old = copied(brno)
    send(brno, 1)
    settle(brno, prague)
    restore(brno, old)
    receiving = brno.archive
    brno.open()
    settle(brno, prague)
    sent = sample(2, "plain")
    receiving.admit(brno.device, sent.offer, [sent.data])
    with brno.catalog.reading() as unit:
        assert unit.epoch == 2
        assert unit.journal.about(uid_of(2))[0].epoch == 2


def test_nobody_begins_an_epoch_while_nothing_is_lost(two):
    brno, prague = two
    for number in (1, 2, 3):
        send(brno, number)
        send(prague, number, "other")
        settle(brno, prague)
        brno.crash()
    assert (epoch(brno), epoch(prague)) == (1, 1)


# ---- several peers


def test_a_third_site_that_has_read_the_fork_reads_it_again(three):
    brno, prague, olomouc = three
    send(brno, 1)
    settle(*three)
    old = copied(brno)
    brno.network.sever("brno", "olomouc")
    lost = send(brno, 2)
    settle(brno, prague)
    restore(brno, old)
    brno.network.heal()
    brno.network.sever("brno", "prague")
    written = send(brno, 3)
    settle(brno, olomouc)
    assert epoch(brno) == 1, "Olomouc has nothing that Brno has lost"
    brno.network.heal()
    settle(*three)
    assert epoch(brno) == 2
    for site in three:
        assert {lost.digest, written.digest} <= shown(site)
    alike(*three)
    read_alike(prague, brno)
    read_alike(olomouc, brno)


def test_a_peer_that_is_heard_later_and_has_read_yet_more_is_taken_in_too(three):
    brno, prague, olomouc = three
    old = copied(brno)
    first = send(brno, 1)
    settle(*three)
    brno.network.sever("brno", "prague")
    second = send(brno, 2)
    settle(brno, olomouc)
    prague.network.sever("prague", "olomouc")
    restore(brno, old)
    brno.network.heal()
    brno.network.sever("brno", "olomouc")
    prague.network.sever("prague", "olomouc")
    settle(brno, prague)
    assert (epoch(brno), shown(brno)) == (2, {first.digest})
    brno.network.heal()
    settle(*three)
    assert epoch(brno) == 2, "nothing of the second epoch was lost"
    assert shown(brno) == {first.digest, second.digest}
    alike(*three)
    read_alike(prague, brno)
    read_alike(olomouc, brno)


def test_an_epoch_of_which_only_another_peer_knows_is_not_used_twice(three):
    brno, prague, olomouc = three
    old = copied(brno)
    sent = [send(brno, 1)]
    settle(*three)
    restore(brno, old)
    brno.network.sever("brno", "prague")
    prague.network.sever("prague", "olomouc")
    sent.append(send(brno, 2))
    settle(brno, olomouc)
    assert epoch(brno) == 2
    restore(brno, old)
    brno.network.heal()
    brno.network.sever("brno", "olomouc")
    prague.network.sever("prague", "olomouc")
    sent.append(send(brno, 3))
    settle(brno, prague)
    assert epoch(brno) == 2, "nobody could tell it that there was one"
    brno.network.heal()
    settle(*three)
    assert epoch(brno) == 3
    for site in three:
        assert shown(site) == {one.digest for one in sent}
    alike(*three)
    read_alike(prague, brno)
    read_alike(olomouc, brno)


def test_what_one_peer_may_not_know_another_one_gives_back(three):
    brno, prague, olomouc = three
    brno.members.consent(brno.operator, prague.name, export=NOTHING)
    prague.members.consent(prague.operator, olomouc.name, export=NOTHING)
    olomouc.members.consent(olomouc.operator, prague.name, export=NOTHING)
    settle(*three)
    old = copied(brno)
    lost = send(brno, 1)
    settle(*three)
    restore(brno, old)
    brno.network.sever("brno", "olomouc")
    settle(brno, prague)
    brno.network.heal()
    settle(*three)
    assert shown(brno) == shown(olomouc) == {lost.digest}
    assert shown(prague) == set()
    assert not any(fact[0] == Fact.INSTANCE for fact in facts(prague, "brno"))


@pytest.mark.parametrize("hidden", ["brno", "prague"])
def test_a_site_that_nobody_can_call_recovers_and_lets_others_recover(hidden):
    with federation("brno", "prague", callable=lambda name: name != hidden) as (brno, prague):
        send(brno, 1)
        settle(brno, prague)
        old = copied(brno)
        lost = send(brno, 2)
        settle(brno, prague)
        restore(brno, old)
        written = send(brno, 3)
        settle(brno, prague)
        assert epoch(brno) == 2
        for site in (brno, prague):
            assert {lost.digest, written.digest} <= shown(site)
        alike(brno, prague)
        read_alike(prague, brno)


# ---- crashes


@pytest.mark.parametrize("hidden", ["", "prague"])
def test_a_crash_at_any_write_loses_nothing(hidden):
    for fuse in range(1, 60, 3):
        with federation("brno", "prague", callable=lambda name: name != hidden) as (brno, prague):
            old = copied(brno)
            lost = send(brno, 1)
            settle(brno, prague)
            restore(brno, old)
            written = send(brno, 2)
            brno.fuse = fuse
            for _ in range(8):
                for site in (brno, prague):
                    try:
                        site.exchange()
                    except Crash as crash:
                        brno.network.sites[str(crash)].crash()
            survived = brno.fuse > 0
            brno.fuse = 0
            settle(brno, prague)
            assert epoch(brno) == 2
            assert shown(brno) == shown(prague) == {lost.digest, written.digest}
            alike(brno, prague)
            read_alike(prague, brno)
        if survived:
            return
    raise AssertionError("the site was still busy after all these writes")


# ---- what peers may ask and tell


def test_a_member_reads_back_its_own_journal_and_no_other(two):
    with federation("brno", "prague", "olomouc") as (brno, prague, olomouc):
        send(brno, 1)
        settle(brno, prague, olomouc)
        own = brno.peer("prague").changes(Cursor(origin=brno.name, epoch=1), 1000)
        assert [told.seq for told in own.entries] == list(range(1, own.head + 1))
        with pytest.raises(Forbidden):
            brno.peer("prague").changes(Cursor(origin=olomouc.name, epoch=1), 1000)


def test_entries_that_are_not_what_their_hash_says_are_not_taken_back(two):
    brno, prague = two
    old = copied(brno)
    send(brno, 1)
    settle(brno, prague)
    restore(brno, old)
    with brno.catalog.begin() as unit:
        unit.journal.begin_epoch(2)
    told = brno.peer("prague").changes(Cursor(origin=brno.name, epoch=1), 1000)
    forged = [replace(entry, at=entry.at + 1) for entry in told.entries]
    with pytest.raises(Damaged):
        brno.intake.epochs.take(prague.name, replace(told, entries=forged))


def test_entries_of_the_epoch_that_is_under_way_are_not_taken_back(two):
    brno, prague = two
    told = brno.peer("prague").changes(Cursor(origin=brno.name, epoch=1), 1000)
    with pytest.raises(MalformedMessage):
        brno.intake.epochs.take(prague.name, told)


def test_a_peer_that_tells_of_an_incredible_epoch_is_not_believed(two):
    brno, prague = two
    with prague.catalog.reading() as unit:
        news = prague.service.news(unit, brno.name)
    lie = replace(news, reached={str(1 << 40): 5}, marks={str(1 << 40): "ab" * 32})
    assert not brno.intake.epochs.notice(prague.name, lie)
    assert epoch(brno) == 1


def test_an_epoch_under_way_is_not_read_anew(two):
    brno, prague = two
    send(brno, 1)
    settle(brno, prague)
    told = prague.peer("brno").changes(Cursor(origin=brno.name, epoch=1), 1000)
    with pytest.raises(NodeError):
        prague.intake.take(replace(told, anew=True))
    read_alike(prague, brno)


def forged(liar: FederatedSite, victim: FederatedSite, kind: Fact, says: dict[str, object]) -> None:
    """A member that claims to have read one more entry of a site's journal than the site has written."""
    with liar.catalog.begin() as unit:
        head = unit.cursors.find(victim.name, 1)
        entry = follow(head, origin=victim.name, epoch=1, at=unit.now, kind=kind, payload=canonical(says))
        unit.journal.keep(entry)
        unit.cursors.put(victim.name, 1, Head(seq=entry.seq, hash=entry.hash))


@pytest.mark.parametrize("teller", ["prague", "olomouc"])
def test_nobody_is_given_studies_on_its_own_word(three, teller):
    """A site believes others that it had decided something, but for what gives the teller more."""
    brno, prague, _ = three
    with brno.catalog.begin() as unit:
        state_consent(unit, brno.operator, prague.name, export=NOTHING, accept=NOTHING)
    settle(*three)
    liar = next(site for site in three if site.name == teller)
    everything = EVERYTHING.told()
    says = {"site": "prague", "export": everything, "accept": everything, "by": "operator:technician@brno"}
    forged(liar, brno, Fact.CONSENT, says)
    settle(*three)
    with brno.catalog.reading() as unit:
        assert unit.epoch == 2
        assert unit.members.find(prague.name).export.is_nothing == (teller == "prague")


def test_nobody_is_introduced_by_a_journal_that_comes_back(three):
    brno, prague, olomouc = three
    with brno.catalog.begin() as unit:
        descriptor = unit.members.find(olomouc.name).descriptor
    stranger = {"site": "ostrava", "descriptor": descriptor.replace("olomouc", "ostrava")}
    forged(prague, brno, Fact.MEMBER, stranger)
    settle(*three)
    with brno.catalog.reading() as unit:
        assert unit.epoch == 2
        assert unit.journal.about("site ostrava") == []


def test_what_closes_access_is_believed_of_anybody(two):
    brno, prague = two
    settle(*two)
    says = {"site": "prague", "export": [], "accept": [], "by": "operator:technician@brno"}
    forged(prague, brno, Fact.CONSENT, says)
    settle(*two)
    with brno.catalog.reading() as unit:
        assert unit.members.find(prague.name).export.is_nothing
