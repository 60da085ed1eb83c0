"""What tells the objects of a result apart: the unique keys of each level (PS3.4 C.3, C.6.1.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from node.domain.query import Key, Level, Query, Row

PATIENT_ID: Final = 0x00100020
ISSUER: Final = 0x00100021
STUDY: Final = 0x0020000D
SERIES: Final = 0x0020000E
INSTANCE: Final = 0x00080018

UNIQUE: Final = {
    Level.PATIENT: ((PATIENT_ID, "LO"), (ISSUER, "LO")),
    Level.STUDY: ((STUDY, "UI"), (PATIENT_ID, "LO"), (ISSUER, "LO")),
    Level.SERIES: ((SERIES, "UI"), (STUDY, "UI")),
    Level.IMAGE: ((INSTANCE, "UI"),),
}
"""What tells the objects of a level apart, the unique key of the level first."""

Tags = Sequence[tuple[int, str]]


def told_apart(query: Query, tags: Tags = ()) -> Query:
    """The query with return keys by which its rows can be told apart, and those of `tags` besides."""
    asked = {key.tag for key in query.keys}
    wanted = dict([*UNIQUE[query.level], *tags])
    added = [Key(tag=tag, vr=vr) for tag, vr in wanted.items() if tag not in asked]
    return replace(query, keys=(*query.keys, *added))


@contextmanager
def released(rows: Iterator[Row]) -> Iterator[Iterator[Row]]:
    """Rows for a block, and what they hold let go at the end of it, read to their end or not."""
    try:
        yield rows
    finally:
        close = getattr(rows, "close", None)
        if close is not None:
            close()
