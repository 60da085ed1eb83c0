"""MTOM packages (XOP 1.0, RFC 2387): written and read in pieces, shared by server and client.

The first part is the message, in memory and small; the others go to temporary files as they come.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path

from node.domain.errors import MalformedMessage, TooLarge
from services.soap.framework.blob import Blob
from services.soap.framework.limits import Limits

XOP_MEDIA = "application/xop+xml"
PACKAGE_MEDIA = "multipart/related"
LONGEST_HEAD = 16 << 10
LONGEST_BOUNDARY = 70
"""RFC 2046, 5.1.1."""
ROOT = "root@konzilium"
"""The Content-ID of the message."""
SMALL = 1 << 14
"""A part up to this size stays in memory."""
PLAIN = frozenset({"", "7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package to be sent: its header, its length, and its bytes as often as they are asked for."""

    content_type: str
    heads: tuple[bytes, ...]
    root: bytes
    parts: tuple[Blob, ...]
    tail: bytes

    @property
    def size(self) -> int:
        """All bytes."""
        return (
            sum(map(len, self.heads)) + len(self.root) + sum(one.size for one in self.parts) + len(self.tail)
        )

    def chunks(self) -> Iterator[bytes]:
        """The bytes in pieces."""
        yield self.heads[0] + self.root
        for head, part in zip(self.heads[1:], self.parts, strict=True):
            yield head
            yield from part.chunks()
        yield self.tail


def pack(root: bytes, parts: Sequence[tuple[str, Blob]], media: str, action: str = "") -> Package:
    """Make a package of a message and what its references name.

    Args:
        root: the message.
        parts: Content-ID and bytes of each part.
        media: the media type of the message without the package, as `start-info` tells it.
        action: of the message, for SOAP 1.2.
    """
    boundary = f"uuid:{secrets.token_hex(16)}"
    said = f'; action="{action}"' if action else ""
    content_type = (
        f'{PACKAGE_MEDIA}; type="{XOP_MEDIA}"; start="<{ROOT}>"; start-info="{media}"; '
        f'boundary="{boundary}"{said}'
    )
    first = _head(boundary, ROOT, f'{XOP_MEDIA}; charset=UTF-8; type="{media}"').removeprefix(b"\r\n")
    heads = (first, *(_head(boundary, name, blob.media) for name, blob in parts))
    tail = f"\r\n--{boundary}--\r\n".encode("ascii")
    return Package(
        content_type=content_type, heads=heads, root=root, parts=tuple(blob for _, blob in parts), tail=tail
    )


def _head(boundary: str, name: str, media: str) -> bytes:
    return (
        f"\r\n--{boundary}\r\nContent-Type: {media}\r\n"
        f"Content-Transfer-Encoding: binary\r\nContent-ID: <{name}>\r\n\r\n"
    ).encode("ascii")


def parameters(content_type: str) -> tuple[str, dict[str, str]]:
    """A Content-Type as its media type and parameters, names in lower case."""
    message = Message()
    message["content-type"] = content_type
    pairs = message.get_params() or [("", "")]
    return pairs[0][0].lower(), {name.lower(): value for name, value in pairs[1:]}


