"""The mark of a store: a file in its folder that says which store it is; no other folder is taken for it.

Without it, a node whose disk is not mounted would make its folders anew on the disk below, store there what
it acknowledges, and bring all copies from the other sites onto it. The site folder remembers the mark, so
that folders that were made below a mount point, before the disk was mounted there, are not taken for it.

Where the disk of a store is lost for good, a person marks the new one by hand, by the name of the site alone:
then every copy is missing, and is repaired from other sites as soon as the brake is released.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from node.blobs.filesystem import INCOMING, storage_errors
from node.domain.errors import StoreAbsent
from node.domain.ids import SiteId

MARK: Final = "store"
"""The file in the folder of the store: the name of the site, and a number that no other store has."""
MEMORY: Final = "store.mark"
"""The file in the site folder: the same."""


def demand_store(root: Path, directory: Path, site: SiteId, *, is_new: bool) -> None:
    """See that a folder is the store of a site; one that may be new is marked.

    Args:
        root: the folder.
        directory: the site folder, which remembers the mark.
        site: whose store it ought to be.
        is_new: whether nothing was ever stored, so that a folder that is empty or missing will do.

    Raises:
        StoreAbsent: it is not: its disk is not mounted, or it is another store.
        StoreFailing: it cannot be read or written.
    """
    found, known = _read(root / MARK), _read(directory / MEMORY)
    if len(found) > 1 and found == known:
        return
    if found and found[0] != site:
        raise StoreAbsent(root, site, f"it is the store of {found[0]}")
    if len(found) > 1 and known and not is_new:
        raise StoreAbsent(root, site, "it is another one, perhaps from before its disk was mounted there")
    if not found and not is_new and (known or not (root / INCOMING).is_dir()):
        raise StoreAbsent(root, site, "nothing is there")
    _mark(root, directory, found if len(found) > 1 else [site, secrets.token_hex(16)])


def _mark(root: Path, directory: Path, words: list[str]) -> None:
    """Write the mark, and remember it."""
    with storage_errors:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(root / MARK, words)
        _write(directory / MEMORY, words)


def _read(file: Path) -> list[str]:
    """The words of a mark; none where there is none."""
    with storage_errors:
        try:
            return file.read_text(encoding="utf-8", errors="replace").split()
        except (FileNotFoundError, NotADirectoryError):
            return []


def _write(file: Path, words: list[str]) -> None:
    aside = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with aside.open("w", encoding="utf-8") as written:
        written.write(" ".join(words) + "\n")
        written.flush()
        os.fsync(written.fileno())
    aside.replace(file)
