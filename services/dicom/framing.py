"""PDUs and the presentation data values in them: commands peeked at, data sets streamed (PS3.8 9.3, E.2)."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from node.domain.errors import MalformedQuery
from services.dicom.messages import COMMAND, LAST, P_DATA_TF, PDU, PDV, ProtocolError, Reason
from services.dicom.wire import Wire, WireError

MARGIN = PDU.size + PDV.size
"""Bytes of the heads before a presentation data value's content."""

MOVED = 1 << 16
"""PDVs shorter than this are moved together in the buffer, longer ones handed out where they are."""

KINDS = range(0x01, 0x08)
"""The types of PDU that there are (PS3.8 9.3.1)."""

ENDINGS = frozenset({0x05, 0x06, 0x07})
"""Release request, release response, abort (PS3.8 9.3.1): they may come in the middle of a message."""


class Interrupted(WireError):
    """Instead of a message there is a release or an abort; it is left in the buffer."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A whole command set at the start of the buffer, not taken yet."""

    encoded: bytearray
    context_id: int
    taken: int
    """Bytes of the buffer that it takes up."""
    left: int
    """Bytes of the same PDU that come after it."""


class Frames:
    """Reads heads in the buffer of a wire and lets nothing pass that is unsound or too long.

    A `place` is an offset from the first byte that is held; nothing is taken until `consume`.
    """

    def __init__(self, wire: Wire, max_pdu: int) -> None:
        """Read from a wire, PDUs of at most `max_pdu` bytes."""
        if wire.capacity < 2 * (max_pdu + MARGIN):
            raise ValueError("the read buffer is too small for such PDUs")
        self.wire = wire
        self.max_pdu = max_pdu

    def opening(self, longest: int) -> Opening | None:
        """The command set that starts at the next byte; None where another PDU starts there.

        Raises:
            ProtocolError: it is neither, or the command set is longer than `longest`.
            Interrupted: a release or an abort came in the middle of it.
        """
        encoded = bytearray()
        place, end, context_id, control = 0, 0, 0, 0
        while not control & LAST:
            if place == end:
                kind, end = self.pdu(place)
                if kind != P_DATA_TF and not place:
                    return None
                place = self._data(kind, place)
            size, context, control = self.pdv(place, end)
            if not control & COMMAND or (encoded and context != context_id):
                raise ProtocolError(Reason.UNEXPECTED_PARAMETER)
            if len(encoded) + size > longest:
                raise ProtocolError(Reason.INVALID_PARAMETER)
            place, context_id = place + PDV.size + size, context
            encoded += self.wire.need(place)[place - size : place]
        return Opening(encoded, context_id, place, end - place)

    def piece(self, place: int, end: int, context_id: int) -> tuple[int, int, int, int]:
        """The next piece of a data set: its start and stop, the end of its PDU, whether it is the last."""
        if place == end:
            kind, end = self.pdu(place)
            place = self._data(kind, place)
        size, context, control = self.pdv(place, end)
        if control & COMMAND or context != context_id:
            raise ProtocolError(Reason.UNEXPECTED_PARAMETER)
        place += PDV.size
        return place, place + size, end, control & LAST

    def check(self, contexts: Container[int]) -> int:
        """Wait for the whole next PDU without taking it, and say how long it is.

        Raises:
            ProtocolError: it is too long, or what is in it is not sound.
        """
        kind, end = self.pdu(0)
        if kind not in KINDS:
            raise ProtocolError(Reason.UNRECOGNIZED_PDU)
        if end > self.wire.capacity:
            raise ProtocolError(Reason.INVALID_PARAMETER)
        self.wire.need(end)
        place = PDU.size
        while kind == P_DATA_TF and place < end:
            size, context, _ = self.pdv(place, end)
            if context not in contexts:
                raise ProtocolError(Reason.INVALID_PARAMETER)
            place += PDV.size + size
        return end

    def consume(self, taken: int, left: int) -> None:
        """Take bytes of the buffer; what is left of their PDU becomes a PDU of its own."""
        self.wire.skip(taken)
        if left:
            self.wire.unread(PDU.pack(P_DATA_TF, 0, left))

    def pdu(self, place: int) -> tuple[int, int]:
        """Type and end of the PDU at this place."""
        if place + MARGIN > self.wire.capacity:
            raise ProtocolError(Reason.INVALID_PARAMETER)
        kind, _, length = PDU.unpack_from(self.wire.need(place + PDU.size), place)
        if kind == P_DATA_TF and (length > self.max_pdu or length < PDV.size):
            raise ProtocolError(Reason.INVALID_PARAMETER)
        return kind, place + PDU.size + length

    def pdv(self, place: int, end: int) -> tuple[int, int, int]:
        """Bytes of content, context and control of the presentation data value at this place."""
        if place + PDV.size > end or end > self.wire.capacity:
            raise ProtocolError(Reason.INVALID_PARAMETER)
        length, context, control = PDV.unpack_from(self.wire.need(place + PDV.size), place)
        if length < 2 or place + 4 + length > end:
            raise ProtocolError(Reason.INVALID_PARAMETER)
        return length - 2, context, control

    def _data(self, kind: int, place: int) -> int:
        """Where the values of a PDU start that must carry data; what came before another one is dropped."""
        if kind == P_DATA_TF:
            return place + PDU.size
        self.wire.skip(place)
        raise Interrupted if kind in ENDINGS else ProtocolError(Reason.UNEXPECTED_PDU)


class DataSet:
    """The data set of one message, as chunks; each is valid until the next is asked for.

    Not a generator, so that no reader can close it before the message is read to its end.
    """

    def __init__(self, frames: Frames, context_id: int, *, longest: int, present: bool = True) -> None:
        """Read the data set that starts at the next byte, if there is one.

        Args:
            frames: where it comes from.
            context_id: the presentation context of its command.
            longest: the most bytes that `read` collects.
            present: whether there is one.
        """
        self._frames = frames
        self._context_id = context_id
        self._longest = longest
        self._runs = self._gather() if present else iter(())
        self._failure: WireError | None = None

    def __iter__(self) -> Iterator[memoryview]:
        return self

    def __next__(self) -> memoryview:
        if self._failure is not None:
            raise self._failure
        try:
            return next(self._runs)
        except WireError as failure:
            self._failure = failure
            raise

    def drain(self) -> None:
        """Read what is left of it and drop it.

        Raises:
            WireError: the conversation ended, now or while somebody else was reading.
        """
        for _ in self:
            pass

    def read(self) -> bytes:
        """The whole data set, where it is a short one (an identifier).

        Raises:
            MalformedQuery: it is longer than identifiers may be.
        """
        whole = bytearray()
        for chunk in self:
            whole += chunk
            if len(whole) > self._longest:
                raise MalformedQuery("the identifier is too long")
        return bytes(whole)

    def _gather(self) -> Iterator[memoryview]:
        """The content of the PDVs that follow, short ones moved together."""
        wire, frames = self._frames.wire, self._frames
        place = end = start = stop = last = 0
        while not last:
            if place == end and place + MARGIN + frames.max_pdu > wire.capacity:
                if start < stop:
                    yield wire.need(place)[start:stop]
                wire.skip(place)
                place = end = start = stop = 0
            first, place, end, last = frames.piece(place, end, self._context_id)
            view = wire.need(place)
            if start < stop and place - first >= MOVED:
                yield view[start:stop]
                start = stop
            if start == stop:
                start = stop = first
            if first != stop:
                view[stop : stop + place - first] = view[first:place]
            stop += place - first
        if start < stop:
            yield wire.need(place)[start:stop]
        frames.consume(place, end - place)
