"""A node takes no other folder for its store: not an empty mount point, nor what lies below one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from node.blobs.filesystem import FilesystemStore
from node.blobs.mark import MARK, demand_store
from node.domain.errors import BlobMissing, BlobUnreadable, StoreAbsent, StoreFailing
from node.domain.ids import Digest, SiteId

BRNO = SiteId("brno")


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    """The store of Brno, which holds something; the site folder is the one above it."""
    demand_store(tmp_path / "blobs", tmp_path, BRNO, is_new=True)
    return FilesystemStore(tmp_path / "blobs")


def test_a_marked_store_is_taken_again_and_a_new_site_takes_any_folder(store, tmp_path):
    demand_store(tmp_path / "blobs", tmp_path, BRNO, is_new=False)
    (tmp_path / "other").mkdir()
    demand_store(tmp_path / "other", tmp_path, BRNO, is_new=True)
    demand_store(tmp_path / "other", tmp_path, BRNO, is_new=False)


def test_an_empty_or_missing_folder_is_refused_and_left_as_it_is(store, tmp_path):
    shutil.rmtree(tmp_path / "blobs")
    with pytest.raises(StoreAbsent, match="nothing is there"):
        demand_store(tmp_path / "blobs", tmp_path, BRNO, is_new=False)
    assert not (tmp_path / "blobs").exists()
    (tmp_path / "blobs").mkdir()
    with pytest.raises(StoreAbsent, match="mount its disk"):
        demand_store(tmp_path / "blobs", tmp_path, BRNO, is_new=False)
    assert list((tmp_path / "blobs").iterdir()) == []


def test_the_store_of_another_site_and_an_earlier_one_of_this_site_are_refused(store, tmp_path):
    demand_store(tmp_path / "later", tmp_path, BRNO, is_new=True)
    with pytest.raises(StoreAbsent, match="another one"):
        demand_store(tmp_path / "blobs", tmp_path, BRNO, is_new=False)
    with pytest.raises(StoreAbsent, match="the store of brno"):
        demand_store(tmp_path / "later", tmp_path / "blobs", SiteId("prague"), is_new=True)


def test_a_person_can_call_an_empty_folder_the_store(store, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / MARK).write_text("brno\n")
    demand_store(tmp_path / "new", tmp_path, BRNO, is_new=False)
    demand_store(tmp_path / "new", tmp_path, BRNO, is_new=False)
    with pytest.raises(StoreAbsent):
        demand_store(tmp_path / "blobs", tmp_path, BRNO, is_new=False)


def test_a_store_from_before_there_were_marks_is_marked(tmp_path):
    FilesystemStore(tmp_path / "blobs")
    demand_store(tmp_path / "blobs", tmp_path, BRNO, is_new=False)
    assert (tmp_path / "blobs" / MARK).read_text().startswith("brno ")


def test_a_store_that_is_replaced_under_the_running_node_fails_and_misses_nothing(store, tmp_path):
    digest = store.put([b"slice"])
    (tmp_path / "blobs").rename(tmp_path / "shelf")
    shutil.copytree(tmp_path / "shelf", tmp_path / "blobs", ignore=lambda *_: [digest])
    for call in (store.open, store.size, store.open_whole, store.verify):
        with pytest.raises(StoreFailing, match="mounted"):
            call(digest)
    with pytest.raises(StoreFailing, match="mounted"):
        store.put([b"another slice"])
    shutil.rmtree(tmp_path / "blobs")
    with pytest.raises(StoreFailing):
        store.listing(digest[:2])
    (tmp_path / "shelf").rename(tmp_path / "blobs")
    store.verify(digest)


def test_a_folder_that_was_removed_from_the_store_misses_what_was_in_it_and_is_made_again(store, tmp_path):
    digest = store.put([b"slice"])
    shutil.rmtree(tmp_path / "blobs" / digest[:2])
    assert store.size(digest) is None
    assert store.listing(digest[:2]) == {}
    with pytest.raises(BlobMissing):
        store.open(digest)
    assert store.put([b"slice"]) == digest
    store.verify(digest)


def test_bytes_that_the_disk_cannot_read_are_damaged_and_the_store_is_not(store, monkeypatch):
    digest = store.put([b"slice"])

    def fails(*_: object) -> int:
        raise OSError(5, "Input/output error")

    store.verify(digest)
    monkeypatch.setattr("os.readv", fails)
    for call in (store.open_whole, store.verify):
        with pytest.raises(BlobUnreadable, match=Digest(digest)):
            call(digest)
