"""What an archive holds, read from the outside: plain SQL, plain files, SHA-256.

Nothing of the node is asked, so that a mistake of the node cannot hide itself.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

CATALOG = "catalog.db"
BLOBS = "blobs"

COUNTS = """
    SELECT 'series ' || series.uid FROM series LEFT JOIN instance ON instance.series = series.id
     GROUP BY series.id HAVING count(instance.id) != series.instance_count OR count(instance.id) = 0
    UNION ALL
    SELECT 'study ' || study.uid FROM study LEFT JOIN series ON series.study = study.id
     GROUP BY study.id HAVING count(series.id) != study.series_count
         OR coalesce(sum(series.instance_count), 0) != study.instance_count OR count(series.id) = 0
    UNION ALL
    SELECT 'patient ' || id FROM patient WHERE id NOT IN (SELECT patient FROM study)
"""
"""Levels whose numbers are not what the level below adds up to."""

GAPS = """
    SELECT 'audit', count(*), max(seq) FROM audit
    UNION ALL
    SELECT 'journal of ' || origin || '/' || epoch, sum(entries), max(last) FROM (
        SELECT origin, epoch, 1 AS entries, seq AS last FROM journal WHERE NOT EXISTS (
            SELECT 1 FROM gap WHERE gap.origin = journal.origin AND gap.epoch = journal.epoch
                AND journal.seq BETWEEN gap.first AND gap.last)
        UNION ALL
        SELECT origin, epoch, last - first + 1, last FROM gap)
     GROUP BY origin, epoch
"""
"""How many numbers of a chain are accounted for, and the last one; known gaps count."""


@dataclass
class Evidence:
    """Checks a site folder again and again; what was seen whole once is not read again until `all_again`."""

    folder: Path
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def check(self, acknowledged: Mapping[str, str]) -> None:
        """Fail unless the archive is whole and holds what was acknowledged.

        Args:
            acknowledged: SOP Instance UID to the SHA-256 that the node named when it said yes.
        """
        with closing(self._connect()) as catalog:
            held = set(catalog.execute("SELECT uid, digest FROM instance"))
            other = set(catalog.execute("SELECT instance, digest FROM conflict"))
            journal = {pair for (pair,) in catalog.execute(_JOURNALLED)}
            assert catalog.execute(COUNTS).fetchall() == []
            for chain, count, last in catalog.execute(GAPS):
                assert count == (last or 0), f"the {chain} has gaps"
        lost = set(acknowledged.items()) - held - other
        assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged instances are not in the catalog"
        unjournalled = {uid for uid, _ in held | other} - journal
        assert not unjournalled, "the catalog holds instances of which the journal knows nothing"
        self._check_blobs((held | other) - self._seen)
        self._seen |= held | other

    def all_again(self, acknowledged: Mapping[str, str]) -> None:
        """Check everything, the database file itself too."""
        self._seen.clear()
        self.check(acknowledged)
        with closing(self._connect()) as catalog:
            assert catalog.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert catalog.execute("PRAGMA foreign_key_check").fetchall() == []

    def count(self, table: str) -> int:
        """Rows of a table of the catalog."""
        with closing(self._connect()) as catalog:
            return int(catalog.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def instances(self) -> dict[str, str]:
        """Digests by SOP Instance UID."""
        with closing(self._connect()) as catalog:
            return dict(catalog.execute("SELECT uid, digest FROM instance"))

    def _check_blobs(self, rows: Iterable[tuple[str, str]]) -> None:
        """Fail unless the file of every row is there and is what its name says."""
        for uid, digest in rows:
            path = self.folder / BLOBS / digest[:2] / digest
            assert path.exists(), f"instance {uid} is in the catalog and not on disk"
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            assert found == digest, f"instance {uid} is damaged on disk"

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.folder / CATALOG, timeout=30)


_JOURNALLED = "SELECT json_extract(payload, '$.uid') FROM journal WHERE kind = 'instance'"


def lost(folder: Path, acknowledged: Mapping[str, str]) -> list[str]:
    """The acknowledged instances that a site does not hold both in its catalog and on disk."""
    try:
        held = Evidence(folder).instances()
    except sqlite3.Error:
        return list(acknowledged)
    return [
        uid
        for uid, digest in acknowledged.items()
        if held.get(uid) != digest or not _whole(folder / BLOBS / digest[:2] / digest, digest)
    ]


def _whole(path: Path, digest: str) -> bool:
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def digests_on_disk(folder: Path) -> set[str]:
    """Names of all blobs of a site."""
    return {path.name for path in (folder / BLOBS).glob("[0-9a-f][0-9a-f]/*")}
