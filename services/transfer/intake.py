"""Takes blobs from the network into a store: digested while they stream, made durable several at a time.

```
announced ── all bytes came ──▶ whole ── its digest is the announced one ──▶ finished ── keep ──▶ kept
    │ cut, or no room             │ another digest                              │
    ▼                             ▼                                             ▼ the intake ends without keep
 dropped                       dropped                                       dropped
```
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Self

from node.blobs.store import BlobStore, BlobWriter
from node.domain.ids import Digest

PIECE: Final = 256 * 1024
"""Bytes that are read, digested and written at a time: they fit into a core's cache."""

BATCH_BYTES: Final = 32 * 1024 * 1024
BATCH_BLOBS: Final = 64


class Intake:
    """Blobs on their way in; a context manager that drops what was not kept."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._piece = memoryview(bytearray(PIECE))
        self._finished: list[BlobWriter] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Drop what was not kept."""
        for writer in self._finished:
            writer.__exit__(None, None, None)
        self._finished = []

    @property
    def is_full(self) -> bool:
        """Whether it is time to keep what was taken."""
        return len(self._finished) >= BATCH_BLOBS or self._bytes >= BATCH_BYTES

    def take(self, digest: Digest, size: int, fill: Callable[[memoryview], None]) -> bool:
        """Read a blob; whether it has the digest by which it was announced.

        Args:
            digest: its name.
            size: its bytes.
            fill: reads as many bytes as a view holds, or raises.

        Raises:
            StoreFull: there is no room for it.
            StoreFailing: the medium refused.
        """
        writer = self._blobs.writer().__enter__()
        is_good = False
        try:
            self._stream(writer, size, fill)
            is_good = writer.finish() == digest
        finally:
            if is_good:
                self._finished.append(writer)
                self._bytes += size
            else:
                writer.__exit__(None, None, None)
        return is_good

    def keep(self) -> list[Digest]:
        """Make durable what was taken since the last time; the names.

        Raises:
            StoreFull: there is no room for them.
            StoreFailing: the medium refused.
        """
        try:
            return self._blobs.keep_all(self._finished) if self._finished else []
        finally:
            self.__exit__()
            self._bytes = 0

    def skip(self, size: int, fill: Callable[[memoryview], None]) -> None:
        """Read over the bytes of a blob that is not wanted."""
        while size:
            piece = self._piece[:size]
            fill(piece)
            size -= len(piece)

    def _stream(self, writer: BlobWriter, size: int, fill: Callable[[memoryview], None]) -> None:
        while size:
            piece = self._piece[:size]
            fill(piece)
            writer.write(piece)
            size -= len(piece)
