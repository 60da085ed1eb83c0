"""The file around a data set (PS3.10 7): always the same bytes for the same data set.

The digest of an instance is the digest of this file, so its meta information holds nothing that could differ
between sites, senders, library versions or days. Changing a byte here changes the name of every instance.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Self

from node.archive.elements import Unwalkable, find
from node.domain.errors import Damaged, MalformedIdentifier
from node.domain.ids import InstanceUID, SOPClassUID, TransferSyntaxUID
from node.domain.instance import Offer

IMPLEMENTATION_CLASS_UID = "2.25.302183214570984561840157234409825410912"
IMPLEMENTATION_VERSION_NAME = "KONZILIUM_1"
_PREAMBLE = bytes(128) + b"DICM"
_GROUP_LENGTH = struct.Struct("<HH2sHI")
_PIECE = 1 << 20
_SHORT = struct.Struct("<HH2sH")


def file_meta(offer: Offer) -> bytes:
    """Preamble, prefix and File Meta Information for the data set that was offered (PS3.10 7.1)."""
    body = b"".join(
        (
            b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01",
            _element(0x0002, b"UI", offer.sop_class),
            _element(0x0003, b"UI", offer.instance),
            _element(0x0010, b"UI", offer.transfer_syntax),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        )
    )
    return _PREAMBLE + _GROUP_LENGTH.pack(2, 0, b"UL", 4, len(body)) + body


def offer_of(file: BinaryIO) -> Offer:
    """What the meta information of a stored file says of its data set.

    Raises:
        Damaged: it says nothing that could be read.
    """
    stored = StoredFile.of(file)
    meta = os.pread(stored.fd, stored.offset - 132, 132)
    try:
        found = find(memoryview(meta), "", {0x00020002, 0x00020003, 0x00020010}, longest=64)
        texts = {tag: element.value.decode("ascii").rstrip("\0 ") for tag, element in found.items()}
        return Offer(
            sop_class=SOPClassUID(texts[0x00020002]),
            instance=InstanceUID(texts[0x00020003]),
            transfer_syntax=TransferSyntaxUID(texts[0x00020010]),
        )
    except (Unwalkable, UnicodeDecodeError, KeyError, MalformedIdentifier):
        raise Damaged("the meta information of a stored file is broken") from None


def _element(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return _SHORT.pack(2, element, vr, len(value)) + value


@dataclass(slots=True)
class StoredFile:
    """A stored Part 10 file, open for reading; a context manager that closes it."""

    file: BinaryIO
    offset: int
    """Where the data set begins."""
    size: int
    """Bytes of the whole file."""

    @property
    def fd(self) -> int:
        """The descriptor, for `os.preadv` and `sendfile`."""
        return self.file.fileno()

    @classmethod
    def of(cls, file: BinaryIO) -> Self:
        """The stored file in an open file.

        Raises:
            Damaged: it does not begin as a Part 10 file does.
        """
        head = os.pread(file.fileno(), 144, 0)
        if len(head) < 144 or head[128:132] != b"DICM":
            file.close()
            raise Damaged("a stored file has lost its beginning")
        offset, size = 144 + _GROUP_LENGTH.unpack_from(head, 132)[4], os.fstat(file.fileno()).st_size
        if offset > size:
            file.close()
            raise Damaged("a stored file has lost its beginning")
        return cls(file, offset, size)

    def data_set(self) -> Iterator[bytes]:
        """The encoded data set, piece by piece."""
        position = self.offset
        while chunk := os.pread(self.fd, _PIECE, position):
            position += len(chunk)
            yield chunk

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
