"""Who may associate: devices that are known, for this node, and not too many at once (PS3.8 9.3.4)."""

from __future__ import annotations

import hashlib
import logging
import ssl
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE

from node.domain.errors import MalformedIdentifier, NodeError, TooBusy, Unauthenticated, Unavailable
from node.domain.ids import AETitle
from node.domain.principal import Caller, Principal
from services.dicom.contexts import SHORTEST_PDU, name_of
from services.dicom.user_identity import Knows, acknowledge, shown_by

log = logging.getLogger(__name__)

LONGEST_ASKED = 240
"""Characters of the list of SOP classes that is kept of an unknown caller."""


class Recognises(Protocol):
    """The door that knows the devices."""

    def recognise(self, caller: Caller, asked: str) -> Principal:
        """The principal behind a caller; who is unknown has knocked and is refused."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

    result: int
    source: int
    reason: int


NO_REASON = Rejection(1, 1, 1)
CALLING_NOT_RECOGNIZED = Rejection(1, 1, 3)
CALLED_NOT_RECOGNIZED = Rejection(1, 1, 7)
CONGESTION = Rejection(2, 3, 1)
LIMIT_EXCEEDED = Rejection(2, 3, 2)


class Rejected(Exception):
    """The association is refused."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection)
        self.rejection = rejection


class Seats:
    """How many associations there may be: in all, and of one device."""

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._taken: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, device: str) -> None:
        """Seat one more association of a device.

        Raises:
            TooBusy: there is no seat for it.
        """
        with self._lock:
            if self._taken.total() >= self._total or self._taken[device] >= self._each:
                raise TooBusy(device)
            self._taken[device] += 1

    def leave(self, device: str) -> None:
        """Free the seat again."""
        with self._lock:
            self._taken[device] -= 1
            if not self._taken[device]:
                del self._taken[device]


class Callers:
    """Decides about each request for an association."""

    def __init__(
        self, ae_titles: Collection[AETitle], devices: Recognises, seats: Seats, persons: Knows
    ) -> None:
        self._ae_titles = frozenset(ae_titles)
        self._devices = devices
        self._seats = seats
        self._persons = persons

    def admit(self, association: Association, connection: object) -> Principal:
        """Name the principal behind a request for an association, and give it a seat.

        A person takes the seat of the device.

        Raises:
            Rejected: it is refused, for the reason that the standard has for it.
        """
        request = association.requestor.primitive
        if not isinstance(request, A_ASSOCIATE):
            raise Rejected(NO_REASON)
        try:
            device = self._recognise(association, request, fingerprint(connection))
            self._seats.take(device.name)
        except NodeError as error:
            log.warning("association rejected", extra=_told(association) | {"why": type(error).__name__})
            raise Rejected(_rejection_of(error)) from error
        try:
            return self._person_at(device, association, connection)
        except BaseException:
            self.leave(device)
            raise

    def leave(self, principal: Principal) -> None:
        """Free the seat that `admit` gave."""
        self._seats.leave(principal.ae_title)

    def _person_at(self, device: Principal, association: Association, connection: object) -> Principal:
        """Ask who sits at the device."""
        try:
            principal = self._persons.who(device, shown_by(association, connection))
        except NodeError as error:
            log.warning("user identity refused", extra=_told(association) | {"why": type(error).__name__})
            raise Rejected(CONGESTION if isinstance(error, Unavailable) else NO_REASON) from error
        if principal is not device:
            acknowledge(association)
        return principal

    def _recognise(
        self, association: Association, request: A_ASSOCIATE, certificate: str | None
    ) -> Principal:
        """Ask the list of devices, once the called title is found to be ours."""
        called = called_title(request)
        if called not in self._ae_titles:
            log.warning("association rejected: called by another name", extra=_told(association))
            raise Rejected(CALLED_NOT_RECOGNIZED)
        if 0 < (association.requestor.maximum_length or 0) < SHORTEST_PDU:
            log.warning("association rejected: the maximum length is too short", extra=_told(association))
            raise Rejected(NO_REASON)
        caller = Caller(
            calling=AETitle((request.calling_ae_title or "").strip()),
            called=called,
            address=_address(association),
            certificate=certificate,
        )
        return self._devices.recognise(caller, asked_for(request))


def called_title(request: A_ASSOCIATE) -> str:
    """The AE title by which a request calls this node."""
    return (request.called_ae_title or "").strip()


def asked_for(request: A_ASSOCIATE) -> str:
    """The SOP classes that a request proposes, in words."""
    proposed = request.presentation_context_definition_list
    names = dict.fromkeys(name_of(str(context.abstract_syntax)) for context in proposed)
    text = ", ".join(names)
    return text if len(text) <= LONGEST_ASKED else text[: LONGEST_ASKED - 3] + "..."


def fingerprint(connection: object) -> str | None:
    """SHA-256 of the certificate that the peer of a TLS connection has shown."""
    if not isinstance(connection, ssl.SSLSocket):
        return None
    shown = connection.getpeercert(binary_form=True)
    return hashlib.sha256(shown).hexdigest() if shown else None


def _rejection_of(error: NodeError) -> Rejection:
    """The reason that the standard has for an error."""
    match error:
        case MalformedIdentifier() | Unauthenticated():
            return CALLING_NOT_RECOGNIZED
        case TooBusy():
            return LIMIT_EXCEEDED
        case Unavailable():
            return CONGESTION
        case _:
            return NO_REASON


def _address(association: Association) -> str:
    """Where the caller is."""
    info = association.requestor.address_info
    return str(info.address) if info else ""


def _told(association: Association) -> dict[str, object]:
    """A request for an association in a log line."""
    request = association.requestor.primitive
    calling = request.calling_ae_title if request else ""
    called = request.called_ae_title if request else ""
    return {"calling": calling, "called": called, "address": _address(association)}
