"""C-GET as its SCU: instances come over the association on which they are asked for (PS3.4 C.4.3).

Every transfer syntax in which an instance may be stored is proposed by itself, so that none is converted on
its way; so an association has room for few SOP classes, and a series with more of them takes several.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import ALL_TRANSFER_SYNTAXES, StoragePresentationContexts

from node.domain.errors import NodeError, PeerUnreachable, Rejected, Unavailable
from node.domain.ids import InstanceUID, SeriesUID, StudyUID
from node.domain.instance import Admission, Chunk, Offer
from node.domain.partner import InstanceThere
from node.domain.principal import Device
from node.partners.foreign import Fetched
from services.dicom.asking import MOST_UIDS, Asker, Ending, identifier
from services.dicom.associate import MOST_CONTEXTS, Association, Proposal, Requestor
from services.dicom.channel import Context, Message
from services.dicom.identifiers import GET, STUDY_ROOT
from services.dicom.status import OUT_OF_RESOURCES, SUCCESS, comment_of, status_of
from services.dicom.store import offer_of
from services.dicom.wire import WireError

log = logging.getLogger(__name__)

NATIVE: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
STORED: Final = tuple(str(uid) for uid in ALL_TRANSFER_SYNTAXES)
"""Every transfer syntax that instances may be stored in."""
CLASSES_AT_ONCE: Final = (MOST_CONTEXTS - 2) // len(STORED)

Admit = Callable[[Offer, Iterable[Chunk]], Admission]
"""Takes in an instance of this partner through the door of the archive."""


class Getter:
    """Fetches instances from one archive; used by one thread."""

    def __init__(self, requestor: Requestor, device: Device, admit: Admit) -> None:
        """Fetch from a device, handing on what comes."""
        self._requestor = requestor
        self._device = device
        self._name = device.ae_title
        self._admit = admit
        self._open: tuple[Association, Asker, frozenset[str]] | None = None

    def get(
        self, study: StudyUID, series: SeriesUID, instances: Sequence[InstanceThere], *, whole: bool
    ) -> Fetched:
        """Have instances sent over the association on which they are asked for.

        Raises:
            PeerUnreachable: the archive ended the association.
            Unavailable: nothing can be taken now.
            Rejected: it does not do this for these SOP classes.
        """
        endings: list[Ending] = []
        reasons: dict[InstanceUID, str] = {}
        groups = list(_by_class(instances))
        for classes, group in groups:
            for asked in requests(study, series, group, whole=whole and len(groups) == 1):
                endings.append(self._one(classes, asked, reasons))
        return fetched(endings, reasons)

    def close(self) -> None:
        """Release what is open."""
        if self._open is not None:
            self._open[0].release()
            self._open = None

    def _one(self, classes: frozenset[str], asked: Dataset, reasons: dict[InstanceUID, str]) -> Ending:
        """One request; an association on which anything failed is not used again."""
        association, asker = self._association(classes)
        context = context_of(association, STUDY_ROOT + GET)
        try:
            if context is None:
                raise Rejected(f"{self._name} does not offer C-GET for these SOP classes")
            return asker.get(context, asked, lambda message: self._take(message, reasons))
        except BaseException as error:
            association.abort()
            self._open = None
            if isinstance(error, WireError):
                raise PeerUnreachable(self._name, "it ended the association or fell silent") from error
            raise

    def _association(self, classes: frozenset[str]) -> tuple[Association, Asker]:
        """An association over which instances of these SOP classes can come."""
        if self._open is not None and classes and classes <= self._open[2]:
            return self._open[:2]
        self.close()
        asked = Proposal(abstract_syntax=STUDY_ROOT + GET, transfer_syntaxes=NATIVE)
        association = self._requestor.associate(self._device, [asked, *_storage(classes)])
        asker = Asker(association.channel, self._name)
        self._open = (association, asker, classes)
        return association, asker

    def _take(self, message: Message, reasons: dict[InstanceUID, str]) -> None:
        """Admit one instance and answer when it is safe.

        Raises:
            Unavailable: nothing can be taken now, so it is no use to go on.
        """
        try:
            self._admit(offer_of(message), message.dataset)
        except Unavailable:
            message.respond(OUT_OF_RESOURCES)
            raise
        except NodeError as error:
            log.warning("an instance of a partner was refused", extra={"error": str(error)})
            with suppress(NodeError):
                reasons[message.command.instance] = str(error)
            message.respond(status_of(error), comment=comment_of(error))
        else:
            message.respond(SUCCESS)


def context_of(association: Association, abstract_syntax: str) -> Context | None:
    """The context of an association for something, if it was accepted."""
    contexts = association.channel.contexts.values()
    return next((one for one in contexts if one.abstract_syntax == abstract_syntax), None)


def requests(
    study: StudyUID, series: SeriesUID, instances: Sequence[InstanceThere], *, whole: bool
) -> Iterator[Dataset]:
    """The identifiers that ask for these instances (PS3.4 C.4.2.2.1)."""
    keys = {"StudyInstanceUID": str(study), "SeriesInstanceUID": str(series)}
    if whole:
        yield identifier("SERIES", keys)
        return
    uids = iter(str(instance.uid) for instance in instances)
    while part := list(islice(uids, MOST_UIDS)):
        yield identifier("IMAGE", keys | {"SOPInstanceUID": "\\".join(part)})


def _by_class(
    instances: Sequence[InstanceThere],
) -> Iterator[tuple[frozenset[str], list[InstanceThere]]]:
    """The instances in groups of so many SOP classes as an association takes; without any, unknown ones."""
    classes = sorted({str(instance.sop_class) for instance in instances if instance.sop_class})
    for start in range(0, len(classes), CLASSES_AT_ONCE):
        part = frozenset(classes[start : start + CLASSES_AT_ONCE])
        yield part, [instance for instance in instances if instance.sop_class in part]
    unknown = [instance for instance in instances if not instance.sop_class]
    if unknown:
        yield frozenset(), unknown


def _storage(classes: frozenset[str]) -> list[Proposal]:
    """What is proposed for instances to come in: for each class every syntax by itself.

    Where the classes are not known, all of them, each with every syntax: there the partner chooses.
    """
    if not classes:
        known = [str(context.abstract_syntax) for context in StoragePresentationContexts]
        return [
            Proposal(abstract_syntax=kind, transfer_syntaxes=STORED, as_scp=True)
            for kind in known[: MOST_CONTEXTS - 1]
        ]
    return [
        Proposal(abstract_syntax=kind, transfer_syntaxes=(syntax,), as_scp=True)
        for kind in sorted(classes)
        for syntax in STORED
    ]


def fetched(endings: Sequence[Ending], reasons: dict[InstanceUID, str]) -> Fetched:
    """What became of a retrieval in all."""
    told = {uid: "the partner says that it could not send it" for one in endings for uid in one.unsent}
    return Fetched(
        completed=sum(one.completed for one in endings),
        failed=sum(one.failed for one in endings),
        reasons=told | reasons,
    )
