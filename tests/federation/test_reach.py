"""Searching and retrieving over the real protocols: SOAP and transfer by HTTPS between sites in folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from node.domain.member import Standing
from node.domain.principal import DEVICE_ACTIONS, Kind, Principal
from node.domain.query import Level, Selection
from node.domain.rule import EVERYTHING, Match, Terms
from node.identity.members import derive_members, state_consent, state_standing
from node.journal.entry import Fact
from node.replication.site_answer import Answer
from node.wiring import Site
from services.run.peers import peers_of
from services.run.reach import Reach
from tests.support import neighbours
from tests.support.searching import query
from tests.support.synthetic import instance, study, study_uid


def acquaint(*sites: Site) -> None:
    """Let every site know every other, and exchange everything with it."""
    announced = {site.home.site: site.catalog.perform(site.home.announce) for site in sites}
    for site in sites:
        with site.catalog.begin() as unit:
            for name, descriptor in announced.items():
                if name != site.home.site:
                    unit.journal.append(Fact.MEMBER, {"site": name, "descriptor": descriptor})
                    state_standing(unit, site.operator(), name, Standing.ACTIVE)
                    state_consent(unit, site.operator(), name, export=EVERYTHING, accept=EVERYTHING)
            derive_members(unit)


def device(site: Site) -> Principal:
    return Principal(kind=Kind.DEVICE, name="CT1", site=site.home.site, may=DEVICE_ACTIONS)


def admit(site: Site, *instances) -> None:
    for offer, data in instances:
        site.archive.admit(device(site), offer, [data])


@pytest.fixture
def sites(tmp_path) -> Iterator[list[Site]]:
    with ExitStack() as stack:
        folders = [neighbours.made(tmp_path, name) for name in ("brno", "prague")]
        sites = [stack.enter_context(neighbours.serving(folder)) for folder in folders]
        acquaint(*sites)
        yield sites


def found(site: Site, asked) -> tuple[list, dict]:
    reach = Reach(site, peers_of(site))
    result = reach.search.search(device(site), asked, patience=20)
    rows = [listed for listed in result.rows if listed is not None]
    return rows, {answer.site: answer for answer in result.answers}


@pytest.mark.parametrize("level", Level)
def test_what_another_site_has_is_found_at_every_level(sites, level):
    brno, prague = sites
    admit(prague, instance(name="Nováková^Jana"))
    rows, answers = found(brno, query(level))
    assert answers["prague"].state is Answer.ANSWERED, answers["prague"].why
    here, _ = found(prague, query(level))
    assert [listed.row for listed in rows] == [listed.row for listed in here]
    assert [listed.is_here for listed in rows] == [False]


def test_a_study_is_brought_and_both_sites_have_written_down_for_whom(sites):
    brno, prague = sites
    admit(prague, *study(5, series=2))
    reach = Reach(brno, peers_of(brno))
    assert reach.usual.bring(device(brno), Selection(studies=(study_uid(1),))) == 5
    assert brno.archive.counts().instances == 5
    with prague.catalog.reading() as unit:
        deeds = [record.deed for record in unit.audit.after()]
    assert any("device:CT1@brno" in deed and "sent" in deed and study_uid(1) in deed for deed in deeds)


def test_a_part_that_terms_give_is_all_that_is_told(sites):
    brno, prague = sites
    admit(prague, instance(), instance(series=2, modality="MR"), instance(study=2, modality="MR"))
    with prague.catalog.begin() as unit:
        terms = Terms(matches=(Match(modalities=("CT",)),))
        state_consent(unit, prague.operator(), brno.home.site, export=terms, accept=EVERYTHING)
        derive_members(unit)
    rows, _ = found(brno, query(Level.STUDY))
    assert [(listed.row[0], listed.row[3]) for listed in rows] == [("CT", "1")]
    reach = Reach(brno, peers_of(brno))
    assert reach.everywhere.bring(device(brno), Selection(studies=(study_uid(1),))) == 1


def test_a_site_that_is_revoked_refuses(sites):
    brno, prague = sites
    with prague.catalog.begin() as unit:
        state_standing(unit, prague.operator(), brno.home.site, Standing.REVOKED)
        derive_members(unit)
    _, answers = found(brno, query())
    assert answers["prague"].state in (Answer.REFUSED, Answer.UNREACHABLE)
    assert answers["prague"].why


def test_a_site_whose_door_is_shut_is_unreachable(sites, tmp_path):
    brno, _ = sites
    wien = neighbours.made(tmp_path, "wien")
    with neighbours.serving(wien) as shut:
        acquaint(brno, shut)
    _, answers = found(brno, query())
    assert answers["wien"].state is Answer.UNREACHABLE
    assert answers["prague"].state is Answer.ANSWERED
