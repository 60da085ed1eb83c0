"""A unit that reads sees one state of the catalog, and the next one sees the state of then."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.catalog.catalog import Catalog
from node.domain.errors import Rejected
from node.domain.ids import SiteId
from node.domain.job import Task


@pytest.fixture
def catalog(tmp_path: Path):
    opened = Catalog(tmp_path / "catalog.db", origin=SiteId("brno"), clock=lambda: 1)
    yield opened
    opened.close()


def owed(catalog: Catalog) -> int:
    with catalog.reading() as unit:
        return unit.jobs.owed()[0]


def owe(catalog: Catalog, *keys: str) -> None:
    for key in keys:
        catalog.perform(lambda unit, key=key: unit.jobs.add(Task.RECONSIDER, key))


def broken_off(catalog: Catalog) -> Rejected:
    """The error of a unit that had read some of what it had asked for; its traceback knows the unit."""
    try:
        with catalog.reading() as unit:
            unit._cursor.execute("SELECT key FROM job ORDER BY key")
            assert unit._cursor.fetchone() == ("a",)
            raise Rejected("broken off")
    except Rejected as error:
        return error


def test_an_error_that_is_kept_does_not_keep_an_old_state_of_the_catalog(catalog):
    owe(catalog, "a", "b")
    kept = [broken_off(catalog) for _ in range(20)]
    owe(catalog, "c")
    assert owed(catalog) == 3
    assert len(kept) == 20


def test_rows_that_nobody_reads_to_the_end_do_not_keep_an_old_state_of_the_catalog(catalog):
    owe(catalog, "a", "b")
    with catalog.reading() as unit:
        rows = unit._cursor
        rows.execute("SELECT key FROM job")
        rows.fetchone()
    owe(catalog, "c")
    assert owed(catalog) == 3
