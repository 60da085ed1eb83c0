"""DICOM clients that cost much less than the servers they measure: store, find, get, move and a sink.

A sender keeps one message as it goes over the wire and writes the fields of the next instance over it.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from struct import pack, pack_into

from bench import wire
from bench.corpus import MARKER, TRANSFER_SYNTAX, Identity, Template
from bench.wire import Association, Context, RefusedError

CALLING = "BENCH"
SINK = "SINK"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
GET = "1.2.840.10008.5.1.4.1.2.2.3"

_STORE_RQ, _STORE_RSP = 0x0001, 0x8001
_REQUESTS = {FIND: 0x0020, GET: 0x0010, MOVE: 0x0021}
_SOP_CLASS, _FIELD, _MESSAGE, _RESPONDED_TO, _SOP_INSTANCE = 0x0002, 0x0100, 0x0110, 0x0120, 0x1000
_DESTINATION, _PRIORITY, _DATA_SET, _STATUS, _COMMENT = 0x0600, 0x0700, 0x0800, 0x0900, 0x0902
_PENDING = (b"\x00\xff", b"\x01\xff")
_SUCCESS = b"\x00\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A server under measurement, as a client calls it."""

    ae_title: str
    address: tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What came of a query or a retrieval."""

    count: int
    """Rows or instances."""
    size: int
    """Bytes of their data sets."""
    seconds: float


def store(node: Node, template: Template, streams: Sequence[Sequence[Identity]]) -> float:
    """Send each stream over an association of its own, all at once; return the seconds it took."""
    senders = [_Sender(node, template) for _ in streams]
    with ThreadPoolExecutor(len(streams)) as pool:
        started = time.perf_counter()
        list(pool.map(_Sender.send_all, senders, streams))
        seconds = time.perf_counter() - started
    for sender in senders:
        sender.association.release()
    return seconds


class StoreRequest:
    """A C-STORE request as it goes over the wire, for one instance after the other (PS3.7 9.3.1)."""

    def __init__(self, template: Template, context: int, longest: int) -> None:
        """Frame the template once.

        Args:
            template: the data set to patch.
            context: the presentation context.
            longest: the longest protocol data unit that the peer takes.
        """
        instance, number = MARKER.instance.encode(), b"\xfe\xca"
        elements: dict[int, bytes | str | int] = {
            _SOP_CLASS: template.sop_class,
            _FIELD: _STORE_RQ,
            _MESSAGE: number,
            _PRIORITY: 0,
            _DATA_SET: 0,
            _SOP_INSTANCE: instance,
        }
        command = wire.units(context, wire.encode(elements), longest, command=True)
        shift = len(command) + wire.HEADERS
        self._message = bytearray(command + wire.units(context, template.data, longest))
        self._fields = {field: offset + shift for field, offset in template.fields.items()}
        self._number = command.index(number)
        self._affected = command.index(instance)

    def of(self, identity: Identity, number: int) -> bytearray:
        """The request for an instance; valid until the next is asked for."""
        pack_into("<H", self._message, self._number, number & 0xFFFF)
        fields = identity.fields()
        for field, value in fields.items():
            self._write(self._fields[field], value)
        self._write(self._affected, fields["instance"])
        return self._message

    def _write(self, offset: int, value: bytes) -> None:
        self._message[offset : offset + len(value)] = value


class _Sender:
    """One association that stores."""

    def __init__(self, node: Node, template: Template) -> None:
        context = Context(template.sop_class, TRANSFER_SYNTAX)
        self.association = Association(node.address, node.ae_title, CALLING, [context])
        self._request = StoreRequest(template, 1, self.association.max_pdu)

    def send_all(self, identities: Iterable[Identity]) -> None:
        """Send instance after instance, each when the one before is answered."""
        for number, identity in enumerate(identities):
            self.association.send(self._request.of(identity, number))
            _context, response, _size = self.association.message()
            _check(response)


class Finder:
    """An association for C-FIND at the study level (PS3.4 C.4.1)."""

    def __init__(self, node: Node) -> None:
        self._association = Association(
            node.address, node.ae_title, CALLING, [Context(FIND, TRANSFER_SYNTAX)]
        )

    def find(self, identifier: bytes) -> Received:
        """Ask for what matches and take all of it."""
        request = _ask(self._association, FIND, identifier)
        started = time.perf_counter()
        self._association.send(request)
        count = size = 0
        while True:
            _context, response, length = self._association.message()
            if response[_STATUS] not in _PENDING:
                break
            count += 1
            size += length
        _check(response)
        return Received(count=count, size=size, seconds=time.perf_counter() - started)

    def close(self) -> None:
        """Release the association."""
        self._association.release()


def get(node: Node, template: Template, identifier: bytes) -> Received:
    """Fetch by C-GET over one association (PS3.4 C.4.3)."""
    contexts = [Context(GET, TRANSFER_SYNTAX), Context(template.sop_class, TRANSFER_SYNTAX, scp=True)]
    association = Association(node.address, node.ae_title, CALLING, contexts)
    request = _ask(association, GET, identifier)
    started = time.perf_counter()
    association.send(request)
    count = size = 0
    while True:
        context, command, length = association.message()
        if command[_FIELD] == pack("<H", _STORE_RQ):
            association.send(_stored(context, command))
            count += 1
            size += length
        elif command[_STATUS] not in _PENDING:
            break
    _check(command)
    seconds = time.perf_counter() - started
    association.release()
    return Received(count=count, size=size, seconds=seconds)


def move(node: Node, sink: Sink, identifier: bytes) -> Received:
    """Have what matches sent to the sink by C-MOVE (PS3.4 C.4.2)."""
    association = Association(node.address, node.ae_title, CALLING, [Context(MOVE, TRANSFER_SYNTAX)])
    request = _ask(association, MOVE, identifier, SINK)
    count, size = sink.count, sink.size
    started = time.perf_counter()
    association.send(request)
    while True:
        _context, response, _size = association.message()
        if response[_STATUS] not in _PENDING:
            break
    _check(response)
    seconds = time.perf_counter() - started
    association.release()
    return Received(count=sink.count - count, size=sink.size - size, seconds=seconds)


class Sink:
    """A storage provider that reads, counts and forgets."""

    def __init__(self) -> None:
        self.count = self.size = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Take no more associations."""
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(wire.Channel(connection),), daemon=True).start()

    def _serve(self, channel: wire.Channel) -> None:
        _kind, body = channel.pdu()
        request = bytes(body)
        channel.send(wire.associate_ac(request, dict(_acceptable(request))))
        try:
            while True:
                context, command, size = channel.message()
                self.count += 1
                self.size += size
                channel.send(_stored(context, command))
        except wire.ReleasedError:
            channel.send(wire.unit(wire.RELEASE_RP, bytes(4)))
        except RefusedError:
            pass
        finally:
            channel.close()


