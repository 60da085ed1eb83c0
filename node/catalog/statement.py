"""SQL that is written as SQLAlchemy Core, compiled once, and run by the driver.

Executing a Core construct costs about 800 microseconds of CPU where the driver needs 20 for the same row
(`make bench ONLY=cstore-mr-1`); compiling it once keeps the dialect-neutral text and the driver's speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Dialect
from sqlalchemy.sql import ClauseElement


class Cursor(Protocol):
    """The part of a DB-API cursor that repositories use."""

    rowcount: int
    lastrowid: int

    def execute(self, sql: str, arguments: Any = ..., /) -> object:
        """Run one statement."""
        ...

    def close(self) -> None:
        """End it, with rows left or not."""
        ...

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None."""
        ...

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All remaining rows."""
        ...


class Statement:
    """One statement with named parameters, compiled at its first use with a dialect."""

    def __init__(self, construct: ClauseElement) -> None:
        """A statement that has not been compiled yet."""
        self._construct = construct
        self._compiled: dict[str, _Compiled] = {}

    def run(self, cursor: Cursor, dialect: Dialect, values: dict[str, Any]) -> None:
        """Execute with these values on a cursor of that dialect."""
        compiled = self._compiled.get(dialect.name) or self._compile(dialect)
        if compiled.constants:
            values = compiled.constants | values
        if compiled.positions is None:
            cursor.execute(compiled.sql, values)
        else:
            cursor.execute(compiled.sql, [values[name] for name in compiled.positions])

    def _compile(self, dialect: Dialect) -> _Compiled:
        compiled: Any = self._construct.compile(dialect=dialect)
        prepared = self._compiled[dialect.name] = _Compiled(
            sql=str(compiled),
            positions=compiled.positiontup if dialect.positional else None,
            constants={name: value for name, value in compiled.params.items() if value is not None},
        )
        return prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    """The driver's text of a statement, and how its parameters are passed."""

    sql: str
    positions: list[str] | None
    """Names in the order of the placeholders; None where the driver takes names."""
    constants: dict[str, Any]
    """Values that the construct itself holds, such as the 1 of `count + 1`."""
