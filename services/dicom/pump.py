"""The receive path inside pynetdicom's upper layer thread: DIMSE requests are served where they are read.

pynetdicom reads a PDU, decodes it, queues it for another thread, which joins it to a message; each step
polls. Once `install` was called, the thread that owns the socket of an adopted association reads whole
messages itself and calls the handler of their command. Whatever has no handler stays in the buffer, for
pynetdicom to read as if nobody had looked: negotiation, C-ECHO, N-services, release and abort are its own.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import cast
from weakref import WeakKeyDictionary

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import StateMachine
from pynetdicom.pdu_primitives import A_P_ABORT
from pynetdicom.transport import AssociationSocket

from node.domain.errors import NodeError
from node.domain.principal import Principal
from services.dicom.channel import Channel, Limits, Message
from services.dicom.contexts import agreed
from services.dicom.framing import Interrupted
from services.dicom.messages import PDU, ProtocolError, Reason
from services.dicom.patience import NAP, Bell, make_patient
from services.dicom.status import PROCESSING_FAILURE, comment_of, status_of
from services.dicom.wire import Gone, Silent, Wire, WireError

log = logging.getLogger(__name__)

Handler = Callable[[Message], None]
"""Serves one request and sends its final response; a NodeError that it raises becomes that response."""

ABORT = 0x07
PROVIDER = 0x02
ESTABLISHED, CLOSING = "Sta6", "Sta13"

LONGEST_NEGOTIATION = 1 << 19
"""Bytes of an A-ASSOCIATE-RQ: room for 128 contexts with 60 transfer syntaxes each."""

LONGEST_SERVICE = 1 << 24
"""Bytes of a message that pynetdicom serves: a storage commitment of some hundred thousand instances."""

FAREWELL = 1.0
"""Seconds for a peer to take an A-ABORT."""

BACKLOG = 8
"""Requests that may wait for pynetdicom's association thread; the peer has to wait with the next."""

_read_stock = DULServiceProvider._read_pdu_data
_ready_stock = cast(Callable[[AssociationSocket], bool], vars(AssociationSocket)["ready"].fget)
_recv_stock = AssociationSocket.recv


@dataclass(slots=True, kw_only=True)
class Service:
    """What an adopted association is served with."""

    wire: Wire
    handlers: Mapping[int, Handler]
    limits: Limits
    principal: Principal | None = None
    """Who the peer is; set before the association is accepted."""
    bell: Bell = field(default_factory=Bell)
    channel: Channel | None = None


_services: WeakKeyDictionary[DULServiceProvider, Service] = WeakKeyDictionary()
_wires: WeakKeyDictionary[AssociationSocket, Wire] = WeakKeyDictionary()
"""Wires of associations that are not adopted."""


def install() -> None:
    """Put the receive path into pynetdicom, for the whole process; a second call changes nothing."""
    DULServiceProvider._read_pdu_data = _read_pdu_data  # type: ignore[method-assign, assignment]
    AssociationSocket.ready = property(_ready)  # type: ignore[assignment]
    AssociationSocket.recv = _recv  # type: ignore[method-assign, assignment]


def adopt(association: Association, service: Service) -> None:
    """Serve an association, which has its socket and has not started yet, with these handlers."""
    make_patient(association, service.bell)
    association.dul.state_machine = CarefulMachine(association.dul)
    _services[association.dul] = service


def service_of(association: Association) -> Service | None:
    """What an association is served with, where it was adopted."""
    return _services.get(association.dul)


def forget(association: Association) -> None:
    """Let go of an association that has ended, and of the buffer it had."""
    service = _services.pop(association.dul, None)
    if service is not None:
        service.bell.close()


class CarefulMachine(StateMachine):
    """pynetdicom's state machine; an action that fails ends the association instead of its thread only."""

    def do_action(self, event: str) -> None:
        """Execute the action of an event, and hang up where that fails."""
        try:
            super().do_action(event)
        except Exception as error:
            log.warning("association state failed", extra={"error": type(error).__name__})
            _hang_up(self.dul)


