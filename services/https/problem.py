"""What went wrong, as HTTP says it: domain error class to status, told as problem details (RFC 9457)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from node.domain.errors import (
    AccessDenied,
    Damaged,
    Forbidden,
    Malformed,
    NodeError,
    PeerUnreachable,
    Rejected,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unknown,
)
from node.domain.instance import Chunk
from services.https.client import Answer
from services.https.server import Application

log = logging.getLogger(__name__)

RETRY_AFTER: Final = 5
"""Seconds after which a caller may ask again for what was unavailable."""

STATUS = MappingProxyType(
    {
        Malformed: HTTPStatus.BAD_REQUEST,
        TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        Unknown: HTTPStatus.NOT_FOUND,
        Unauthenticated: HTTPStatus.UNAUTHORIZED,
        AccessDenied: HTTPStatus.FORBIDDEN,
        Rejected: HTTPStatus.CONFLICT,
        Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
        Damaged: HTTPStatus.INTERNAL_SERVER_ERROR,
        NodeError: HTTPStatus.INTERNAL_SERVER_ERROR,
    }
)
"""The status of each class of errors; of several that fit, the most derived one holds."""


def status_of(error: NodeError) -> HTTPStatus:
    """The status of an answer that reports this error."""
    lineage = [kind for kind in type(error).__mro__ if issubclass(kind, NodeError)]
    return next(STATUS[kind] for kind in lineage if kind in STATUS)


def answer(error: NodeError, start_response: Callable[..., Any]) -> list[bytes]:
    """Answer a request with an error."""
    status = status_of(error)
    told = {"type": f"urn:konzilium:problem:{type(error).__name__}", "title": status.phrase}
    content = json.dumps(told | {"status": status.value, "detail": str(error)}).encode()
    headers = [("Content-Type", "application/problem+json"), ("Content-Length", str(len(content)))]
    if isinstance(error, Unavailable):
        headers.append(("Retry-After", str(RETRY_AFTER)))
    start_response(f"{status.value} {status.phrase}", headers)
    return [content]


def raised(reply: Answer) -> NodeError:
    """What a refusal by another node means here; its words stay with it."""
    peer, status = reply.peer, reply.status
    reply.close()
    if status == HTTPStatus.UNAUTHORIZED:
        return Unauthenticated(f"{peer} does not accept the ticket")
    if status == HTTPStatus.FORBIDDEN:
        return Forbidden("this node", f"do that at {peer}", "it was refused")
    if status == HTTPStatus.NOT_FOUND:
        return Unknown(f"of this ticket at {peer}")
    if status in {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}:
        return Malformed(f"{peer} cannot read the request")
    return PeerUnreachable(peer, f"it answered {status}")


def guarded(application: Application) -> Application:
    """The application, with errors that it raises before it has answered told as problems."""

    def guard(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[Chunk]:
        try:
            return application(environ, start_response)
        except NodeError as error:
            log.info("request refused", extra={"error": type(error).__name__})
            return answer(error, start_response)

    return guard
