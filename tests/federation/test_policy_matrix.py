"""One policy for every door: all roles, all actions and all data, asked at each door, get one answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.catalog.resources import of_study
from node.domain.decision import Standing
from node.domain.principal import Action
from node.policy.decide import default
from tests.support.matrix import (
    Answer,
    Case,
    House,
    at_archive,
    at_dimse,
    at_portal,
    at_soap,
    at_transfer,
    house,
)

PEOPLE = (
    *sorted(default().roles.keys() - {"modality"}),
    "nobody",
    "who referred",
    "radiologist, second factor",
)
AT = {"archive": at_archive, "dimse": at_dimse, "portal": at_portal}
"""The doors for people and devices of the site."""
VISITED = {"soap": at_soap, "transfer": at_transfer}
"""The doors at which people of another site ask, by their own."""
NOWHERE = {Action.REQUEST, Action.APPROVE}
"""What no door offers."""


@pytest.fixture(scope="module")
def brno() -> Iterator[House]:
    with house() as made:
        yield made


@pytest.mark.parametrize(
    ("door", "role"),
    [(door, role) for door in (*AT, *VISITED) for role in PEOPLE]
    + [(door, "modality") for door in ("archive", "dimse")],
)
def test_every_door_answers_as_the_policy_does(brno, door, role):
    who = (brno.visitors if door in VISITED else brno.callers)[role]
    wrong = []
    with (AT | VISITED)[door](brno, who) as ask:
        for case in brno.cases.values():
            decisions = {action: brno.says(who, action, case) for action in Action}
            for action, answer in ask(case).items():
                decision = decisions[action]
                if answer is not expected(case, allowed=decision.allowed, answer=answer):
                    wrong.append(f"{action} {case.name}: {answer}, but the policy: {decision.reason}")
            brno.tidy(case)
    assert wrong == [], "\n" + "\n".join(wrong)


def expected(case: Case, *, allowed: bool, answer: Answer) -> Answer:
    """What a door has to answer: of data that are elsewhere it may have nothing to give."""
    if not allowed:
        return Answer.NO
    is_elsewhere = case.name == Standing.FOREIGN and answer is Answer.ABSENT
    return Answer.ABSENT if is_elsewhere else Answer.YES


def test_every_action_is_asked_for_at_some_door(brno):
    case = brno.cases[Standing.OWN]
    asked: set[Action] = set()
    for door in (at_archive, at_portal):
        with door(brno, brno.callers["nobody"]) as ask:
            asked |= ask(case).keys()
    assert asked == set(Action) - NOWHERE


def test_each_study_is_what_it_is_called(brno):
    with brno.brno.catalog.reading() as unit:
        standing = {name: of_study(unit, case.study)[0].standing for name, case in brno.cases.items()}
    assert standing == {one: one for one in Standing} | {"restricted": Standing.OWN}
