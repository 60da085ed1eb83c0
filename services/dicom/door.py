"""A listening port, and the life of each connection from the handshake to the last byte."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from socketserver import BaseServer
from typing import Any, Final, cast

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity as Stock
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from node.settings.sections import DicomSettings
from node.telemetry import bound
from services.dicom import pump
from services.dicom.callers import NO_REASON, Callers, Rejected, Rejection, called_title
from services.dicom.channel import Limits
from services.dicom.contexts import supported
from services.dicom.framing import MARGIN
from services.dicom.secure import Contexts
from services.dicom.wire import CAPACITY, Wire

log = logging.getLogger(__name__)

HALF_OPEN: Final = 64
"""Connections to a door that have not asked for an association yet; one more is closed at once."""

LAST_CALL: Final = 2.0
"""Seconds for a connection to end that was hung up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What all doors of an entity share."""

    settings: DicomSettings
    callers: Callers
    handlers: Mapping[int, pump.Handler]
    federated: Mapping[int, pump.Handler]
    """What serves an association that calls the title of the federation."""
    stock: Stock

    @property
    def limits(self) -> Limits:
        """What a peer may send."""
        settings = self.settings
        return Limits(
            max_pdu=settings.max_pdu,
            max_command=settings.max_command,
            max_identifier=settings.max_identifier,
        )

    def handlers_for(self, called: str) -> Mapping[int, pump.Handler]:
        """What serves an association that calls this title."""
        return self.federated if called == self.settings.federation_ae_title else self.handlers

    @property
    def capacity(self) -> int:
        """Bytes of an association's read buffer."""
        return max(CAPACITY, 4 * (self.settings.max_pdu + MARGIN), 2 * self.settings.max_command)


class Door(ThreadedAssociationServer):
    """Listens on one port; each connection is served in a thread of its own."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, house: House, address: tuple[str, int], tls: Contexts | None) -> None:
        """Listen at an address, with TLS where there are contexts for it.

        Raises:
            OSError: the address is taken.
        """
        self.house = house
        self.tls = tls
        self.half_open = threading.BoundedSemaphore(HALF_OPEN)
        self._guests: set[Guest] = set()
        self._changed = threading.Condition()
        title = house.settings.ae_title
        super().__init__(house.stock, address, title, [], None, [], Guest)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, unless too many have not said yet what they want."""
        if not self.half_open.acquire(blocking=False):
            log.warning("connection closed: too many have not asked for an association")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self.half_open.release()
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell that a connection failed; its thread ends with it."""
        log.exception("connection failed")

    def service_actions(self) -> None:
        """Nothing: an association lets go of what it held when it ends."""

    def enter(self, guest: Guest) -> None:
        """Note a connection that is being served."""
        with self._changed:
            self._guests.add(guest)

    def leave(self, guest: Guest) -> None:
        """Note that it has ended."""
        with self._changed:
            self._guests.discard(guest)
            self._changed.notify_all()

    def close(self) -> None:
        """Listen no longer."""
        BaseServer.shutdown(self)
        self.server_close()

    def dismiss(self) -> None:
        """End every association as soon as it has finished what it is doing."""
        for guest in self._present():
            guest.dismiss()

    def empty(self, deadline: float) -> None:
        """Wait for the last connection to end; at the deadline, hang up on those that have not."""
        with self._changed:
            self._changed.wait_for(lambda: not self._guests, max(0.0, deadline - time.monotonic()))
        for guest in self._present():
            guest.hang_up()
        with self._changed:
            self._changed.wait_for(lambda: not self._guests, LAST_CALL)

    def _present(self) -> list[Guest]:
        """The connections of this moment."""
        with self._changed:
            return list(self._guests)


class Guest(RequestHandler):
    """One connection: secured, recognised, served, and accounted for when it ends."""

    server: Door

    def setup(self) -> None:
        """Start as one of the half-open connections."""
        self._half_open = True
        self._association: Association | None = None
        self._service: pump.Service | None = None

    def handle(self) -> None:
        """Serve the connection to its end."""
        door = self.server
        door.enter(self)
        try:
            with bound(association=f"{self.client_address[0]}:{self.client_address[1]}"):
                self._secure()
                self._associate()
        except OSError as error:
            log.info("connection ended before an association", extra={"error": type(error).__name__})
        finally:
            self._asked()
            door.leave(self)
            door.shutdown_request(self.request)

    def dismiss(self) -> None:
        """End the association after the request that is being served."""
        association = self._association
        if association is not None and association.is_established:
            association.abort(block=False)
        elif association is None or not association.is_aborted:
            self.hang_up()

    def hang_up(self) -> None:
        """End the connection at once."""
        with suppress(OSError):
            socket.socket.shutdown(self.request, socket.SHUT_RDWR)  # not TLS's own: it would go on in plain

    def _secure(self) -> None:
        """Shake hands, where this is the TLS door."""
        self.request.settimeout(self.server.house.settings.acse_timeout)
        if self.server.tls is not None:
            self.request = self.server.tls.current().wrap_socket(self.request, server_side=True)

    def _associate(self) -> None:
        """Run pynetdicom's association in this thread, with our receive path in it."""
        house = self.server.house
        association = self._create_association()
        association.bind(evt.EVT_REQUESTED, self._requested)
        association.bind(evt.EVT_CONN_CLOSE, self._closed)
        wire = Wire(self.request, timeout=house.settings.read_timeout, capacity=house.capacity)
        wire.finish_by(time.monotonic() + house.settings.acse_timeout)
        self._service = pump.Service(wire=wire, handlers=house.handlers, limits=house.limits)
        pump.adopt(association, self._service)
        self._association = association
        try:
            association.run_reactor()
        finally:
            pump.forget(association)
            if self._service.principal is not None:
                house.callers.leave(self._service.principal)
                log.info("association ended", extra={"principal": self._service.principal.source})

    def _requested(self, event: Event) -> None:
        """Decide about the A-ASSOCIATE-RQ that has come (PS3.8 7.1.2)."""
        self._asked()
        try:
            self._accept(event.assoc)
        except Rejected as refused:
            _reject(event.assoc, refused.rejection)
        except Exception:
            log.exception("association rejected: the callers could not be asked")
            _reject(event.assoc, NO_REASON)

    def _accept(self, association: Association) -> None:
        """Establish who asks, and offer the contexts that this node supports."""
        assert self._service is not None
        request = cast(A_ASSOCIATE, association.requestor.primitive)
        roles = association.requestor.role_selection
        received = {str(uid) for uid, role in roles.items() if role.scp_role and not role.scu_role}
        contexts = supported(request.presentation_context_definition_list, received)
        self._service.principal = self.server.house.callers.admit(association, self.request)
        self._service.handlers = self.server.house.handlers_for(called_title(request))
        association.acceptor.supported_contexts = contexts
        log.info("association accepted", extra={"principal": self._service.principal.source})

    def _closed(self, event: Event) -> None:
        """Wait no longer for an A-ASSOCIATE-RQ: the connection has ended."""
        if self._half_open:
            event.assoc.dul.to_user_queue.put(None)

    def _asked(self) -> None:
        """Be half-open no longer."""
        if self._half_open:
            self._half_open = False
            self.server.half_open.release()


def _reject(association: Association, rejection: Rejection) -> None:
    """Send an A-ASSOCIATE-RJ and wait until it has gone out."""
    association.acse.send_reject(rejection.result, rejection.source, rejection.reason)
    association.kill()