@dataclass(slots=True, kw_only=True)
class Unpacked:
    """A package that was received; closing it gives the temporary files back."""

    root: bytes
    parts: dict[str, Blob] = field(default_factory=dict)
    """By Content-ID."""
    files: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Forget the parts."""
        self.files.close()


def unpack(chunks: Iterable[bytes], boundary: str, limits: Limits, folder: Path | None = None) -> Unpacked:
    """Read a package as it comes.

    Args:
        chunks: the bytes, in pieces of any size.
        boundary: the parameter of its Content-Type.
        limits: of its parts.
        folder: for temporary files; None for the system's.

    Raises:
        MalformedMessage: it is not a package.
        TooLarge: its message, or its parts together, are larger than is taken here.
    """
    if not 0 < len(boundary) <= LONGEST_BOUNDARY or not boundary.isascii():
        raise MalformedMessage("the package has no boundary that can be used")
    scanner = Scanner(chunks, b"\r\n--" + boundary.encode("ascii"))
    scanner.copy(None, LONGEST_HEAD)
    files = ExitStack()
    try:
        return _unpack(scanner, files, limits, folder)
    except BaseException:
        files.close()
        raise


def _unpack(scanner: Scanner, files: ExitStack, limits: Limits, folder: Path | None) -> Unpacked:
    where = None if folder is None else str(folder)
    root: bytearray | None = None
    parts: dict[str, Blob] = {}
    left = limits.attached
    while scanner.more():
        head = scanner.head()
        if root is None:
            root = bytearray()
            scanner.copy(root.extend, limits.body)
            continue
        name = str(head.get("Content-ID", "")).strip().removeprefix("<").removesuffix(">")
        if len(parts) >= limits.parts or name in parts:
            raise MalformedMessage("the package has too many parts, or two of one name")
        file = files.enter_context(tempfile.SpooledTemporaryFile(max_size=SMALL, dir=where))  # noqa: SIM115
        size = scanner.copy(file.write, left)
        left -= size
        parts[name] = Blob.spooled(file, size, head.get_content_type())
    if root is None:
        raise MalformedMessage("the package is empty")
    return Unpacked(root=bytes(root), parts=parts, files=files)


class Scanner:
    """Finds delimiters in bytes that come in pieces; holds a piece and a delimiter's length, no more."""

    def __init__(self, chunks: Iterable[bytes], delimiter: bytes) -> None:
        self._chunks = iter(chunks)
        self._delimiter = delimiter
        self._held = bytearray(b"\r\n")

    def copy(self, sink: Callable[[memoryview], object] | None, most: int) -> int:
        """Give what comes before the next delimiter to a sink, and say how much that was.

        Raises:
            MalformedMessage: the bytes end before.
            TooLarge: it is more than `most`.
        """
        copied = 0
        while (found := self._held.find(self._delimiter)) < 0:
            copied += self._give(sink, max(0, len(self._held) - len(self._delimiter) + 1))
            if copied > most:
                raise TooLarge(most)
            self._fill()
        copied += self._give(sink, found)
        if copied > most:
            raise TooLarge(most)
        del self._held[: len(self._delimiter)]
        return copied

    def more(self) -> bool:
        """Whether a part follows the delimiter, or it was the last."""
        while len(self._held) < 2:
            self._fill()
        if self._held.startswith(b"--"):
            for _ in self._chunks:
                pass
            return False
        return True

    def head(self) -> Message:
        """The headers of a part.

        Raises:
            MalformedMessage: they are too long, follow something else, or say that the part is encoded.
        """
        while (found := self._held.find(b"\r\n\r\n")) < 0 and len(self._held) <= LONGEST_HEAD:
            self._fill()
        rest, _, lines = bytes(self._held[: found + 4]).partition(b"\r\n")
        if not 0 <= found <= LONGEST_HEAD or rest.strip(b" \t"):
            raise MalformedMessage("a part of the package has a head that cannot be read")
        head = BytesHeaderParser().parsebytes(lines)
        del self._held[: found + 4]
        if str(head.get("Content-Transfer-Encoding", "")).strip().lower() not in PLAIN:
            raise MalformedMessage("a part of the package is encoded")
        return head

    def _give(self, sink: Callable[[memoryview], object] | None, count: int) -> int:
        if count and sink is not None:
            with memoryview(self._held) as view, view[:count] as piece:
                sink(piece)
        del self._held[:count]
        return count

    def _fill(self) -> None:
        """Hold the next piece too.

        Raises:
            MalformedMessage: there is none.
        """
        try:
            self._held += next(self._chunks)
        except StopIteration:
            raise MalformedMessage("the package ends early") from None
