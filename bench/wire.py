"""The client's side of the wire: protocol data units and command sets, as cheap as Python allows.

Nothing here is shared with the node that is measured (PS3.7 6.3 and Annex E, PS3.8 9.3).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct, pack, unpack_from

MAX_PDU = 131_072
"""The longest protocol data unit that the client asks to be sent."""
HEADERS = 12
"""Bytes in front of the data of a unit that carries one fragment."""
NO_DATA_SET = b"\x01\x01"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLEMENTATION = "1.2.826.0.1.3680043.8.498.1"

ASSOCIATE_RQ, ASSOCIATE_AC, DATA, RELEASE_RQ, RELEASE_RP = 1, 2, 4, 5, 6
_PDU_HEADER = Struct(">BxI")
_PDV_HEADER = Struct(">IBB")
_ELEMENT = Struct("<HHI")
_BUFFER = 1 << 20


class RefusedError(Exception):
    """The server did not do what a figure needs it to do."""


@dataclass(frozen=True, slots=True)
class Context:
    """A presentation context to propose: its abstract syntax with one transfer syntax."""

    abstract: str
    transfer: str
    scp: bool = False
    """The client takes the role of provider in it, as C-GET needs (PS3.7 D.3.3.4)."""


class Channel:
    """A connected socket that reads protocol data units."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._fragments = self._read_fragments()

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send whole protocol data units."""
        self._socket.sendall(data)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def pdu(self) -> tuple[int, memoryview]:
        """The type and the body of the next unit; the body is valid until the next call."""
        self._need(6)
        kind, length = _PDU_HEADER.unpack_from(self._buffer, self._start)
        self._need(6 + length)
        body = self._view[self._start + 6 : self._start + 6 + length]
        self._start += 6 + length
        return kind, body

    def message(self) -> tuple[int, dict[int, bytes], int]:
        """The next message: its context, its command set and how many bytes its data set has."""
        command: dict[int, bytes] = {}
        encoded, size = b"", 0
        for context, flags, fragment in self._fragments:
            if flags & 1:
                encoded += bytes(fragment)
            else:
                size += len(fragment)
            if flags == 3:
                command = decode(encoded)
            if flags & 2 and (flags == 2 or command[0x0800] == NO_DATA_SET):
                return context, command, size
        raise RefusedError("the connection ended inside a message")

    def _read_fragments(self) -> Iterator[tuple[int, int, memoryview]]:
        while True:
            kind, body = self.pdu()
            if kind != DATA:
                raise (
                    ReleasedError
                    if kind == RELEASE_RQ
                    else RefusedError(f"unit of type {kind} instead of data")
                )
            offset = 0
            while offset < len(body):
                length, context, flags = _PDV_HEADER.unpack_from(body, offset)
                yield context, flags, body[offset + 6 : offset + 4 + length]
                offset += 4 + length

    def _need(self, size: int) -> None:
        """Have so many bytes in the buffer."""
        if self._start + size > _BUFFER:
            rest = self._end - self._start
            self._view[:rest] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, rest
        while self._end - self._start < size:
            received = self._socket.recv_into(self._view[self._end :])
            if not received:
                raise RefusedError("the connection was closed")
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            self._end += received


class ReleasedError(Exception):
    """The other side asked to release the association."""


class Association(Channel):
    """An association that the client requested."""

    def __init__(
        self, address: tuple[str, int], called: str, calling: str, contexts: Iterable[Context]
    ) -> None:
        super().__init__(socket.create_connection(address, timeout=120))
        self.contexts = {2 * index + 1: context for index, context in enumerate(contexts)}
        self.send(_associate_rq(called, calling, self.contexts))
        kind, body = self.pdu()
        if kind != ASSOCIATE_AC:
            raise RefusedError(f"the association was answered with a unit of type {kind}")
        self.max_pdu = self._accepted(bytes(body))

    def context_of(self, abstract: str) -> int:
        """The number of the context with an abstract syntax."""
        return next(number for number, context in self.contexts.items() if context.abstract == abstract)

    def release(self) -> None:
        """Release the association in order."""
        self.send(unit(RELEASE_RQ, bytes(4)))
        self.pdu()
        self.close()

    def _accepted(self, body: bytes) -> int:
        """Check that every context was accepted; return the longest unit that may be sent."""
        longest = MAX_PDU
        for kind, item in items(body[68:]):
            if kind == 0x21 and item[2] != 0:
                raise RefusedError(f"presentation context {self.contexts[item[0]]} was not accepted")
            if kind == 0x50:
                longest = next(
                    (int.from_bytes(value) for code, value in items(item) if code == 0x51), longest
                )
        return longest


def unit(kind: int, body: bytes) -> bytes:
    """A protocol data unit (PS3.8 9.3.1)."""
    return _PDU_HEADER.pack(kind, len(body)) + body


def units(context: int, data: bytes, longest: int, *, command: bool = False) -> bytes:
    """A command set or data set as protocol data units of at most `longest` bytes (PS3.8 9.3.5)."""
    step = longest - 6
    parts = []
    for offset in range(0, len(data), step):
        fragment = data[offset : offset + step]
        flags = command | 2 * (offset + step >= len(data))
        parts += [
            _PDU_HEADER.pack(DATA, len(fragment) + 6),
            _PDV_HEADER.pack(len(fragment) + 2, context, flags),
        ]
        parts.append(fragment)
    return b"".join(parts)


def encode(elements: dict[int, bytes | str | int]) -> bytes:
    """A command set: elements of group 0000 in Implicit VR Little Endian (PS3.7 6.3.1)."""
    encoded = b"".join(_element(tag, elements[tag]) for tag in sorted(elements))
    return _element(0, pack("<I", len(encoded))) + encoded


def decode(encoded: bytes) -> dict[int, bytes]:
    """The elements of a command set, undecoded."""
    elements, offset = {}, 0
    while offset < len(encoded):
        _group, element, length = _ELEMENT.unpack_from(encoded, offset)
        elements[element] = encoded[offset + 8 : offset + 8 + length]
        offset += 8 + length
    return elements


def items(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The items of an association unit: type and content (PS3.8 9.3.2)."""
    offset = 0
    while offset + 4 <= len(body):
        kind, length = unpack_from(">BxH", body, offset)
        yield kind, body[offset + 4 : offset + 4 + length]
        offset += 4 + length


