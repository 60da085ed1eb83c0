"""What has begun and what was taken, as rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.catalog import logins
from node.catalog.catalog import Catalog
from node.catalog.logins import Pending
from node.domain.errors import TooBusy
from node.domain.ids import SiteId


class Site:
    def __init__(self, folder: Path) -> None:
        self.now = 1_000
        self.catalog = Catalog(folder / "catalog.sqlite", origin=SiteId("brno"), clock=lambda: self.now)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.catalog.close()


def pending(name: str, until: int = 2_000) -> Pending:
    return Pending(id=name, browser="b", issuer="i", request="r", onward="/", options="{}", until_at=until)


def test_what_has_begun_is_found_until_its_time_is_over(site: Site) -> None:
    site.catalog.perform(lambda unit: unit.logins.begin(pending("one")))
    with site.catalog.reading() as unit:
        assert unit.logins.find("one") == pending("one")
        assert unit.logins.find("other") is None
    site.now = 2_001
    with site.catalog.reading() as unit:
        assert unit.logins.find("one") is None


def test_what_has_begun_is_taken_once(site: Site) -> None:
    site.catalog.perform(lambda unit: unit.logins.begin(pending("one")))
    assert site.catalog.perform(lambda unit: unit.logins.take("one"))
    assert not site.catalog.perform(lambda unit: unit.logins.take("one"))


def test_nobody_can_begin_without_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "MOST", 2)
    for name in ("one", "two"):
        site.catalog.perform(lambda unit, name=name: unit.logins.begin(pending(name)))
    with pytest.raises(TooBusy):
        site.catalog.perform(lambda unit: unit.logins.begin(pending("three")))
    site.now = 2_001
    site.catalog.perform(lambda unit: unit.logins.begin(pending("three", until=3_000)))


def test_a_message_is_taken_once_of_each_issuer_until_it_expires(site: Site) -> None:
    def once(issuer: str, name: str) -> bool:
        return site.catalog.perform(lambda unit: unit.logins.once(issuer, name, 2_000))

    assert once("a", "1") and once("b", "1") and once("a", "2")
    assert not once("a", "1")
    site.now = 2_000
    assert not once("a", "1")
    site.now = 2_001
    assert once("a", "1")


def test_what_cannot_be_remembered_is_not_taken(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "MOST_TAKEN", 1)
    assert site.catalog.perform(lambda unit: unit.logins.once("a", "1", 2_000))
    with pytest.raises(TooBusy):
        site.catalog.perform(lambda unit: unit.logins.once("a", "2", 2_000))
