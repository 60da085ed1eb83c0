"""The door of one service: WSGI in, one URL, both versions of SOAP, and nothing leaves it but an answer.

The order of a call, cheapest refusal first:

1. `admit(environ)`: a coarse limit by address, before a byte is read;
2. the body, up to its limit; parts of a package to temporary files;
3. the envelope (`envelope.py`), mandatory headers, addressing;
4. `authenticate(root, environ)`: on the very tree that is served afterwards; says who calls;
5. `limit(caller, environ)`: how often this caller may;
6. the schema, the codec, the operation.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias

from lxml import etree

from node.domain.errors import (
    AccessDenied,
    MalformedMessage,
    NodeError,
    TooLarge,
    Unavailable,
    UnknownTicket,
)
from services.soap.framework import wsgi
from services.soap.framework.addressing import Addressing, address, read_addressing
from services.soap.framework.attachments import Attachments
from services.soap.framework.contract import FAULT_ACTION, Contract, Operation, contract_of
from services.soap.framework.document import write, wsdl
from services.soap.framework.envelope import SECURITY, Envelope, demand_understanding, read_envelope
from services.soap.framework.faults import Fault, Side, fault_of
from services.soap.framework.faultxml import write_fault, write_headers
from services.soap.framework.limits import Limits
from services.soap.framework.multipart import PACKAGE_MEDIA, Unpacked, pack, parameters, unpack
from services.soap.framework.names import SOAP11, SOAP12, VERSIONS, Soap
from services.soap.framework.service import Call, Service
from services.soap.framework.wsgi import Streamed, pieces, plain, start, whole

log = logging.getLogger(__name__)

HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")

Environ: TypeAlias = wsgi.Environ
StartResponse: TypeAlias = wsgi.StartResponse
Authenticate: TypeAlias = Callable[[etree._Element, Environ], Any]
Limit: TypeAlias = Callable[[Any, Environ], None]
Admit: TypeAlias = Callable[[Environ], None]
Refused: TypeAlias = Callable[[Any, Environ, str, NodeError], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """Who looks at a call before it is carried out; each may raise a NodeError, which becomes a fault."""

    admit: Admit | None = None
    authenticate: Authenticate | None = None
    limit: Limit | None = None
    refused: Refused | None = None
    """Told of a caller, as far as it was recognised, and of the operation that was denied to it."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One call on its way through the door."""

    soap: Soap
    attachments: Attachments
    unpacked: Unpacked = field(default_factory=lambda: Unpacked(root=b""))
    caller: Any = None
    operation: Operation | None = None
    addressing: Addressing = field(default_factory=lambda: Addressing(action="", message_id=""))
    headers: dict[str, str] = field(default_factory=dict)


