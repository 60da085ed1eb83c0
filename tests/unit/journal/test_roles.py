"""Which role each site has: the same at every site, one archive in a line, and nobody demotes a stranger."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.chain import Head
from node.domain.errors import Rejected
from node.domain.ids import SiteId
from node.domain.role import Role, SiteRole
from node.journal.entry import Entry, Fact, canonical, follow
from node.journal.roles import roles, said
from node.recovery.roles import heirs, place_to_take

BRNO, PRAGUE, OLOMOUC, OSTRAVA = map(SiteId, ("brno", "prague", "olomouc", "ostrava"))


@dataclass
class Here:
    """A site that knows some facts about roles, and states others."""

    site: SiteId
    clock: int = 0
    journal: list[Entry] = field(default_factory=list)
    heard: dict[SiteId, list[Entry]] = field(default_factory=dict)

    @property
    def facts(self) -> list[Entry]:
        return [*self.journal, *(fact for facts in self.heard.values() for fact in facts)]

    def roles(self) -> dict[SiteId, SiteRole]:
        return roles(self.facts)

    def role(self, site: SiteId | None = None) -> SiteRole:
        site = site or self.site
        return self.roles().get(site, SiteRole(site=site))

    def hear(self, *others: Here) -> None:
        for other in others:
            self.heard[other.site] = list(other.journal)

    def say(self, role: Role, *successors: SiteId, place: SiteRole | None = None, **says: object) -> Entry:
        told = said(self.role(), role, successors=successors, in_place_of=place)
        last = self.journal[-1] if self.journal else None
        self.clock += 1
        self.journal.append(
            follow(
                Head(seq=last.seq, hash=last.hash) if last else Head(),
                origin=self.site,
                epoch=1,
                at=self.clock,
                kind=Fact.ROLE,
                payload=canonical({**told, "reason": "", "by": "", **says}),
            )
        )
        return self.journal[-1]

    def promote(self, named: SiteId | None = None) -> None:
        place = place_to_take(self.roles().values(), self.site, named)
        self.say(Role.BACKUP, *heirs(self.site, place), place=place)


def line(*sites: SiteId) -> list[Here]:
    """An archive, and backups that may take its place in this order; all have heard that."""
    made = [Here(site, clock=place * 100) for place, site in enumerate(sites)]
    made[0].say(Role.ARCHIVE, *sites[1:])
    for other in made[1:]:
        other.say(Role.BACKUP)
    meet(*made)
    return made


def meet(*sites: Here) -> None:
    for one in sites:
        one.hear(*(other for other in sites if other is not one))


def archives(sites: Sequence[Here]) -> list[SiteId]:
    return [one.site for one in sites if one.role().role is Role.ARCHIVE]


def test_a_site_of_which_nothing_was_said_is_an_archive_that_nobody_can_replace():
    brno, prague = Here(BRNO), Here(PRAGUE)
    assert brno.role() == SiteRole(site=BRNO, role=Role.ARCHIVE)
    with pytest.raises(Rejected, match="no site has named prague"):
        prague.promote()
    prague.say(Role.BACKUP, place=SiteRole(site=BRNO))
    brno.hear(prague)
    assert brno.role().role is Role.ARCHIVE


def test_a_successor_takes_the_place_of_a_site_that_does_not_answer():
    brno, prague = line(BRNO, PRAGUE)
    prague.promote()
    assert (prague.role().role, prague.role(BRNO).role) == (Role.ARCHIVE, Role.BACKUP)
    assert brno.role().role is Role.ARCHIVE
    brno.hear(prague)
    assert (brno.role().role, brno.role().by) == (Role.BACKUP, PRAGUE)
    assert brno.role().term == prague.role().term == 2


def test_a_stranger_cannot_replace_a_site_whatever_it_claims():
    brno, prague, olomouc = *line(BRNO, PRAGUE), Here(OLOMOUC)
    olomouc.hear(brno, prague)
    place = olomouc.role(BRNO)
    for says in ({}, {"term": 99}, {"successors": ["olomouc"]}, {"term": 1}):
        olomouc.say(Role.BACKUP, place=place, **says)
    brno.hear(olomouc)
    assert brno.role().role is Role.ARCHIVE
    assert brno.roles().keys() == {BRNO, PRAGUE}


def test_a_word_about_another_site_that_takes_no_place_counts_for_nothing():
    brno, prague = line(BRNO, PRAGUE)
    prague.say(Role.BACKUP, site="brno")
    brno.hear(prague)
    assert brno.role().role is Role.ARCHIVE


def test_what_the_old_primary_says_before_it_has_heard_of_its_successor_counts_for_nothing():
    brno, prague = line(BRNO, PRAGUE)
    prague.promote()
    for _ in range(3):
        brno.say(Role.ARCHIVE, PRAGUE)
    meet(brno, prague)
    assert archives([brno, prague]) == [PRAGUE]
    brno.say(Role.BACKUP)
    assert (brno.role().by, brno.role().role) == (BRNO, Role.BACKUP)


def test_of_two_successors_that_take_one_place_the_one_that_was_named_first_does():
    brno, prague, olomouc = line(BRNO, PRAGUE, OLOMOUC)
    olomouc.promote()
    prague.promote()
    olomouc.say(Role.ARCHIVE, OSTRAVA)
    meet(brno, prague, olomouc)
    assert archives([brno, prague, olomouc]) == [PRAGUE]
    assert brno.role().by == PRAGUE
    assert olomouc.role().by == OLOMOUC


def test_a_primary_that_has_answered_one_successor_has_answered_all():
    """The other one, which would have come first, was not heard of until it was too late."""
    brno, prague, olomouc = line(BRNO, PRAGUE, OLOMOUC)
    prague.promote()
    olomouc.promote()
    brno.hear(olomouc)
    brno.promote()
    meet(brno, prague, olomouc)
    assert archives([brno, prague, olomouc]) == [BRNO]


def test_two_archives_that_take_the_place_of_each_other_leave_one():
    brno, prague = Here(BRNO), Here(PRAGUE, clock=100)
    brno.say(Role.ARCHIVE, PRAGUE)
    prague.say(Role.ARCHIVE, BRNO)
    meet(brno, prague)
    brno.promote()
    prague.promote()
    meet(brno, prague)
    assert len(archives([brno, prague])) == 1


def test_what_was_built_on_a_promotion_that_failed_fails_with_it():
    brno, prague, olomouc, ostrava = line(BRNO, PRAGUE, OLOMOUC, OSTRAVA)
    olomouc.promote()
    ostrava.hear(olomouc)
    ostrava.promote(OLOMOUC)
    ostrava.say(Role.ARCHIVE, OLOMOUC)
    prague.promote()
    meet(brno, prague, olomouc, ostrava)
    assert archives([brno, prague, olomouc, ostrava]) == [PRAGUE]


def test_there_and_back_as_often_as_one_likes():
    brno, prague = line(BRNO, PRAGUE)
    for _ in range(5):
        prague.promote()
        meet(brno, prague)
        brno.promote()
        meet(brno, prague)
    assert archives([brno, prague]) == [BRNO]
    assert brno.role().term == 11


def test_a_place_that_was_laid_down_is_taken_by_one_alone():
    brno, prague, olomouc = line(BRNO, PRAGUE, OLOMOUC)
    brno.say(Role.BACKUP, PRAGUE, OLOMOUC)
    meet(brno, prague, olomouc)
    prague.promote()
    olomouc.promote()
    meet(brno, prague, olomouc)
    assert archives([brno, prague, olomouc]) == [PRAGUE]


def test_a_place_is_taken_also_by_a_site_whose_terms_are_far_ahead():
    """What the old primary says until it hears of that has lower terms, and counts for nothing."""
    brno, prague = line(BRNO, PRAGUE)
    for _ in range(5):
        prague.say(Role.BACKUP)
    prague.promote()
    brno.say(Role.ARCHIVE, OLOMOUC)
    meet(brno, prague)
    assert archives([brno, prague]) == [PRAGUE]


def test_a_word_stands_where_the_one_that_would_have_taken_the_place_was_replaced_itself():
    brno, olomouc, ostrava = Here(BRNO), Here(OLOMOUC, clock=100), Here(OSTRAVA, clock=200)
    brno.say(Role.ARCHIVE, OLOMOUC)
    olomouc.say(Role.ARCHIVE, OSTRAVA)
    meet(brno, olomouc, ostrava)
    ostrava.promote()
    olomouc.say(Role.BACKUP, place=olomouc.role(BRNO), term=9)
    brno.say(Role.ARCHIVE, PRAGUE)
    meet(brno, olomouc, ostrava)
    assert brno.role().successors == (PRAGUE,)
    assert archives([brno, olomouc, ostrava]) == [BRNO, OSTRAVA]


def test_what_a_site_states_again_after_it_lost_its_memory_is_said_once():
    brno, prague = line(BRNO, PRAGUE)
    prague.promote()
    brno.hear(prague)
    again = [replace(fact, epoch=2, seq=place) for place, fact in enumerate(prague.journal, 1)]
    assert roles([*brno.facts, *again]) == brno.roles() == roles([*brno.journal, *again])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("promote"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("restate"), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("hear"), st.integers(0, 3), st.integers(0, 3)),
    ),
    max_size=40,
)


@given(STEPS, st.randoms(use_true_random=False))
def test_a_line_has_one_archive_in_the_end_whatever_happened_and_all_agree(steps, order: random.Random):
    sites = line(BRNO, PRAGUE, OLOMOUC, OSTRAVA)
    for what, one, other in steps:
        here = sites[one]
        if what == "hear":
            here.hear(sites[other])
        elif what == "promote":
            try:
                here.promote()
            except Rejected:
                continue
        elif here.role().role is Role.ARCHIVE:
            named = [site.site for site in sites if site is not here]
            here.say(Role.ARCHIVE, *named[other:], *named[:other])
    meet(*sites)
    assert len(archives(sites)) == 1, [f.says for s in sites for f in s.journal]
    facts = sites[0].facts
    order.shuffle(facts)
    assert all(site.roles() == roles(facts) for site in sites)


@given(STEPS)
def test_a_site_that_is_no_archive_knows_whom_to_send_devices_to(steps):
    """What a site believes is always one of the states that were said: no role comes out of nothing."""
    sites = line(BRNO, PRAGUE, OLOMOUC, OSTRAVA)
    for what, one, other in steps:
        here = sites[one]
        if what == "hear":
            here.hear(sites[other])
        elif what == "promote":
            try:
                here.promote()
            except Rejected:
                continue
            assert here.role().role is Role.ARCHIVE
        replaced = [r for r in here.roles().values() if r.was_replaced]
        for one_of in replaced:
            assert here.role(one_of.by).term >= one_of.term
