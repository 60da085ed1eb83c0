"""How a run is made quick: catalogs that open at once, and nothing that waits for threads or the time.

What is replaced here is below the node's own code, or beside it: how SQLite is opened, not what it is asked.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Self
from unittest import mock

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from node.catalog import catalog, database
from node.catalog.migrations import migrate
from node.identity.gate import Gate
from node.recovery import check
from node.replication import fetching
from tests.simulation.clock import Time

_PRAGMAS = tuple(
    "synchronous = OFF" if pragma.startswith("synchronous") else pragma for pragma in database._PRAGMAS
)
"""Power is cut between commits, where SQLite keeps its promise with syncs and without: it lives in memory."""


@cache
def _first() -> Engine:
    """An engine whose dialect, and whose compiled statements, all others share."""
    engine = create_engine("sqlite://", poolclass=NullPool)
    engine.connect().close()
    return engine


def _engine(path: Path) -> Engine:
    """An engine that is made in microseconds."""
    first = _first()
    connect = partial(sqlite3.connect, path, check_same_thread=False, cached_statements=256)
    engine = Engine(NullPool(connect, dialect=first.dialect), first.dialect, first.url)
    engine._compiled_cache = first._compiled_cache
    event.listen(engine, "connect", database._prepare)
    return engine


def _reader(path: Path) -> Engine:
    """One for connections that only read, and stay open between transactions."""
    engine = _engine(path)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only = ON"))
    return engine


def _migrate(connection: Connection) -> None:
    """Copies of a template are up to date."""
    found = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchone()
    if not found:
        migrate(connection)


class _AtOnce:
    """An executor that has done what it is given when it gives the promise back."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """As many threads as you like."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing runs."""

    def submit(self, work: Callable[..., object], *arguments: object) -> Future[object]:
        """Do it."""
        future: Future[object] = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def quick(time: Time) -> Iterator[None]:
    """While this lasts, nothing in this process looks at the time or makes threads for a simulated site."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with ExitStack() as stack:
            for module, name, made in (
                (fetching, "ThreadPoolExecutor", _AtOnce),
                (fetching, "time", time),
                (database, "_PRAGMAS", _PRAGMAS),
                (database, "writer", _engine),
                (database, "reader", _reader),
                (catalog, "migrate", _migrate),
                (check, "PREFIXES", ("",)),
            ):
                stack.enter_context(mock.patch.object(module, name, made))
            stack.enter_context(mock.patch.dict(Gate.__init__.__kwdefaults__, monotonic=time.monotonic))
            yield
    finally:
        logging.disable(level)
