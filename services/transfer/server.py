"""The bytes of instances, served to nodes that hold a ticket.

| request | body | answer |
|---|---|---|
| `POST /transfer/pack` | the digests wanted (`frames`) | 200, a pack |
| `GET /transfer/blob/DIGEST`, also with one `Range` | | 200 or 206, the bytes; `ETag` is the digest |
| `PUT /transfer/pack` | a pack | 200, JSON: what became of each blob |

Each carries a header `Ticket`. What is refused is told as a problem (RFC 9457).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from node.blobs.store import BlobStore
from node.domain.errors import Unauthenticated
from node.domain.ids import Digest
from node.domain.instance import Chunk
from services.https.body import read_all
from services.https.problem import guarded
from services.https.request import FINGERPRINT
from services.transfer.frames import DIGEST_SIZE, MOST, PACK, read_wanted
from services.transfer.outflow import frames, headers, length, run
from services.transfer.pace import Paces, Unpaced, sent
from services.transfer.ranges import NotSatisfiable, span
from services.transfer.unpack import Unpacking

LONGEST_TICKET: Final = 256
ROOT: Final = "/transfer"
BLOB: Final = f"{ROOT}/blob/"

Start = Callable[..., Any]


class Tickets(Protocol):
    """Who may move which bytes; asked for every request."""

    def to_get(self, ticket: str, fingerprint: str, digests: Sequence[Digest]) -> None:
        """Let the bearer read these blobs.

        Raises:
            Unauthenticated: the ticket is not known, has expired, or is another node's.
            Forbidden: it does not cover them.
        """
        ...

    def to_put(self, ticket: str, fingerprint: str, digests: Sequence[Digest]) -> None:
        """Let the bearer send these blobs; without any, see whether the ticket holds at all.

        Raises:
            Unauthenticated: the ticket is not known, has expired, or is another node's.
            Forbidden: it does not cover them.
        """
        ...

    def store_of(self, ticket: str) -> BlobStore:
        """Where what is sent with a ticket goes."""
        ...


class Transfer:
    """The WSGI application."""

    def __init__(self, blobs: BlobStore, tickets: Tickets, pace: Paces | None = None) -> None:
        """Serve what the tickets allow, no faster than the pace."""
        self._blobs = blobs
        self._pace = pace or Unpaced()
        self._tickets = tickets
        self._guarded = guarded(self._answer)

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[Chunk]:
        """Answer a request."""
        return self._guarded(environ, start_response)

    def _answer(self, environ: dict[str, Any], start_response: Start) -> Iterable[Chunk]:
        method, path = environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"]
        if path == f"{ROOT}/pack" and method == "POST":
            return self._send_pack(environ, start_response)
        if path == f"{ROOT}/pack" and method == "PUT":
            return self._take_pack(environ, start_response)
        if path.startswith(BLOB) and method in {"GET", "HEAD"}:
            return self._send_blob(environ, start_response, Digest(path.removeprefix(BLOB)))
        known = {f"{ROOT}/pack": "POST, PUT"}.get(path, "GET, HEAD" if path.startswith(BLOB) else "")
        start_response("405 Method Not Allowed" if known else "404 Not Found", _empty(known))
        return []

    def _send_pack(self, environ: dict[str, Any], start_response: Start) -> Iterable[Chunk]:
        """Answer with the blobs that were asked for, in that order."""
        wanted = read_wanted(read_all(environ["wsgi.input"], MOST * DIGEST_SIZE))
        self._tickets.to_get(*_bearer(environ), wanted)
        pack = headers(self._blobs, wanted)
        start_response("200 OK", [("Content-Type", PACK), ("Content-Length", str(length(pack)))])
        return sent(frames(self._blobs, pack), self._pace)

    def _send_blob(self, environ: dict[str, Any], start_response: Start, digest: Digest) -> Iterable[Chunk]:
        """Answer with a blob or a part of it (RFC 9110 14)."""
        self._tickets.to_get(*_bearer(environ), [digest])
        size = self._blobs.size(digest)
        if size is None:
            start_response("404 Not Found", _empty())
            return []
        tag = f'"{digest}"'
        fields = [("ETag", tag), ("Accept-Ranges", "bytes"), ("Content-Type", "application/octet-stream")]
        try:
            part = span(environ.get("HTTP_RANGE"), environ.get("HTTP_IF_RANGE"), tag, size)
        except NotSatisfiable:
            start_response("416 Range Not Satisfiable", [*_empty(), ("Content-Range", f"bytes */{size}")])
            return []
        begin, end = part or (0, size)
        if part:
            fields.append(("Content-Range", f"bytes {begin}-{end - 1}/{size}"))
        fields.append(("Content-Length", str(end - begin)))
        start_response("206 Partial Content" if part else "200 OK", fields)
        if environ["REQUEST_METHOD"] == "HEAD":
            return []
        return sent(run(self._blobs, digest, begin, end), self._pace)

    def _take_pack(self, environ: dict[str, Any], start_response: Start) -> Iterable[Chunk]:
        """Keep the blobs that come, and tell what became of each."""
        ticket, fingerprint = _bearer(environ)
        self._tickets.to_put(ticket, fingerprint, ())
        store = self._tickets.store_of(ticket)
        pack = Unpacking(
            store, lambda digest: self._tickets.to_put(ticket, fingerprint, (digest,)), self._pace
        )
        content = json.dumps(pack.take(environ["wsgi.input"])).encode()
        fields = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        start_response("200 OK", fields)
        return [content]


def _bearer(environ: dict[str, Any]) -> tuple[str, str]:
    """The ticket, and the certificate of who shows it.

    Raises:
        Unauthenticated: one of them is missing.
    """
    ticket, fingerprint = environ.get("HTTP_TICKET", ""), environ.get(FINGERPRINT)
    if not fingerprint:
        raise Unauthenticated("it showed no certificate")
    if not 0 < len(ticket) <= LONGEST_TICKET:
        raise Unauthenticated("it showed no ticket")
    return ticket, fingerprint


def _empty(allow: str = "") -> list[tuple[str, str]]:
    """The headers of an answer without a body."""
    return [("Content-Length", "0"), *([("Allow", allow)] if allow else [])]
