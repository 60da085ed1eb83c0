"""The wire format of a pack: many blobs, one after the other.

```
pack   = *frame
frame  = digest size content
digest = 32 bytes             SHA-256 of the content
size   = 8 bytes, big endian  bytes of the content; 2^64 - 1: not available here, and no content follows
wanted = *digest              what a pack is asked for: at most 4096 of them
```

The frames of an answer come in the order in which they were asked for. The media types are
`application/vnd.konzilium.pack` and `application/vnd.konzilium.digests`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from node.domain.errors import Malformed, TooLarge
from node.domain.ids import Digest

PACK: Final = "application/vnd.konzilium.pack"
DIGESTS: Final = "application/vnd.konzilium.digests"
MOST: Final = 4096
"""Digests that one pack may be asked for."""

DIGEST_SIZE: Final = 32
MISSING: Final = (1 << 64) - 1
_HEADER: Final = struct.Struct(">32sQ")
HEADER_SIZE: Final = _HEADER.size


class Header(NamedTuple):
    """What comes before the content of a blob."""

    digest: Digest
    size: int | None
    """Bytes of the content, or None where it is not available."""

    @property
    def content(self) -> int:
        """Bytes that follow."""
        return self.size or 0


def write_header(header: Header, buffer: bytearray) -> None:
    """Write a header at the begin of a buffer."""
    size = MISSING if header.size is None else header.size
    _HEADER.pack_into(buffer, 0, bytes.fromhex(header.digest), size)


def read_header(buffer: bytearray | memoryview) -> Header:
    """Read a header from the begin of a buffer."""
    digest, size = _HEADER.unpack_from(buffer)
    return Header(Digest.trusted(digest.hex()), None if size == MISSING else size)


def write_wanted(digests: Sequence[Digest]) -> bytes:
    """What a pack is asked for."""
    return b"".join(map(bytes.fromhex, digests))


def read_wanted(content: bytes) -> list[Digest]:
    """The digests that are asked for.

    Raises:
        Malformed: it is not a run of digests.
        TooLarge: there are too many of them.
    """
    if len(content) > MOST * DIGEST_SIZE:
        raise TooLarge(MOST * DIGEST_SIZE)
    if len(content) % DIGEST_SIZE or not content:
        raise Malformed("a pack is asked for by digests of 32 bytes each")
    text = content.hex()
    width = 2 * DIGEST_SIZE
    return [Digest.trusted(text[at : at + width]) for at in range(0, len(text), width)]
