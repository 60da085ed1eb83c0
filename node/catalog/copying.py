"""A copy of a catalog as it is at one moment, made while others read and write it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from node.catalog import database


def copy(source: Path, target: Path) -> None:
    """Copy a catalog file by SQLite's online backup; writers are not held up.

    Args:
        source: the catalog; it is opened to read only.
        target: a new file.

    Raises:
        CatalogBusy, StoreFull, StoreFailing: it could not be copied.
    """
    with (
        database.errors,
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as live,
        closing(sqlite3.connect(target)) as made,
    ):
        live.backup(made)


def bytes_of(source: Path) -> int:
    """How many bytes a copy takes at the most: the file and what is still in its log."""
    beside = source.with_name(f"{source.name}-wal")
    return sum(path.stat().st_size for path in (source, beside) if path.exists())
