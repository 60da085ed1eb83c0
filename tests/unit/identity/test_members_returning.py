"""A member that has lost its folder comes back under its name, and finds the others beside its keys."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from node.domain.errors import Rejected, Unauthenticated
from node.domain.ids import SiteId
from node.domain.rule import EVERYTHING, Match, Terms
from node.identity import addresses
from tests.support.memberships import Node, apply, join, make, nodes

CT_ONLY = Terms(matches=(Match(modalities=("CT",)),))


@pytest.fixture
def pair() -> Iterator[tuple[Node, Node]]:
    with nodes("brno", "prague") as (brno, prague):
        join(brno, prague)
        yield brno, prague


def comes_back(brno: Node, prague: Node, *, confirmed: bool = True) -> Node:
    """Prague, whose folder was lost, made anew and let in again by Brno."""
    prague.catalog.close()
    folder = prague.home.key_folder.parent
    shutil.rmtree(folder)
    again = make(folder, prague.site, prague.clock)
    invited = brno.invitations.invite(brno.operator, prague.site, returning=True, confirmed=confirmed)
    apply(brno, again, invited, invited.code)
    return again


def test_a_site_that_returns_shows_a_new_key_and_the_old_one_is_not_trusted_any_more(pair):
    brno, prague = pair
    old = prague.home.key().fingerprint
    again = comes_back(brno, prague)
    assert brno.members.recognise(again.home.key().fingerprint).site == "prague"
    with pytest.raises(Unauthenticated):
        brno.members.recognise(old)
    again.catalog.close()


def test_it_returns_on_the_terms_of_before(pair):
    brno, prague = pair
    brno.members.consent(brno.operator, prague.site, export=CT_ONLY)
    again = comes_back(brno, prague)
    known = brno.members.find(prague.site)
    assert (known.export, known.accept) == (CT_ONLY, EVERYTHING)
    again.catalog.close()


def test_it_says_nothing_of_its_own_terms_until_its_journal_is_back(pair):
    brno, prague = pair
    prague.catalog.close()
    folder = prague.home.key_folder.parent
    shutil.rmtree(folder)
    again = make(folder, prague.site, prague.clock)
    invited = brno.invitations.invite(brno.operator, prague.site, returning=True, confirmed=True)
    attempt = again.joining.begin(again.operator, invited.token, invited.code)
    offered = brno.invitations.greet(invited.token.invitation, attempt.offer)
    welcome = brno.invitations.accept(attempt.application(offered))
    member = again.joining.finish(again.operator, attempt, offered, welcome, returning=True)
    assert member.is_active
    assert member.export.is_nothing
    assert member.accept.is_nothing
    again.catalog.close()


def test_it_waits_for_somebody_to_confirm_it_and_nobody_trusts_the_old_key_meanwhile(pair):
    brno, prague = pair
    old = prague.home.key().fingerprint
    again = comes_back(brno, prague, confirmed=False)
    for shown in (old, again.home.key().fingerprint):
        with pytest.raises(Unauthenticated):
            brno.members.recognise(shown)
    brno.members.confirm(brno.operator, prague.site)
    assert brno.members.recognise(again.home.key().fingerprint).site == "prague"
    again.catalog.close()


def test_only_a_member_returns(pair):
    brno, _ = pair
    with pytest.raises(Rejected, match="without --returning"):
        brno.invitations.invite(brno.operator, SiteId("ostrava"), returning=True)
    with pytest.raises(Rejected, match="cannot invite itself"):
        brno.invitations.invite(brno.operator, brno.site, returning=True)


def test_a_member_that_does_not_return_is_not_given_other_keys(pair):
    brno, prague = pair
    with pytest.raises(Rejected, match="--returning"):
        brno.invitations.invite(brno.operator, prague.site)


def test_what_it_announces_is_newer_than_all_that_it_has_ever_announced(pair):
    """Others go by the highest version: one that comes back with its old journal announces a higher one."""
    _, prague = pair
    with prague.catalog.reading() as unit:
        assert prague.home.announced(unit)[1].version == 1
    shutil.rmtree(prague.home.key_folder)
    again = make(prague.home.key_folder.parent / "again", prague.site, prague.clock)
    with prague.catalog.reading() as unit:
        own = [fact for fact in unit.journal.after(0) if fact.says.get("site") == "prague"]
    with again.catalog.begin() as unit:
        for fact in own:
            unit.journal.keep(fact)
        unit.journal.begin_epoch(2)
        again.home.announce(unit)
        assert again.home.announced(unit)[1].version == 2
    again.catalog.close()


def test_the_addresses_of_active_members_stand_beside_the_keys(pair):
    brno, prague = pair
    assert addresses.save(brno.home.key_folder, brno.members.all())
    assert not addresses.save(brno.home.key_folder, brno.members.all()), "nothing has changed"
    (kept,) = addresses.load(brno.home.key_folder)
    known = brno.members.find(prague.site)
    assert (kept.site, kept.url, kept.fingerprints) == (known.site, known.url, known.fingerprints)
    assert kept.export.is_nothing
    brno.members.suspend(brno.operator, prague.site, "maintenance")
    addresses.save(brno.home.key_folder, brno.members.all())
    assert addresses.load(brno.home.key_folder) == []


@pytest.mark.parametrize("content", ["", "[]", "{", '{"prague": "no metadata"}', '{"prague": 5}'])
def test_addresses_that_cannot_be_read_are_none(pair, content):
    brno, _ = pair
    (brno.home.key_folder / addresses.FILE).write_text(content)
    assert list(addresses.load(brno.home.key_folder)) == []


def test_metadata_under_another_name_are_no_address(pair):
    brno, _ = pair
    addresses.save(brno.home.key_folder, brno.members.all())
    path = brno.home.key_folder / addresses.FILE
    path.write_text(path.read_text().replace('"prague":', '"ostrava":'))
    assert list(addresses.load(brno.home.key_folder)) == []
