"""Every expected failure has an HTTP status, and is told as a problem."""

from __future__ import annotations

import json

import pytest

from node.domain import errors
from node.domain.errors import Misconfigured, NodeError
from services.https.problem import answer, guarded, status_of


def leaves(kind=NodeError):
    children = kind.__subclasses__()
    return [leaf for child in children for leaf in leaves(child)] if children else [kind]


LEAVES = [leaf for leaf in leaves() if leaf.__module__ == errors.__name__]

EXPECTED = {
    errors.Malformed: 400,
    errors.TooLarge: 413,
    errors.Unknown: 404,
    errors.AccessDenied: 403,
    errors.Unauthenticated: 401,
    errors.Unavailable: 503,
    errors.Damaged: 500,
    errors.Misconfigured: 500,
}


@pytest.mark.parametrize("kind", LEAVES)
def test_every_error_has_a_status_that_is_a_failure(kind):
    error = kind("one", "two", "three")
    expected = [status for base, status in EXPECTED.items() if isinstance(error, base)]
    assert status_of(error) == (expected[-1] if expected else 409)
    assert 400 <= status_of(error) < 600


@pytest.mark.parametrize("kind", [kind for kind in LEAVES if not issubclass(kind, Misconfigured)])
def test_an_error_is_told_as_a_problem(kind):
    told = {}

    def start(status, fields):
        told.update(dict(fields), status=status)

    (content,) = answer(kind("one", "two", "three"), start)
    problem = json.loads(content)
    assert told["Content-Type"] == "application/problem+json"
    assert int(told["Content-Length"]) == len(content)
    assert told["status"].startswith(str(problem["status"]))
    assert problem["type"].endswith(kind.__name__)
    assert ("Retry-After" in told) == issubclass(kind, errors.Unavailable)


def test_a_guarded_application_may_raise():
    def application(environ, start_response):
        raise errors.StoreFull("the disk")

    told = []
    guarded(application)({}, lambda status, fields: told.append(status))
    assert told == ["503 Service Unavailable"]
