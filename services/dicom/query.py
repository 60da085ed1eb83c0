"""C-FIND: a query of the archive, answered row by row (PS3.4 C.4.1)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from node.domain.errors import MalformedQuery
from node.domain.ids import AETitle
from node.domain.principal import Principal
from node.domain.query import Query, Rows
from node.replication.federated_search import FederatedRows
from node.replication.site_answer import summary
from services.dicom import messages
from services.dicom.answers import NEARLINE, ONLINE, Encoder
from services.dicom.channel import Message
from services.dicom.identifiers import FIND, PATIENT_ROOT, STUDY_ROOT, RequestIdentifier, parse
from services.dicom.status import CANCEL, MISMATCH, PENDING, SUCCESS

FULL: Final = 1 << 16
"""Bytes of responses that are written together."""
PAUSE: Final = 0.1
"""Seconds after which responses are written although more could join them."""


class Catalog(Protocol):
    """The door of the archive that queries go through."""

    def search(self, principal: Principal, query: Query) -> Rows:
        """Find what matches a query."""


class Federation(Protocol):
    """The door through which all sites are searched."""

    def search(self, principal: Principal, query: Query, *, patience: float) -> FederatedRows:
        """Find what matches at any site."""


class Find:
    """Answers C-FIND requests of the Patient Root and Study Root models."""

    def __init__(self, archive: Catalog, ae_title: AETitle) -> None:
        """Search an archive, answering with its AE title as the one to retrieve from."""
        self._archive = archive
        self._ae_title = ae_title

    def __call__(self, message: Message) -> None:
        """Answer one request: every match, then how it ended."""
        try:
            message.respond(self._answered(message))
        except MalformedQuery as error:
            message.respond(MISMATCH, comment=str(error))

    def _answered(self, message: Message) -> int:
        """Search, answer with what is found, and return the final status."""
        identifier, patient_root = read_identifier(message, FIND)
        found = self._archive.search(message.principal, identifier.query(patient_root=patient_root))
        encoder = encoder_of(message, identifier, found.tags, self._ae_title, ONLINE)
        try:
            return _send(message, map(encoder.encode, found.rows))
        finally:
            _close(found.rows)


class FederatedFind:
    """Answers C-FIND requests from all sites, each within its time.

    What another site has can be retrieved from this one, which brings it: so Retrieve AE Title (0008,0054)
    is the title that was called, and Instance Availability (0008,0056) is NEARLINE (PS3.3 C.4.23.1.1).
    The final response names the sites that did not answer, as Error Comment (0000,0902).
    """

    def __init__(self, federation: Federation, ae_title: AETitle, *, patience: float) -> None:
        """Search a federation.

        Args:
            federation: all sites.
            ae_title: answered as the one to retrieve from.
            patience: seconds for the other sites to answer.
        """
        self._federation = federation
        self._ae_title = ae_title
        self._patience = patience

    def __call__(self, message: Message) -> None:
        """Answer one request: every match, then how it ended and who did not answer."""
        try:
            status, comment = self._answered(message)
            message.respond(status, comment=comment)
        except MalformedQuery as error:
            message.respond(MISMATCH, comment=str(error))

    def _answered(self, message: Message) -> tuple[int, str]:
        identifier, patient_root = read_identifier(message, FIND)
        query = identifier.query(patient_root=patient_root)
        found = self._federation.search(message.principal, query, patience=self._patience)
        encoders = {
            is_here: encoder_of(
                message, identifier, found.tags, self._ae_title, ONLINE if is_here else NEARLINE
            )
            for is_here in (True, False)
        }
        try:
            status = _send(
                message,
                (encoders[one.is_here].encode(one.row) if one else None for one in found.rows),
            )
        finally:
            _close(found.rows)
        return status, summary(found.answers) if status == SUCCESS else ""


def encoder_of(
    message: Message,
    identifier: RequestIdentifier,
    tags: Sequence[tuple[int, str]],
    ae_title: AETitle,
    availability: str,
) -> Encoder:
    """What writes the answers to a request."""
    return Encoder(
        tags,
        level=identifier.level,
        ae_title=ae_title,
        transfer_syntax=message.context.transfer_syntax,
        charset=identifier.charset,
        availability=availability if identifier.availability else None,
    )


def read_identifier(message: Message, service: str) -> tuple[RequestIdentifier, bool]:
    """The identifier of a request, and whether its information model is Patient Root.

    Raises:
        MalformedQuery: it cannot be read, or came in a context for something else.
    """
    context = message.context
    if context.abstract_syntax not in (PATIENT_ROOT + service, STUDY_ROOT + service):
        raise MalformedQuery("its presentation context is for something else")
    patient_root = context.abstract_syntax.startswith(PATIENT_ROOT)
    identifier = parse(
        message.dataset.read(),
        context.transfer_syntax,
        patient_root=patient_root,
        limit=message.channel.limits.max_identifier,
    )
    return identifier, patient_root


def _send(message: Message, answers: Iterable[bytes | None]) -> int:
    """Send the matches until there are no more or the peer has enough; return the final status."""
    for batch in _batches(message, answers):
        if batch:
            message.channel.wire.send([b"".join(batch)])
        if message.cancelled():
            return CANCEL
    return SUCCESS


def _batches(message: Message, answers: Iterable[bytes | None]) -> Iterator[list[bytes]]:
    """Pending responses, as many together as are there without waiting long; None ends a batch."""
    pending = messages.response(message.command, PENDING, dataset=True)
    frame = messages.Frame(message.context.id, pending, message.channel.max_pdu)
    batch: list[bytes] = []
    size, late = 0, time.monotonic() + PAUSE
    for encoded in answers:
        if encoded is not None:
            answer = frame(encoded)
            batch.append(answer)
            size += len(answer)
        if encoded is None or size >= FULL or time.monotonic() >= late:
            yield batch
            batch, size, late = [], 0, time.monotonic() + PAUSE
    if batch:
        yield batch


def _close(rows: Iterator[object]) -> None:
    """Let go of what a result that was not read to its end still holds."""
    close = getattr(rows, "close", None)
    if close is not None:
        close()
