"""C-FIND and C-MOVE as their SCU: requests to a foreign archive, and what it answers (PS3.4 C.4.1, C.4.2).

Only identifiers, dates and numbers are asked for: no attribute that names a patient comes back.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from node.domain.errors import ForeignRefused, PeerUnreachable, Rejected
from node.domain.ids import InstanceUID
from services.dicom import messages
from services.dicom.channel import PENDING, Channel, Context, Message
from services.dicom.committed import decoded, encoded_for
from services.dicom.messages import Command, Field, ProtocolError, Reason
from services.dicom.status import CANCEL, NO_SUCH_DESTINATION, SUCCESS

MOST_UIDS: Final = 100
"""UIDs in one list of a request (PS3.4 C.2.2.2.2)."""
_NO_DATASET = struct.pack("<H", messages.NO_DATASET)


def identifier(level: str, keys: Mapping[str, str]) -> Dataset:
    """The identifier of a request: keywords with the values to match by, empty for those to return."""
    dataset = Dataset()
    dataset.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(dataset, keyword, value.split("\\") if "\\" in value else value)
    return dataset


class Asker:
    """Sends requests over one channel and reads their responses; used by one thread."""

    def __init__(self, channel: Channel, name: str) -> None:
        """Ask over a channel.

        Args:
            channel: of an association that we requested.
            name: AE title of the other side, for what is told of it.
        """
        self._channel = channel
        self._name = name
        self._message_id = 0

    def find(
        self, context: Context, asked: Dataset, each: Callable[[Dataset], None], *, most: int | None = None
    ) -> bool:
        """Tell the matches one by one; whether the archive told all of them.

        Args:
            context: of the information model.
            asked: the identifier.
            each: told of every match.
            most: cancel when so many were told.

        Raises:
            PeerUnreachable: the archive has no resources for it now.
            ForeignRefused: it does not answer such a request.
            WireError: the conversation ended.
        """
        number = self._send(context, Field.C_FIND_RQ, asked)
        told, dropped = 0, False
        while True:
            message = self._response(number, Field.C_FIND_RSP)
            if message.command.status not in PENDING:
                return self._is_whole(message.command, told) and not dropped
            if most is not None and told >= most:
                message.dataset.drain()
                dropped = True
                continue
            told += 1
            each(decoded(message))
            if told == most:
                self._cancel(context, number)

    def move(self, context: Context, asked: Dataset, destination: str) -> Ending:
        """Have instances sent to a destination, and wait for the end of that.

        Raises:
            Rejected: the archive does not know the destination.
            ForeignRefused: it does not answer such a request.
            WireError: the conversation ended.
        """
        number = self._send(context, Field.C_MOVE_RQ, asked, {0x0600: _spaced(destination)})
        while (message := self._response(number, Field.C_MOVE_RSP)).command.status in PENDING:
            message.dataset.drain()
        if message.command.status == NO_SUCH_DESTINATION:
            raise Rejected(
                f"{self._name} does not know {destination} as a destination; "
                "its administrator has to add this node there, with its host and port"
            )
        return Ending.of(message, self._name)

    def get(self, context: Context, asked: Dataset, store: Callable[[Message], None]) -> Ending:
        """Have instances sent over the same association, and wait for the end of that (PS3.4 C.4.3).

        Args:
            context: of the information model.
            asked: the identifier.
            store: serves each C-STORE request that comes.

        Raises:
            ForeignRefused: the archive does not answer such a request.
            WireError: the conversation ended.
        """
        number = self._send(context, Field.C_GET_RQ, asked)
        while True:
            message = self._channel.receive()
            if message.command.field == Field.C_STORE_RQ:
                store(message)
                continue
            self._demand(message.command, number, Field.C_GET_RSP)
            if message.command.status not in PENDING:
                return Ending.of(message, self._name)
            message.dataset.drain()

    def _send(
        self, context: Context, field: int, asked: Dataset, more: Mapping[int, bytes] | None = None
    ) -> int:
        """Send a request and return its Message ID."""
        self._message_id = self._message_id % 0xFFFF + 1
        command = messages.build(
            {
                0x0002: context.abstract_syntax.encode(),
                0x0100: struct.pack("<H", field),
                0x0110: struct.pack("<H", self._message_id),
                0x0700: struct.pack("<H", 2),
                0x0800: struct.pack("<H", 0x0001),
                **(more or {}),
            }
        )
        encoded = encoded_for(context, asked)
        self._channel.send(context.id, command, (encoded,), len(encoded))
        return self._message_id

    def _cancel(self, context: Context, number: int) -> None:
        """Ask to stop (PS3.7 9.3.2.3); what is on its way comes all the same."""
        command = messages.build(
            {
                0x0100: struct.pack("<H", Field.C_CANCEL_RQ),
                0x0120: struct.pack("<H", number),
                0x0800: _NO_DATASET,
            }
        )
        self._channel.send(context.id, command)

    def _response(self, number: int, field: int) -> Message:
        message = self._channel.receive()
        self._demand(message.command, number, field)
        return message

    def _demand(self, command: Command, number: int, field: int) -> None:
        """Let nothing pass but a response to the request."""
        if command.field != field or command.responding_to != number:
            raise ProtocolError(Reason.UNEXPECTED_PARAMETER)

    def _is_whole(self, command: Command, told: int) -> bool:
        """What the final status of a C-FIND says (PS3.4 Table C.4-1)."""
        if command.status == SUCCESS:
            return True
        if told:
            return False
        if command.status >> 8 == 0xA7:
            raise PeerUnreachable(self._name, f"it has no resources to search, status {command.status:04X}")
        raise ForeignRefused(self._name, f"a query, status {command.status:04X}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a retrieval ended, as the archive tells it."""

    completed: int
    failed: int
    unsent: tuple[InstanceUID, ...]
    """Failed SOP Instance UID List (0008,0058)."""

    @classmethod
    def of(cls, message: Message, name: str) -> Ending:
        """Read a final response (PS3.4 Tables C.4-2 and C.4-3).

        Raises:
            ForeignRefused: its status says that nothing was tried.
        """
        command = message.command
        listed = decoded(message).get("FailedSOPInstanceUIDList") if command.has_dataset else None
        message.dataset.drain()
        tried = command.status in (SUCCESS, CANCEL) or command.status >> 12 in (0xA, 0xB)
        if not tried:
            raise ForeignRefused(name, f"a retrieval, status {command.status:04X}")
        return cls(
            completed=_number(command, 0x1021) + _number(command, 0x1023),
            failed=_number(command, 0x1022),
            unsent=tuple(_uids(listed)),
        )


def _number(command: Command, element: int) -> int:
    return int.from_bytes(command.elements.get(element, b""), "little")


def _uids(value: object) -> Iterable[InstanceUID]:
    if not value:
        return ()
    listed = [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]
    return (InstanceUID(str(uid)) for uid in listed if InstanceUID.form.fullmatch(str(uid)))


def _spaced(text: str) -> bytes:
    encoded = text.encode("ascii")
    return encoded + b" " * (len(encoded) % 2)
