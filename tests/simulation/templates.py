"""Three sites that know each other, made once in a process and copied for every run."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

from tests.support.federation import federation, settle
from tests.support.sites import _SHARED_MEMORY

NAMES = ("brno", "prague", "olomouc")
_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@cache
def room() -> Path:
    """A folder of this process that is gone with it."""
    folder = tempfile.TemporaryDirectory(
        prefix="simulation-", dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
    )
    _KEPT.append(folder)
    return Path(folder.name)


@cache
def acquainted(hidden: frozenset[str]) -> dict[str, bytes]:
    """The catalogs of three new sites that have read what each says of itself; some cannot be called."""
    with federation(*NAMES, callable=lambda name: name not in hidden) as sites:
        settle(*sites)
        for site in sites:
            _keep_keys(site.folder / "keys", key_folder(site.name, hidden))
        return {site.name: image(site.folder / "catalog.db") for site in sites}


def key_folder(site: str, hidden: Iterable[str] = ()) -> Path:
    """Where the keys of a site are."""
    folder = room() / "-".join(["keys", *sorted(hidden)]) / site
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _keep_keys(source: Path, target: Path) -> None:
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


def image(path: Path) -> bytes:
    """A catalog as a backup has it: one state, with all that is committed."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.serialize()


def put(path: Path, content: bytes) -> None:
    """Put a catalog in place of whatever is there."""
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").unlink()
    path.write_bytes(content)