class Endpoint:
    """Serves one service."""

    def __init__(
        self,
        service: Service,
        *,
        guards: Guards | None = None,
        limits: Limits | None = None,
        folder: Path | None = None,
    ) -> None:
        """A door to a service.

        Args:
            service: an instance, with its own doors.
            guards: who looks at a call first; without, everybody may call.
            limits: of messages.
            folder: for parts of packages while their call is served; None for the system's.
        """
        self.service = service
        self.contract: Contract = contract_of(type(service))
        self._guards = guards or Guards()
        self._limits = limits or Limits()
        self._folder = folder
        self._understood = {SECURITY} if self._guards.authenticate else set[str]()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        method = environ["REQUEST_METHOD"]
        if method == "POST":
            return self._post(environ, start_response)
        if method == "GET" and environ.get("QUERY_STRING", "").lower().split("&")[0] == "wsdl":
            return self._describe(environ, start_response)
        return plain(start_response, HTTPStatus.METHOD_NOT_ALLOWED, [("Allow", "POST, GET")])

    def _describe(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The WSDL with the address it was asked at; `?wsdl&soap=1.1` has one binding."""
        only = [SOAP11] if "soap=1.1" in environ["QUERY_STRING"].lower() else VERSIONS
        host = environ.get("HTTP_HOST", "")
        if HOST.fullmatch(host) is None:
            host = f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
        path = f"/soap/{self.contract.path}/{self.contract.version}"
        body = write(wsdl(self.contract, f"{environ['wsgi.url_scheme']}://{host}{path}", only))
        start(start_response, HTTPStatus.OK, "text/xml; charset=utf-8", len(body))
        return [body]

    def _post(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        media, told = parameters(environ.get("CONTENT_TYPE", ""))
        packaged = media == PACKAGE_MEDIA
        soap = next(
            (one for one in VERSIONS if one.media == (_start_info(told) if packaged else media)), None
        )
        if soap is None:
            return plain(start_response, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        accepts = packaged or PACKAGE_MEDIA in environ.get("HTTP_ACCEPT", "").lower()
        exchange = Exchange(soap=soap, attachments=Attachments(self._limits, beside=accepts))
        status, root = self._answer(exchange, environ, told.get("boundary", "") if packaged else None)
        return _send(start_response, status, root, exchange)

    def _answer(
        self, exchange: Exchange, environ: Environ, boundary: str | None
    ) -> tuple[HTTPStatus, etree._Element]:
        """The envelope of the answer, whatever happens."""
        try:
            return HTTPStatus.OK, self._serve(exchange, environ, boundary)
        except NodeError as error:
            log.info("a call was refused", extra=_where(exchange, error))
            self._tell(exchange, environ, error)
            return self._fault(exchange, error)
        except Exception as error:
            log.error("an operation failed", extra=_where(exchange, error))
            return self._fault(exchange, NodeError())

    def _tell(self, exchange: Exchange, environ: Environ, error: NodeError) -> None:
        """Tell of access that was denied, unless the audit record does already."""
        denied = isinstance(error, UnknownTicket) or (
            isinstance(error, AccessDenied) and not error.is_recorded
        )
        if self._guards.refused is None or not denied:
            return
        what = exchange.operation.name if exchange.operation else f"call {self.contract.path}"
        try:
            self._guards.refused(exchange.caller, environ, what, error)
        except NodeError as failure:
            log.warning("a refusal could not be recorded", extra=_where(exchange, failure))

    def _serve(self, exchange: Exchange, environ: Environ, boundary: str | None) -> etree._Element:
        if self._guards.admit is not None:
            self._guards.admit(environ)
        exchange.unpacked = self._receive(environ, boundary)
        envelope = read_envelope(exchange.unpacked.root, exchange.soap, self._limits)
        demand_understanding(envelope, self._understood)
        exchange.addressing = read_addressing(envelope)
        caller = exchange.caller = self._who(envelope, environ)
        operation = exchange.operation = self._operation(envelope, exchange.addressing)
        exchange.attachments.adopt(envelope.body, exchange.unpacked.parts)
        self.contract.validator.demand(envelope.body)
        call = Call(
            operation=operation.name,
            soap=exchange.soap,
            body=envelope.body,
            address=environ.get("REMOTE_ADDR", ""),
            caller=caller,
            message_id=exchange.addressing.message_id,
            headers=exchange.headers,
        )
        return self._carry_out(exchange, operation, call)

    def _receive(self, environ: Environ, boundary: str | None) -> Unpacked:
        """The message, and what came beside it.

        Raises:
            TooLarge: it is larger than is taken here; if it says so, nothing of it is read.
            Unavailable: the connection or the folder for its parts failed.
        """
        limits = self._limits
        most = limits.body if boundary is None else limits.body + limits.attached
        if int(environ.get("CONTENT_LENGTH") or 0) > most:
            raise TooLarge(most)
        try:
            if boundary is None:
                return Unpacked(root=whole(environ, most))
            return unpack(pieces(environ), boundary, limits, self._folder)
        except OSError:
            raise Unavailable("the message could not be received") from None

    def _who(self, envelope: Envelope, environ: Environ) -> Any:
        caller = None
        if self._guards.authenticate is not None:
            caller = self._guards.authenticate(envelope.root, environ)
        if self._guards.limit is not None:
            self._guards.limit(caller, environ)
        return caller

    def _operation(self, envelope: Envelope, addressing: Addressing) -> Operation:
        operation = self.contract.operations.get(str(envelope.body.tag))
        if operation is None:
            raise MalformedMessage("the service has no such operation")
        if addressing.action and addressing.action != operation.request_action:
            raise MalformedMessage("its action is not the one of its operation")
        return operation

    def _carry_out(self, exchange: Exchange, operation: Operation, call: Call) -> etree._Element:
        given = operation.arguments(call.body, exchange.attachments)
        result = getattr(self.service, operation.method)(call, **given)
        root, body = _envelope(exchange.soap, exchange.addressing, operation.response_action)
        body.append(operation.respond(result, exchange.attachments))
        return root

    def _fault(self, exchange: Exchange, error: NodeError) -> tuple[HTTPStatus, etree._Element]:
        fault, operation = fault_of(error), exchange.operation
        action = operation.fault_action(fault.family) if operation and fault.family else FAULT_ACTION
        root, body = _envelope(exchange.soap, exchange.addressing, action)
        write_fault(body, exchange.soap, self.contract.namespace, fault)
        if exchange.soap is SOAP12 and fault.side in {Side.MUST_UNDERSTAND, Side.VERSION_MISMATCH}:
            write_headers(_header(root, exchange.soap), fault)
        if fault.retry_after is not None:
            exchange.headers["Retry-After"] = str(fault.retry_after)
        exchange.attachments.parts.clear()
        return _status(exchange.soap, fault), root


def _start_info(told: dict[str, str]) -> str:
    """The media type of the message in a package."""
    return told.get("start-info", "").partition(";")[0].strip().lower()


def _where(exchange: Exchange, error: Exception) -> dict[str, str]:
    """Where in the program an unexpected error came from; what it says may be content, and is left out."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return {
        "operation": exchange.operation.name if exchange.operation else "",
        "error": type(error).__name__,
        "at": f"{Path(last.filename).name}:{last.lineno}",
    }


