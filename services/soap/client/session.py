"""Calls of one service at one node, with the types and the errors of this program.

```python
session = Session(Storage, peer="prague", pool=pool, target="/soap/storage/1", secure=secure)
entry = session.call(Storage.stat, digest=digest)
with session.open(Storage.get_object, uid=uid) as blob:
    for chunk in blob.chunks(): ...
```

What is sent is made by zeep from the published document; what comes back is held to the same limits as
a request, validated against the schema, and read into the types of the declaration. A fault is raised
as the error that was raised at the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, cast

from lxml import etree

from node.domain.errors import AccessDenied, Malformed, NodeError, PeerUnreachable, Rejected, Unavailable
from services.https.client import Content, Upload
from services.soap.client.grammar import Grammar, grammar_of
from services.soap.client.values import Arguments
from services.soap.client.wire import Pool, Reply, Wire, pieces
from services.soap.framework.addressing import address
from services.soap.framework.attachments import Attachments
from services.soap.framework.contract import Operation, contract_of
from services.soap.framework.envelope import SECURITY, demand_understanding, read_envelope
from services.soap.framework.faults import error_of
from services.soap.framework.faultxml import read_fault
from services.soap.framework.limits import MIB, Limits
from services.soap.framework.multipart import PACKAGE_MEDIA, Unpacked, pack, parameters, unpack
from services.soap.framework.names import SOAP12, camel
from services.soap.framework.service import Call, Service

Given = ParamSpec("Given")
Result = TypeVar("Result")
Secure: TypeAlias = Callable[[etree._Element, str], etree._Element]
"""Signs an envelope for an action; what it returns is sent as it is."""

REPLIES = Limits(body=64 * MIB, marks=8_000_000)
"""The limits of what another node answers."""


class Session:
    """Calls one service at one node, from any thread."""

    def __init__(
        self,
        service: type[Service],
        *,
        peer: str,
        pool: Pool,
        target: str,
        secure: Secure | None = None,
        limits: Limits = REPLIES,
        grammar: Grammar | None = None,
        folder: Path | None = None,
    ) -> None:
        """A session.

        Args:
            service: whose operations are called.
            peer: the name of the node, for errors.
            pool: connections to it.
            target: the path of the service there.
            secure: adds addressing and security to a message; without, addressing alone is added.
            limits: of answers.
            grammar: what makes requests; without, the published one.
            folder: for bytes that come beside an answer; None for the system's.
        """
        self.contract = contract_of(service)
        self._grammar = grammar or grammar_of(service.path, service.version)
        self._peer = peer
        self._pool = pool
        self._target = target
        self._secure = secure
        self._limits = limits
        self._folder = folder

    def call(
        self,
        method: Callable[Concatenate[Any, Call, Given], Result],
        *args: Given.args,
        **values: Given.kwargs,
    ) -> Result:
        """Call an operation; for results with bytes beside them use `open`.

        Raises:
            NodeError: the error that was raised there, or what keeps this node from getting there.
        """
        with self.open(method, *args, **values) as result:
            return result

    @contextmanager
    def open(
        self,
        method: Callable[Concatenate[Any, Call, Given], Result],
        *args: Given.args,
        **values: Given.kwargs,
    ) -> Iterator[Result]:
        """Call an operation; bytes beside its result last as long as the context.

        Raises:
            NodeError: the error that was raised there, or what keeps this node from getting there.
        """
        with self._exchange(method, values) as (operation, body, attachments):
            yield cast(Result, operation.result_of(body, attachments))

    @contextmanager
    def element(
        self,
        method: Callable[Concatenate[Any, Call, Given], Any],
        *args: Given.args,
        **values: Given.kwargs,
    ) -> Iterator[etree._Element]:
        """Call an operation; the response element itself, validated, for answers with many rows.

        Raises:
            NodeError: the error that was raised there, or what keeps this node from getting there.
        """
        with self._exchange(method, values) as (_, body, _):
            yield body

    @contextmanager
    def _exchange(
        self, method: Callable[..., Any], values: dict[str, Any]
    ) -> Iterator[tuple[Operation, etree._Element, Attachments]]:
        operation = self._operation(method)
        sent, body = self._request(operation, values)
        with self._pool.lease() as wire:
            unpacked = self._send(wire, sent, body)
        try:
            yield (operation, *self._read(operation, unpacked))
        finally:
            unpacked.close()

    def _operation(self, method: Callable[..., Any]) -> Operation:
        return self.contract.operations[f"{{{self.contract.namespace}}}{camel(method.__name__)}"]

    def _request(self, operation: Operation, values: dict[str, Any]) -> tuple[str, Content]:
        """A request: its content type and its bytes."""
        arguments = Arguments(values)
        envelope = self._grammar.request(operation.name, arguments.values)
        attachments = Attachments(self._limits, beside=True)
        arguments.place(envelope, attachments)
        action = operation.request_action
        if self._secure is not None:
            envelope = self._secure(envelope, action)
        else:
            _address(envelope, action)
        data = etree.tostring(envelope, xml_declaration=True, encoding="UTF-8")
        if not attachments.parts:
            return f'{SOAP12.media}; charset=utf-8; action="{action}"', data
        package = pack(data, attachments.parts, SOAP12.media, action)
        return package.content_type, Upload(length=package.size, chunks=package.chunks)

    def _send(self, wire: Wire, content_type: str, body: Content) -> Unpacked:
        """Exchange messages.

        Raises:
            NodeError: no message came back.
        """
        headers = {"Content-Type": content_type, "Accept": f"{SOAP12.media}, {PACKAGE_MEDIA}"}
        reply = wire.request("POST", self._target, headers=headers, body=body)
        media, told = parameters(reply.headers.get("Content-Type", ""))
        try:
            if media == PACKAGE_MEDIA:
                return unpack(pieces(reply), told.get("boundary", ""), self._limits, self._folder)
        except Malformed as error:
            raise self._unreadable() from error
        if media == SOAP12.media:
            return Unpacked(root=reply.read(self._limits.body))
        raise _other(reply)

    def _read(self, operation: Operation, unpacked: Unpacked) -> tuple[etree._Element, Attachments]:
        """The response element.

        Raises:
            NodeError: it is a fault.
            PeerUnreachable: it is not what the contract promises.
        """
        attachments = Attachments(self._limits, beside=True)
        try:
            envelope = read_envelope(unpacked.root, SOAP12, self._limits)
            demand_understanding(envelope, (SECURITY,))
            body = envelope.body
            if body.tag == operation.response_tag:
                attachments.adopt(body, unpacked.parts)
                self.contract.validator.demand(body)
                return body, attachments
        except Malformed as error:
            raise self._unreadable() from error
        if body.tag == SOAP12.tag("Fault"):
            raise error_of(read_fault(body, SOAP12, self.contract.namespace))
        raise self._unreadable()

    def _unreadable(self) -> PeerUnreachable:
        return PeerUnreachable(self._peer, "its answer is not one that the contract promises")


def _address(envelope: etree._Element, action: str) -> None:
    header = envelope.find(SOAP12.tag("Header"))
    if header is None:
        header = etree.Element(SOAP12.tag("Header"))
        envelope.insert(0, header)
    address(header, action=action)


def _other(reply: Reply) -> NodeError:
    """What an answer means that is no SOAP."""
    status = reply.status
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return AccessDenied("the other side does not let this node in")
    if (
        status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.NOT_FOUND}
        or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    ):
        error = Unavailable(f"the other side answers with HTTP status {status}")
        retry = reply.headers.get("Retry-After", "")
        error.retry_after = int(retry) if retry.isdigit() and len(retry) < 9 else None
        return error
    return Rejected(f"the other side answers with HTTP status {status}")
