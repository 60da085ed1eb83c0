"""C-STORE: what is announced becomes an offer, the archive decides (PS3.4 B, PS3.7 9.1.1)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from node.domain.instance import Admission, Chunk, Offer, Outcome
from node.domain.principal import Principal
from services.dicom.channel import Message
from services.dicom.contexts import is_storage
from services.dicom.status import NOT_SUPPORTED, SUCCESS

log = logging.getLogger(__name__)


class Admits(Protocol):
    """The door of the archive that takes instances in."""

    def admit(self, principal: Principal, offer: Offer, chunks: Iterable[Chunk]) -> Admission:
        """Keep the instance durably; what it returns is the promise."""


class StoreHandler:
    """Admits the instance of each C-STORE request and answers when it is safe."""

    def __init__(self, archive: Admits) -> None:
        self._archive = archive

    def __call__(self, message: Message) -> None:
        """Admit one instance; errors of the node are told by who called."""
        if not is_storage(message.context.abstract_syntax):
            message.respond(NOT_SUPPORTED, comment="This presentation context is not for storage")
            return
        admission = self._archive.admit(message.principal, offer_of(message), message.dataset)
        if admission.outcome is Outcome.CONFLICT:
            log.warning("an instance has come again with other content", extra={"digest": admission.digest})
        message.respond(SUCCESS)


def offer_of(message: Message) -> Offer:
    """What the sender says of the data set that follows.

    Raises:
        MalformedIdentifier: it says it with something that is no UID.
    """
    return Offer(
        sop_class=message.command.sop_class,
        instance=message.command.instance,
        transfer_syntax=message.context.transfer_syntax,
    )
