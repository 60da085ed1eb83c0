"""Two major versions of a service stand side by side, and the newest has the short address."""

from __future__ import annotations

import pytest

from services.soap.framework.endpoint import Endpoint
from services.soap.framework.registry import Registry
from services.soap.framework.service import Call, Service, operation
from tests.support.soap_demo import Shelf
from tests.support.soap_wire import envelope, get, post, session


class NewShelf(Service):
    """Boxes, weighed."""

    name, path, version = "Shelf", "shelf", 2

    @operation(result="weight")
    def weigh(self, call: Call, uid: str) -> int:
        """Say how heavy a box is."""
        return len(uid)


@pytest.fixture
def registry():
    return Registry([Endpoint(NewShelf()), Endpoint(Shelf())])


def test_both_versions_answer_at_their_own_address(registry):
    assert session(Shelf, registry).call(Shelf.stat, uid="1.2").size == 3
    assert session(NewShelf, registry).call(NewShelf.weigh, uid="1.2") == 3


def test_the_short_address_is_the_newest(registry):
    request = envelope("<weigh><uid>1</uid></weigh>", tns="urn:konzilium:shelf:2")
    assert post(registry, request, path="/soap/shelf").status == 200
    assert post(registry, envelope("<stat><uid>1</uid></stat>"), path="/soap/shelf").status == 400
    assert b"urn:konzilium:shelf:2" in get(registry, path="/soap/shelf/").body


def test_an_address_of_nothing_is_not_found(registry):
    for path in ("/soap", "/soap/shelf/3", "/soap/attic", "/"):
        assert post(registry, envelope(""), path=path).status == 404
    assert registry.paths == ("/soap/shelf", "/soap/shelf/1", "/soap/shelf/2")


def test_one_version_cannot_be_served_twice():
    with pytest.raises(ValueError, match="/soap/shelf/1"):
        Registry([Endpoint(Shelf()), Endpoint(Shelf())])
