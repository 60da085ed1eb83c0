"""Searches of callers who may see a part of the archive only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Final

from node.archive.apart import released, told_apart
from node.archive.partial import Part
from node.catalog import search as catalogued
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.query import Query, Row, Rows
from node.identity.gate import Sight

MOST_ROWS: Final = 20_000
"""Rows that are read to find those that a caller may see."""


def search(catalog: Catalog, sight: Callable[[Unit], Sight | None], query: Query) -> Rows:
    """Rows that match and that the caller may see, told as if nothing else were here.

    Args:
        catalog: what is here.
        sight: what the caller may see, as a unit of work sees it.
        query: what is looked for.
    """
    found = catalogued.search(catalog.reading, replace(told_apart(query), limit=MOST_ROWS))
    asked = {key.tag for key in query.keys}
    kept = [place for place, (tag, _) in enumerate(found.tags) if tag in asked]

    def rows() -> Iterator[Row]:
        with released(found.rows) as all_rows, catalog.reading() as unit:
            seen = sight(unit)
            part = Part(unit, lambda traits: seen is None or seen.allows(traits.study))
            for row in islice(part.rows(all_rows, found.tags, query), query.limit):
                yield tuple(row[place] for place in kept)

    return Rows(tuple(found.tags[place] for place in kept), rows())
