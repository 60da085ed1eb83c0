"""A portal, and a person who is logged in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.portal import Portal, portal_of_a_site


@pytest.fixture
def brno() -> Iterator[Portal]:
    with portal_of_a_site() as made:
        yield made
