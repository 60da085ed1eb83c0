"""Takes an uploaded pack apart: every blob is asked about before its bytes are read, and judged after."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

from node.blobs.store import BlobStore
from node.domain.errors import AccessDenied, Malformed, TooLarge, Unauthenticated
from node.domain.ids import Digest
from services.transfer.frames import HEADER_SIZE, MOST, Header, read_header
from services.transfer.intake import Intake
from services.transfer.pace import Paces, received

Fate = dict[str, str | bool]
"""What became of a blob: `digest`, `kept`, and where it was not kept the `reason`."""

REFUSED: Final = "refused"
DAMAGED: Final = "damaged"


class Unpacking:
    """One upload.

    Where it breaks off in the middle, the blobs that came whole are kept nevertheless.
    """

    def __init__(self, blobs: BlobStore, allow: Callable[[Digest], None], pace: Paces) -> None:
        self._allow = allow
        self._pace = pace
        self._fates: dict[Digest, Fate] = {}
        self._intake = Intake(blobs)

    def take(self, body: io.BufferedIOBase) -> list[Fate]:
        """Read the pack to its end; what became of its blobs.

        Raises:
            Malformed: it is not a pack.
            StoreFull: there is no room for more.
            OSError: it broke off.
        """

        def whole(view: memoryview) -> None:
            if body.readinto(view) < len(view):
                raise Malformed("the pack ends in the middle of a blob")

        def fill(view: memoryview) -> None:
            received(whole, view, self._pace)

        with self._intake:
            try:
                while (header := _next(body)) is not None:
                    self._judge(header, fill)
                    if self._intake.is_full:
                        self._keep()
            finally:
                self._keep()
        return list(self._fates.values())

    def _judge(self, header: Header, fill: Callable[[memoryview], None]) -> None:
        """Take a blob in, if the ticket covers it."""
        if len(self._fates) >= MOST:
            raise TooLarge(MOST)
        if header.size is None:
            raise Malformed("a blob that is uploaded has a size")
        if not self._is_allowed(header.digest):
            self._note(header.digest, reason=REFUSED)
            self._intake.skip(header.size, fill)
        elif not self._intake.take(header.digest, header.size, fill):
            self._note(header.digest, reason=DAMAGED)

    def _is_allowed(self, digest: Digest) -> bool:
        try:
            self._allow(digest)
        except Unauthenticated:
            raise
        except AccessDenied:
            return False
        return True

    def _keep(self) -> None:
        for digest in self._intake.keep():
            self._fates[digest] = {"digest": digest, "kept": True}

    def _note(self, digest: Digest, reason: str) -> None:
        self._fates[digest] = {"digest": digest, "kept": False, "reason": reason}


def _next(body: io.BufferedIOBase) -> Header | None:
    """The header of the next frame, or None at the end of the pack."""
    head = bytearray(HEADER_SIZE)
    count = body.readinto(head)
    if count not in {0, HEADER_SIZE}:
        raise Malformed("the pack ends in the middle of a header")
    return read_header(head) if count else None
