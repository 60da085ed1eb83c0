"""Retrieving through this site what is at others: found, fetched, catalogued and handed on as it comes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.domain.errors import Forbidden, MalformedQuery, NodeError, PeerUnreachable
from node.domain.member import Standing
from node.domain.principal import Action
from node.domain.query import Selection
from node.domain.rule import NOTHING, Match, Terms
from node.replication import read_through
from tests.support.federation import federation, settle
from tests.support.searching import Seeker, query, standing_of, terms_of
from tests.support.synthetic import (
    dataset,
    encoded,
    instance,
    instance_uid,
    offer_of,
    series_uid,
    study,
    study_uid,
)

STUDY_1 = Selection(studies=(study_uid(1),))
SHORT = 0.3


@pytest.fixture
def sites():
    with federation("brno", "prague", "wien") as sites:
        yield sites


def retrieved(reader, brno, selection=STUDY_1) -> tuple[list[str], list[str]]:
    """What came, and what could not be had."""
    retrieval = reader.retrieve(brno.device, selection)
    came = [one.uid for portion in retrieval.portions for one in portion or ()]
    assert len(came) + len(retrieval.missing) == retrieval.total
    return came, list(retrieval.missing)


def give(site, size=3, **attributes) -> None:
    for one in study(size, **attributes):
        site.admit(one)


def test_a_study_that_is_elsewhere_is_brought_and_then_is_here(sites):
    brno, prague, _ = sites
    give(prague, 5, series=2)
    seeker = Seeker(brno)
    came, missing = retrieved(seeker.reader(), brno)
    assert (len(came), missing) == (5, [])
    assert seeker.reader().bring(brno.device, STUDY_1) == 0
    rows, _ = seeker.find(query())
    assert rows[0].is_here
    with brno.catalog.reading() as unit:
        for uid in came:
            found = unit.instances.find(uid)
            with brno.blobs.mapped(found.digest) as mine, prague.blobs.mapped(found.digest) as theirs:
                assert bytes(mine) == bytes(theirs)
    sent = [deed for (deed,) in prague.rows("SELECT deed FROM audit") if "sent" in deed]
    assert any("device:CT1@brno" in deed and study_uid(1) in deed for deed in sent)


def test_what_was_brought_is_proved_and_replication_goes_on_from_where_it_was(sites):
    brno, prague, wien = sites
    give(prague, 2)
    assert Seeker(brno).reader().bring(brno.device, STUDY_1) == 2
    give(prague, 2, study=2)
    settle(*sites)
    assert prague.rows("SELECT count(*) FROM replica WHERE site = 'brno' AND state = 'verified'") == [(4,)]
    assert brno.rows("SELECT count(*) FROM want") == [(0,)]
    for site in sites:
        assert site.rows("SELECT count(*) FROM instance") == [(4,)]
        assert [tuple(row) for row in site.rows("SELECT count(*) FROM conflict")] == [(0,)]
    assert wien.rows("SELECT count(*) FROM journal WHERE kind = 'instance'") == [(4,)]


def test_what_is_here_comes_first_and_the_rest_as_it_is_fetched(sites, monkeypatch):
    brno, prague, _ = sites
    monkeypatch.setattr(read_through, "PACK", 2)
    give(prague, 6)
    brno.admit(study(6)[0])
    retrieval = Seeker(brno).reader(everywhere=True).retrieve(brno.device, STUDY_1)
    assert retrieval.total == 6
    sizes = [len(portion) for portion in retrieval.portions if portion is not None]
    assert sizes == [1, 2, 2, 1]


def test_the_ordinary_title_asks_nobody_about_a_study_that_is_here(sites):
    brno, prague, _ = sites
    give(prague, 6)
    brno.admit(study(6)[0])
    seeker = Seeker(brno)
    seeker.moods["prague"].fails = PeerUnreachable("prague", "nobody should ask")
    assert retrieved(seeker.reader(), brno) == ([instance_uid(1, 1, 1)], [])


def test_instances_whose_copies_were_dropped_here_are_brought_again(sites):
    brno, prague, _ = sites
    give(prague, 3)
    settle(*sites)
    uid = instance_uid(1, 1, 2)
    with brno.catalog.begin() as unit:
        unit.instances.set_held(uid, held=False)
        brno.blobs.remove(unit.instances.digest(uid))
    came, missing = retrieved(Seeker(brno).reader(), brno)
    assert (sorted(came), missing) == (sorted(instance_uid(1, 1, number) for number in (1, 2, 3)), [])
    with brno.catalog.reading() as unit:
        assert unit.instances.is_held(uid)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(studies=(study_uid(1),), series=(series_uid(1, 2),)), {instance_uid(1, 2, 2)}),
        (Selection(series=(series_uid(1, 2),)), {instance_uid(1, 2, 2)}),
        (Selection(instances=(instance_uid(1, 1, 1),)), {instance_uid(1, 1, 1)}),
        (Selection(patient_id="P2"), {instance_uid(2, 1, 1)}),
        (Selection(patient_id="P2", studies=(study_uid(1),)), set()),
    ],
)
def test_a_retrieval_at_any_level_brings_what_it_names_and_no_more(sites, selection, expected):
    brno, prague, _ = sites
    give(prague, 2, series=2, patient="P1")
    prague.admit(instance(study=2, patient="P2"))
    came, missing = retrieved(Seeker(brno).reader(), brno, selection)
    assert (set(came), missing) == (expected, [])
    assert brno.rows("SELECT count(*) FROM instance") == [(len(expected),)]


def test_a_patient_id_of_two_issuers_at_two_sites_is_ambiguous(sites):
    brno, prague, wien = sites
    for number, site in ((1, prague), (2, wien)):
        offer, data = _issued(number, f"HOSPITAL {number}")
        site.admit((offer, data))
    with pytest.raises(MalformedQuery):
        Seeker(brno).reader().retrieve(brno.device, Selection(patient_id="P1"))
    named = Selection(patient_id="P1", issuer="HOSPITAL 2")
    assert retrieved(Seeker(brno).reader(), brno, named) == ([instance_uid(2, 1, 1)], [])


def _issued(number: int, issuer: str):
    data = dataset(study=number, patient="P1")
    data.IssuerOfPatientID = issuer
    return offer_of(data), encoded(data)


def test_a_holder_that_falls_over_is_replaced_by_another_one(sites, monkeypatch):
    brno, prague, wien = sites
    monkeypatch.setattr(read_through, "PACK", 2)
    give(prague, 4)
    give(wien, 4)
    seeker = Seeker(brno)
    seeker.moods["prague"].gives = seeker.moods["wien"].gives = 1
    came, missing = retrieved(seeker.reader(), brno)
    assert (len(came), len(missing)) == (3, 1)
    seeker.moods["wien"].gives = None
    came, missing = retrieved(seeker.reader(everywhere=True), brno)
    assert (len(came), missing) == (4, [])


def test_a_copy_at_a_third_site_serves_while_the_one_that_received_it_is_away(sites):
    brno, prague, wien = sites
    brno.network.sever("brno", "prague")
    give(prague, 2)
    settle(prague, wien)
    came, missing = retrieved(Seeker(brno).reader(), brno)
    assert (len(came), missing) == (2, [])
    brno.network.heal()
    settle(*sites)
    for site in sites:
        assert site.rows("SELECT origin, count(*) FROM journal WHERE kind = 'instance' GROUP BY origin") == [
            ("prague", 2)
        ]


def test_what_the_one_that_received_it_withholds_is_not_fetched_behind_its_back(sites):
    brno, prague, wien = sites
    terms_of(prague, "brno", export=NOTHING)
    give(prague, 2)
    settle(*sites)
    assert brno.rows("SELECT count(*) FROM instance") == [(0,)]
    with pytest.raises(Forbidden):
        Seeker(brno).reader().retrieve(brno.device, STUDY_1)
    assert wien.rows("SELECT count(*) FROM instance") == [(2,)]


def test_what_the_terms_of_this_site_do_not_accept_stays_where_it_is(sites):
    brno, prague, _ = sites
    give(prague, 2)
    terms_of(brno, "prague", accept=Terms(matches=(Match(modalities=("MR",)),)))
    with pytest.raises(Forbidden, match=r"prague may not send this here"):
        Seeker(brno).reader().retrieve(brno.device, STUDY_1)
    assert brno.rows("SELECT count(*) FROM instance") == [(0,)]


def test_what_the_terms_of_the_other_site_do_not_give_is_not_announced(sites):
    brno, prague, _ = sites
    prague.admit(instance())
    prague.admit(instance(series=2, modality="MR"))
    terms_of(prague, "brno", export=Terms(matches=(Match(modalities=("MR",)),)))
    assert retrieved(Seeker(brno).reader(), brno) == ([instance_uid(1, 2, 1)], [])


def test_a_link_that_is_cut_by_either_side_gives_nothing(sites):
    brno, prague, wien = sites
    give(prague, 1)
    give(wien, 1, study=2)
    standing_of(brno, "prague", Standing.SUSPENDED)
    standing_of(wien, "brno", Standing.SUSPENDED)
    for number in (1, 2):
        assert retrieved(Seeker(brno).reader(), brno, Selection(studies=(study_uid(number),))) == ([], [])


def test_a_dead_site_costs_its_deadline_and_the_others_serve(sites):
    brno, _, wien = sites
    give(wien, 2)
    seeker = Seeker(brno)
    with seeker.hanging("prague"):
        came, missing = retrieved(seeker.reader(patience=SHORT), brno)
        assert seeker.calls.left_behind == {"prague": 1}
    assert (len(came), missing) == (2, [])


def test_who_may_not_retrieve_here_brings_nothing(sites):
    brno, prague, _ = sites
    give(prague, 1)
    with pytest.raises(Forbidden):
        Seeker(brno).reader().retrieve(replace(brno.device, may=frozenset({Action.QUERY})), STUDY_1)
    assert brno.rows("SELECT count(*) FROM want") == [(0,)]


@pytest.mark.parametrize(
    "lie",
    [
        {"size": 1},
        {"origin": "wien"},
        {"origin": "brno"},
    ],
)
def test_an_announcement_that_contradicts_its_fact_is_not_believed(sites, lie, monkeypatch):
    brno, prague, _ = sites
    give(prague, 1)
    honest = read_through.Locate._note

    def lying(self, located, site, told):
        if not isinstance(told, NodeError) and told[0]:
            told = ([replace(one, **lie) for one in told[0]], told[1])
        honest(self, located, site, told)

    monkeypatch.setattr(read_through.Locate, "_note", lying)
    with pytest.raises(Forbidden):
        Seeker(brno).reader().retrieve(brno.device, STUDY_1)
    assert brno.rows("SELECT count(*) FROM journal WHERE kind = 'instance'") == [(0,)]


def test_a_retrieval_that_is_given_up_leaves_the_rest_to_replication(sites, monkeypatch):
    brno, prague, _ = sites
    monkeypatch.setattr(read_through, "PACK", 1)
    give(prague, 3)
    retrieval = Seeker(brno).reader().retrieve(brno.device, STUDY_1)
    assert next(portion for portion in retrieval.portions if portion)
    retrieval.portions.close()
    settle(*sites)
    assert brno.rows("SELECT count(*) FROM instance") == [(3,)]


def near_and_far(brno, near, far) -> Seeker:
    """Brno has measured how far both are, which hold the same study."""
    for site in (near, far):
        brno.network.sever("brno", site.name)
    give(far, 4)
    settle(near, far)
    brno.network.heal()
    with brno.catalog.begin() as unit:
        for site, rtt in ((near, 3_000), (far, 80_000)):
            contact = unit.members.contact(site.name)
            unit.members.save_contact(replace(contact, rtt=rtt, heard_at=unit.now, failed_at=0))
    return Seeker(brno)


@pytest.mark.parametrize("turn", [1, -1])
def test_of_several_holders_the_nearest_one_is_asked(sites, turn):
    near, far = sites[1:][::turn]
    seeker = near_and_far(sites[0], near, far)
    assert seeker.reader().bring(sites[0].device, STUDY_1) == 4
    assert len(seeker.moods[near.name].fetched) == 4
    assert not seeker.moods[far.name].fetched


def test_a_near_holder_that_falls_over_in_the_middle_is_replaced_by_the_next(sites):
    brno, prague, wien = sites
    seeker = near_and_far(brno, wien, prague)
    seeker.moods["wien"].gives = 1
    assert seeker.reader().bring(brno.device, STUDY_1) == 4
    assert (len(seeker.moods["wien"].fetched), len(seeker.moods["prague"].fetched)) == (1, 3)