def _envelope(soap: Soap, addressing: Addressing, action: str) -> tuple[etree._Element, etree._Element]:
    """An empty envelope and its Body, addressed if the request was."""
    root = etree.Element(soap.tag("Envelope"), nsmap={"soap": soap.envelope})
    if addressing.used:
        address(_header(root, soap), action=action, relates_to=addressing.message_id)
    return root, etree.SubElement(root, soap.tag("Body"))


def _header(root: etree._Element, soap: Soap) -> etree._Element:
    header = root.find(soap.tag("Header"))
    if header is None:
        header = etree.Element(soap.tag("Header"))
        root.insert(0, header)
    return header


def _status(soap: Soap, fault: Fault) -> HTTPStatus:
    """What HTTP says of a fault (SOAP 1.1, 6.2; SOAP 1.2 part 2, table 20)."""
    sender = soap is not SOAP11 and fault.side is Side.SENDER
    return HTTPStatus.BAD_REQUEST if sender else HTTPStatus.INTERNAL_SERVER_ERROR


def _send(
    start_response: StartResponse, status: HTTPStatus, root: etree._Element, exchange: Exchange
) -> Iterable[bytes]:
    data = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
    if not exchange.attachments.parts:
        exchange.unpacked.close()
        start(start_response, status, f"{exchange.soap.media}; charset=utf-8", len(data), exchange.headers)
        return [data]
    package = pack(data, exchange.attachments.parts, exchange.soap.media)
    start(start_response, status, package.content_type, package.size, exchange.headers)
    return Streamed(package.chunks(), exchange.unpacked)
