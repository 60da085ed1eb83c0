"""The disk with the power switch does what it says, and it catches those who sync too little."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from node.blobs import filesystem
from node.blobs.filesystem import FilesystemStore
from node.domain.errors import BlobMissing, DigestMismatch, NodeError, StoreFailing
from node.domain.ids import Digest
from tests.support.disks import PowerCutDisk

MODES = ("drop", "torn")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[PowerCutDisk]:
    with PowerCutDisk(tmp_path / "disk") as mounted:
        yield mounted


def write(path: Path, content: bytes, *, sync: bool = True) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize("mode", MODES)
def test_what_was_synced_survives_byte_by_byte(disk, mode):
    content = os.urandom(300_000)
    write(disk.folder / "aside", content)
    (disk.folder / "aside").rename(disk.folder / "kept")
    sync_folder(disk.folder)
    disk.cut(mode, seed=1)
    disk.replace()
    assert {path.name: path.read_bytes() for path in disk.folder.iterdir()} == {"kept": content}


def test_bytes_that_were_not_synced_are_gone(disk):
    write(disk.folder / "file", b"synced")
    sync_folder(disk.folder)
    write(disk.folder / "file", b"overwritten", sync=False)
    disk.cut("drop")
    disk.replace()
    assert (disk.folder / "file").read_bytes() == b"synced"


def test_a_name_is_lost_when_its_folder_was_not_synced(disk):
    write(disk.folder / "old", b"content")
    sync_folder(disk.folder)
    (disk.folder / "old").rename(disk.folder / "new")
    write(disk.folder / "another", b"content")
    disk.cut("drop")
    disk.replace()
    assert [path.name for path in disk.folder.iterdir()] == ["old"]


def test_a_folder_is_lost_with_all_that_was_synced_in_it_when_its_own_name_was_not(disk):
    (disk.folder / "ab").mkdir()
    write(disk.folder / "ab" / "file", b"content")
    sync_folder(disk.folder / "ab")
    disk.cut("drop")
    disk.replace()
    assert list(disk.folder.iterdir()) == []


def test_a_torn_cut_keeps_some_of_the_pages_and_names_that_were_not_synced(disk):
    write(disk.folder / "file", bytes(64 * 4096))
    for number in range(20):
        write(disk.folder / f"before-{number}", b"content")
    sync_folder(disk.folder)
    write(disk.folder / "file", b"\xff" * (64 * 4096), sync=False)
    for number in range(20):
        (disk.folder / f"before-{number}").rename(disk.folder / f"after-{number}")
    disk.cut("torn", seed=5)
    disk.replace()
    pages = (disk.folder / "file").read_bytes()
    assert 10 < pages.count(b"\xff" * 4096) < 54
    names = [path.name.partition("-")[0] for path in disk.folder.iterdir()]
    assert 0 < names.count("before") < 20
    assert 0 < names.count("after") < 20


def test_nothing_can_be_changed_after_the_cut(disk):
    with (disk.folder / "file").open("wb", buffering=0) as file:
        disk.cut()
        for change in (lambda: file.write(b"late"), lambda: os.fsync(file.fileno()), disk.folder.rmdir):
            with pytest.raises(OSError):
                change()


def test_a_failed_sync_loses_the_bytes_even_if_the_next_one_succeeds(disk):
    with (disk.folder / "file").open("wb", buffering=0) as file:
        file.write(b"content")
        disk.arm("EIO", calls=("fsync",))
        with pytest.raises(OSError, match="Input/output error"):
            os.fsync(file.fileno())
        assert disk.disarm()
        os.fsync(file.fileno())
    sync_folder(disk.folder)
    assert (disk.folder / "file").read_bytes() == b"content"
    disk.cut("drop")
    disk.replace()
    assert (disk.folder / "file").read_bytes() == bytes(7)


def test_an_armed_disk_fails_the_call_it_was_told_to(disk):
    disk.arm("ENOSPC", after=2, calls=("write",))
    with (disk.folder / "file").open("wb", buffering=0) as file:
        assert [file.write(b"1"), file.write(b"2")] == [1, 1]
        with pytest.raises(OSError, match="No space left"):
            file.write(b"3")
        assert file.write(b"4") == 1
        disk.arm("short", calls=("write",))
        assert file.write(b"12345678") == 4
    assert disk.disarm()
    assert not disk.disarm()


def commit_until_the_cut(disk: PowerCutDisk, synchronous: str, mode: str, seed: int) -> set[int]:
    """Commit rows to a database in WAL mode, cut the power; return the rows that were lost."""
    path = disk.folder / "rows.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA wal_autocheckpoint = 20")
    connection.execute("CREATE TABLE kept (number INTEGER)")
    sync_folder(disk.folder)
    for number in range(100):
        connection.execute("INSERT INTO kept VALUES (?)", (number,))
    disk.cut(mode, seed)
    connection.close()
    disk.replace()
    with sqlite3.connect(path) as again:
        return set(range(100)) - {number for (number,) in again.execute("SELECT number FROM kept")}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", MODES)
def test_a_database_that_syncs_every_commit_loses_nothing(disk, mode, seed):
    assert commit_until_the_cut(disk, "FULL", mode, seed) == set()


def test_a_database_that_does_not_sync_every_commit_is_caught(disk):
    assert commit_until_the_cut(disk, "NORMAL", "drop", 0)


def lost_blobs(disk: PowerCutDisk, store: FilesystemStore, mode: str = "drop", seed: int = 0) -> list[Digest]:
    """Put blobs, cut the power; return those that were acknowledged and are gone or damaged."""
    kept = [store.put([number.to_bytes(4, "big") * 9000]) for number in range(100)]
    disk.cut(mode, seed)
    disk.replace()
    return missing(disk.folder / "blobs", kept)


def missing(folder: Path, kept: list[Digest]) -> list[Digest]:
    """The blobs that the store in a folder does not hold as they were."""
    again, lost = FilesystemStore(folder), []
    for digest in kept:
        try:
            again.verify(digest)
        except (BlobMissing, DigestMismatch):
            lost.append(digest)
    return lost


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", MODES)
def test_a_blob_that_was_put_survives_the_power_cut(disk, mode, seed):
    assert lost_blobs(disk, FilesystemStore(disk.folder / "blobs"), mode, seed) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", MODES)
def test_blobs_that_were_kept_together_survive_the_power_cut(disk, mode, seed):
    store = FilesystemStore(disk.folder / "blobs")
    with ExitStack() as stack:
        writers = [stack.enter_context(store.writer()) for _ in range(100)]
        for number, writer in enumerate(writers):
            writer.write(number.to_bytes(4, "big") * 9000)
        kept = store.keep_all(writers)
        disk.cut(mode, seed)
    disk.replace()
    assert missing(disk.folder / "blobs", kept) == []


def test_a_store_that_does_not_sync_folders_is_caught(disk):
    class Hasty(FilesystemStore):
        def _sync_names(self, digests: Iterable[Digest]) -> None:
            pass

    assert len(lost_blobs(disk, Hasty(disk.folder / "blobs"))) == 100


def test_a_store_that_does_not_sync_bytes_is_caught(disk, monkeypatch):
    store = FilesystemStore(disk.folder / "blobs")
    monkeypatch.setattr(filesystem.os, "fdatasync", lambda _: None)
    assert len(lost_blobs(disk, store)) == 100


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "short"])
def test_a_blob_that_was_put_after_a_fault_survives_the_power_cut(disk, tmp_path, error):
    """The medium fails once, at every step; the sender sends again, is answered, and the power fails."""
    for after in range(40):
        folder = disk.folder / f"{after}"
        store = FilesystemStore(folder)
        content = [f"{error} at {after}".encode() * 5000]
        disk.arm(error, after=after)
        try:
            digest = store.put(content)
        except NodeError:
            digest = store.put(content)
        struck = disk.disarm()
        assert missing(disk.glance(tmp_path / f"image-{after}") / folder.name, [digest]) == []
        if not struck:
            return
    raise AssertionError("a put has more steps than were tried")


def test_a_blob_put_after_a_crash_in_the_middle_of_a_put_survives_the_power_cut(disk, tmp_path):
    """The process dies after any step; the next process puts the same bytes; the power fails."""
    for after in range(40):
        folder = disk.folder / f"{after}"
        FilesystemStore(folder)
        content = [f"crash after {after}".encode() * 5000]
        disk.arm("EIO", after=after, once=False)
        with suppress(StoreFailing, OSError):
            FilesystemStore(folder).put(content)
        struck = disk.disarm()
        store = FilesystemStore(folder)
        store.sweep()
        digest = store.put(content)
        assert missing(disk.glance(tmp_path / f"image-{after}") / folder.name, [digest]) == []
        if not struck:
            return
    raise AssertionError("a put has more steps than were tried")
