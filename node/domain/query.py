"""A query in the words of PS3.4 C.2.2: a level, keys to match, attributes to return."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from node.domain.ids import InstanceUID, SeriesUID, StudyUID


class Level(IntEnum):
    """Query/Retrieve levels, from the top (PS3.4 C.3)."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    IMAGE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    r"""One attribute of a query.

    `value` is the text as it was sent (`NOVAK*`, `20260101-20260131`, `1.2\\1.3`, empty for
    universal matching); `items` holds the keys of the one item of a sequence.
    """

    tag: int
    vr: str
    value: str = ""
    items: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for at which level; every key is also a return key."""

    level: Level
    keys: tuple[Key, ...]
    patient_root: bool = False
    limit: int | None = None
    """At the most so many rows, newest first; None for all of them."""


Cell: TypeAlias = str | list["dict[int, Cell]"] | None
"""A returned value: text as DICOM writes it (several values joined by a backslash), the items
of a sequence, or None where the attribute is not held."""

Row: TypeAlias = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a result, each a tuple in the order of `tags`."""

    tags: tuple[tuple[int, str], ...]
    """(tag, VR) of each column: of the query's keys those that the level can answer, ascending."""
    rows: Iterator[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The instances a retrieval asks for: by unique keys of any level, all that are given must hold."""

    issuer: str | None = None
    patient_id: str | None = None
    studies: tuple[StudyUID, ...] = ()
    series: tuple[SeriesUID, ...] = ()
    instances: tuple[InstanceUID, ...] = ()