@contextmanager
def listening_sink() -> Iterator[Sink]:
    """A sink that listens meanwhile."""
    sink = Sink()
    try:
        yield sink
    finally:
        sink.close()


def identifier(keys: dict[int, tuple[str, str]]) -> bytes:
    """A C-FIND, C-GET or C-MOVE identifier in Explicit VR Little Endian, its keys as (VR, value) by tag."""
    encoded = []
    for tag in sorted(keys):
        vr, text = keys[tag]
        value = text.encode()
        value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
        encoded.append(pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value)
    return b"".join(encoded)


def _acceptable(request: bytes) -> Iterator[tuple[int, str]]:
    """Every context of a request, with the transfer syntax of the corpus where it is offered."""
    for kind, item in wire.items(request[68:]):
        if kind == 0x20:
            offered = [value.decode().rstrip("\0") for code, value in wire.items(item[4:]) if code == 0x40]
            yield item[0], TRANSFER_SYNTAX if TRANSFER_SYNTAX in offered else offered[0]


def _ask(association: Association, sop_class: str, keys: bytes, destination: str = "") -> bytes:
    """A request with an identifier (PS3.7 9.3.2 to 9.3.4)."""
    elements: dict[int, bytes | str | int] = {
        _SOP_CLASS: sop_class,
        _FIELD: _REQUESTS[sop_class],
        _MESSAGE: 1,
        _PRIORITY: 0,
        _DATA_SET: 0,
    }
    if destination:
        elements[_DESTINATION] = destination
    context = association.context_of(sop_class)
    command = wire.units(context, wire.encode(elements), association.max_pdu, command=True)
    return command + wire.units(context, keys, association.max_pdu)


def _stored(context: int, request: dict[int, bytes]) -> bytes:
    """The answer to a C-STORE sub-operation: it was stored."""
    elements: dict[int, bytes | str | int] = {
        _SOP_CLASS: request[_SOP_CLASS],
        _FIELD: _STORE_RSP,
        _RESPONDED_TO: request[_MESSAGE],
        _DATA_SET: wire.NO_DATA_SET,
        _STATUS: 0,
        _SOP_INSTANCE: request[_SOP_INSTANCE],
    }
    return wire.units(context, wire.encode(elements), wire.MAX_PDU, command=True)


def _check(response: dict[int, bytes]) -> None:
    if response[_STATUS] != _SUCCESS:
        comment = response.get(_COMMENT, b"").decode("latin-1")
        raise RefusedError(f"a request ended with status {response[_STATUS][::-1].hex()} {comment}")
