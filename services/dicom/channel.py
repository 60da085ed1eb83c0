"""DIMSE messages on one association: whole commands in, their data sets as chunks, answers out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from node.domain.errors import Unauthenticated
from node.domain.ids import TransferSyntaxUID
from node.domain.instance import Chunk
from node.domain.principal import Principal
from services.dicom import messages
from services.dicom.framing import DataSet, Frames, Interrupted, Opening
from services.dicom.messages import Command, Counts, Field, ProtocolError, Reason
from services.dicom.wire import Wire

PENDING = frozenset({0xFF00, 0xFF01})
"""Status of a response that others will follow (PS3.7 C.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A presentation context as it was negotiated."""

    id: int
    abstract_syntax: str
    transfer_syntax: TransferSyntaxUID
    as_scu: bool = False
    """Whether this side may send requests in it."""
    as_scp: bool = True
    """Whether this side answers requests in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a peer may send."""

    max_pdu: int = 131072
    max_command: int = 65536
    max_identifier: int = 1 << 20


class Channel:
    """One side of an association that sends and receives DIMSE messages; used by one thread at a time."""

    def __init__(
        self,
        wire: Wire,
        *,
        contexts: Mapping[int, Context],
        max_pdu: int,
        limits: Limits,
        principal: Principal | None = None,
    ) -> None:
        """Speak over a wire.

        Args:
            wire: the connection.
            contexts: accepted presentation contexts by their identifier.
            max_pdu: the peer's maximum length, 0 for any.
            limits: what this side offered and tolerates.
            principal: who the peer is, where the peer is the one who asks.
        """
        self.wire = wire
        self.contexts = contexts
        self.max_pdu = max_pdu
        self.limits = limits
        self.principal = principal
        self.frames = Frames(wire, limits.max_pdu)
        self._cancelled: set[int] = set()

    def peek(self) -> Incoming | None:
        """Read the command of the next message without taking it; None where another PDU comes.

        Raises:
            ProtocolError: it is neither a command nor another PDU.
            Interrupted: a release or an abort came in the middle of it.
        """
        opening = self.frames.opening(self.limits.max_command)
        if opening is None:
            return None
        context = self.contexts.get(opening.context_id)
        if context is None:
            raise ProtocolError(Reason.INVALID_PARAMETER)
        return Incoming(messages.parse(opening.encoded), context, opening)

    def take(self, incoming: Incoming) -> Message:
        """Take the message that was peeked at; its data set is read as it is asked for."""
        self.frames.consume(incoming.opening.taken, incoming.opening.left)
        context, command = incoming.context, incoming.command
        longest, present = self.limits.max_identifier, command.has_dataset
        dataset = DataSet(self.frames, context.id, longest=longest, present=present)
        return Message(channel=self, context=context, command=command, dataset=dataset)

    def receive(self) -> Message:
        """Wait for the next message and take it.

        Raises:
            Interrupted: a release or an abort came instead.
            WireError: the conversation ended otherwise.
        """
        incoming = self.peek()
        if incoming is None:
            raise Interrupted
        return self.take(incoming)

    def send(self, context_id: int, command: bytes, dataset: Iterable[Chunk] = (), length: int = 0) -> None:
        """Send a message; `length` is that of the data set in all."""
        for batch in messages.fragments(context_id, command, dataset, length, self.max_pdu):
            self.wire.send(batch)

    def response_to(self, message_id: int) -> Command:
        """Wait for the response to a request of ours, noting a C-CANCEL that comes before it.

        Raises:
            ProtocolError: another message came.
            WireError: the conversation ended.
        """
        while True:
            message = self.receive()
            message.dataset.drain()
            if self._note(message.command):
                continue
            if not message.command.field & 0x8000 or message.command.responding_to != message_id:
                raise ProtocolError(Reason.UNEXPECTED_PARAMETER)
            return message.command

    def cancelled(self, message_id: int) -> bool:
        """Whether the peer has asked to stop this operation; reads what has come, but does not wait.

        A request that comes early, without a negotiated window, is left for its turn.

        Raises:
            Interrupted: the peer releases or aborts.
            WireError: it closed the connection, or sent what is no message.
        """
        while self.wire.ready():
            incoming = self.peek()
            if incoming is None:
                raise Interrupted
            if not self._note(incoming.command):
                break
            self.take(incoming).dataset.drain()
        return message_id in self._cancelled

    def _note(self, command: Command) -> bool:
        """Remember a C-CANCEL; say whether it was one."""
        if command.field != Field.C_CANCEL_RQ:
            return False
        if len(self._cancelled) < 16:
            self._cancelled.add(command.responding_to)
        return True

    def forget(self) -> None:
        """Start the next operation: message identifiers may come again."""
        self._cancelled.clear()


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message whose command was read and not yet taken."""

    command: Command
    context: Context
    opening: Opening


@dataclass(slots=True, kw_only=True)
class Message:
    """A message that has arrived: its command, its context, and its data set still on the wire."""

    channel: Channel
    context: Context
    command: Command
    dataset: DataSet
    answered: bool = False
    """Whether a final response was sent."""

    @property
    def principal(self) -> Principal:
        """Who asks."""
        if self.channel.principal is None:
            raise Unauthenticated("this association was opened from here")
        return self.channel.principal

    def respond(
        self,
        status: int,
        *,
        identifier: bytes = b"",
        comment: str = "",
        counts: Counts | None = None,
        offending: Iterable[int] = (),
    ) -> None:
        """Send a response with this status; what is left of the data set is read first."""
        self.dataset.drain()
        command = messages.response(
            self.command,
            status,
            dataset=bool(identifier),
            comment=comment,
            counts=counts,
            offending=offending,
        )
        channel = self.channel
        channel.wire.send([messages.framed(self.context.id, command, identifier, channel.max_pdu)])
        self.answered = status not in PENDING

    def cancelled(self) -> bool:
        """Whether the peer has asked to stop this operation (PS3.7 9.3.2.3); does not wait.

        Raises:
            WireError: it has ended the conversation altogether.
        """
        return self.channel.cancelled(self.command.message_id)
