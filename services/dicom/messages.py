"""DIMSE command sets and the fragments that carry them: parse and build (PS3.7 6.3 and E, PS3.8 9.3.5)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from node.domain.ids import InstanceUID, SOPClassUID
from node.domain.instance import Chunk
from services.dicom.wire import WireError

PDU = struct.Struct(">BBI")
"""The head of every PDU: type, reserved, length of what follows (PS3.8 9.3.1)."""

PDV = struct.Struct(">IBB")
"""The head of a presentation data value: length, context, message control header (PS3.8 9.3.5.1)."""

P_DATA_TF = 0x04
COMMAND, LAST = 0x01, 0x02
"""Bits of the message control header (PS3.8 E.2)."""

UNLIMITED_PDU = 131072
"""How long our PDUs are to a peer that takes any length (PS3.8 D.1)."""

LONGEST_PDU = 1 << 20
"""How long they are at the most to a peer that takes more."""

NO_DATASET = 0x0101
"""The only Command Data Set Type (0000,0800) that means none (PS3.7 E.1)."""

LONGEST_COMMENT = 64


class Field(IntEnum):
    """Command Field (0000,0100) (PS3.7 E.1-1)."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021
    C_ECHO_RQ = 0x0030
    N_EVENT_REPORT_RQ = 0x0100
    C_CANCEL_RQ = 0x0FFF


