"""Storage Commitment as its SCU: a foreign archive is asked to vouch for what it was sent (PS3.4 J.3).

It answers (N-EVENT-REPORT) over the association of the request, or later over one of its own, which comes in
by the door of this node.
"""

from __future__ import annotations

import select
import struct
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from node.domain.commitment import Reason as Doubt
from node.domain.commitment import Vouched, Wanted
from node.domain.errors import ForeignRefused
from node.domain.ids import UID, AETitle, InstanceUID, SOPClassUID
from services.dicom import messages
from services.dicom.associate import Association
from services.dicom.channel import Context, Message
from services.dicom.commitment import (
    FAILURE_REASONS,
    INVALID_ARGUMENT,
    LONGEST_REQUEST,
    N_ACTION_RQ,
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST_COMMITMENT,
)
from services.dicom.messages import Field, ProtocolError, Reason
from services.dicom.status import SUCCESS

LINGER: Final = 1.0
"""Seconds for which an archive may answer over the association of the request."""
SYNTAXES: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_MESSAGE_ID = 1
_REASONS: Final = {code: reason for reason, code in FAILURE_REASONS.items()}

Answered = Callable[[AETitle, UID, Vouched], None]
"""Takes the answer of a partner; refuses one about what it was never asked."""


class Committed:
    """Takes the reports of foreign archives that come by the door of this node."""

    def __init__(self, answered: Answered) -> None:
        """Hand each report on."""
        self._answered = answered

    def __call__(self, message: Message) -> None:
        """Answer one N-EVENT-REPORT request."""
        try:
            transaction, vouched = read_report(message)
            self._answered(AETitle(message.principal.ae_title), transaction, vouched)
        except ForeignRefused as error:
            message.respond(INVALID_ARGUMENT, comment=str(error))
        else:
            message.respond(SUCCESS)


def ask(
    association: Association, transaction: UID, wanted: Sequence[Wanted], *, linger: float = LINGER
) -> Vouched | None:
    """Ask for commitment; the answer, where it comes over the same association before long.

    Raises:
        ForeignRefused: the archive does not take the request.
        WireError: the conversation ended.
    """
    channel = association.channel
    context = next(one for one in channel.contexts.values() if one.abstract_syntax == PUSH_MODEL)
    encoded = encoded_for(context, _action(transaction, wanted))
    channel.send(context.id, _command(), (encoded,), len(encoded))
    response = channel.response_to(_MESSAGE_ID)
    if response.status != SUCCESS:
        raise ForeignRefused(association.device.ae_title, f"storage commitment, status {response.status:04X}")
    if not channel.wire.ready() and not select.select([channel.wire.socket], [], [], linger)[0]:
        return None
    return _answer(association, transaction)


def _answer(association: Association, transaction: UID) -> Vouched | None:
    """The report that comes over the association of the request; another message is none."""
    incoming = association.channel.peek()
    if incoming is None or incoming.command.field != Field.N_EVENT_REPORT_RQ:
        return None
    message = association.channel.take(incoming)
    named, vouched = read_report(message)
    if named != transaction:
        message.respond(INVALID_ARGUMENT)
        return None
    message.respond(SUCCESS)
    return vouched


def read_report(message: Message) -> tuple[UID, Vouched]:
    """The transaction of an N-EVENT-REPORT request, and what is vouched for (PS3.4 Table J.3-2).

    Raises:
        ForeignRefused: it cannot be read as one.
    """
    if message.context.abstract_syntax != PUSH_MODEL:
        raise ForeignRefused("this site", "a report in a context for something else")
    event = decoded(message)
    try:
        held = tuple(_wanted(item) for item in event.get("ReferencedSOPSequence") or ())
        failed = tuple(
            (_wanted(item), _REASONS.get(int(item.get("FailureReason") or 0), Doubt.PROCESSING_FAILURE))
            for item in event.get("FailedSOPSequence") or ()
        )
        return UID(str(event.TransactionUID)), Vouched(held=held, failed=failed)
    except Exception as error:  # whatever a parser makes of a stranger's bytes
        raise ForeignRefused("this site", "a report that names no transaction or instances") from error


def decoded(message: Message) -> Dataset:
    """The data set of a message that a foreign archive sent.

    Raises:
        ProtocolError: it is too long, or none.
    """
    syntax = str(message.context.transfer_syntax)
    encoded = bytearray()
    for chunk in message.dataset:
        encoded += chunk
        if len(encoded) > LONGEST_REQUEST:
            raise ProtocolError(Reason.INVALID_PARAMETER)
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    try:
        return read_dataset(BytesIO(encoded), implicit, little)
    except Exception as error:  # whatever a parser makes of a stranger's bytes
        raise ProtocolError(Reason.INVALID_PARAMETER) from error


def encoded_for(context: Context, dataset: Dataset) -> bytes:
    """A data set as it is sent in a context."""
    syntax = str(context.transfer_syntax)
    written = encode(dataset, syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
    assert written is not None
    return written


def _command() -> bytes:
    return messages.build(
        {
            0x0003: PUSH_MODEL.encode(),
            0x0100: struct.pack("<H", N_ACTION_RQ),
            0x0110: struct.pack("<H", _MESSAGE_ID),
            0x0800: struct.pack("<H", 0x0001),
            0x1001: PUSH_MODEL_INSTANCE.encode(),
            0x1008: struct.pack("<H", REQUEST_COMMITMENT),
        }
    )


def _action(transaction: UID, wanted: Sequence[Wanted]) -> Dataset:
    """The action information (PS3.4 Table J.3-1)."""
    action = Dataset()
    action.TransactionUID = str(transaction)
    action.ReferencedSOPSequence = [_referenced(one) for one in wanted]
    return action


def _referenced(wanted: Wanted) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = str(wanted.sop_class)
    item.ReferencedSOPInstanceUID = str(wanted.instance)
    return item


def _wanted(item: Dataset) -> Wanted:
    return Wanted(
        sop_class=SOPClassUID(str(item.ReferencedSOPClassUID)),
        instance=InstanceUID(str(item.ReferencedSOPInstanceUID)),
    )
