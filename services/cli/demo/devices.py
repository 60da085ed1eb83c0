"""The demonstration's modality and workstation: pynetdicom as it ships, knowing nothing of the node."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import cast

from pydicom import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context, build_role
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from node.domain.errors import PeerUnreachable
from services.cli.demo.corpus import Sent
from services.cli.demo.running import HOST

PATIENCE = 10.0
"""Seconds for the thread of an association to come to rest; it takes milliseconds."""
CONTEXTS = 126
"""Pairs of SOP class and transfer syntax in one association, with room for another context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A device of its own AE title that calls the node."""

    ae_title: str
    node: str
    port: int

    def echo(self) -> bool:
        """Whether the node lets this device associate and answers its C-ECHO."""
        association = self._associate([build_context(Verification)])
        if not association.is_established:
            return False
        status = association.send_c_echo()
        association.release()
        return bool(status) and status.Status == 0

    def store(self, files: Sequence[Sent]) -> Iterator[tuple[Sent, int]]:
        """Send files as they are; yields each with the status of the node's answer."""
        _config.STORE_SEND_CHUNKED_DATASET = True
        for batch in _batches(files):
            contexts = [build_context(*pair) for pair in sorted({_pair(sent) for sent in batch})]
            with self._associated(contexts) as association:
                for sent in batch:
                    answer = association.send_c_store(sent.path)
                    if "Status" not in answer:
                        raise PeerUnreachable(self.node, "it has not answered in time")
                    yield sent, answer.Status

    def find(self, **keys: str) -> list[Dataset]:
        """Studies that match."""
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        for keyword, value in keys.items():
            setattr(query, keyword, value)
        model = StudyRootQueryRetrieveInformationModelFind
        with self._associated([build_context(model)]) as association:
            return [match for _, match in association.send_c_find(query, model) if match is not None]

    def get(self, study: str, pairs: Iterable[tuple[str, str]]) -> dict[str, bytes]:
        """Fetch a study; the data sets byte for byte, by SOP Instance UID."""
        fetched: dict[str, bytes] = {}

        def keep(event: Event) -> int:
            request = cast(C_STORE, event.request)
            fetched[str(request.AffectedSOPInstanceUID)] = cast(BytesIO, request.DataSet).getvalue()
            return 0x0000

        model = StudyRootQueryRetrieveInformationModelGet
        wanted = sorted(pairs)
        contexts = [build_context(model), *(build_context(*pair) for pair in wanted)]
        roles = [build_role(sop_class, scp_role=True) for sop_class in sorted({pair[0] for pair in wanted})]
        query = Dataset()
        query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study
        with self._associated(contexts, roles, [(evt.EVT_C_STORE, keep)]) as association:
            for _ in association.send_c_get(query, model):
                pass
        return fetched

    @contextmanager
    def _associated(
        self,
        contexts: list[PresentationContext],
        roles: list[SCP_SCU_RoleSelectionNegotiation] | None = None,
        handlers: list[evt.EventHandlerType] | None = None,
    ) -> Iterator[Association]:
        association = self._associate(contexts, roles, handlers)
        if not association.is_established:
            raise PeerUnreachable(self.node, f"it refused an association of {self.ae_title}")
        try:
            yield association
        finally:
            association.release()

    def _associate(
        self,
        contexts: list[PresentationContext],
        roles: list[SCP_SCU_RoleSelectionNegotiation] | None = None,
        handlers: list[evt.EventHandlerType] | None = None,
    ) -> Association:
        entity = AE(ae_title=self.ae_title)
        association = entity.associate(
            HOST,
            self.port,
            contexts=contexts,
            ae_title=self.node,
            ext_neg=list(roles or []),
            evt_handlers=handlers,
        )
        if association.is_established:
            _Rest(association).begin()
        return association


class _Rest(threading.Event):
    """Keeps the thread of an association that calls from taking answers that somebody else waits for.

    pynetdicom lets that thread go on between two requests and stops it before the next one, but does not
    always wait until it has stopped: on a busy machine it then takes the answer and throws it away.
    """

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association
        self._begun = threading.Event()

    def begin(self) -> None:
        """Let the thread rest from now on."""
        self._association._reactor_checkpoint = self
        self._begun.wait(PATIENCE)

    def set(self) -> None:
        """Let the thread go on: only to its end."""
        association = self._association
        if association._kill or association._sent_abort or not association.is_established:
            super().set()

    def wait(self, timeout: float | None = None) -> bool:
        """Rest; called by the thread."""
        self._begun.set()
        return super().wait(timeout)


def _pair(sent: Sent) -> tuple[str, str]:
    return sent.offer.sop_class, sent.offer.transfer_syntax


def _batches(files: Sequence[Sent]) -> Iterator[list[Sent]]:
    """Files in their order, so many at a time as one association can negotiate for."""
    batch: list[Sent] = []
    pairs: set[tuple[str, str]] = set()
    for sent in files:
        if _pair(sent) not in pairs and len(pairs) == CONTEXTS:
            yield batch
            batch, pairs = [], set()
        batch.append(sent)
        pairs.add(_pair(sent))
    if batch:
        yield batch
