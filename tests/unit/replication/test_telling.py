"""What a member is told while the worker has not worked off a decision yet."""

from __future__ import annotations

import pytest

from node.domain.ids import RuleName
from node.domain.rule import Match, Rule
from node.replication.rules import RuleBook
from tests.support.federation import federation, settle
from tests.support.synthetic import instance


@pytest.fixture
def sites():
    """Two sites whose workers have nothing left to do."""
    with federation("brno", "prague") as found:
        settle(*found, work=True)
        yield found


def test_a_member_that_is_resumed_and_asks_at_once_gets_what_came_during_the_cut(sites):
    brno, prague = sites
    brno.members.suspend(brno.operator, prague.name, "maintenance")
    settle(brno, prague, work=True)
    admitted = brno.admit(instance())
    brno.members.resume(brno.operator, prague.name)
    prague.exchange()
    settle(brno, prague, work=True)
    assert prague.blobs.size(admitted.digest)
    assert brno.rows("SELECT site, state FROM replica") == [("prague", "verified")]


def test_a_member_that_asks_as_soon_as_a_rule_is_gone_gets_what_it_left_aside(sites):
    brno, prague = sites
    book, name = RuleBook(brno.catalog), RuleName("nothing-else")
    book.add(brno.operator, Rule(name=name, match=Match(modalities=("XA",))))
    admitted = brno.admit(instance())
    settle(brno, prague, work=True)
    assert prague.blobs.size(admitted.digest) is None
    book.remove(brno.operator, name)
    prague.exchange()
    settle(brno, prague, work=True)
    assert prague.blobs.size(admitted.digest)


def test_a_member_is_not_told_to_fetch_what_no_rule_wants_there(sites):
    brno, prague = sites
    book = RuleBook(brno.catalog)
    book.add(brno.operator, Rule(name=RuleName("angiography"), match=Match(modalities=("XA",))))
    admitted = brno.admit(instance())
    settle(brno, prague, work=True)
    assert prague.blobs.size(admitted.digest) is None
