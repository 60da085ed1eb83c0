"""A caller that speaks DIMSE over a bare socket: streams data sets both ways and never holds one whole.

It is written from the standard alone, shares no code with the node or with pynetdicom, and raises
`Refused` or `ConnectionError` where a toolkit would smooth things over.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from pydicom.uid import ExplicitVRLittleEndian

from node.domain.instance import Offer

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
MAX_PDU = 131072

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = 1, 2, 3, 4, 5, 6, 7
C_STORE_RQ, C_STORE_RSP, C_GET_RQ, C_GET_RSP, C_ECHO_RQ, C_FIND_RQ = (
    0x0001,
    0x8001,
    0x0010,
    0x8010,
    0x0030,
    0x0020,
)
NO_DATA_SET = 0x0101
PENDING = {0xFF00, 0xFF01}

Command = dict[int, int | str]
"""Elements of group 0000: numbers are US, text is UI."""


class Refused(Exception):
    """The association was rejected or aborted: the PDU type and its reason bytes."""


@dataclass(slots=True)
class Caller:
    """One association, opened on construction by `open`."""

    line: socket.socket
    contexts: dict[tuple[str, str], int] = field(default_factory=dict)
    """(abstract syntax, transfer syntax) of each accepted presentation context."""
    max_pdu: int = MAX_PDU
    _message: int = 0

    @classmethod
    def open(
        cls,
        port: int,
        *,
        classes: Sequence[str] = (VERIFICATION,),
        syntaxes: Sequence[str] = (ExplicitVRLittleEndian,),
        receives: Sequence[str] = (),
        calling: str = "SENDER",
        called: str = "KONZILIUM",
        timeout: float = 120.0,
    ) -> Self:
        """Associate with a node on 127.0.0.1.

        Args:
            port: where it listens.
            classes: SOP classes, proposed once per transfer syntax.
            syntaxes: the transfer syntaxes.
            receives: classes of which instances are to be received, by C-GET.
            calling: our AE title.
            called: its AE title.
            timeout: seconds to wait for anything.
        """
        line = socket.create_connection(("127.0.0.1", port), timeout)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made = cls(line)
        proposed = [
            (cls_uid, syntax) for cls_uid in dict.fromkeys([*classes, *receives]) for syntax in syntaxes
        ]
        try:
            made._associate(calling, called, proposed, receives)
        except BaseException:
            line.close()
            raise
        return made

    def _associate(
        self, calling: str, called: str, proposed: list[tuple[str, str]], receives: Sequence[str]
    ) -> None:
        """Send A-ASSOCIATE-RQ and learn what was accepted (PS3.8 9.3.2, 9.3.3)."""
        names = called.ljust(16).encode() + calling.ljust(16).encode() + bytes(32)
        items = _item(0x10, APPLICATION_CONTEXT.encode())
        for number, (abstract, transfer) in enumerate(proposed):
            inner = _item(0x30, abstract.encode()) + _item(0x40, transfer.encode())
            items += _item(0x20, bytes([2 * number + 1, 0, 0, 0]) + inner)
        user = _item(0x51, struct.pack(">L", MAX_PDU)) + _item(0x52, b"1.2.826.0.1.3680043.8.498.3")
        for uid in receives:
            user += _item(0x54, struct.pack(">H", len(uid)) + uid.encode() + b"\x01\x01")
        self._send_pdu(ASSOCIATE_RQ, b"\x00\x01\x00\x00" + names + items + _item(0x50, user))
        kind, body = self._read_pdu()
        if kind != ASSOCIATE_AC:
            raise Refused(kind, *body)
        self._learn(body[68:], proposed)

    def _learn(self, items: bytes, proposed: list[tuple[str, str]]) -> None:
        """Note the accepted contexts and the peer's maximum PDU length."""
        for kind, body in _items(items):
            if kind == 0x21 and body[2] == 0:
                self.contexts[proposed[body[0] // 2]] = body[0]
            if kind == 0x50:
                for sub, value in _items(body):
                    if sub == 0x51:
                        self.max_pdu = struct.unpack(">L", value)[0] or MAX_PDU

    def echo(self) -> int:
        """C-ECHO; return the status."""
        context = next(number for (uid, _), number in self.contexts.items() if uid == VERIFICATION)
        self._command(
            context, {0x0002: VERIFICATION, 0x0100: C_ECHO_RQ, 0x0110: self._next(), 0x0800: NO_DATA_SET}
        )
        return int(self._response()[0x0900])

    def store(self, offer: Offer, chunks: Iterable[bytes]) -> int:
        """C-STORE one instance, streamed; return the status (PS3.7 9.3.1)."""
        context = self.contexts[str(offer.sop_class), str(offer.transfer_syntax)]
        self._command(
            context,
            {
                0x0002: str(offer.sop_class), 0x0100: C_STORE_RQ, 0x0110: self._next(),
                0x0700: 0, 0x0800: 0, 0x1000: str(offer.instance),
            },
        )  # fmt: skip
        self._data(context, chunks)
        return int(self._response()[0x0900])

    def find(self, identifier: bytes) -> tuple[Command, list[bytes]]:
        """C-FIND in the Study Root; return the final response and the encoded identifiers before it.

        Args:
            identifier: encoded in Explicit VR Little Endian, as are the answers.
        """
        context = self.contexts[STUDY_ROOT_FIND, ExplicitVRLittleEndian]
        self._command(
            context, {0x0002: STUDY_ROOT_FIND, 0x0100: C_FIND_RQ, 0x0110: self._next(), 0x0700: 0, 0x0800: 0}
        )
        self._data(context, [identifier])
        fragments, rows = self._fragments(), []
        while True:
            _, command = _command_from(fragments)
            if command[0x0800] != NO_DATA_SET:
                rows.append(b"".join(_data_from(fragments)))
            if command[0x0900] not in PENDING:
                return command, rows

    def get(self, identifier: bytes, keep: Callable[[str, Iterator[bytes]], int]) -> Command:
        """C-GET from the Study Root; return the final response.

        Args:
            identifier: encoded in Explicit VR Little Endian.
            keep: called with the SOP Instance UID and the fragments of each data set; returns the status
                of that sub-operation.
        """
        context = self.contexts[STUDY_ROOT_GET, ExplicitVRLittleEndian]
        self._command(
            context, {0x0002: STUDY_ROOT_GET, 0x0100: C_GET_RQ, 0x0110: self._next(), 0x0700: 0, 0x0800: 0}
        )
        self._data(context, [identifier])
        fragments = self._fragments()
        while True:
            number, command = _command_from(fragments)
            if command[0x0100] == C_STORE_RQ:
                self._receive(number, command, fragments, keep)
                continue
            if command[0x0800] != NO_DATA_SET:
                deque(_data_from(fragments), maxlen=0)
            if command[0x0900] not in PENDING:
                return command

    def _receive(
        self,
        context: int,
        command: Command,
        fragments: Iterator[tuple[int, int, bytes]],
        keep: Callable[[str, Iterator[bytes]], int],
    ) -> None:
        """Hand the data set of one C-STORE sub-operation to `keep` and answer with its status."""
        status = keep(str(command[0x1000]), _data_from(fragments))
        self._command(
            context,
            {
                0x0002: command[0x0002], 0x0100: C_STORE_RSP, 0x0120: command[0x0110],
                0x0800: NO_DATA_SET, 0x0900: status, 0x1000: command[0x1000],
            },
        )  # fmt: skip

    def release(self) -> None:
        """Release in order and hang up."""
        self._send_pdu(RELEASE_RQ, bytes(4))
        kind, body = self._read_pdu()
        self.line.close()
        if kind != RELEASE_RP:
            raise Refused(kind, *body[:4])

    def close(self) -> None:
        """Hang up without a word."""
        self.line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self.close() if failed else self.release()

    def _next(self) -> int:
        """A new message ID."""
        self._message = self._message % 0xFFFF + 1
        return self._message

    def _command(self, context: int, command: Command) -> None:
        """Send a command set in one fragment (PS3.7 6.3.1: Implicit VR Little Endian)."""
        elements = b"".join(_element(number, value) for number, value in sorted(command.items()))
        self._send_fragment(context, 3, struct.pack("<HHLL", 0, 0, 4, len(elements)) + elements)

    def _data(self, context: int, chunks: Iterable[bytes]) -> None:
        """Send a data set in fragments that the peer can take; the last one is marked."""
        step = min(self.max_pdu, MAX_PDU) - 6
        pieces = (chunk[at : at + step] for chunk in chunks for at in range(0, len(chunk), step))
        held = next(pieces, b"")
        for piece in pieces:
            self._send_fragment(context, 0, held)
            held = piece
        self._send_fragment(context, 2, held)

    def _send_fragment(self, context: int, control: int, content: bytes) -> None:
        """One P-DATA-TF PDU with one presentation data value (PS3.8 9.3.5)."""
        self._send_pdu(P_DATA, struct.pack(">LBB", len(content) + 2, context, control) + content)

    def _send_pdu(self, kind: int, body: bytes) -> None:
        self.line.sendall(struct.pack(">BxL", kind, len(body)) + body)

    def _read_pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxL", self._read(6))
        return kind, self._read(length)

    def _read(self, length: int) -> bytes:
        """Exactly so many bytes; fewer mean that the peer has hung up."""
        buffer = bytearray(length)
        view, filled = memoryview(buffer), 0
        while filled < length:
            count = self.line.recv_into(view[filled:])
            if not count:
                raise ConnectionError("the peer hung up")
            filled += count
        return bytes(buffer)

    def _response(self) -> Command:
        """The next command set, which is a response without a data set."""
        return _command_from(self._fragments())[1]

    def _fragments(self) -> Iterator[tuple[int, int, bytes]]:
        """(context, control, content) of every presentation data value that arrives."""
        while True:
            kind, body = self._read_pdu()
            if kind != P_DATA:
                raise Refused(kind, *body[:4])
            at = 0
            while at < len(body):
                (length,) = struct.unpack_from(">L", body, at)
                yield body[at + 4], body[at + 5], body[at + 6 : at + 4 + length]
                at += 4 + length


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _items(content: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(content):
        kind, length = struct.unpack_from(">BxH", content, at)
        yield kind, content[at + 4 : at + 4 + length]
        at += 4 + length


def _element(number: int, value: int | str) -> bytes:
    """One element of the command group."""
    content = struct.pack("<H", value) if isinstance(value, int) else value.encode()
    content += b"\0" * (len(content) % 2)
    return struct.pack("<HHL", 0, number, len(content)) + content


def _command_from(fragments: Iterator[tuple[int, int, bytes]]) -> tuple[int, Command]:
    """Read one whole command set; return its context and elements."""
    content = b""
    for context, control, piece in fragments:
        assert control & 1, "a data set fragment where a command was due"
        content += piece
        if control & 2:
            return context, _parsed(content)
    raise ConnectionError("the peer hung up inside a command")


def _parsed(content: bytes) -> Command:
    """The elements of a command set: two bytes are a number, anything else is text."""
    command: Command = {}
    at = 0
    while at < len(content):
        _, number, length = struct.unpack_from("<HHL", content, at)
        value = content[at + 8 : at + 8 + length]
        command[number] = (
            struct.unpack("<H", value)[0] if length == 2 else value.rstrip(b"\0 ").decode("latin-1")
        )
        at += 8 + length
    return command


def _data_from(fragments: Iterator[tuple[int, int, bytes]]) -> Iterator[bytes]:
    """The fragments of one data set, up to the last."""
    for _, control, piece in fragments:
        assert not control & 1, "a command where a data set fragment was due"
        yield piece
        if control & 2:
            return
