"""Sites that write at the same time and come to hold the same: what is promised, sentence by sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from node.archive.derive import derive
from node.domain.change import Changes, Cursor
from node.domain.errors import (
    CatalogBusy,
    Damaged,
    Forbidden,
    LastCopy,
    Locked,
    MalformedMessage,
    Unauthenticated,
    Unidentified,
    Withdrawn,
)
from node.domain.ids import SiteId
from node.domain.instance import Outcome
from node.domain.query import Selection
from node.domain.replica import CopyState, Urgency
from node.domain.rule import EVERYTHING, NOTHING, Match, Rule, Terms
from node.journal.entry import LOCAL, Entry, Fact, verify
from node.replication.courier import LONGEST_PAUSE, TICK
from node.replication.peer import LONGEST_PAGE
from node.replication.reconcile import reconcile
from node.replication.rules import RuleBook
from node.replication.telling import Teller
from tests.support import synthetic
from tests.support.federation import FederatedSite, federation, settle
from tests.support.pool import sample, uid_of
from tests.support.synthetic import instance, study_uid
from tests.support.views import holds, view

CT = Terms(matches=(Match(modalities=("CT",)),))
DESCRIPTION = 0x00081030
CALLS = ("heartbeat", "changes", "again", "prepare_to_get", "fetch")
PUSHES = ("heartbeat", "offer", "wanted", "upload")


@pytest.fixture
def two() -> Iterator[list[FederatedSite]]:
    with federation("brno", "prague") as sites:
        yield sites


@pytest.fixture
def three() -> Iterator[list[FederatedSite]]:
    with federation("brno", "prague", "olomouc") as sites:
        yield sites


def digests(site: FederatedSite) -> list[str]:
    return sorted(row[0] for row in site.rows("SELECT digest FROM instance"))


def copies(site: FederatedSite) -> list[tuple]:
    return site.rows("SELECT site, state FROM replica ORDER BY digest, site")


def conflicts(site: FederatedSite) -> list[tuple]:
    return site.rows("SELECT instance, digest, state FROM conflict WHERE state != 'folded' ORDER BY digest")


def description(site: FederatedSite) -> list[str]:
    return [row[0] for row in site.rows("SELECT description FROM study")]


def send(site: FederatedSite, number: int, kind: str = "plain"):
    sent = sample(number, kind)
    return site.admit((sent.offer, sent.data))


def share(site: FederatedSite, other: FederatedSite, **terms: Terms) -> None:
    site.members.consent(site.operator, other.name, **terms)


def study(number: int) -> Selection:
    return Selection(studies=(study_uid(number),))


def told_by(site: FederatedSite, *entries: Entry) -> Changes:
    """Entries as a site would tell them that keeps nothing back."""
    with site.catalog.reading() as unit:
        changes = Teller(unit, replace(site.members.all()[0], export=EVERYTHING)).tell(1, entries)
    told = [
        replace(one, at=entry.at, kind=entry.kind, payload=entry.payload)
        for one, entry in zip(changes.entries, entries, strict=True)
    ]
    return replace(changes, entries=told)


# ---- whatever one site receives


def test_what_one_site_receives_is_at_the_other_one_proved(two):
    brno, prague = two
    admitted = brno.admit(instance())
    settle(brno, prague)
    assert prague.blobs.size(admitted.digest)
    assert digests(prague) == [admitted.digest]
    assert copies(brno) == [("prague", "verified")]


def test_both_sites_may_receive_at_the_same_time(two):
    brno, prague = two
    brno.admit(instance(number=1))
    prague.admit(instance(number=2))
    settle(brno, prague)
    assert view(brno) == view(prague)
    assert len(digests(brno)) == 2


def test_a_site_that_joins_a_study_of_another_one_adds_to_it(two):
    brno, prague = two
    brno.admit(instance(series=1))
    settle(brno, prague)
    prague.admit(instance(series=2))
    settle(brno, prague)
    assert brno.rows("SELECT series_count, instance_count FROM study") == [(2, 2)]


def test_the_same_bytes_at_both_sites_are_one_instance(two):
    brno, prague = two
    assert brno.admit(instance()).digest == prague.admit(instance()).digest
    settle(brno, prague)
    assert view(brno) == view(prague)
    assert len(digests(brno)) == 1
    assert conflicts(brno) == []
    assert copies(brno) == [("prague", "verified")]
    assert copies(prague) == [("brno", "verified")]


def test_the_same_uid_with_other_bytes_is_shown_at_both_sites(two):
    brno, prague = two
    first, second = send(brno, 1), send(prague, 1, "other")
    settle(brno, prague, work=True)
    assert digests(brno) == digests(prague) == [first.digest]
    assert conflicts(brno) == conflicts(prague) == [(uid_of(1), second.digest, "different")]
    assert all(holds(site, form.digest) for site in (brno, prague) for form in (first, second))


def test_the_same_image_in_two_transfer_syntaxes_is_kept_once_everywhere(two):
    brno, prague = two
    first, second = send(brno, 1), send(prague, 1, "implicit")
    settle(brno, prague, work=True)
    assert digests(brno) == digests(prague) == [first.digest]
    assert conflicts(brno) == conflicts(prague) == []
    assert not holds(brno, second.digest)
    assert not holds(prague, second.digest)


def test_a_form_that_is_folded_before_it_was_read_back_goes_all_the_same(two):
    brno, prague = two
    send(prague, 1)
    prague.clock.forward(1)
    second = send(brno, 1, "implicit")
    prague.courier("brno").round()
    assert holds(prague, second.digest)
    prague.work()
    settle(brno, prague, work=True)
    assert not holds(prague, second.digest)
    assert prague.rows("SELECT * FROM want") == []


def test_a_form_that_was_folded_comes_again_where_an_earlier_word_of_it_is_heard_later():
    with federation("brno", "prague", "olomouc", ahead={"olomouc": -600}) as three:
        brno, prague, olomouc = three
        send(brno, 1)
        second = send(prague, 1, "implicit")
        settle(brno, prague, work=True)
        assert not holds(brno, second.digest)
        olomouc.clock.forward(-100_000)
        send(olomouc, 1, "implicit")
        olomouc.clock.forward(100_000)
        settle(*three, work=True)
        assert digests(brno) == digests(prague) == digests(olomouc) == [second.digest]
        assert view(brno) == view(prague) == view(olomouc)


def test_a_form_that_was_folded_into_one_that_is_not_shown_goes_everywhere():
    with federation("brno", "prague", "olomouc", ahead={"olomouc": -600}) as three:
        brno, prague, olomouc = three
        send(olomouc, 1, "other")
        plain, folded = send(prague, 1), send(prague, 1, "implicit")
        brno.network.sever("prague", "brno")
        prague.work()
        brno.network.heal()
        settle(*three, work=True)
        assert conflicts(brno) == conflicts(prague) == [(uid_of(1), plain.digest, "different")]
        assert not any(holds(site, folded.digest) for site in three)


def test_nobody_counts_on_a_form_that_was_folded(two):
    brno, prague = two
    send(brno, 1), send(prague, 1, "implicit")
    settle(brno, prague, work=True)
    for site, other in ((brno, prague), (prague, brno)):
        claimed = site.rows("SELECT digest FROM replica WHERE state IN ('held', 'verified')")
        assert all(holds(other, digest) for (digest,) in claimed)


def test_what_a_device_sent_first_is_said_to_come_from_it_everywhere():
    with federation("brno", "prague", ahead={"prague": -60}) as (brno, prague):
        brno.admit(instance())
        settle(brno, prague)
        prague.clock.forward(-3600)
        prague.admit(instance())
        settle(brno, prague)
        assert view(brno) == view(prague)


# ---- decisions


def test_of_two_corrections_the_latest_wins_at_both_sites(two):
    brno, prague = two
    brno.admit(instance())
    settle(brno, prague)
    prague.archive.correct(prague.operator, study_uid(1), {DESCRIPTION: "Thorax"}, "typing error")
    brno.clock.forward(1)
    brno.archive.correct(brno.operator, study_uid(1), {DESCRIPTION: "Abdomen"}, "wrong region")
    settle(brno, prague)
    assert description(brno) == description(prague) == ["Abdomen"]


def test_a_correction_by_a_slow_clock_is_later_than_the_one_it_corrects():
    with federation("brno", "prague", ahead={"prague": -600}) as (brno, prague):
        brno.admit(instance())
        brno.archive.correct(brno.operator, study_uid(1), {DESCRIPTION: "Thorax"}, "typing error")
        for _ in range(2):
            prague.exchange()
        prague.archive.correct(prague.operator, study_uid(1), {DESCRIPTION: "Abdomen"}, "wrong region")
        settle(brno, prague)
        assert description(brno) == description(prague) == ["Abdomen"]


def test_a_correction_that_comes_before_the_images_is_laid_over_them(two):
    brno, prague = two
    brno.admit(instance())
    brno.archive.correct(brno.operator, study_uid(1), {DESCRIPTION: "Abdomen"}, "wrong region")
    settle(brno, prague)
    assert description(prague) == ["Abdomen"]


def test_patients_merged_in_opposite_directions_are_one_at_both_sites(two):
    brno, prague = two
    send(brno, 1), send(brno, 4)
    settle(brno, prague)
    first, second = ("", "P1"), ("", "P2")
    brno.archive.merge(brno.operator, first, second, "one person")
    prague.archive.merge(prague.operator, second, first, "one person")
    settle(brno, prague)
    assert view(brno) == view(prague)
    assert brno.rows("SELECT count(DISTINCT shown) FROM study") == [(1,)]


def test_what_is_withdrawn_at_one_site_is_hidden_at_all_and_does_not_come_back(three):
    brno, prague, olomouc = three
    brno.admit(instance())
    settle(*three)
    prague.archive.retract(prague.operator, study(1), "wrong patient")
    settle(*three)
    assert [digests(site) for site in three] == [[], [], []]
    with pytest.raises(Withdrawn):
        olomouc.admit(instance())
    settle(*three)
    assert digests(brno) == []


def test_what_is_withdrawn_before_its_bytes_came_is_not_fetched(two):
    brno, prague = two
    admitted = brno.admit(instance())
    brno.archive.retract(brno.operator, study(1), "wrong patient")
    settle(brno, prague)
    assert digests(prague) == []
    assert not holds(prague, admitted.digest)
    assert prague.rows("SELECT * FROM want") == []


@pytest.mark.parametrize("who", [0, 1, 2])
def test_what_is_restored_is_fetched_where_its_bytes_never_came(three, who):
    brno = three[0]
    admitted = brno.admit(instance())
    brno.archive.retract(brno.operator, study(1), "wrong patient")
    settle(*three)
    three[who].archive.restore(three[who].operator, study(1), "right patient")
    settle(*three)
    assert [digests(site) for site in three] == [[admitted.digest]] * 3
    assert copies(brno) == [("olomouc", "verified"), ("prague", "verified")]


def test_what_is_withdrawn_before_it_was_read_back_is_proved_all_the_same(two):
    brno, prague = two
    brno.admit(instance())
    prague.courier("brno").round()
    prague.archive.retract(prague.operator, study(1), "wrong patient")
    prague.archive.restore(prague.operator, study(1), "right patient")
    settle(brno, prague)
    assert copies(brno) == [("prague", "verified")]


def test_bytes_that_both_sites_received_are_proved_though_they_are_withdrawn_when_that_is_heard(two):
    brno, prague = two
    brno.admit(instance()), prague.admit(instance())
    prague.archive.retract(prague.operator, study(1), "wrong patient")
    prague.exchange()
    prague.archive.restore(prague.operator, study(1), "right patient")
    settle(brno, prague)
    assert copies(brno) == [("prague", "verified")]


def test_a_lock_beats_a_retraction_at_the_same_time(two):
    brno, prague = two
    admitted = brno.admit(instance())
    settle(brno, prague)
    brno.archive.lock(brno.operator, study_uid(1), brno.clock.now + 10**13, "litigation")
    prague.archive.retract(prague.operator, study(1), "wrong patient")
    settle(brno, prague)
    assert digests(brno) == digests(prague) == [admitted.digest]
    with pytest.raises(Locked):
        prague.archive.retract(prague.operator, study(1), "wrong patient")


def test_a_lock_brings_back_what_a_third_site_had_not_fetched(three):
    brno, prague, olomouc = three
    brno.admit(instance())
    prague.exchange(), prague.exchange()
    prague.archive.lock(prague.operator, study_uid(1), prague.clock.now + 10**13, "litigation")
    brno.archive.retract(brno.operator, study(1), "wrong patient")
    brno.network.sever("prague", "olomouc")
    brno.network.sever("prague", "brno")
    settle(*three)
    assert digests(olomouc) == []
    brno.network.heal()
    settle(*three)
    assert [len(digests(site)) for site in three] == [1, 1, 1]


def test_a_retraction_that_was_known_when_the_study_was_locked_stays(two):
    brno, prague = two
    send(brno, 1), send(brno, 2)
    settle(brno, prague)
    prague.archive.retract(prague.operator, Selection(instances=(uid_of(1),)), "wrong patient")
    settle(brno, prague)
    brno.archive.lock(brno.operator, study_uid(1), brno.clock.now + 10**13, "litigation")
    settle(brno, prague)
    assert len(digests(brno)) == len(digests(prague)) == 1


# ---- links


def test_a_sleeping_site_is_served_when_it_wakes(two):
    brno, prague = two
    brno.network.sever("brno", "prague")
    for number in (1, 2, 3):
        brno.admit(instance(number=number))
    settle(brno, prague)
    assert digests(prague) == []
    assert brno.rows("SELECT count(*) FROM replica WHERE state = 'owed'") == [(3,)]
    brno.network.heal()
    settle(brno, prague)
    assert digests(prague) == digests(brno)


@pytest.mark.parametrize("cutter", [0, 1])
def test_a_suspended_link_moves_nothing_and_loses_nothing(two, cutter):
    brno, prague = two
    who, other = two[cutter], two[1 - cutter]
    who.members.suspend(who.operator, other.name, "maintenance")
    brno.admit(instance(number=1)), prague.admit(instance(number=2))
    settle(brno, prague, work=True)
    assert (len(digests(brno)), len(digests(prague))) == (1, 1)
    who.members.resume(who.operator, other.name)
    settle(brno, prague, work=True)
    assert view(brno) == view(prague)
    assert len(digests(brno)) == 2


@pytest.mark.parametrize("lost", CALLS)
def test_a_lost_answer_does_no_harm(two, lost):
    brno, prague = two
    share(brno, prague, export=NOTHING)
    brno.admit(instance(number=1))
    settle(brno, prague, work=True)
    share(brno, prague, export=EVERYTHING)
    prague.admit(instance(number=2))
    left = [1]

    def loses(call: str) -> bool:
        left[0] -= call == lost
        return call == lost and left[0] >= 0

    brno.network.loses = loses
    settle(brno, prague, work=True)
    settle(brno, prague, work=True)
    assert left[0] <= 0
    assert view(brno) == view(prague)
    assert len(digests(brno)) == 2


def test_a_site_that_cannot_be_called_is_served_both_ways_by_its_own_calls():
    with federation("brno", "prague", callable=lambda name: name == "brno") as (brno, prague):
        brno.admit(instance(number=1)), prague.admit(instance(number=2))
        settle(brno, prague)
        assert view(brno) == view(prague)
        assert sorted(copies(brno)) == [("prague", "held"), ("prague", "verified")]


def test_a_site_that_cannot_be_called_tells_what_it_withheld_when_its_terms_are_widened():
    with federation("brno", "prague", callable=lambda name: name == "brno") as (brno, prague):
        brno.admit(instance())
        settle(brno, prague)
        share(prague, brno, export=NOTHING)
        prague.archive.correct(prague.operator, study_uid(1), {DESCRIPTION: "Abdomen"}, "wrong region")
        settle(brno, prague)
        assert description(brno) == ["Study 1"]
        share(prague, brno, export=EVERYTHING)
        settle(brno, prague)
        assert description(brno) == ["Abdomen"]


@pytest.mark.parametrize("lost", PUSHES)
def test_a_lost_answer_to_a_site_that_cannot_be_called_does_no_harm(lost):
    with federation("brno", "prague", callable=lambda name: name == "brno") as (brno, prague):
        brno.admit(instance(number=1)), prague.admit(instance(number=2))
        left = [1]

        def loses(call: str) -> bool:
            left[0] -= call == lost
            return call == lost and left[0] >= 0

        brno.network.loses = loses
        settle(brno, prague)
        settle(brno, prague)
        assert left[0] <= 0
        assert view(brno) == view(prague)


def test_after_two_weeks_of_outage_a_courier_catches_up_by_itself(two):
    brno, prague = two
    courier = prague.courier("brno")
    brno.network.sever("brno", "prague")
    paused = 0
    for hour in range(14 * 24):
        if hour % 24 == 0:
            brno.admit(instance(number=hour // 24 + 1))
        prague.clock.forward(3600)
        assert courier._turn() == TICK
        paused = max(paused, courier._pause)
    assert paused == LONGEST_PAUSE
    brno.network.heal()
    prague.clock.forward(LONGEST_PAUSE)
    for _ in range(50):
        courier._turn()
        prague.intake.prove(100)
    assert len(digests(prague)) == 14
    assert courier._pause == 0
    courier.close()


def test_a_call_from_the_other_site_ends_the_pause_after_failures(two):
    brno, prague = two
    brno.admit(instance())
    courier = prague.courier("brno")
    brno.network.sever("brno", "prague")
    for _ in range(20):
        prague.clock.forward(LONGEST_PAUSE)
        courier._turn()
    brno.network.heal()
    assert not courier._is_due()
    brno.exchange()
    assert courier._is_due()
    courier._turn()
    assert len(digests(prague)) == 1


# ---- terms and rules


def test_what_was_withheld_comes_when_the_terms_are_widened(two):
    brno, prague = two
    share(brno, prague, export=NOTHING)
    brno.admit(instance())
    settle(brno, prague, work=True)
    assert prague.rows("SELECT * FROM journal WHERE origin = 'brno' AND kind = 'instance'") == []
    share(brno, prague, export=EVERYTHING)
    settle(brno, prague, work=True)
    assert digests(prague) == digests(brno)
    with prague.catalog.reading() as unit:
        known = unit.journal.after(0, origin=brno.name, epoch=1)
        assert verify(known) == unit.cursors.find(brno.name, 1)


def test_conditional_terms_give_the_facts_and_the_bytes_of_what_they_name_only(two):
    brno, prague = two
    share(brno, prague, export=CT)
    ct, mr = send(brno, 1), send(brno, 3)
    brno.archive.correct(brno.operator, study_uid(2), {DESCRIPTION: "a secret"}, "wrong region")
    settle(brno, prague, work=True)
    assert digests(prague) == [ct.digest]
    assert not holds(prague, mr.digest)
    told = " ".join(row[0] for row in prague.rows("SELECT payload FROM journal"))
    assert mr.digest not in told
    assert uid_of(3) not in told
    assert "a secret" not in told
    grant = prague.peer("brno").prepare_to_get([ct.digest, mr.digest])
    assert [digest for digest, _ in grant.items] == [ct.digest]
    with pytest.raises(Forbidden):
        list(prague.peer("brno").fetch(grant, [mr.digest]))


def test_a_site_takes_only_what_its_own_terms_accept(two):
    brno, prague = two
    share(prague, brno, accept=CT)
    ct, mr = send(brno, 1), send(brno, 3)
    settle(brno, prague, work=True)
    assert digests(prague) == [ct.digest]
    share(prague, brno, accept=EVERYTHING)
    settle(brno, prague, work=True)
    assert digests(prague) == sorted([ct.digest, mr.digest])


def test_where_one_copy_is_wanted_studies_are_spread_over_the_members(three):
    brno, prague, olomouc = three
    RuleBook(brno.catalog).add(brno.operator, Rule(name="one", copies=1))
    for number in range(1, 17):
        brno.admit(instance(study=number))
    settle(*three, work=True)
    there, also = set(digests(prague)), set(digests(olomouc))
    assert there | also == set(digests(brno))
    assert not there & also
    assert min(len(there), len(also)) >= 3


def test_a_rule_that_is_added_later_owes_old_studies_too(two):
    brno, prague = two
    book = RuleBook(brno.catalog)
    book.add(brno.operator, Rule(name="mr", match=Match(modalities=("MR",))))
    settle(brno, prague, work=True)
    brno.admit(instance())
    settle(brno, prague, work=True)
    assert digests(prague) == []
    book.add(brno.operator, Rule(name="ct", match=Match(modalities=("CT",))))
    settle(brno, prague, work=True)
    assert digests(prague) == digests(brno)


def test_what_concerns_a_site_alone_is_never_told(two):
    brno, prague = two
    data = synthetic.dataset()
    del data.PatientID
    with pytest.raises(Unidentified):
        brno.admit((synthetic.offer_of(data), synthetic.encoded(data)))
    brno.archive.discard(brno.operator, brno.archive.quarantined()[0].digest)
    RuleBook(brno.catalog).add(brno.operator, Rule(name="ct", match=Match(modalities=("CT",))))
    settle(brno, prague, work=True)
    kinds = {Fact(row[0]) for row in brno.rows("SELECT kind FROM journal WHERE origin = 'brno'")}
    told = {Fact(row[0]) for row in prague.rows("SELECT kind FROM journal WHERE origin = 'brno'")}
    assert kinds >= LOCAL
    assert not told & LOCAL


def test_what_concerns_a_site_alone_is_refused_when_it_is_told(two):
    brno, prague = two
    settle(brno, prague)
    RuleBook(brno.catalog).add(brno.operator, Rule(name="ct", match=Match(modalities=("CT",))))
    with brno.catalog.reading() as unit:
        (entry,) = unit.journal.of_kind(Fact.RULE)
    with pytest.raises(MalformedMessage, match=r"concerns itself alone|no fact of the kind"):
        prague.intake.take(told_by(brno, entry))
    assert prague.rows("SELECT * FROM journal WHERE kind = 'rule'") == []


# ---- bytes


def test_what_somebody_waits_for_comes_before_what_is_new_and_that_before_what_is_old(two):
    brno, prague = two
    admitted = {}
    for name, number in (("old", 1), ("newer", 2), ("waited for", 3), ("newest", 4)):
        admitted[name] = brno.admit(instance(number=number)).digest
        brno.clock.forward(60)
    courier = prague.courier("brno")
    with prague.catalog.reading() as unit:
        news = prague.service.news(unit, brno.name)
    peer = prague.peer("brno")
    courier._facts(peer, peer.heartbeat(news))
    with prague.catalog.begin() as unit:
        unit.wants.urge(admitted["waited for"], Urgency.ON_DEMAND)
    with prague.catalog.reading() as unit:
        order = [want.digest for want in unit.wants.next(brno.name, 10)]
    assert order == [admitted[name] for name in ("waited for", "newest", "newer", "old")]


def test_where_the_site_that_told_of_it_has_lost_it_another_one_is_asked(three):
    brno, _, olomouc = three
    brno.network.sever("brno", "olomouc")
    admitted = brno.admit(instance())
    settle(*three)
    brno.network.heal()
    brno.blobs.remove(admitted.digest)
    settle(*three)
    assert holds(olomouc, admitted.digest)
    assert ("olomouc", "verified") in copies(brno)


def test_while_the_site_that_told_of_it_is_away_another_one_is_asked(three):
    brno, _, olomouc = three
    admitted = brno.admit(instance())
    courier = olomouc.courier("brno")
    peer = olomouc.peer("brno")
    with olomouc.catalog.reading() as unit:
        news = olomouc.service.news(unit, brno.name)
    courier._facts(peer, peer.heartbeat(news))
    brno.network.sever("brno", "olomouc")
    settle(*three)
    assert not holds(olomouc, admitted.digest)
    for _ in range(10):
        olomouc.clock.forward(LONGEST_PAUSE)
        courier._turn()
    settle(*three)
    assert holds(olomouc, admitted.digest)


def test_sites_that_do_not_give_what_they_say_they_have_are_not_asked_all_the_time(three):
    brno, prague, olomouc = three
    brno.network.sever("brno", "olomouc")
    admitted = brno.admit(instance())
    settle(*three)
    brno.network.heal()
    brno.blobs.remove(admitted.digest), prague.blobs.remove(admitted.digest)
    for _ in range(6):
        olomouc.exchange()
    assert not olomouc.exchange()
    assert olomouc.rows("SELECT state FROM want") == [("wanted",)]


def test_a_copy_is_claimed_only_after_it_was_read_back(two):
    brno, prague = two
    admitted = brno.admit(instance())
    prague.courier("brno").round()
    assert holds(prague, admitted.digest)
    brno.exchange()
    assert copies(brno) == [("prague", "owed")]
    prague.intake.prove(10)
    brno.exchange()
    assert copies(brno) == [("prague", "verified")]


def test_a_copy_that_is_damaged_when_it_is_read_back_is_fetched_again(two):
    brno, prague = two
    admitted = brno.admit(instance())
    prague.courier("brno").round()
    prague.blobs.blobs[admitted.digest] = b"rotten"
    prague.intake.prove(10)
    brno.exchange()
    assert copies(brno) == [("prague", "owed")]
    settle(brno, prague)
    assert holds(prague, admitted.digest)
    assert copies(brno) == [("prague", "verified")]


def test_a_site_does_not_vouch_for_a_copy_that_rotted_since(two):
    brno, prague = two
    admitted = brno.admit(instance())
    settle(brno, prague)
    prague.blobs.blobs[admitted.digest] = b"rotten"
    assert [proof.state for proof in brno.peer("prague").verify([admitted.digest])] == [CopyState.GONE]
    with pytest.raises(LastCopy):
        brno.dropping.drop(brno.operator, admitted.digest)
    assert holds(brno, admitted.digest)


def test_two_sites_cannot_give_up_the_last_two_copies_at_the_same_time(two):
    brno, prague = two
    admitted = brno.admit(instance())
    settle(brno, prague)
    refused: list[str] = []

    def meanwhile(call: str, called: SiteId) -> None:
        if call == "verify" and called == "prague":
            with pytest.raises(LastCopy):
                prague.dropping.drop(prague.operator, admitted.digest)
            refused.append(called)

    brno.network.meanwhile = meanwhile
    brno.dropping.drop(brno.operator, admitted.digest)
    assert refused == ["prague"]
    assert not holds(brno, admitted.digest)
    assert holds(prague, admitted.digest)


def test_a_copy_that_was_given_up_and_is_sent_again_counts_again(two):
    brno, prague = two
    admitted = brno.admit(instance())
    settle(brno, prague)
    brno.dropping.drop(brno.operator, admitted.digest)
    settle(brno, prague)
    assert copies(prague) == [("brno", "gone")]
    assert brno.admit(instance()).outcome is Outcome.KEPT
    settle(brno, prague)
    assert copies(prague) == [("brno", "verified")] or copies(prague) == [("brno", "held")]
    assert reconcile(brno.catalog, brno.peer("prague")).equal


def test_what_was_given_up_stays_what_is_shown_though_other_bytes_of_it_are_here(two):
    brno, prague = two
    first, second = send(brno, 1), send(brno, 1, "other")
    settle(brno, prague, work=True)
    brno.dropping.drop(brno.operator, first.digest)
    prague.archive.correct(prague.operator, study_uid(1), {DESCRIPTION: "Abdomen"}, "wrong region")
    with brno.catalog.begin() as unit:
        derive(unit, brno.blobs, uid_of(1))
    settle(brno, prague, work=True)
    assert digests(brno) == digests(prague) == [first.digest]
    assert conflicts(brno) == conflicts(prague) == [(uid_of(1), second.digest, "different")]


def test_bytes_that_are_given_up_between_writing_and_recording_are_not_acknowledged(two):
    brno, _ = two
    perform = brno.catalog.perform

    def gives_up(change):
        brno.blobs.blobs.clear()
        return perform(change)

    brno.catalog.perform = gives_up
    with pytest.raises(CatalogBusy):
        brno.admit(instance())
    assert digests(brno) == []


# ---- chains


def test_a_journal_that_was_rewritten_is_refused_and_the_refusal_is_told(two):
    brno, prague = two
    brno.admit(instance(number=1))
    settle(brno, prague)
    with brno.catalog.begin() as unit:
        unit._connection.exec_driver_sql(
            "UPDATE journal SET hash = substr(hash, 2) || substr(hash, 1, 1) WHERE origin = 'brno'"
            " AND seq = (SELECT max(seq) FROM journal WHERE origin = 'brno')"
        )
    before = digests(prague)
    brno.admit(instance(number=2))
    courier = prague.courier("brno")
    with pytest.raises(Damaged, match="does not follow"):
        courier.round()
    prague.clock.forward(3600)
    courier._turn()
    assert digests(prague) == before
    with prague.catalog.reading() as unit:
        assert "does not follow" in unit.members.contact(brno.name).error


def test_a_fact_that_was_altered_is_refused(two):
    brno, prague = two
    brno.admit(instance())
    with brno.catalog.begin() as unit:
        unit._connection.exec_driver_sql(
            "UPDATE journal SET payload = replace(payload, 'CT1', 'CT2') WHERE kind = 'instance'"
        )
    with pytest.raises(Damaged, match="not what its hash says"):
        prague.courier("brno").round()
    assert digests(prague) == []


def test_a_site_tells_no_journal_but_its_own(three):
    brno, prague, _ = three
    with pytest.raises(Forbidden):
        prague.peer("brno").changes(Cursor(origin=SiteId("olomouc"), epoch=1), LONGEST_PAGE)
    with brno.catalog.reading() as unit:
        entries = unit.journal.page(0, 10)
    with pytest.raises(Forbidden):
        prague.peer("olomouc").offer(told_by(brno, *entries))


def test_a_site_whose_keys_are_not_trusted_any_more_is_told_nothing(two):
    brno, prague = two
    prague.members.revoke(prague.operator, brno.name, "keys were stolen")
    with pytest.raises(Unauthenticated, match="not an active member"):
        brno.peer("prague").wanted(10)
