"""Fetches packs of blobs from another node, and brings them to one.

Nothing that a peer says is believed: a blob is kept if its digest is the one that was asked for. A peer that
stalls, breaks off or sends other things than it was asked for costs the time-outs of its connection and one
buffer, and is reported as unreachable.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from node.blobs.store import BlobStore
from node.domain.errors import NodeError, PeerUnreachable
from node.domain.ids import Digest
from services.https.client import Answer, Connection, Upload
from services.https.problem import raised
from services.transfer.frames import (
    DIGESTS,
    HEADER_SIZE,
    MOST,
    PACK,
    Header,
    read_header,
    write_wanted,
)
from services.transfer.intake import Intake
from services.transfer.outflow import frames, headers, length
from services.transfer.pace import Paces, Unpaced, received, sent

Wanted = tuple[Digest, int]
"""A blob that is wanted, and its bytes."""

LARGE: Final = 8 * 1024 * 1024
"""Bytes from which on a blob that broke off is continued where it did."""

RESUMES: Final = 5
"""Times that one blob is continued before the peer is given up."""

LONGEST_REPORT: Final = 1024 * 1024


class Why(StrEnum):
    """Why a blob was not transferred."""

    ABSENT = "absent"
    """The sender does not have it."""
    DAMAGED = "damaged"
    """What was sent is not what its name says."""
    REFUSED = "refused"
    """The ticket does not cover it."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A blob that was not transferred."""

    digest: Digest
    why: Why


def fetch(
    connection: Connection,
    ticket: str,
    wanted: Sequence[Wanted],
    blobs: BlobStore,
    pace: Paces | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[Digest | Missing]:
    """Fetch blobs into the store; each is told once, as soon as it is durable or known to be missing.

    Args:
        connection: to the node that has them.
        ticket: what the node gave for them.
        wanted: at most 4096 blobs with their sizes; each is asked for once.
        blobs: where they are kept.
        pace: a cap on bytes per second.
        pause: waits between attempts to continue a large blob.

    Raises:
        PeerUnreachable: the peer broke off, stalled or lied; what was told before is kept.
        AccessDenied: it does not accept the ticket.
        StoreFull: there is no room here.
        StoreFailing: the medium refused.
    """
    pack = _Pack(connection, ticket, wanted, pace or Unpaced(), pause)
    with Intake(blobs) as intake:
        try:
            for at, (digest, _) in enumerate(wanted):
                why = pack.take(intake, at)
                if why is not None:
                    yield Missing(digest, why)
                if intake.is_full:
                    yield from intake.keep()
        except NodeError:
            yield from intake.keep()
            raise
        yield from intake.keep()


def upload(
    connection: Connection,
    ticket: str,
    digests: Sequence[Digest],
    blobs: BlobStore,
    pace: Paces | None = None,
) -> list[Digest | Missing]:
    """Bring blobs to another node; what became of each.

    Raises:
        PeerUnreachable: the peer broke off; it keeps what had come whole.
        AccessDenied: it does not accept the ticket.
    """
    pack = headers(blobs, digests)
    held = [header for header in pack if header.size is not None]
    absent = [Missing(header.digest, Why.ABSENT) for header in pack if header.size is None]
    body = Upload(length=length(held), chunks=lambda: sent(frames(blobs, held), pace or Unpaced()))
    fields = {"Ticket": ticket, "Content-Type": PACK}
    answer = connection.request("PUT", "/transfer/pack", headers=fields, body=body)
    if answer.status != HTTPStatus.OK:
        raise raised(answer)
    told = _fates(answer, {header.digest for header in held})
    return [*absent, *told]


class _Pack:
    """The answer to one request for a pack, asked again for what is left where it cannot go on."""

    def __init__(
        self,
        connection: Connection,
        ticket: str,
        wanted: Sequence[Wanted],
        pace: Paces,
        pause: Callable[[float], object],
    ) -> None:
        self._connection = connection
        self._ticket = ticket
        self._wanted = wanted
        self._pace = pace
        self._pause = pause
        self._answer: Answer | None = None
        self._head = memoryview(bytearray(HEADER_SIZE))

    def take(self, intake: Intake, at: int) -> Why | None:
        """Take the next blob in, which is the one at that place; why it could not be had."""
        digest, size = self._wanted[at]
        header = self._next(at)
        if header.size is None:
            return Why.ABSENT
        if header.size != size:
            self._drop()
            return Why.DAMAGED
        content = _Content(self, digest, size)
        return None if intake.take(digest, size, content.fill) else Why.DAMAGED

    def fill(self, view: memoryview) -> None:
        """Read as many bytes as the view holds."""
        assert self._answer is not None
        received(self._answer.fill, view, self._pace)

    def resume(self, digest: Digest, begin: int, size: int, attempt: int) -> None:
        """Go on in the middle of a blob, on another connection."""
        self._drop()
        self._pause(0.5 * 2**attempt)
        fields = {"Ticket": self._ticket, "Range": f"bytes={begin}-", "If-Range": f'"{digest}"'}
        answer = self._connection.request("GET", f"/transfer/blob/{digest}", headers=fields)
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            raise raised(answer)
        if (
            answer.headers["Content-Range"] != f"bytes {begin}-{size - 1}/{size}"
            or answer.left != size - begin
        ):
            raise answer.broken("it answers with another part than was asked for")
        self._answer = answer

    def _next(self, at: int) -> Header:
        """The header of the next frame."""
        if self._answer is None or self._answer.left == 0:
            self._answer = self._ask(at)
        self._answer.fill(self._head)
        header = read_header(self._head)
        if header.digest != self._wanted[at][0]:
            raise self._answer.broken("it answers with other blobs than were asked for")
        return header

    def _ask(self, at: int) -> Answer:
        """Ask for what is wanted from that place on."""
        fields = {"Ticket": self._ticket, "Content-Type": DIGESTS}
        body = write_wanted([digest for digest, _ in self._wanted[at : at + MOST]])
        answer = self._connection.request("POST", "/transfer/pack", headers=fields, body=body)
        if answer.status != HTTPStatus.OK:
            raise raised(answer)
        return answer

    def _drop(self) -> None:
        """Give up what is left of the answer."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None


class _Content:
    """The bytes of one blob: a large one goes on where a connection broke."""

    def __init__(self, pack: _Pack, digest: Digest, size: int) -> None:
        self._pack = pack
        self._digest = digest
        self._size = size
        self._at = 0
        self._attempts = 0
        self._is_cut = False

    def fill(self, view: memoryview) -> None:
        """Read as many bytes as the view holds.

        Raises:
            PeerUnreachable: the connection broke too often.
        """
        while True:
            try:
                if self._is_cut:
                    self._pack.resume(self._digest, self._at, self._size, self._attempts)
                    self._is_cut = False
                self._pack.fill(view)
                break
            except PeerUnreachable:
                self._is_cut = True
                self._attempts += 1
                if self._size <= LARGE or self._attempts > RESUMES:
                    raise
        self._at += len(view)


def _fates(answer: Answer, sent: set[Digest]) -> list[Digest | Missing]:
    """What the other node says of the blobs that were sent; what it does not mention counts as refused."""
    try:
        told = {fate["digest"]: fate for fate in json.loads(answer.read(LONGEST_REPORT))}
        kept = {digest for digest in sent if told.get(digest, {}).get("kept") is True}
        damaged = {digest for digest in sent - kept if told.get(digest, {}).get("reason") == Why.DAMAGED}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise answer.broken("its report cannot be read") from None
    missing = [Missing(digest, Why.DAMAGED if digest in damaged else Why.REFUSED) for digest in sent - kept]
    return [*kept, *missing]
