"""What every answer and every body has in common under WSGI (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, TypeAlias

from node.domain.errors import TooLarge
from services.soap.framework.blob import BLOCK
from services.soap.framework.multipart import Unpacked

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]


def pieces(environ: Environ) -> Iterator[bytes]:
    """The body of a request in pieces."""
    source = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        yield from iter(lambda: source.read(BLOCK), b"")
        return
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left and (piece := source.read(min(BLOCK, left))):
        left -= len(piece)
        yield piece


def whole(environ: Environ, most: int) -> bytes:
    """The body of a request, if it is not longer than this."""
    gathered = bytearray()
    for piece in pieces(environ):
        gathered += piece
        if len(gathered) > most:
            raise TooLarge(most)
    return bytes(gathered)


class Streamed:
    """An answer that is made while it is sent; closing it gives back what the request left."""

    def __init__(self, chunks: Iterator[bytes], unpacked: Unpacked) -> None:
        self._chunks = chunks
        self._unpacked = unpacked

    def __iter__(self) -> Iterator[bytes]:
        """The pieces."""
        return self._chunks

    def close(self) -> None:
        """Give back the temporary files of the request (PEP 3333 calls this, whatever happened)."""
        self._unpacked.close()


def start(
    start_response: StartResponse,
    status: HTTPStatus,
    content_type: str,
    size: int,
    more: dict[str, str] | None = None,
) -> None:
    """Begin an answer of a known length."""
    headers = [("Content-Type", content_type), ("Content-Length", str(size)), *(more or {}).items()]
    start_response(f"{status.value} {status.phrase}", headers)


def plain(
    start_response: StartResponse, status: HTTPStatus, more: list[tuple[str, str]] | None = None
) -> Iterable[bytes]:
    """An answer that is no SOAP, because what was asked was none."""
    body = f"{status.phrase}\n".encode("ascii")
    start(start_response, status, "text/plain; charset=utf-8", len(body), dict(more or []))
    return [body]
