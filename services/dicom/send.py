"""Instances sent: C-STORE requests straight from the stored file to the peer's socket (PS3.4 B.2).

A stored file is read piece by piece into one buffer and written from there, between prebuilt PDU headers, so
that an instance of any size costs the same memory. `Storer` does that over any channel, also for the
sub-operations of a C-GET; `Sender` opens associations of our own for C-MOVE and for forwarding.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import chain
from types import TracebackType
from typing import Final, Self

from node.domain.errors import BlobMissing, Damaged, PeerUnreachable
from node.domain.ids import TransferSyntaxUID
from node.domain.instance import Chunk, Instance
from node.domain.principal import Device
from services.dicom.associate import MOST_CONTEXTS, Association, Proposal, Requestor
from services.dicom.channel import Channel, Context
from services.dicom.messages import store_request
from services.dicom.native import EXPLICIT, IMPLICIT, NATIVE, StoredFile, convert
from services.dicom.status import SUCCESS
from services.dicom.wire import WireError

PIECE: Final = 1 << 18
"""Bytes of a stored file that are in memory at a time."""

NOT_SUPPORTED: Final = 0x0122
"""Refused: SOP Class Not Supported (PS3.7 C.5.6); also where no context takes the stored transfer syntax."""

_WARNINGS = frozenset({0x0001, 0x0107, 0x0116})

Pair = tuple[str, TransferSyntaxUID]
"""A SOP class with the transfer syntax in which an instance of it is stored."""


class Result(Enum):
    """How a sub-operation ended (PS3.7 9.1.3.1.6 to 9.1.3.1.9)."""

    COMPLETED = "completed"
    WARNING = "warning"
    FAILED = "failed"

    @classmethod
    def of(cls, status: int) -> Result:
        """The kind of a C-STORE status (PS3.4 Table B.2-1, PS3.7 C)."""
        if status == SUCCESS:
            return cls.COMPLETED
        return cls.WARNING if status in _WARNINGS or status >> 12 == 0xB else cls.FAILED


class Storer:
    """Sends instances as C-STORE requests over one channel; used by one thread."""

    def __init__(self, channel: Channel) -> None:
        """Send over those contexts of the channel in which this side is the SCU."""
        self._channel = channel
        self._routes = {
            (context.abstract_syntax, context.transfer_syntax): context
            for context in channel.contexts.values()
            if context.as_scu
        }
        self._buffer = memoryview(bytearray(PIECE))
        self._message_id = 0

    def route(self, instance: Instance) -> Context | None:
        """The context for an instance: of its stored syntax, or of the other native one."""
        stored = instance.transfer_syntax
        exact = self._routes.get((instance.sop_class, stored))
        if exact is not None or stored not in NATIVE:
            return exact
        others = (self._routes.get((instance.sop_class, native)) for native in NATIVE)
        return next((other for other in others if other is not None), None)

    def store(
        self,
        instance: Instance,
        file: StoredFile,
        *,
        priority: int = 0,
        originator: str = "",
        originator_message_id: int = 0,
    ) -> int:
        """Send one instance and wait for the status of its response.

        Args:
            instance: what is sent.
            file: its open file.
            priority: of the request; sub-operations take that of theirs.
            originator: AE title that asked for the C-MOVE this is part of.
            originator_message_id: Message ID of that C-MOVE.

        Raises:
            Damaged: the file cannot be read; nothing was sent.
            WireError: the conversation ended.
        """
        context = self.route(instance)
        if context is None:
            return NOT_SUPPORTED
        if os.fstat(file.fd).st_size != file.size:
            raise BlobMissing(instance.digest)
        self._message_id = self._message_id % 0xFFFF + 1
        command = store_request(
            message_id=self._message_id,
            sop_class=instance.sop_class,
            instance=instance.uid,
            priority=priority,
            originator=originator,
            originator_message_id=originator_message_id,
        )
        self._send(context, command, instance, file)
        return self._channel.response_to(self._message_id).status

    def _send(self, context: Context, command: bytes, instance: Instance, file: StoredFile) -> None:
        """The request with the data set as it is stored, or converted where the context demands it."""
        if context.transfer_syntax == instance.transfer_syntax:
            pieces: Iterable[Chunk] = self._pieces(file, file.offset, file.size)
            length = file.size - file.offset
        else:
            new = convert(file, instance.transfer_syntax)
            pieces = chain((new.before,), self._pieces(file, new.start, new.stop), (new.after,))
            length = new.length
        self._channel.send(context.id, command, pieces, length)

    def _pieces(self, file: StoredFile, start: int, stop: int) -> Iterator[Chunk]:
        """A part of a file, each piece in the same buffer.

        The first piece is read before anything is sent, so a disk that fails there costs one instance only.
        """
        place = start
        while place < stop:
            try:
                count = os.preadv(file.fd, [self._buffer[: stop - place]], place)
            except OSError as error:
                raise _failed(started=place > file.offset) from error
            if not count:
                raise _failed(started=place > file.offset)
            yield self._buffer[:count]
            place += count


def _failed(*, started: bool) -> Exception:
    """What to raise when a stored file cannot be read: a message that was begun cannot be taken back."""
    what = "a stored file cannot be read"
    return WireError(what) if started else Damaged(what)


class Session:
    """An association of ours over which instances are sent."""

    def __init__(self, association: Association) -> None:
        """Send over an established association."""
        self._association = association
        self._storer = Storer(association.channel)

    def accepts(self, instance: Instance) -> bool:
        """Whether the device took a context in which this instance can be sent."""
        return self._storer.route(instance) is not None

    def store(
        self,
        instance: Instance,
        file: StoredFile,
        *,
        priority: int = 0,
        originator: str = "",
        originator_message_id: int = 0,
    ) -> int:
        """Send one instance and return the status of its response, 0122 where no context takes it.

        Raises:
            Damaged: the stored file is not what it was.
            PeerUnreachable: the device ended the association; it cannot be used any more.
        """
        try:
            return self._storer.store(
                instance,
                file,
                priority=priority,
                originator=originator,
                originator_message_id=originator_message_id,
            )
        except WireError as error:
            self._association.abort()
            device = self._association.device.ae_title
            raise PeerUnreachable(device, "it ended the association or fell silent") from error

    def close(self) -> None:
        """Release the association."""
        self._association.release()

    def __enter__(self) -> Self:
        """Use it for a block: released at the end of it, aborted by an exception."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the association, or abort it where the block failed."""
        self._association.__exit__(kind, error, trace)


