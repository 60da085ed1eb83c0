"""Engines: how a catalog file is opened so that a commit is a promise."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool, QueuePool

from node.domain.errors import CatalogBusy, NodeError, StoreFailing, StoreFull

BUSY_MILLISECONDS = 30_000
"""How long a writer waits for the writer of another process."""
_PRAGMAS = (
    f"busy_timeout = {BUSY_MILLISECONDS}",
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "cache_size = -16384",
    "mmap_size = 0",
    "temp_store = MEMORY",
)

_SHARED = {"check_same_thread": False, "cached_statements": 256}
"""A connection serves whichever thread holds it."""


def writer(path: Path) -> Engine:
    """An engine for connections that write, each transaction within `transaction`.

    WAL with `synchronous = FULL`: the log is synced at every commit, so a power cut loses nothing that was
    acknowledged (`tests/e2e/test_durability.py` cuts the power).
    """
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args=_SHARED)
    event.listen(engine, "connect", _prepare)
    return engine


def reader(path: Path) -> Engine:
    """An engine whose transactions see one state of the catalog and change nothing."""
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=16,
        max_overflow=64,
        pool_use_lifo=True,
        connect_args=_SHARED,
    )
    event.listen(engine, "connect", _prepare_reader)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _prepare_reader(connection: Any, record: object) -> None:
    _prepare(connection, record)
    connection.execute("PRAGMA query_only = ON")


def _begin(connection: Connection) -> None:
    connection.connection.driver_connection.execute("BEGIN")  # type: ignore[union-attr]


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """A transaction that takes the write lock when it begins and is durable when it ends, or undone.

    It speaks to the driver itself: beginning and ending through SQLAlchemy costs as much as ten statements.
    """
    driver: Any = connection.connection.driver_connection
    driver.execute("BEGIN IMMEDIATE")
    try:
        yield
        driver.execute("COMMIT")
    except BaseException:
        driver.rollback()
        raise


class _Errors:
    """Says what the driver said in the node's own words; a context manager without state."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translate an error of the driver.

        Raises:
            CatalogBusy, StoreFull, StoreFailing: what it amounts to.
        """
        if isinstance(error, PoolTimeout):
            raise CatalogBusy("too many are reading") from error
        if isinstance(error, DBAPIError | sqlite3.Error):
            raise _said(getattr(error, "orig", None) or error) from error


errors = _Errors()


def _said(error: BaseException) -> NodeError:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return StoreFull("the catalog cannot grow")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return CatalogBusy("another process is writing")
    return StoreFailing(f"catalog: {name or type(error).__name__}")
