"""C-GET and C-MOVE: instances sent as sub-operations of a retrieval (PS3.4 C.4.2 and C.4.3)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing
from typing import Final, Protocol

from node.domain.errors import (
    MalformedIdentifier,
    MalformedQuery,
    NodeError,
    PeerUnreachable,
    Unavailable,
    UnknownDestination,
)
from node.domain.ids import AETitle, InstanceUID
from node.domain.instance import Instance
from node.domain.principal import Device, Principal
from node.domain.query import Selection
from node.replication.read_through import Retrieval, local
from services.dicom.answers import failed_list
from services.dicom.channel import Message
from services.dicom.identifiers import GET, MOVE
from services.dicom.messages import Counts
from services.dicom.native import StoredFile
from services.dicom.query import read_identifier
from services.dicom.send import Result, Sender, Session, Storer, batches
from services.dicom.status import CANCEL, MISMATCH, NO_SUCH_DESTINATION, PENDING, SUCCESS

log = logging.getLogger(__name__)

UNABLE_TO_CALCULATE: Final = 0xA701
"""Refused: Out of Resources - Unable to calculate number of matches (PS3.4 Tables C.4-2 and C.4-3)."""
UNABLE_TO_PERFORM: Final = 0xA702
"""Refused: Out of Resources - Unable to perform sub-operations (PS3.4 Tables C.4-2 and C.4-3)."""
WITH_FAILURES: Final = 0xB000
"""Sub-operations complete, one or more failures or warnings (PS3.4 Tables C.4-2 and C.4-3)."""

OFTEN: Final = 50
"""Sub-operations after which the peer hears how far it is."""
SECOND: Final = 1.0
"""Time after which it hears that anyway."""


class Store(Protocol):
    """The doors of the archive that retrievals go through."""

    def select(self, principal: Principal, selection: Selection, *, destination: str = "") -> list[Instance]:
        """Find the instances a principal may have sent to a destination."""

    def open(self, instance: Instance) -> AbstractContextManager[StoredFile]:
        """Open the file of an instance."""


class Remote(Protocol):
    """The door through which what is not here is retrieved from other sites."""

    def retrieve(self, principal: Principal, selection: Selection, *, destination: str = "") -> Retrieval:
        """Find the instances of a selection here and at other sites."""


class Destinations(Protocol):
    """The device list, as C-MOVE needs it."""

    def find(self, ae_title: AETitle) -> Device:
        """Find a device by its AE title."""


class Progress:
    """The sub-operations of one retrieval, and what the peer is told of them."""

    def __init__(self, message: Message, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with all of them remaining."""
        self._message = message
        self._clock = clock
        self._total = total
        self._count = dict.fromkeys(Result, 0)
        self._failed: list[str] = []
        self._told = 0
        self._told_at = clock()

    @property
    def done(self) -> int:
        """Sub-operations that have ended."""
        return sum(self._count.values())

    def tell(self) -> None:
        """Say how far it is (PS3.4 C.4.2.3.3)."""
        self._told, self._told_at = self.done, self._clock()
        self._message.respond(PENDING, counts=self._counts(remaining=True))

    def count(self, instance: Instance, result: Result) -> None:
        """Note how one ended, and say so if the peer has waited long enough to hear it."""
        self._count[result] += 1
        if result is Result.FAILED:
            self._failed.append(instance.uid)
        late = self._clock() - self._told_at >= SECOND
        if self.done < self._total and (late or self.done - self._told >= OFTEN):
            self.tell()

    def fail(self, instances: Iterable[InstanceUID]) -> None:
        """Note that none of these can be sent."""
        for uid in instances:
            self._count[Result.FAILED] += 1
            self._failed.append(uid)

    def wait(self) -> None:
        """Say how far it is while there is nothing to send yet, once a second."""
        if self._clock() - self._told_at >= SECOND:
            self.tell()

    def cancel(self) -> None:
        """Say that the rest is left as the peer wished."""
        self._respond(CANCEL, remaining=True)

    def finish(self) -> None:
        """Say how all of it ended."""
        failed, warned = self._count[Result.FAILED], self._count[Result.WARNING]
        if failed and failed == self._total:
            status = UNABLE_TO_PERFORM
        else:
            status = WITH_FAILURES if failed or warned else SUCCESS
        self._respond(status, remaining=False)

    def _respond(self, status: int, *, remaining: bool) -> None:
        syntax = self._message.context.transfer_syntax
        identifier = failed_list(self._failed, syntax) if self._failed else b""
        self._message.respond(status, identifier=identifier, counts=self._counts(remaining=remaining))

    def _counts(self, *, remaining: bool) -> Counts:
        return Counts(
            completed=self._count[Result.COMPLETED],
            failed=self._count[Result.FAILED],
            warning=self._count[Result.WARNING],
            remaining=self._total - self.done if remaining else None,
        )


