"""What every blob store promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol, Self, TypeAlias

from node.domain.ids import Digest
from node.domain.instance import Chunk

Pace: TypeAlias = Callable[[int], None]
"""Told how many bytes were read; may wait."""
PREFIXES = tuple(f"{number:02x}" for number in range(256))
"""What names of blobs begin with."""


def at_once(_bytes: int) -> None:
    """Wait for nothing."""


class BlobWriter(Protocol):
    """Bytes on their way in: nobody sees them before `keep`, nothing is left of them without it.

    Used as a context manager; leaving it without `keep` drops the bytes.
    """

    size: int
    """Bytes written so far."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(self, *exc_info: object) -> None:
        """Drop what was not kept."""
        ...

    def write(self, chunk: Chunk) -> None:
        """Append a chunk.

        Raises:
            StoreFull: there is no room for it.
            StoreFailing: the medium refused.
        """
        ...

    def view(self) -> AbstractContextManager[memoryview]:
        """Look at all bytes written so far, in constant memory."""
        ...

    def finish(self) -> Digest:
        """Say that no more will be written; the name that the bytes will have.

        A store on disks begins to write them out, so that a later `keep` waits less.
        """
        ...

    def keep(self) -> Digest:
        """Make the bytes durable and return their name; a power cut after this loses nothing.

        Raises:
            StoreFull: there is no room for them.
            StoreFailing: the medium refused; the bytes are not kept.
        """
        ...


class BlobStore(Protocol):
    """Immutable bytes, named by the SHA-256 of their content."""

    def writer(self) -> BlobWriter:
        """Begin to write a blob.

        Raises:
            StoreFull: less than the reserve is free.
        """
        ...

    def put(self, chunks: Iterable[Chunk]) -> Digest:
        """Keep the bytes durably and return their name; bytes that are here already are written again.

        Raises:
            StoreFull: there is no room for them.
            StoreFailing: the medium refused.
        """
        ...

    def keep_all(self, writers: Sequence[BlobWriter]) -> list[Digest]:
        """Keep what several writers of this store have written, at the cost of about one.

        A power cut after this loses nothing. Where it fails, some may be kept and nothing is half kept.

        Raises:
            StoreFull: there is no room for them.
            StoreFailing: the medium refused.
        """
        ...

    def open(self, digest: Digest) -> BinaryIO:
        """A file to read, with a descriptor that `os.preadv` and `sendfile` take.

        Raises:
            BlobMissing: the store does not hold it.
            StoreFailing: the medium refused.
        """
        ...

    def mapped(self, digest: Digest) -> AbstractContextManager[memoryview]:
        """Look at all bytes of a blob, in constant memory.

        Raises:
            BlobMissing: the store does not hold it.
        """
        ...

    def size(self, digest: Digest) -> int | None:
        """Bytes of the blob, or None where it is not held."""
        ...

    def verify(self, digest: Digest, *, pace: Pace = at_once) -> None:
        """Read the blob back from the medium.

        Args:
            digest: which.
            pace: told how many bytes were read, after each piece; may wait, so that others get their share.

        Raises:
            BlobMissing: the store does not hold it.
            DigestMismatch: its bytes are not what its name says.
        """
        ...

    def open_whole(self, digest: Digest) -> BinaryIO:
        """A file to read, whose bytes are what its name says: they were read once, as they will be again.

        Raises:
            BlobMissing: the store does not hold it.
            DigestMismatch: its bytes are not what its name says.
            StoreFailing: the medium refused.
        """
        ...

    def set_aside(self, digest: Digest) -> bool:
        """Keep the present bytes of a blob as evidence, apart from the blobs; whether there were any.

        The blob itself stays as it is, until it is written again or removed.
        """
        ...

    def listing(self, prefix: str) -> Mapping[Digest, int]:
        """Names and sizes of the blobs whose names begin with two hexadecimal digits."""
        ...

    def remove(self, digest: Digest) -> None:
        """Forget the blob durably; one that is not held is no error."""
        ...

    def digests(self) -> Iterator[Digest]:
        """Names of all blobs held, in no order."""
        ...

    def free(self) -> int:
        """Bytes that can still be written before the store says `StoreFull`."""
        ...


def put(store: BlobStore, chunks: Iterable[Chunk]) -> Digest:
    """Write all chunks and keep them: the shared body of `BlobStore.put`."""
    with store.writer() as writer:
        for chunk in chunks:
            writer.write(chunk)
        return writer.keep()
