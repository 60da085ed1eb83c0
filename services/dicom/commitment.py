"""Storage Commitment Push Model: what was sent here is vouched for (PS3.4 J).

The request (N-ACTION) is answered once it is durable as a job. The report (N-EVENT-REPORT) goes over the same
association if the device waits there in silence; if it speaks, releases or is gone, or if copies at other
sites have to be verified first, the job calls it back.
"""

from __future__ import annotations

import logging
import select
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Protocol

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.dsutils import encode

from node.domain.commitment import Reason, Vouched, Wanted
from node.domain.errors import CopiesOwed, MalformedIdentifier, NodeError, PeerUnreachable, Rejected
from node.domain.ids import UID, InstanceUID, SOPClassUID
from node.domain.principal import Device, Principal
from services.dicom import messages
from services.dicom.associate import Association, Proposal, Requestor
from services.dicom.channel import Channel, Context, Message
from services.dicom.status import SUCCESS
from services.dicom.wire import WireError

log = logging.getLogger(__name__)

PUSH_MODEL: Final = "1.2.840.10008.1.20.1"
"""Storage Commitment Push Model SOP Class (PS3.4 J.3)."""
PUSH_MODEL_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""Its well-known SOP Instance (PS3.4 J.3.5)."""
REQUEST_COMMITMENT: Final = 1
"""Action Type ID (PS3.4 J.3.2.1)."""
SUCCESSFUL, FAILURES_EXIST = 1, 2
"""Event Type IDs (PS3.4 J.3.3.1)."""

N_EVENT_REPORT_RQ: Final = 0x0100
N_ACTION_RQ: Final = 0x0130
"""Command Fields (PS3.7 E.1-1)."""

NO_SUCH_INSTANCE: Final = 0x0112
NO_SUCH_ARGUMENT: Final = 0x0114
INVALID_ARGUMENT: Final = 0x0115
NO_SUCH_CLASS: Final = 0x0118
NO_SUCH_ACTION: Final = 0x0123
"""Failures of an N-ACTION (PS3.7 10.1.4.1.10)."""

FAILURE_REASONS: Final = {
    Reason.PROCESSING_FAILURE: 0x0110,
    Reason.NO_SUCH_INSTANCE: 0x0112,
    Reason.CLASS_CONFLICT: 0x0119,
}
"""Failure Reason (0008,1197) (PS3.3 C.14.1.1)."""

GRACE: Final = 1.0
"""Seconds of silence after which a device is taken to wait for its report."""
LONGEST_REQUEST: Final = 1 << 24
"""Bytes of a request: room for some hundred thousand instances."""

_PASSING = frozenset({0x0110, 0x0213})
"""Processing Failure and Resource Limitation (PS3.7 C.5): another time it may succeed."""
_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


class Archive(Protocol):
    """The doors of the archive that commitment goes through."""

    def request_commitment(self, principal: Principal, transaction: UID, wanted: Sequence[Wanted]) -> None:
        """Make the request durable: from now on a report is owed."""

    def vouch(self, wanted: Sequence[Wanted]) -> Vouched:
        """Say what is safe; it may be too early to say (`CopiesOwed`)."""

    def commitment_done(self, transaction: UID, device: str) -> None:
        """Note that the device has its report."""


class BadRequest(Rejected):
    """The commitment request is not valid: {1}."""

    @property
    def status(self) -> int:
        """The status that says so."""
        return int(self.args[0])


class ReportRefused(Rejected):
    """{0} did not accept the storage commitment report: status {1}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an N-ACTION asks for."""

    transaction: UID
    wanted: tuple[Wanted, ...]


class Commitment:
    """Answers N-ACTION requests of the Storage Commitment Push Model."""

    def __init__(self, archive: Archive, *, grace: float = GRACE) -> None:
        """Let an archive vouch for what it holds."""
        self._archive = archive
        self._grace = grace

    def __call__(self, message: Message) -> None:
        """Answer one request, and report at once to a device that waits for it."""
        try:
            request = read_request(message)
        except BadRequest as error:
            message.respond(error.status, comment=str(error))
            return
        self._archive.request_commitment(message.principal, request.transaction, request.wanted)
        message.respond(SUCCESS)
        if self._waits(message.channel):
            self._report(message, request)

    def _waits(self, channel: Channel) -> bool:
        """Whether the peer stays and says nothing."""
        return not channel.wire.ready() and not select.select([channel.wire.socket], [], [], self._grace)[0]

    def _report(self, message: Message, request: Request) -> None:
        """Report over the association the request came on; what goes wrong is left to the job."""
        try:
            vouched = self._archive.vouch(request.wanted)
            status = _send_report(message.channel, message.context, request.transaction, vouched)
            if status == SUCCESS:
                self._archive.commitment_done(request.transaction, message.principal.ae_title)
        except CopiesOwed as error:
            log.info("A commitment waits for copies", extra={"why": str(error)})
        except NodeError as error:
            log.warning("A commitment will be reported later", extra={"error": str(error)})


def read_request(message: Message) -> Request:
    """Read an N-ACTION request (PS3.4 Table J.3-1).

    Raises:
        BadRequest: it is not one of the Storage Commitment Push Model.
    """
    elements = message.command.elements
    if message.context.abstract_syntax != PUSH_MODEL:
        raise BadRequest(NO_SUCH_CLASS, "its presentation context is for something else")
    if elements.get(0x1001, b"").rstrip(b"\0 ") != PUSH_MODEL_INSTANCE.encode():
        raise BadRequest(NO_SUCH_INSTANCE, "it is not for the well-known instance")
    if elements.get(0x1008) != struct.pack("<H", REQUEST_COMMITMENT):
        raise BadRequest(NO_SUCH_ACTION, "its action type is unknown")
    try:
        dataset = _read(message)
        transaction = UID(str(dataset.TransactionUID))
        wanted = tuple(_wanted(item) for item in dataset.ReferencedSOPSequence)
    except MalformedIdentifier as error:
        raise BadRequest(INVALID_ARGUMENT, "it contains something that is no UID") from error
    except (AttributeError, TypeError) as error:
        raise BadRequest(NO_SUCH_ARGUMENT, "it names no transaction or no instances") from error
    except (WireError, BadRequest):
        raise
    except Exception as error:  # whatever a parser makes of a stranger's bytes
        raise BadRequest(INVALID_ARGUMENT, "its data set cannot be read") from error
    if not wanted:
        raise BadRequest(INVALID_ARGUMENT, "it names no instances")
    return Request(transaction=transaction, wanted=wanted)


def report(requestor: Requestor, device: Device, transaction: UID, vouched: Vouched) -> None:
    """Call a device back and report to it, as the SCP of an association that we request (PS3.4 J.3.3).

    Raises:
        PeerUnreachable: it does not answer, not to its end, or that it cannot do it now.
        ReportRefused: it did not accept the report.
    """
    proposal = Proposal(abstract_syntax=PUSH_MODEL, transfer_syntaxes=_SYNTAXES, as_scp=True)
    with requestor.associate(device, [proposal]) as association:
        status = _reported(association, transaction, vouched)
    if status in _PASSING:
        raise PeerUnreachable(device.ae_title, "it could not take the report now")
    if status != SUCCESS:
        raise ReportRefused(device.ae_title, f"{status:04X}")


def _reported(association: Association, transaction: UID, vouched: Vouched) -> int:
    channel = association.channel
    context = next(iter(channel.contexts.values()))
    try:
        return _send_report(channel, context, transaction, vouched)
    except WireError as error:
        device = association.device.ae_title
        raise PeerUnreachable(device, "it ended the association or fell silent") from error


def _send_report(channel: Channel, context: Context, transaction: UID, vouched: Vouched) -> int:
    """Send the N-EVENT-REPORT and wait for the status of its response (PS3.7 10.1.1)."""
    message_id = 1
    encoded = _encoded(_event(transaction, vouched), context.transfer_syntax)
    command = messages.build(
        {
            0x0002: PUSH_MODEL.encode(),
            0x0100: struct.pack("<H", N_EVENT_REPORT_RQ),
            0x0110: struct.pack("<H", message_id),
            0x0800: struct.pack("<H", 0x0001),
            0x1000: PUSH_MODEL_INSTANCE.encode(),
            0x1002: struct.pack("<H", FAILURES_EXIST if vouched.failed else SUCCESSFUL),
        }
    )
    channel.send(context.id, command, (encoded,), len(encoded))
    return channel.response_to(message_id).status


def _event(transaction: UID, vouched: Vouched) -> Dataset:
    """The event information (PS3.4 Table J.3-2)."""
    event = Dataset()
    event.TransactionUID = str(transaction)
    if vouched.held:
        event.ReferencedSOPSequence = [_referenced(wanted) for wanted in vouched.held]
    if vouched.failed:
        event.FailedSOPSequence = [_failed(wanted, reason) for wanted, reason in vouched.failed]
    return event


def _referenced(wanted: Wanted) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = str(wanted.sop_class)
    item.ReferencedSOPInstanceUID = str(wanted.instance)
    return item


def _failed(wanted: Wanted, reason: Reason) -> Dataset:
    item = _referenced(wanted)
    item.FailureReason = FAILURE_REASONS[reason]
    return item


def _wanted(item: Dataset) -> Wanted:
    return Wanted(
        sop_class=SOPClassUID(str(item.ReferencedSOPClassUID)),
        instance=InstanceUID(str(item.ReferencedSOPInstanceUID)),
    )


def _read(message: Message) -> Dataset:
    """The data set of a request, within its bound."""
    encoded = bytearray()
    for chunk in message.dataset:
        encoded += chunk
        if len(encoded) > LONGEST_REQUEST:
            raise BadRequest(INVALID_ARGUMENT, "it is too long")
    syntax = message.context.transfer_syntax
    if syntax == str(DeflatedExplicitVRLittleEndian):
        raise BadRequest(INVALID_ARGUMENT, "it is deflated")
    implicit, little = syntax == str(ImplicitVRLittleEndian), syntax != str(ExplicitVRBigEndian)
    return read_dataset(BytesIO(encoded), implicit, little)


def _encoded(dataset: Dataset, syntax: str) -> bytes:
    encoded = encode(dataset, syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
    assert encoded is not None
    return encoded
