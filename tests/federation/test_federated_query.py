"""Searching all sites at once: what comes, what is said of each site, and what a dead one costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.domain.errors import Forbidden, PeerUnreachable
from node.domain.member import Standing
from node.domain.principal import Action
from node.domain.query import Level
from node.domain.rule import NOTHING, Match, Terms
from node.replication.calls import Calls
from node.replication.federated_search import TICK
from node.replication.site_answer import Answer
from tests.support import synthetic
from tests.support.federation import federation, settle
from tests.support.searching import Seeker, query, standing_of, terms_of
from tests.support.synthetic import instance, study_uid

SHORT = 0.3
"""Seconds that a test waits for somebody who will not answer."""


@pytest.fixture
def sites():
    with federation("brno", "prague", "wien") as sites:
        yield sites


def uids(rows) -> list[str]:
    return [str(listed.row[-2]) for listed in rows]


def test_rows_of_all_sites_come_once_and_those_that_are_here_come_first(sites):
    brno, prague, wien = sites
    for site, studies in ((brno, (1, 2)), (prague, (2, 3)), (wien, (3, 4))):
        for number in studies:
            site.admit(instance(study=number))
    rows, answers = Seeker(brno).find()
    assert sorted(uids(rows)) == [study_uid(number) for number in (1, 2, 3, 4)]
    assert uids(rows)[:2] == [study_uid(1), study_uid(2)]
    assert [listed.is_here for listed in rows] == [True, True, False, False]
    assert {answer.state for answer in answers.values()} == {Answer.ANSWERED}
    assert {site: answer.rows for site, answer in answers.items()} == {"brno": 2, "prague": 2, "wien": 2}


def test_a_study_uid_of_two_patients_stays_two_studies(sites):
    brno, prague, _ = sites
    brno.admit(instance(patient="P1"))
    prague.admit(instance(patient="P2", series=2))
    rows, _ = Seeker(brno).find()
    assert uids(rows) == [study_uid(1), study_uid(1)]


@pytest.mark.parametrize("level", Level)
def test_every_level_is_merged_by_its_unique_key(sites, level):
    brno, prague, _ = sites
    for site in (brno, prague):
        site.admit(instance())
    prague.admit(instance(patient="P2", study=2))
    rows, answers = Seeker(brno).find(query(level))
    assert [listed.is_here for listed in rows] == [True, False]
    assert answers["prague"].rows == 2
    assert all(len(listed.row) == len(query(level).keys) for listed in rows)


def test_a_site_that_hangs_costs_the_deadline_and_is_named(sites):
    for number, site in enumerate(sites, 1):
        site.admit(instance(study=number))
    seeker = Seeker(sites[0])
    with seeker.hanging("prague"):
        rows, answers = seeker.find(patience=SHORT)
        assert seeker.calls.left_behind == {"prague": 1}
    assert sorted(uids(rows)) == [study_uid(1), study_uid(3)]
    assert answers["prague"].state is Answer.TIMED_OUT
    assert answers["prague"].seconds >= SHORT
    assert answers["wien"].state is Answer.ANSWERED


def test_rows_that_are_here_come_before_anybody_has_answered(sites):
    brno = sites[0]
    brno.admit(instance())
    seeker = Seeker(brno)
    with seeker.hanging("prague", "wien"):
        found = seeker.search.search(brno.device, query(), patience=100 * TICK)
        assert next(found.rows).is_here
        assert next(found.rows) is None
        found.rows.close()
        assert seeker.calls.left_behind == {"prague": 1, "wien": 1}
    assert {answer.site: answer.state for answer in found.answers} == {
        "brno": Answer.ANSWERED,
        "prague": Answer.TIMED_OUT,
        "wien": Answer.TIMED_OUT,
    }


def test_a_site_that_hangs_for_ever_uses_up_its_own_calls_and_no_others(sites):
    brno, _, wien = sites
    wien.admit(instance())
    seeker = Seeker(brno, calls=Calls(most=4, each=2))
    with seeker.hanging("prague"):
        for _ in range(2):
            assert seeker.find(patience=SHORT)[1]["prague"].seconds >= SHORT
        rows, answers = seeker.find()
    assert answers["prague"].state is Answer.TIMED_OUT
    assert answers["prague"].why.endswith("prague has not answered 2 calls.")
    assert uids(rows) == [study_uid(1)]


def test_a_site_that_cannot_be_called_is_unreachable(sites):
    brno, _prague, _ = sites
    brno.network.sever("brno", "prague")
    _, answers = Seeker(brno).find()
    assert answers["prague"].state is Answer.UNREACHABLE
    assert "the link is cut" in answers["prague"].why


def test_a_site_whose_catalog_is_mirrored_here_is_stale_instead(sites):
    brno, prague, _wien = sites
    prague.admit(instance(study=3))
    settle(*sites)
    heard = brno.clock.now
    brno.network.sever("brno", "prague")
    rows, answers = Seeker(brno).find()
    assert uids(rows) == [study_uid(3)]
    assert rows[0].is_here
    assert answers["prague"].state is Answer.STALE
    assert 0 < answers["prague"].as_of <= heard
    assert "the link is cut" in answers["prague"].why


def test_a_site_that_has_told_of_more_than_is_here_is_not_called_stale(sites):
    brno, prague, _ = sites
    prague.admit(instance())
    settle(*sites)
    with brno.catalog.begin() as unit:
        contact = unit.members.contact(prague.name)
        unit.members.save_contact(replace(contact, head=contact.head + 1))
    brno.network.sever("brno", "prague")
    assert Seeker(brno).find()[1]["prague"].state is Answer.UNREACHABLE


def test_a_member_whose_link_is_suspended_is_not_asked(sites):
    brno, _prague, _wien = sites
    standing_of(brno, "prague", Standing.SUSPENDED)
    standing_of(brno, "wien", Standing.REVOKED)
    seeker = Seeker(brno)
    _, answers = seeker.find()
    assert answers["prague"].state is Answer.REFUSED
    assert "suspended" in answers["prague"].why
    assert "wien" not in answers
    assert seeker.moods["prague"].asked == seeker.moods["wien"].asked == []


def test_a_member_that_has_suspended_this_site_refuses(sites):
    brno, prague, _ = sites
    standing_of(prague, "brno", Standing.SUSPENDED)
    assert Seeker(brno).find()[1]["prague"].state is Answer.REFUSED


def test_a_member_of_which_nothing_is_accepted_is_not_asked(sites):
    brno, _, _ = sites
    terms_of(brno, "prague", accept=NOTHING)
    seeker = Seeker(brno)
    _, answers = seeker.find()
    assert (answers["prague"].state, answers["prague"].why) == (
        Answer.REFUSED,
        "nothing is accepted from it here",
    )
    assert seeker.moods["prague"].asked == []


def test_the_other_site_hears_who_asks_decides_for_itself_and_writes_it_down(sites):
    brno, prague, _ = sites
    prague.admit(instance())
    seeker = Seeker(brno)
    assert len(seeker.find()[0]) == 1
    assert seeker.moods["prague"].asked == ["device:CT1@brno"]
    assert any(
        "device:CT1@brno" in deed and "Query" in deed for (deed,) in prague.rows("SELECT deed FROM audit")
    )


def test_a_principal_that_may_not_search_here_is_told_so_and_nobody_else_is_asked(sites):
    brno, _, _ = sites
    seeker = Seeker(brno)
    with pytest.raises(Forbidden):
        seeker.search.search(replace(brno.device, may=frozenset({Action.STORE})), query(), patience=1)
    assert seeker.moods["prague"].asked == []


def test_a_site_answers_for_its_own_people_only(sites):
    brno, _prague, wien = sites
    seeker = Seeker(brno)
    found = seeker.search.search(wien.device, query(), patience=5)
    assert list(filter(None, found.rows)) == []
    assert {answer.site: answer.state for answer in found.answers}["prague"] is Answer.REFUSED


@pytest.mark.parametrize(
    "broken",
    [
        lambda found: replace(found, rows=[("one",)]),
        lambda found: replace(found, tags=(), rows=[()]),
    ],
    ids=["a row too short", "no unique key"],
)
def test_an_answer_that_makes_no_sense_is_no_answer(sites, broken):
    brno, prague, _ = sites
    prague.admit(instance())
    seeker = Seeker(brno)
    seeker.moods["prague"].answer = broken
    rows, answers = seeker.find()
    assert rows == []
    assert answers["prague"].state is Answer.UNREACHABLE


def test_an_answer_that_breaks_off_hides_nothing_that_others_tell(sites):
    brno, prague, wien = sites
    for site in (prague, wien):
        site.admit(instance())
    seeker = Seeker(brno)
    seeker.moods["prague"].answer = lambda found: replace(found, rows=[*found.rows, ("one",)])
    rows = []
    with seeker.hanging("wien") as released:
        found = seeker.search.search(brno.device, query(), patience=30)
        for listed in found.rows:
            if any(answer.site == "prague" for answer in found.answers):
                released.set()
            rows += [listed] if listed else []
    assert [listed.site for listed in rows] == ["wien"]


def test_a_site_that_fails_unexpectedly_is_unreachable_and_tells_no_secrets(sites):
    brno, _, _ = sites
    seeker = Seeker(brno)
    seeker.moods["prague"].fails = ValueError("Nováková^Jana")
    _, answers = seeker.find()
    assert (answers["prague"].state, answers["prague"].why) == (Answer.UNREACHABLE, "ValueError")


def test_a_limit_holds_for_all_rows_together(sites):
    brno, prague, _ = sites
    for number in range(1, 4):
        brno.admit(instance(study=number))
        prague.admit(instance(study=10 + number))
    rows, answers = Seeker(brno).find(query(limit=4))
    assert len(rows) == 4
    assert [listed.is_here for listed in rows] == [True, True, True, False]
    assert answers["prague"].rows == 3


def test_a_site_that_has_more_than_it_tells_is_not_complete(sites, monkeypatch):
    brno, prague, _ = sites
    for number in range(1, 4):
        prague.admit(instance(study=number))
    monkeypatch.setattr("node.replication.answer.LONGEST_PAGE", 2)
    rows, answers = Seeker(brno).find()
    assert len(rows) == 2
    assert not answers["prague"].complete
    assert str(answers["prague"]) == "prague has more"


def test_an_unreachable_site_does_not_hide_that_it_was_the_call_that_failed(sites):
    brno, _, _ = sites
    seeker = Seeker(brno)
    seeker.moods["prague"].fails = PeerUnreachable("prague", "it has no address")
    assert seeker.find()[1]["prague"].state is Answer.UNREACHABLE


CT_ONLY = Terms(matches=(Match(modalities=("CT",)),))


@pytest.fixture
def partly(sites):
    """Prague holds a CT study, an MR study and one of both; it gives Brno CT."""
    brno, prague, _ = sites
    prague.admit(instance(study=1))
    prague.admit(instance(study=2, modality="MR"))
    prague.admit(instance(study=3))
    prague.admit(instance(study=3, number=2))
    prague.admit(instance(study=3, series=2, modality="MR"))
    terms_of(prague, "brno", export=CT_ONLY)
    return Seeker(brno)


def test_a_site_that_gives_a_part_tells_of_that_part_as_if_it_were_all(partly):
    rows, _ = partly.find(query(Level.STUDY))
    told = {listed.row[2]: (listed.row[0], listed.row[3]) for listed in rows}
    assert told == {study_uid(1): ("CT", "1"), study_uid(3): ("CT", "2")}
    series, _ = partly.find(query(Level.SERIES))
    assert sorted(str(listed.row[2]) for listed in series) == [
        synthetic.series_uid(1, 1),
        synthetic.series_uid(3, 1),
    ]
    (patient,), _ = partly.find(query(Level.PATIENT))
    assert patient.row[-1] == "3"
    images, _ = partly.find(query(Level.IMAGE))
    assert len(images) == 3


def test_a_query_does_not_match_by_what_is_not_given(partly):
    assert partly.find(query(Level.STUDY, x00080061="MR"))[0] == []
    assert len(partly.find(query(Level.STUDY, x00080061="CT"))[0]) == 2


def test_a_site_that_gives_nothing_refuses(sites):
    brno, prague, _ = sites
    prague.admit(instance())
    terms_of(prague, "brno", export=NOTHING)
    rows, answers = Seeker(brno).find()
    assert rows == []
    assert answers["prague"].state is Answer.REFUSED