class Get:
    """Answers C-GET requests over the association they came on."""

    def __init__(self, archive: Store, remote: Remote | None = None) -> None:
        """Send what an archive holds, and what it can have from other sites."""
        self._archive = archive
        self._remote = remote

    def __call__(self, message: Message) -> None:
        """Answer one request."""
        retrieval = _retrieved(message, self._archive, self._remote, GET)
        if retrieval is None:
            return
        progress = _started(message, retrieval.total)
        with closing(retrieval.portions):
            whole = self._got(message, retrieval, progress)
        if whole:
            progress.fail(retrieval.missing)
            progress.finish()
        else:
            progress.cancel()

    def _got(self, message: Message, retrieval: Retrieval, progress: Progress) -> bool:
        """Send everything as it comes; False when the peer has had enough."""
        storer = Storer(message.channel)
        for portion in retrieval.portions:
            if portion is None:
                progress.wait()
            for instance in portion or (None,):
                if message.cancelled():
                    return False
                if instance is not None:
                    progress.count(instance, self._sent(storer, instance, message.command.priority))
        return True

    def _sent(self, storer: Storer, instance: Instance, priority: int) -> Result:
        """Send one instance and say how it went."""
        if storer.route(instance) is None:
            return Result.FAILED
        try:
            with self._archive.open(instance) as file:
                return Result.of(storer.store(instance, file, priority=priority))
        except (NodeError, OSError) as error:
            log.warning("An instance could not be sent", extra={"error": str(error)})
            return Result.FAILED


class Move:
    """Answers C-MOVE requests over associations with their destinations."""

    def __init__(
        self, archive: Store, devices: Destinations, sender: Sender, remote: Remote | None = None
    ) -> None:
        """Send what an archive holds, and what it can have from other sites, to devices of a list."""
        self._archive = archive
        self._devices = devices
        self._sender = sender
        self._remote = remote

    def __call__(self, message: Message) -> None:
        """Answer one request."""
        try:
            device = self._devices.find(AETitle(message.command.move_destination))
        except (MalformedIdentifier, UnknownDestination):
            message.respond(NO_SUCH_DESTINATION, comment="the move destination is not a known device")
            return
        retrieval = _retrieved(message, self._archive, self._remote, MOVE, destination=device.ae_title)
        if retrieval is None:
            return
        progress = _started(message, retrieval.total)
        with closing(retrieval.portions):
            whole = self._moved(message, device, retrieval, progress)
        if whole:
            progress.fail(retrieval.missing)
            progress.finish()
        else:
            progress.cancel()

    def _moved(self, message: Message, device: Device, retrieval: Retrieval, progress: Progress) -> bool:
        """Send everything as it comes; False when the peer has had enough.

        Once the destination cannot be reached, nothing more is brought for it.
        """
        for portion in retrieval.portions:
            if portion is None:
                progress.wait()
                if message.cancelled():
                    return False
                continue
            done = progress.done
            try:
                if not self._sent_all(message, device, portion, progress):
                    return False
            except PeerUnreachable as error:
                log.warning(
                    "A move destination cannot be reached",
                    extra={"destination": device.ae_title, "error": str(error)},
                )
                progress.fail(instance.uid for instance in portion[progress.done - done :])
                return True
        return True

    def _sent_all(
        self, message: Message, device: Device, instances: Sequence[Instance], progress: Progress
    ) -> bool:
        """Send what is here, one association after the other; False when the peer has had enough.

        Raises:
            PeerUnreachable: the destination takes no more.
        """
        for pairs, batch in batches(instances):
            with self._sender.open(device, pairs) as session:
                for instance in batch:
                    if message.cancelled():
                        return False
                    progress.count(instance, self._sent(session, instance, message))
        return True

    def _sent(self, session: Session, instance: Instance, message: Message) -> Result:
        """Send one instance and say how it went.

        Raises:
            PeerUnreachable: nothing more can be sent over this session.
        """
        if not session.accepts(instance):
            return Result.FAILED
        try:
            with self._archive.open(instance) as file:
                status = session.store(
                    instance,
                    file,
                    priority=message.command.priority,
                    originator=message.principal.ae_title,
                    originator_message_id=message.command.message_id,
                )
            return Result.of(status)
        except PeerUnreachable:
            raise
        except (NodeError, OSError) as error:
            log.warning("An instance could not be sent", extra={"error": str(error)})
            return Result.FAILED


def _retrieved(
    message: Message, archive: Store, remote: Remote | None, service: str, *, destination: str = ""
) -> Retrieval | None:
    """The instances a request asks for; None when it has been answered that there is no telling."""
    try:
        identifier, _ = read_identifier(message, service)
        selection = identifier.selection()
        if remote is not None:
            return remote.retrieve(message.principal, selection, destination=destination)
        return local(archive.select(message.principal, selection, destination=destination))
    except MalformedQuery as error:
        message.respond(MISMATCH, comment=str(error))
    except Unavailable as error:
        message.respond(UNABLE_TO_CALCULATE, comment=str(error))
    return None


def _started(message: Message, total: int) -> Progress:
    """The progress of a retrieval; the peer is told how much there is to do."""
    progress = Progress(message, total)
    if total:
        progress.tell()
    return progress