def _read_pdu_data(dul: DULServiceProvider) -> None:
    """Read what the socket has: in place of `DULServiceProvider._read_pdu_data`."""
    service = _services.get(dul)
    if service is None:
        _read_stock(dul)
    elif dul.state_machine.current_state == ESTABLISHED:
        _guarded(dul, service)
    elif dul.state_machine.current_state == CLOSING:
        _discard(dul, service)
    else:
        _read_negotiation(dul, service)


def _ready(socket: AssociationSocket) -> bool:
    """Whether there is something to read: in place of `AssociationSocket.ready`."""
    if socket.socket is None or not socket._is_connected:
        return False
    dul = socket.assoc.dul
    service = _services.get(dul)
    if service is None:
        wire = _wires.get(socket)
        return bool(wire and wire.held) or bool(_ready_stock(socket))
    if dul.state_machine.current_state == ESTABLISHED:
        return _await(dul, service)
    try:
        return service.wire.ready()
    except Gone:
        dul.event_queue.put("Evt17")
        return False


def _recv(socket: AssociationSocket, nr_bytes: int) -> bytearray:
    """Read so many bytes through the wire: in place of `AssociationSocket.recv`."""
    service = _services.get(socket.assoc.dul)
    try:
        return (service.wire if service else _wire_of(socket)).read(nr_bytes)
    except Silent as error:
        raise TimeoutError from error
    except Gone as error:
        raise OSError from error


def _wire_of(socket: AssociationSocket) -> Wire:
    """The wire of a socket, a new one where pynetdicom has replaced the connection in it."""
    wire = _wires.get(socket)
    if socket.socket is None:
        raise Gone
    if wire is None or wire.socket is not socket.socket:
        wire = _wires[socket] = Wire(socket.socket)
    return wire


def _discard(dul: DULServiceProvider, service: Service) -> None:
    """Drop what a peer still sends to an association that has ended."""
    if not service.wire.discard() and dul.socket is not None:
        dul.socket.close()


def _read_negotiation(dul: DULServiceProvider, service: Service) -> None:
    """Read a PDU for pynetdicom outside of an established association, if it is not absurdly long."""
    try:
        _, _, length = PDU.unpack_from(service.wire.need(PDU.size))
    except WireError:
        dul.event_queue.put("Evt17")
        return
    if length > max(LONGEST_NEGOTIATION, service.limits.max_pdu):
        log.warning("PDU too long", extra={"length": length})
        dul.event_queue.put("Evt19")
        return
    _read_stock(dul)


def _guarded(dul: DULServiceProvider, service: Service) -> None:
    """Serve what comes, and end the association in the way that fits when that fails."""
    try:
        _serve(dul, service)
    except ProtocolError as error:
        log.warning("association aborted: protocol error", extra={"reason": error.reason.name})
        _abort(dul, service.wire, error.reason)
    except Silent:
        log.warning("association aborted: silence in the middle of a message")
        _abort(dul, service.wire, Reason.NOT_SPECIFIED)
    except WireError:
        dul.event_queue.put("Evt17")
    except Exception as error:
        log.error("association aborted: receive path failed", extra=_whereabouts(error))
        _abort(dul, service.wire, Reason.NOT_SPECIFIED)


def _serve(dul: DULServiceProvider, service: Service) -> None:
    """Serve messages until there is something else to do or to read."""
    channel = service.channel or _open(dul.assoc, service)
    while True:
        incoming = None if dul.assoc.dimse.message is not None else channel.peek()
        handler = service.handlers.get(incoming.command.field) if incoming else None
        if incoming is None or handler is None:
            return _hand_over(dul, channel)
        with _occupied(dul), suppress(Interrupted):
            _answer(channel.take(incoming), handler)
        if not _await(dul, service):
            return None


def _open(association: Association, service: Service) -> Channel:
    """The channel of an association that has just been established."""
    if service.principal is None:
        raise ProtocolError(Reason.NOT_SPECIFIED)
    service.wire.finish_by(None)
    service.channel = Channel(
        service.wire,
        contexts=agreed(association),
        max_pdu=association.requestor.maximum_length or 0,
        limits=service.limits,
        principal=service.principal,
    )
    return service.channel


