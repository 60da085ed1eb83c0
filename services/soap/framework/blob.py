"""Bytes that travel beside a message: known size, read in pieces, never whole in memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from node.domain.errors import Damaged

BLOCK = 1 << 18
"""Bytes in a piece."""


class Readable(Protocol):
    """A file that can be read again."""

    def seek(self, offset: int, whence: int, /) -> object:
        """Go to a place."""

    def read(self, size: int, /) -> bytes:
        """Read up to so many bytes."""


class Blob:
    """A binary value of a message, given or taken."""

    __slots__ = ("_source", "media", "size")

    def __init__(
        self, source: Callable[[], Iterable[bytes]], size: int, media: str = "application/octet-stream"
    ) -> None:
        """A value that `source` gives in pieces, each time it is asked, `size` bytes in all."""
        self._source = source
        self.size = size
        self.media = media

    @classmethod
    def of(cls, data: bytes, media: str = "application/octet-stream") -> Blob:
        """Bytes that are in memory anyway."""
        return cls(lambda: (data,), len(data), media)

    @classmethod
    def at(cls, path: Path, media: str = "application/octet-stream") -> Blob:
        """A file."""
        return cls(lambda: _pieces(path.open("rb")), path.stat().st_size, media)

    @classmethod
    def spooled(cls, file: Readable, size: int, media: str) -> Blob:
        """A temporary file that stays open while its message is served."""
        return cls(lambda: _again(file), size, media)

    def chunks(self) -> Iterator[bytes]:
        """The bytes in pieces.

        Raises:
            Damaged: there are more or fewer bytes than were announced.
        """
        left = self.size
        for piece in self._source():
            left -= len(piece)
            if left < 0:
                break
            yield piece
        if left:
            raise Damaged("a blob has another size than it was announced with")

    def read(self) -> bytes:
        """All bytes; for what is known to be small."""
        return b"".join(self.chunks())


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        yield from iter(lambda: file.read(BLOCK), b"")


def _again(file: Readable) -> Iterator[bytes]:
    file.seek(0, io.SEEK_SET)
    yield from iter(lambda: file.read(BLOCK), b"")