def associate_ac(request: bytes, accepted: dict[int, str]) -> bytes:
    """The acceptance of an association request, with a transfer syntax for each context."""
    results = b"".join(
        _item(0x21, bytes((number, 0, 0, 0)) + _item(0x40, transfer.encode()))
        for number, transfer in accepted.items()
    )
    return unit(ASSOCIATE_AC, request[:68] + _item(0x10, APPLICATION_CONTEXT.encode()) + results + _user())


def _associate_rq(called: str, calling: str, contexts: dict[int, Context]) -> bytes:
    proposals = b"".join(
        _item(
            0x20,
            bytes((number, 0, 0, 0))
            + _item(0x30, context.abstract.encode())
            + _item(0x40, context.transfer.encode()),
        )
        for number, context in contexts.items()
    )
    roles = b"".join(_role(context.abstract) for context in contexts.values() if context.scp)
    header = b"\x00\x01\x00\x00" + called.encode().ljust(16) + calling.encode().ljust(16) + bytes(32)
    body = header + _item(0x10, APPLICATION_CONTEXT.encode()) + proposals + _user(roles)
    return unit(ASSOCIATE_RQ, body)


def _user(more: bytes = b"") -> bytes:
    longest = _item(0x51, pack(">I", MAX_PDU))
    return _item(0x50, longest + _item(0x52, IMPLEMENTATION.encode()) + more)


def _role(abstract: str) -> bytes:
    return _item(0x54, pack(">H", len(abstract)) + abstract.encode() + b"\x00\x01")


def _item(kind: int, content: bytes) -> bytes:
    return pack(">BxH", kind, len(content)) + content


def _element(tag: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        value = pack("<H", value)
    elif isinstance(value, str):
        value = value.encode()
    value += bytes(len(value) % 2)
    return _ELEMENT.pack(0, tag, len(value)) + value
