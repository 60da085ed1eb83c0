"""The disk below a site's store of bytes: it forgets what was not synced, rots, fills up and refuses.

Bytes that are written aside are in memory alone. `keep` syncs them, and a power cut loses none of them
afterwards; a store that said so without syncing would lose them at the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from node.blobs.memory import MemoryStore, _MemoryWriter
from node.domain.errors import StoreFailing, StoreFull
from node.domain.ids import Digest


class PowerCut(BaseException):
    """A site is gone in the middle of what it did; nothing of it goes on, whatever it would catch."""

    def __init__(self, site: str) -> None:
        super().__init__(site)
        self.site = site


class Disk(MemoryStore):
    """A store on a disk; `burn` is told of every write that is about to be, or has been, made."""

    def __init__(self, burn: Callable[[], None], between: Callable[[], None]) -> None:
        super().__init__()
        self._burn = burn
        self._between = between
        self.unsynced: set[Digest] = set()
        """What a power cut would lose."""
        self.full = False
        self.refuses: Callable[[], bool] = lambda: False
        """Whether the medium refuses this time."""

    def writer(self) -> _Writing:
        if self.full:
            raise StoreFull("the disk is full")
        return _Writing(self)

    def open(self, digest: Digest) -> BinaryIO:
        self.demand()
        return super().open(digest)

    @contextmanager
    def mapped(self, digest: Digest) -> Iterator[memoryview]:
        self.demand()
        with super().mapped(digest) as view:
            yield view

    def verify(self, digest: Digest, **paced: object) -> None:
        self.demand()
        super().verify(digest, **paced)  # type: ignore[arg-type]

    def remove(self, digest: Digest) -> None:
        self._burn()
        super().remove(digest)
        self.unsynced.discard(digest)
        self._burn()

    def set_aside(self, digest: Digest) -> bool:
        self._burn()
        return super().set_aside(digest)

    def demand(self) -> None:
        """Refuse now and then.

        Raises:
            StoreFailing: it does.
        """
        if self.refuses():
            raise StoreFailing("input/output error")

    def sync(self, digest: Digest) -> None:
        """From now on a power cut does not lose these bytes."""
        self.unsynced.discard(digest)

    def kept(self, digest: Digest, content: bytes) -> None:
        """A writer gives its bytes their name, then syncs."""
        self._burn()
        self.demand()
        if self.full:
            raise StoreFull("the disk is full")
        if digest not in self.blobs or not is_whole(digest, self.blobs[digest]):
            self.unsynced.add(digest)
        self.blobs[digest] = content
        self._burn()
        self.sync(digest)
        self._burn()
        self._between()

    def cut_power(self) -> list[Digest]:
        """Forget what was not synced; what that was."""
        lost = sorted(self.unsynced & set(self.blobs))
        for digest in lost:
            del self.blobs[digest]
        self.unsynced.clear()
        return lost

    def whole(self, digest: Digest) -> bool:
        """Whether bytes are here as their name says, whatever else is wrong with the disk."""
        content = self.blobs.get(digest)
        return content is not None and is_whole(digest, content)

    def damaged(self) -> list[Digest]:
        """Names under which other bytes are."""
        return [digest for digest, content in self.blobs.items() if not is_whole(digest, content)]


class _Writing(_MemoryWriter):
    """Bytes on their way to a disk."""

    _store: Disk

    def write(self, chunk: bytes) -> None:  # type: ignore[override]
        if self._store.full:
            raise StoreFull("the disk is full")
        super().write(chunk)

    def keep(self) -> Digest:
        digest = self.finish()
        self._store.kept(digest, bytes(self._bytes))
        return digest


def is_whole(digest: str, content: bytes) -> bool:
    """Whether bytes are what their name says."""
    return hashlib.sha256(content).hexdigest() == digest
