"""Every error is a page, and says to nobody what is not for them."""

from __future__ import annotations

import inspect

import pytest

from node.domain import errors
from node.domain.errors import AttributeMissing, NodeError
from services.portal.problems import PROBLEMS, problem_of

ALL = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, NodeError)]
TOLD = {"Rejected", "Malformed", "PasswordRefused", "AttributeMissing", "SecondFactorNeeded"}


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_page_with_something_to_do(kind: type[NodeError]) -> None:
    problem = problem_of(kind("one", "two", "three", "four"))
    assert problem.status[:3].isdigit()
    assert 400 <= int(problem.status[:3]) < 600
    assert problem.heading
    assert problem.advice


def test_only_what_the_person_can_mend_is_told_in_its_own_words() -> None:
    assert {kind.__name__ for kind, problem in PROBLEMS.items() if problem.is_told} == TOLD


@pytest.mark.parametrize("kind", [errors.BadSignature, errors.Replayed, errors.Expired, errors.LoginRefused])
def test_what_is_wrong_with_a_message_is_for_the_log_alone(kind: type[NodeError]) -> None:
    assert not problem_of(kind("the digest of the assertion differs")).is_told


def test_a_missing_attribute_says_whom_to_ask() -> None:
    error = AttributeMissing("Hospital Brno", "eduPersonPrincipalName", "identity@hospital-brno.test")
    assert problem_of(error).is_told
    assert "identity@hospital-brno.test" in str(error)
