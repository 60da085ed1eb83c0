"""Several sites have what is wanted: those that answer come before those that failed, the nearest first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.domain.ids import SiteId
from node.domain.member import Contact
from node.replication.nearness import nearest_first
from tests.support.sites import TestSite, site

OLOMOUC, OSTRAVA, PRAGUE = map(SiteId, ("olomouc", "ostrava", "prague"))


@pytest.fixture
def brno() -> Iterator[TestSite]:
    with site() as made:
        yield made


def order(brno: TestSite, *contacts: Contact, answered: tuple[SiteId, ...] = ()) -> list[SiteId]:
    with brno.catalog.begin() as unit:
        for contact in contacts:
            unit.members.save_contact(contact)
    with brno.catalog.reading() as unit:
        return nearest_first(unit, answered or [contact.site for contact in contacts])


def test_the_nearest_comes_first_however_they_answered(brno):
    far, near = Contact(site=OLOMOUC, rtt=90_000), Contact(site=PRAGUE, rtt=4_000)
    assert order(brno, far, near) == [PRAGUE, OLOMOUC]
    assert order(brno, near, far) == [PRAGUE, OLOMOUC]


def test_a_site_that_failed_last_comes_behind_those_that_did_not(brno):
    near = Contact(site=PRAGUE, rtt=4_000, heard_at=5, failed_at=7)
    assert order(brno, near, Contact(site=OLOMOUC, rtt=90_000), Contact(site=OSTRAVA)) == [
        OLOMOUC,
        OSTRAVA,
        PRAGUE,
    ]


def test_a_site_that_was_heard_of_since_it_failed_is_no_worse_than_others(brno):
    near = Contact(site=PRAGUE, rtt=4_000, heard_at=9, failed_at=7)
    assert order(brno, Contact(site=OLOMOUC, rtt=90_000), near) == [PRAGUE, OLOMOUC]


def test_of_sites_that_were_never_measured_the_first_to_answer_comes_first(brno):
    assert order(brno, answered=(PRAGUE, OLOMOUC)) == [PRAGUE, OLOMOUC]
