"""Blobs in memory: the same promises, for tests of whole sites in one process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Self

from node.blobs.store import BlobWriter, Pace, at_once, put
from node.domain.errors import BlobMissing, DigestMismatch, StoreFull
from node.domain.ids import Digest
from node.domain.instance import Chunk


class MemoryStore:
    """A `BlobStore` that forgets when the process ends."""

    def __init__(self, *, capacity: int = 1 << 40) -> None:
        """An empty store that says `StoreFull` beyond `capacity` bytes."""
        self.blobs: dict[Digest, bytes] = {}
        self.evidence: list[tuple[Digest, bytes]] = []
        """Bytes that were set aside."""
        self._capacity = capacity

    def writer(self) -> _MemoryWriter:
        """Begin to write a blob."""
        if self.free() <= 0:
            raise StoreFull("the capacity is used up")
        return _MemoryWriter(self)

    def put(self, chunks: Iterable[Chunk]) -> Digest:
        """Keep the bytes and return their name."""
        return put(self, chunks)

    def keep_all(self, writers: Sequence[BlobWriter]) -> list[Digest]:
        """Give the bytes of several writers their names."""
        return [writer.keep() for writer in writers]

    def open(self, digest: Digest) -> BinaryIO:
        """A file to read, with a descriptor."""
        if digest not in self.blobs:
            raise BlobMissing(digest)
        file = os.fdopen(os.memfd_create(digest), "w+b", buffering=0)
        file.write(self.blobs[digest])
        file.seek(0)
        return file

    @contextmanager
    def mapped(self, digest: Digest) -> Iterator[memoryview]:
        """Look at all bytes of a blob."""
        if digest not in self.blobs:
            raise BlobMissing(digest)
        with memoryview(self.blobs[digest]) as view:
            yield view

    def size(self, digest: Digest) -> int | None:
        """Bytes of the blob, or None where it is not held."""
        return len(self.blobs[digest]) if digest in self.blobs else None

    def verify(self, digest: Digest, *, pace: Pace = at_once) -> None:
        """Compare the bytes with their name."""
        if digest not in self.blobs:
            raise BlobMissing(digest)
        found = hashlib.sha256(self.blobs[digest]).hexdigest()
        if found != digest:
            raise DigestMismatch(digest, found)

    def open_whole(self, digest: Digest) -> BinaryIO:
        """A file to read whose bytes are what its name says."""
        self.verify(digest)
        return self.open(digest)

    def set_aside(self, digest: Digest) -> bool:
        """Keep the present bytes of a blob as evidence."""
        if digest not in self.blobs:
            return False
        self.evidence.append((digest, self.blobs[digest]))
        return True

    def listing(self, prefix: str) -> dict[Digest, int]:
        """Names and sizes of the blobs whose names begin so."""
        return {digest: len(held) for digest, held in self.blobs.items() if digest.startswith(prefix)}

    def remove(self, digest: Digest) -> None:
        """Forget the blob."""
        self.blobs.pop(digest, None)

    def digests(self) -> Iterator[Digest]:
        """Names of all blobs held."""
        return iter(list(self.blobs))

    def free(self) -> int:
        """Bytes that can still be written."""
        return self._capacity - sum(map(len, self.blobs.values()))


class _MemoryWriter:
    """A `BlobWriter` into a byte array."""

    def __init__(self, store: MemoryStore) -> None:
        self.size = 0
        self._store = store
        self._bytes = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bytes = bytearray()

    def write(self, chunk: Chunk) -> None:
        """Append a chunk."""
        self._bytes += chunk
        self.size = len(self._bytes)
        if self.size > self._store.free():
            raise StoreFull("the capacity is used up")

    @contextmanager
    def view(self) -> Iterator[memoryview]:
        """Look at all bytes written so far."""
        with memoryview(bytes(self._bytes)) as view:
            yield view

    def finish(self) -> Digest:
        """The name that the bytes will have."""
        return Digest.trusted(hashlib.sha256(self._bytes).hexdigest())

    def keep(self) -> Digest:
        """Give the bytes their name."""
        digest = self.finish()
        if self.size > self._store.free():
            raise StoreFull("the capacity is used up")
        self._store.blobs[digest] = bytes(self._bytes)
        return digest