def ignore(message: Message) -> None:
    """Read a request that needs no answer, such as a C-CANCEL that comes too late (PS3.7 9.3.2.3)."""
    message.dataset.drain()
    message.answered = True


def refuse(message: Message) -> None:
    """Abort for a request that nobody sends to an archive.

    Raises:
        ProtocolError: always.
    """
    raise ProtocolError(Reason.UNEXPECTED_PARAMETER)


def _answer(message: Message, handler: Handler) -> None:
    """Let the handler serve a message, and see to it that it is answered and read to its end."""
    message.channel.forget()
    try:
        handler(message)
    except WireError:
        raise
    except NodeError as error:
        log.warning("request refused", extra=_told(message) | {"error": str(error)})
        _fail(message, status_of(error), comment_of(error))
    except Exception as error:
        log.error("request failed", extra=_told(message) | _whereabouts(error))
    _fail(message, PROCESSING_FAILURE, "Processing failed")
    message.dataset.drain()


def _fail(message: Message, status: int, comment: str) -> None:
    """Answer with a failure, unless the final answer was given before it happened."""
    if not message.answered:
        message.respond(status, comment=comment)


def _hand_over(dul: DULServiceProvider, channel: Channel) -> None:
    """Let pynetdicom read the next PDU, once it is known to be sound and bounded."""
    length = channel.frames.check(channel.contexts)
    partial = dul.assoc.dimse.message
    if (
        partial is not None
        and partial.data_set is not None
        and partial.data_set.tell() + length > LONGEST_SERVICE
    ):
        raise ProtocolError(Reason.INVALID_PARAMETER)
    _read_stock(dul)


def _await(dul: DULServiceProvider, service: Service) -> bool:
    """Wait for a nap until there is something to read and the time to do so."""
    service.bell.hush()
    if dul._kill_thread or not dul.to_provider_queue.empty():
        return False
    if dul.assoc.dimse.msg_queue.qsize() >= BACKLOG:
        return False
    try:
        return service.wire.wait(service.bell.ear, NAP)
    except Gone:
        dul.event_queue.put("Evt17")
        return False


@contextmanager
def _occupied(dul: DULServiceProvider) -> Iterator[None]:
    """Stop the idle timer while a request is served, however long that takes."""
    dul._idle_timer.restart()
    dul._idle_timer.stop()
    try:
        yield
    finally:
        dul._idle_timer.restart()


def _abort(dul: DULServiceProvider, wire: Wire, reason: Reason) -> None:
    """Abort as the provider, with the reason (PS3.8 9.2.3, action AA-8)."""
    _send_abort(wire, reason)
    primitive = A_P_ABORT()
    primitive.provider_reason = reason
    dul.to_user_queue.put(primitive)
    dul.artim_timer.start()
    dul.state_machine.transition(CLOSING)


def _hang_up(dul: DULServiceProvider) -> None:
    """End an association whose state is unknown."""
    service = _services.get(dul)
    if service is not None:
        _send_abort(service.wire, Reason.NOT_SPECIFIED)
    if dul.socket is not None:
        dul.socket._shutdown_socket()
    dul.assoc.is_aborted, dul.assoc.is_established = True, False
    dul.to_user_queue.put(None)  # wakes an association that waits for its request


def _send_abort(wire: Wire, reason: Reason) -> None:
    """Send an A-ABORT of the provider, if the peer still takes it (PS3.8 9.3.8)."""
    with suppress(WireError, OSError):
        wire.be_patient(FAREWELL)
        wire.send([PDU.pack(ABORT, 0, 4) + bytes((0, 0, PROVIDER, reason))])


def _told(message: Message) -> dict[str, object]:
    """A request in a log line."""
    return {"command": f"{message.command.field:04X}", "principal": str(message.channel.principal)}


def _whereabouts(error: Exception) -> dict[str, object]:
    """An unexpected error in a log line: its class and place, not its text, which may quote a data set."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return {"error": type(error).__name__, "place": f"{place.filename}:{place.lineno}"}
