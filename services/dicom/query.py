"""C-FIND: a query of the archive, answered row by row (PS3.4 C.4.1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from node.domain.errors import MalformedQuery
from node.domain.ids import AETitle
from node.domain.principal import Principal
from node.domain.query import Query, Row, Rows
from services.dicom import messages
from services.dicom.answers import Encoder
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
        try:
            return self._answer(message, identifier, found)
        finally:
            _close(found.rows)

    def _answer(self, message: Message, identifier: RequestIdentifier, found: Rows) -> int:
        """Send the matches until there are no more or the peer has enough; return the final status."""
        encoder = Encoder(
            found.tags,
            level=identifier.level,
            ae_title=self._ae_title,
            transfer_syntax=message.context.transfer_syntax,
            charset=identifier.charset,
            availability=identifier.availability,
        )
        for batch in _batches(message, found.rows, encoder.encode):
            message.channel.wire.send(batch)
            if message.cancelled():
                return CANCEL
        return SUCCESS


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


def _batches(message: Message, rows: Iterator[Row], encode: Callable[[Row], bytes]) -> Iterator[list[bytes]]:
    """Pending responses, as many together as are there without waiting long."""
    pending = messages.response(message.command, PENDING, dataset=True)
    frame = messages.Frame(message.context.id, pending, message.channel.max_pdu)
    batch: list[bytes] = []
    size, late = 0, time.monotonic() + PAUSE
    for row in rows:
        answer = frame(encode(row))
        batch.append(answer)
        size += len(answer)
        if size >= FULL or time.monotonic() >= late:
            yield [b"".join(batch)]
            batch, size, late = [], 0, time.monotonic() + PAUSE
    if batch:
        yield [b"".join(batch)]


def _close(rows: Iterator[Row]) -> None:
    """Let go of what a result that was not read to its end still holds."""
    close = getattr(rows, "close", None)
    if close is not None:
        close()
