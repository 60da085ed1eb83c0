"""Denied unless something allows it, and always with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.errors import Forbidden
from node.domain.principal import DEVICE_ACTIONS, Action, Kind, Principal
from node.policy.decide import decide, demand
from tests.support.sites import BRNO, OPERATOR

principals = st.builds(
    Principal,
    kind=st.sampled_from(sorted(set(Kind) - {Kind.PERSON})),
    name=st.just("CT1"),
    site=st.just(BRNO),
    may=st.frozensets(st.sampled_from(sorted(DEVICE_ACTIONS))),
)


@given(principals, st.sampled_from(Action))
def test_a_caller_may_do_what_the_list_says_and_an_operator_everything(principal, action):
    decision = decide(principal, action)
    assert decision.allowed == (action in principal.may or principal.kind is Kind.OPERATOR)
    assert decision.reason
    if decision.allowed:
        demand(principal, action)
    else:
        with pytest.raises(Forbidden, match=f"CT1@brno may not {action}"):
            demand(principal, action)


def test_a_device_may_not_administer_whatever_its_list_says():
    listed = Principal(kind=Kind.DEVICE, name="CT1", site=BRNO, may=frozenset(Action))
    assert {action for action in Action if decide(listed, action).allowed} == DEVICE_ACTIONS
    assert all(decide(OPERATOR, action).allowed for action in Action)
