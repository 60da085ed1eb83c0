"""Reads blobs from a store into frames: one buffer for all, a header beside the first bytes of its blob."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Final

from node.blobs.store import BlobStore
from node.domain.errors import NodeError, StoreFailing
from node.domain.ids import Digest
from services.transfer.frames import HEADER_SIZE, Header, write_header

log = logging.getLogger(__name__)

PIECE: Final = 256 * 1024


def headers(blobs: BlobStore, digests: Sequence[Digest]) -> list[Header]:
    """What the store holds of the blobs."""
    return [Header(digest, blobs.size(digest)) for digest in digests]


def length(pack: Sequence[Header]) -> int:
    """Bytes of a pack."""
    return HEADER_SIZE * len(pack) + sum(header.content for header in pack)


def frames(blobs: BlobStore, pack: Sequence[Header]) -> Iterator[memoryview]:
    """The pack as runs of bytes; each is valid until the next is asked for.

    A blob that cannot be read to its end is filled up with zeros: its digest tells the receiver, and the
    blobs behind it arrive.
    """
    buffer = bytearray(HEADER_SIZE + PIECE)
    view = memoryview(buffer)
    for header in pack:
        write_header(header, buffer)
        begin, rest = HEADER_SIZE, header.content
        counts = _read(blobs, header.digest, 0, header.content, view[HEADER_SIZE:])
        for size in _as_far_as_it_goes(counts):
            yield view[HEADER_SIZE - begin : HEADER_SIZE + size]
            begin, rest = 0, rest - size
        yield from _fill_up(view, begin, rest)


def run(blobs: BlobStore, digest: Digest, begin: int, end: int) -> Iterator[memoryview]:
    """The bytes of a blob from `begin` up to `end`.

    Raises:
        BlobMissing: the store does not hold it.
        StoreFailing: it cannot be read.
    """
    view = memoryview(bytearray(min(PIECE, max(1, end - begin))))
    for count in _read(blobs, digest, begin, end, view):
        yield view[:count]


def _read(blobs: BlobStore, digest: Digest, begin: int, end: int, view: memoryview) -> Iterator[int]:
    """Read a run of bytes into the view, piece by piece; the size of each piece."""
    if begin >= end:
        return
    with blobs.open(digest) as file:
        while begin < end:
            count = _read_at(file.fileno(), view[: end - begin], begin)
            yield count
            begin += count


def _as_far_as_it_goes(counts: Iterator[int]) -> Iterator[int]:
    """The counts until one cannot be read."""
    try:
        yield from counts
    except NodeError as error:
        log.exception("a blob of a pack could not be read", extra={"error": type(error).__name__})


def _fill_up(view: memoryview, begin: int, rest: int) -> Iterator[memoryview]:
    """The header, if nothing has followed it, and zeros in the place of what is missing."""
    zeros = bytes(min(rest, PIECE))
    while begin or rest:
        size = min(rest, PIECE)
        view[HEADER_SIZE : HEADER_SIZE + size] = zeros[:size]
        yield view[HEADER_SIZE - begin : HEADER_SIZE + size]
        begin, rest = 0, rest - size


def _read_at(descriptor: int, view: memoryview, offset: int) -> int:
    """Read some bytes, at least one.

    Raises:
        StoreFailing: the medium refused, or the file is shorter than it was.
    """
    try:
        count = os.preadv(descriptor, [view], offset)
    except OSError as error:
        raise StoreFailing(os.strerror(error.errno or 0)) from error
    if not count:
        raise StoreFailing("a file is shorter than it was")
    return count
