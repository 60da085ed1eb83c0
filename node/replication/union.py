"""Rows of several sites as one result: the same object comes once, whoever tells of it first.

What is known at several sites is told apart by the unique keys of its level and of those above it, so that
a Study Instance UID that came for two patients stays two studies here too (PS3.4 C.3, C.6.1.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from node.archive.apart import UNIQUE, Tags
from node.domain.errors import MalformedMessage
from node.domain.query import Cell, Level, Row


class Shape:
    """Where the columns of one site's rows are: those that are shown, and those that tell rows apart."""

    def __init__(self, tags: Tags, shown: Sequence[int], level: Level) -> None:
        """The shape of rows with these columns.

        Raises:
            MalformedMessage: the unique key of the level is not among them.
        """
        places = {tag: place for place, (tag, _) in enumerate(tags)}
        unique = [tag for tag, _ in UNIQUE[level]]
        if unique[0] not in places:
            raise MalformedMessage("its rows cannot be told apart")
        self._width = len(tags)
        self._shown = [places.get(tag) for tag in shown]
        self._unique = [places.get(tag) for tag in unique]

    def check(self, rows: Iterable[Row]) -> None:
        """Make sure that all rows have this shape, before any of them counts.

        Raises:
            MalformedMessage: one has not.
        """
        for row in rows:
            self.identity(row)

    def identity(self, row: Row) -> tuple[str, ...]:
        """What tells the row apart.

        Raises:
            MalformedMessage: it is not a row of this shape.
        """
        if len(row) != self._width:
            raise MalformedMessage("a row has another number of columns than it should")
        return tuple(str(_cell(row, place) or "") for place in self._unique)

    def cells(self, row: Row) -> Row:
        """The columns that are shown; nothing for those that the site does not know."""
        return tuple(_cell(row, place) for place in self._shown)


class Seen:
    """Lets each object pass once."""

    def __init__(self) -> None:
        """Nothing has passed yet."""
        self._identities: set[tuple[str, ...]] = set()

    def new(self, rows: Iterable[Row], shape: Shape) -> Iterator[Row]:
        """Those of the rows that tell of another object than all before, with the columns that are shown."""
        for row in rows:
            identity = shape.identity(row)
            if identity not in self._identities:
                self._identities.add(identity)
                yield shape.cells(row)


def _cell(row: Row, place: int | None) -> Cell:
    return None if place is None else row[place]
