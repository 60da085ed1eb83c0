"""The body of a request, as it comes: with a length (RFC 9112 6.2) or in chunks (7.1), never held whole."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final, Protocol

from node.domain.errors import Malformed, TooLarge
from services.https.wire import BUFFER

CHUNK_LINE: Final = 1024
TRAILERS: Final = 32


class Source(Protocol):
    """Where the bytes of a body come from."""

    def readinto(self, view: memoryview) -> int:
        """Read some bytes, at least one."""
        ...

    def readline(self, size: int) -> bytes:
        """Read up to the end of a line, or `size` bytes of it."""
        ...


class Body(io.RawIOBase):
    """A body; before its first byte is read, a caller who waits to be asked for it is asked.

    After a read that failed nobody knows where the body goes on, so what is left of it is not drained.
    """

    def __init__(self, source: Source, ask: Callable[[], None] | None) -> None:
        self._source = source
        self._ask = ask
        self._is_whole = True

    @property
    def is_read(self) -> bool:
        """Whether nothing of the body is left on the connection."""
        raise NotImplementedError

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read some bytes into a buffer, none at the end."""
        if self.is_read or not len(buffer):
            return 0
        if self._ask is not None:
            ask, self._ask = self._ask, None
            ask()
        self._is_whole = False
        count = self._next(memoryview(buffer).cast("B"))
        self._is_whole = True
        return count

    def drain(self, most: int) -> bool:
        """Read what is left, if it is at most so many bytes and on its way; whether that was the end."""
        waste = memoryview(bytearray(BUFFER))
        while not self.is_read and self._is_whole and most > 0 and self._ask is None:
            most -= self.readinto(waste)
        return self.is_read

    def _next(self, view: memoryview) -> int:
        raise NotImplementedError


class Sized(Body):
    """A body whose length was said before."""

    def __init__(self, source: Source, length: int, ask: Callable[[], None] | None) -> None:
        super().__init__(source, ask)
        self._left = length

    @property
    def is_read(self) -> bool:
        """Whether nothing of the body is left on the connection."""
        return self._left == 0

    def drain(self, most: int) -> bool:
        """Read what is left, unless it was said to be more than so many bytes; whether that was the end."""
        return self._left <= most and super().drain(most)

    def _next(self, view: memoryview) -> int:
        count = self._source.readinto(view[: self._left])
        self._left -= count
        return count


class Chunked(Body):
    """A body that comes in chunks, and ends with an empty one."""

    def __init__(self, source: Source, ask: Callable[[], None] | None) -> None:
        super().__init__(source, ask)
        self._left = 0
        self._ended = False
        self._begun = False

    @property
    def is_read(self) -> bool:
        """Whether nothing of the body is left on the connection."""
        return self._ended

    def _next(self, view: memoryview) -> int:
        if self._left == 0 and not self._open():
            return 0
        count = self._source.readinto(view[: self._left])
        self._left -= count
        return count

    def _open(self) -> bool:
        """Read the line before a chunk; whether there is a chunk after it."""
        if self._begun and self._line() != b"":
            raise Malformed("a chunk of the body is longer than was said")
        self._begun = True
        size = self._line().partition(b";")[0].strip()
        if not 0 < len(size) <= 12 or not set(size) <= set(b"0123456789abcdefABCDEF"):
            raise Malformed("the size of a chunk is no number")
        self._left = int(size, 16)
        if not self._left:
            self._skip_trailers()
            self._ended = True
        return self._left > 0

    def _skip_trailers(self) -> None:
        for _ in range(TRAILERS):
            if not self._line():
                return
        raise Malformed("there are too many trailers")

    def _line(self) -> bytes:
        line = self._source.readline(CHUNK_LINE)
        if not line.endswith(b"\r\n"):
            raise Malformed("a line of the chunked body has no end")
        return line[:-2]


def read_all(body: io.BufferedIOBase, most: int) -> bytes:
    """The whole of a body that is not too long to hold.

    Raises:
        TooLarge: it is longer than `most` bytes.
    """
    content = body.read(most + 1)
    if len(content) > most:
        raise TooLarge(most)
    return content