class Sender:
    """Sends instances to devices over associations of its own."""

    def __init__(self, requestor: Requestor) -> None:
        """Send as this requestor."""
        self._requestor = requestor

    def open(self, device: Device, pairs: Iterable[Pair]) -> Session:
        """Associate with a device, proposing a context for each pair.

        Raises:
            PeerUnreachable: there is no association, or the device takes none of the pairs.
            ValueError: more pairs than an association has contexts; see `batches`.
        """
        proposals = [Proposal(abstract_syntax=kind, transfer_syntaxes=(syntax,)) for kind, syntax in pairs]
        return Session(self._requestor.associate(device, proposals))


def batches(instances: Iterable[Instance]) -> Iterator[tuple[list[Pair], list[Instance]]]:
    """Instances with the pairs to propose for them, each batch within one association's contexts.

    Beside the stored syntax, Implicit VR Little Endian is proposed for what is stored in a native one: every
    device knows it (PS3.5 10.1).
    """
    pairs: dict[Pair, None] = {}
    batch: list[Instance] = []
    for instance in instances:
        needed = [pair for pair in _needed(instance) if pair not in pairs]
        if len(pairs) + len(needed) > MOST_CONTEXTS:
            yield list(pairs), batch
            pairs, batch, needed = {}, [], _needed(instance)
        pairs |= dict.fromkeys(needed)
        batch.append(instance)
    if batch:
        yield list(pairs), batch


def _needed(instance: Instance) -> list[Pair]:
    stored = (str(instance.sop_class), instance.transfer_syntax)
    default = (str(instance.sop_class), IMPLICIT)
    return [stored, default] if instance.transfer_syntax == EXPLICIT else [stored]
