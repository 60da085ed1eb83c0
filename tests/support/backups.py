"""Copies of a catalog, as a hospital's backup makes them, and a site that is restored from one."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.federation import FederatedSite


def copied(site: FederatedSite, name: str = "copy.db") -> Path:
    """A backup of a site's catalog, as it is now."""
    copy = site.folder / name
    source, target = sqlite3.connect(site.folder / "catalog.db"), sqlite3.connect(copy)
    with closing(source), closing(target):
        source.backup(target)
    return copy


def restore(site: FederatedSite, copy: Path) -> None:
    """Put an old catalog in place of the one that the site has."""
    site.catalog.close()
    for path in site.folder.glob("catalog.db*"):
        path.unlink()
    shutil.copy(copy, site.folder / "catalog.db")
    site.crash()