class Reason(IntEnum):
    """Why the provider aborts (PS3.8 9.3.8)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER = 6


class ProtocolError(WireError):
    """What the peer sent cannot be part of a conversation; the association is aborted."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.name)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Command:
    """A command set: the values of group 0000 by element number, as they were sent."""

    elements: Mapping[int, bytes]

    @property
    def field(self) -> int:
        """Command Field (0000,0100); 0 where there is none."""
        return self._number(0x0100)

    @property
    def message_id(self) -> int:
        """Message ID (0000,0110)."""
        return self._number(0x0110)

    @property
    def responding_to(self) -> int:
        """Message ID Being Responded To (0000,0120)."""
        return self._number(0x0120)

    @property
    def priority(self) -> int:
        """Priority (0000,0700): 0 medium, 1 high, 2 low."""
        return self._number(0x0700)

    @property
    def status(self) -> int:
        """Status (0000,0900)."""
        return self._number(0x0900)

    @property
    def has_dataset(self) -> bool:
        """Whether a data set follows (0000,0800)."""
        return self._number(0x0800, NO_DATASET) != NO_DATASET

    @property
    def sop_class(self) -> SOPClassUID:
        """Affected SOP Class UID (0000,0002).

        Raises:
            MalformedIdentifier: it is no UID.
        """
        return SOPClassUID(self._text(0x0002))

    @property
    def instance(self) -> InstanceUID:
        """Affected SOP Instance UID (0000,1000).

        Raises:
            MalformedIdentifier: it is no UID.
        """
        return InstanceUID(self._text(0x1000))

    @property
    def move_destination(self) -> str:
        """Move Destination (0000,0600), an AE title; empty where there is none."""
        return self._text(0x0600)

    @property
    def comment(self) -> str:
        """Error Comment (0000,0902)."""
        return self._text(0x0902)

    def _text(self, element: int) -> str:
        return self.elements.get(element, b"").decode("ascii", "replace").strip("\0 ")

    def _number(self, element: int, absent: int = 0) -> int:
        value = self.elements.get(element, b"")
        return int.from_bytes(value, "little") if len(value) == 2 else absent


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Sub-operations of a retrieval (0000,1020 to 1023); `remaining` is left out of final responses."""

    completed: int = 0
    failed: int = 0
    warning: int = 0
    remaining: int | None = None


def parse(encoded: Chunk) -> Command:
    """Read a command set: Implicit VR Little Endian, group 0000 only (PS3.7 6.3.1).

    Raises:
        ProtocolError: it is no command set.
    """
    elements: dict[int, bytes] = {}
    place, end = 0, len(encoded)
    while place < end:
        if place + 8 > end:
            raise ProtocolError(Reason.INVALID_PARAMETER)
        group, element, length = struct.unpack_from("<HHI", encoded, place)
        place += 8
        if group or length > end - place:
            raise ProtocolError(Reason.INVALID_PARAMETER)
        elements[element] = bytes(encoded[place : place + length])
        place += length
    return Command(elements)


def build(elements: Mapping[int, bytes]) -> bytes:
    """Encode a command set with its group length; values are padded to even length by NUL."""
    body = b"".join(_element(number, elements[number]) for number in sorted(elements))
    return _element(0, struct.pack("<I", len(body))) + body


_NAMED = ((0x0002, 0x0002), (0x0003, 0x0002), (0x1000, 0x1000), (0x1001, 0x1000))
"""Elements that name a SOP class and an instance: in a request, and in its response."""


def response(
    request: Command,
    status: int,
    *,
    dataset: bool = False,
    comment: str = "",
    counts: Counts | None = None,
    offending: Iterable[int] = (),
) -> bytes:
    """Encode the response to a request (PS3.7 9.3, 10.3).

    Args:
        request: the command set that is answered.
        status: Status (0000,0900).
        dataset: whether a data set follows.
        comment: Error Comment (0000,0902), cut to 64 characters; without patient data.
        counts: numbers of sub-operations, for C-GET and C-MOVE.
        offending: Offending Element (0000,0901), as tags.
    """
    elements = {number: request.elements[asked] for asked, number in _NAMED if asked in request.elements}
    elements[0x0100] = _short(request.field | 0x8000)
    elements[0x0120] = _short(request.message_id)
    elements[0x0800] = _short(0x0001 if dataset else NO_DATASET)
    elements[0x0900] = _short(status)
    if comment:
        elements[0x0902] = _comment(comment)
    if counts is not None:
        elements |= _counted(counts)
    tags = b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in offending)
    return build(elements | {0x0901: tags} if tags else elements)


def store_request(
    *,
    message_id: int,
    sop_class: str,
    instance: str,
    priority: int = 0,
    originator: str = "",
    originator_message_id: int = 0,
) -> bytes:
    """Encode a C-STORE request; with `originator`, as a sub-operation of a C-MOVE (PS3.7 9.3.1.1)."""
    elements = {
        0x0002: sop_class.encode("ascii"),
        0x0100: _short(Field.C_STORE_RQ),
        0x0110: _short(message_id),
        0x0700: _short(priority),
        0x0800: _short(0x0001),
        0x1000: instance.encode("ascii"),
    }
    if originator:
        elements[0x1030] = _spaced(originator)
        elements[0x1031] = _short(originator_message_id)
    return build(elements)


def payload_limit(max_pdu: int) -> int:
    """The most bytes of a message that one PDV may carry to a peer with this maximum length (PS3.8 D.1)."""
    longest = min(max_pdu, LONGEST_PDU) if max_pdu else UNLIMITED_PDU
    return max((longest - PDV.size) & ~1, 2)


class Frame:
    """Makes messages of one command, each with a small data set of its own (or none), as runs of bytes."""

    def __init__(self, context_id: int, command: bytes, max_pdu: int) -> None:
        """Prepare all that the messages have in common."""
        self._context_id = context_id
        self._command = command
        self._max_pdu = max_pdu
        self._limit = payload_limit(max_pdu)
        self._start = _head(context_id, len(command), COMMAND | LAST) + command

    def __call__(self, dataset: bytes) -> bytes:
        """The whole message."""
        size = len(dataset)
        if 0 < size <= self._limit and len(self._command) <= self._limit:
            return b"".join((self._start, _head(self._context_id, size, LAST), dataset))
        batches = fragments(self._context_id, self._command, (dataset,), size, self._max_pdu)
        return b"".join(piece for batch in batches for piece in batch)


def framed(context_id: int, command: bytes, dataset: bytes, max_pdu: int) -> bytes:
    """A whole message with a small data set (or none) as one run of bytes."""
    return Frame(context_id, command, max_pdu)(dataset)


def fragments(
    context_id: int, command: bytes, dataset: Iterable[Chunk], length: int, max_pdu: int
) -> Iterator[list[Chunk]]:
    """Cut a message into PDUs of one PDV each, without copying the data set.

    Each list is to be written before the next is asked for, so the parts of the data set may all be
    views of one buffer.

    Args:
        context_id: the presentation context.
        command: the encoded command set.
        dataset: the encoded data set in parts of any size.
        length: bytes of the data set in all; 0 for a message without one.
        max_pdu: the peer's maximum length, 0 for any.

    Raises:
        ValueError: the parts are not `length` bytes together.
    """
    limit = payload_limit(max_pdu)
    batch = _command_fragments(context_id, command, limit)
    left, room = length, 0
    for part in dataset:
        view = memoryview(part)
        if len(view) > left:
            raise ValueError("the data set is longer than announced")
        while view:
            if not room:
                room = min(limit, left)
                batch.append(_head(context_id, room, LAST if room == left else 0))
            piece, view = view[:room], view[room:]
            left, room = left - len(piece), room - len(piece)
            batch.append(piece)
        yield batch
        batch = []
    if left:
        raise ValueError("the data set is shorter than announced")
    if batch:
        yield batch


def _command_fragments(context_id: int, command: bytes, limit: int) -> list[Chunk]:
    """The PDUs of a command set: one, unless the peer takes only very short ones."""
    batch: list[Chunk] = []
    for place in range(0, len(command), limit):
        piece = command[place : place + limit]
        last = LAST if place + limit >= len(command) else 0
        batch += (_head(context_id, len(piece), COMMAND | last), piece)
    return batch


def _head(context_id: int, size: int, control: int) -> bytes:
    """The heads of a PDU with one PDV of `size` bytes."""
    return PDU.pack(P_DATA_TF, 0, size + PDV.size) + PDV.pack(size + 2, context_id, control)


def _element(number: int, value: bytes) -> bytes:
    """One element of group 0000, padded to even length."""
    padded = value + b"\0" if len(value) % 2 else value
    return struct.pack("<HHI", 0, number, len(padded)) + padded


def _short(value: int) -> bytes:
    """A value of VR US."""
    return struct.pack("<H", value)


def _spaced(text: str) -> bytes:
    """A value of a VR that is padded by spaces."""
    encoded = text.encode("ascii", "replace")
    return encoded + b" " if len(encoded) % 2 else encoded


def _comment(text: str) -> bytes:
    """An Error Comment (VR LO): one line, no backslash, at most 64 characters."""
    line = " ".join(text.replace("\\", "/").split())
    return _spaced(line[:LONGEST_COMMENT])


def _counted(counts: Counts) -> dict[int, bytes]:
    """Numbers of sub-operations as elements (PS3.7 9.3.3.2)."""
    elements = {
        0x1021: _short(min(counts.completed, 0xFFFF)),
        0x1022: _short(min(counts.failed, 0xFFFF)),
        0x1023: _short(min(counts.warning, 0xFFFF)),
    }
    if counts.remaining is not None:
        elements[0x1020] = _short(min(counts.remaining, 0xFFFF))
    return elements
