"""A foreign archive over DICOM: it is asked, sent to and fetched from over associations that we request.

One association is kept for questions and C-MOVE, one for C-GET; a partner that has ended the former meanwhile
is asked once more over a new one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final, Protocol, TypeVar

from pydicom.dataset import Dataset

from node.domain.commitment import Vouched, Wanted
from node.domain.errors import Damaged, ForeignRefused, MalformedIdentifier, PeerUnreachable, Rejected
from node.domain.ids import (
    UID,
    InstanceUID,
    SeriesUID,
    SOPClassUID,
    StudyUID,
    TransferSyntaxUID,
)
from node.domain.instance import Instance
from node.domain.partner import Fetch, InstanceThere, SeriesThere, StudyThere
from node.domain.principal import Device
from node.partners.foreign import Answer, Fetched, Offers
from node.partners.windows import Window
from services.dicom import committed
from services.dicom.asking import Asker, Ending, identifier
from services.dicom.associate import Association, NothingAccepted, Proposal, Requestor
from services.dicom.channel import Context
from services.dicom.commitment import PUSH_MODEL
from services.dicom.fetching import NATIVE, Admit, Getter, context_of, fetched, requests
from services.dicom.identifiers import FIND, GET, MOVE, STUDY_ROOT
from services.dicom.native import StoredFile
from services.dicom.send import NOT_SUPPORTED, Result, Sender, Session, batches
from services.dicom.wire import WireError

log = logging.getLogger(__name__)

T = TypeVar("T")
VERIFICATION: Final = "1.2.840.10008.1.1"
"""Proposed beside all others, so that an archive that takes none of them says so (PS3.4 A)."""
PATIENCE: Final = 600.0
"""Seconds for which an archive may be silent while it searches or fetches from its own stores."""
_NO_ROOM = 0xA7
_NO_CONTEXT = "it takes this SOP class neither in its stored transfer syntax nor in another one"


class Stores(Protocol):
    """The door of the archive through which the file of an instance is opened."""

    def open(self, instance: Instance) -> AbstractContextManager[StoredFile]:
        """Open the file of an instance."""


class ForeignArchive:
    """A foreign archive as `node.partners` needs it; used by one thread."""

    def __init__(
        self,
        requestor: Requestor,
        device: Device,
        archive: Stores,
        admit: Admit,
        *,
        fetch: Fetch = Fetch.AUTO,
    ) -> None:
        """Reach an archive.

        Args:
            requestor: this node as it calls others.
            device: where the archive is.
            archive: gives the files that are sent.
            admit: takes what C-GET brings.
            fetch: how instances come.
        """
        self._requestor = requestor
        self._patient = replace(requestor, timeout=PATIENCE)
        self._device = device
        self._name = device.ae_title
        self._archive = archive
        self._how = fetch
        self._desk: tuple[Association, Asker] | None = None
        self._getter = Getter(self._patient, device, admit)

    def offers(self) -> Offers:
        """What it lets us do: which contexts it accepts."""
        association, _, _ = self._asker()
        accepted = {context.abstract_syntax for context in association.channel.contexts.values()}
        return Offers(
            find=STUDY_ROOT + FIND in accepted,
            move=STUDY_ROOT + MOVE in accepted,
            get=STUDY_ROOT + GET in accepted,
            commitment=PUSH_MODEL in accepted,
        )

    def studies(self, window: Window, each: Callable[[StudyThere], None], *, most: int | None = None) -> bool:
        """Tell the studies of a window; a study under a UID that is none cannot be told, so not all were."""
        keys = {
            "StudyDate": window.dates,
            "StudyTime": window.times,
            "PatientID": window.patients,
            "StudyInstanceUID": "",
            "NumberOfStudyRelatedInstances": "",
        }
        if window.is_everything and not window.patients:
            del keys["PatientID"]
        strange = 0

        def tell(row: Dataset) -> None:
            nonlocal strange
            study = _study(row)
            if study is None:
                strange += 1
            else:
                each(study)

        whole = self._find("STUDY", keys, tell, most=most)
        if strange:
            log.warning("studies without a valid UID", extra={"partner": self._name, "studies": strange})
        return whole and not strange

    def study(self, uid: StudyUID) -> StudyThere | None:
        """A study, if it is there."""
        found: list[StudyThere | None] = []
        keys = {"StudyInstanceUID": str(uid), "StudyDate": "", "NumberOfStudyRelatedInstances": ""}
        self._all("STUDY", keys, lambda row: found.append(_study(row)))
        if None in found:
            raise ForeignRefused(self._name, "to tell of a study under a valid UID")
        return next((study for study in found if study and study.uid == uid), None)

    def series(self, study: StudyUID) -> Sequence[SeriesThere]:
        """The series of a study."""
        keys = {
            "StudyInstanceUID": str(study),
            "SeriesInstanceUID": "",
            "Modality": "",
            "NumberOfSeriesRelatedInstances": "",
        }
        found: dict[SeriesUID, SeriesThere] = {}

        def keep(row: Dataset) -> None:
            uid = SeriesUID(_text(row, "SeriesInstanceUID"))
            found[uid] = SeriesThere(
                uid=uid,
                modality=_text(row, "Modality"),
                instances=_count(row, "NumberOfSeriesRelatedInstances"),
            )

        self._all("SERIES", keys, keep)
        return list(found.values())

    def instances(self, study: StudyUID, series: SeriesUID) -> Sequence[InstanceThere]:
        """The instances of a series."""
        keys = {
            "StudyInstanceUID": str(study),
            "SeriesInstanceUID": str(series),
            "SOPInstanceUID": "",
            "SOPClassUID": "",
            "AvailableTransferSyntaxUID": "",
        }
        found: dict[InstanceUID, InstanceThere] = {}

        def keep(row: Dataset) -> None:
            uid = InstanceUID(_text(row, "SOPInstanceUID"))
            kind, syntax = _text(row, "SOPClassUID"), _text(row, "AvailableTransferSyntaxUID")
            found[uid] = InstanceThere(
                uid=uid,
                sop_class=SOPClassUID(kind) if kind else None,
                transfer_syntax=TransferSyntaxUID(syntax) if syntax and "\\" not in syntax else None,
            )

        self._all("IMAGE", keys, keep)
        return list(found.values())

    def store(self, instances: Sequence[Instance]) -> Iterator[Answer]:
        """Send instances over one association for as many as its contexts take."""
        sender = Sender(self._requestor)
        for pairs, batch in batches(instances):
            try:
                session = sender.open(self._device, pairs)
            except NothingAccepted:
                yield from (Answer(instance=one.uid, taken=False, why=_NO_CONTEXT) for one in batch)
                continue
            with session:
                for instance in batch:
                    yield self._sent(session, instance)

    def commit(self, transaction: UID, wanted: Sequence[Wanted]) -> Vouched | None:
        """Ask it to take the responsibility, over an association of its own."""
        proposal = Proposal(abstract_syntax=PUSH_MODEL, transfer_syntaxes=NATIVE)
        try:
            association = self._requestor.associate(self._device, [proposal])
        except NothingAccepted as error:
            raise ForeignRefused(self._name, "storage commitment") from error
        with association:
            return self._talk(association, lambda: committed.ask(association, transaction, wanted))

    def fetch(
        self, study: StudyUID, series: SeriesUID, instances: Sequence[InstanceThere], *, whole: bool
    ) -> Fetched:
        """Have instances brought, by C-GET or C-MOVE.

        Raises:
            Rejected: it offers neither, or not the one that was chosen.
            Unavailable: this archive can take nothing now.
        """
        offers = self.offers()
        if self._how is not Fetch.MOVE and offers.get:
            return self._getter.get(study, series, instances, whole=whole)
        if self._how is not Fetch.GET and offers.move:
            return self._move(study, series, instances, whole=whole)
        raise Rejected(f"{self._name} does not offer C-GET or C-MOVE as it was chosen")

    def close(self) -> None:
        """Release what is open."""
        if self._desk is not None:
            self._desk[0].release()
            self._desk = None
        self._getter.close()

    def _move(
        self, study: StudyUID, series: SeriesUID, instances: Sequence[InstanceThere], *, whole: bool
    ) -> Fetched:
        """Have it send instances to the door of this node."""
        destination = str(self._requestor.ae_title)

        def move(asked: Dataset) -> Ending:
            return self._asked(MOVE, lambda asker, context: asker.move(context, asked, destination))

        return fetched([move(asked) for asked in requests(study, series, instances, whole=whole)], {})

    def _sent(self, session: Session, instance: Instance) -> Answer:
        """Send one instance and tell what became of it.

        Raises:
            PeerUnreachable: the partner has no room, or ended the association.
        """
        if not session.accepts(instance):
            return Answer(instance=instance.uid, taken=False, why=_NO_CONTEXT)
        try:
            with self._archive.open(instance) as file:
                status = session.store(instance, file)
        except Damaged as error:
            return Answer(instance=instance.uid, taken=False, why=str(error))
        if status >> 8 == _NO_ROOM:
            raise PeerUnreachable(self._name, f"it has no room for more, status {status:04X}")
        result = Result.of(status)
        remark = "" if result is Result.COMPLETED else f"it answered with status {status:04X}"
        return Answer(
            instance=instance.uid,
            taken=result is not Result.FAILED,
            why="SOP class not supported" if status == NOT_SUPPORTED else remark,
        )

    def _all(self, level: str, keys: dict[str, str], each: Callable[[Dataset], None]) -> None:
        """Tell all matches.

        Raises:
            PeerUnreachable: the partner told a part only.
            ForeignRefused: it told something that cannot be read.
        """
        try:
            whole = self._find(level, keys, each)
        except MalformedIdentifier as error:
            raise ForeignRefused(self._name, f"to tell valid UIDs at {level} level") from error
        if not whole:
            raise PeerUnreachable(self._name, f"it told a part of its answer at {level} level only")

    def _find(
        self,
        level: str,
        keys: dict[str, str],
        each: Callable[[Dataset], None],
        *,
        most: int | None = None,
    ) -> bool:
        asked = identifier(level, keys)
        return self._asked(FIND, lambda asker, context: asker.find(context, asked, each, most=most))

    def _asked(self, service: str, ask: Callable[[Asker, Context], T]) -> T:
        """Ask over the association that is kept, once more over a new one if that had ended."""
        association, asker, kept = self._asker()
        context = context_of(association, STUDY_ROOT + service)
        if context is None:
            raise Rejected(f"{self._name} does not answer queries of the Study Root model from this node")
        try:
            return self._talk(association, lambda: ask(asker, context))
        except BaseException as error:  # an answer may not have been read to its end
            self._forget()
            if not kept or not isinstance(error, PeerUnreachable):
                raise
        return self._asked(service, ask)

    def _asker(self) -> tuple[Association, Asker, bool]:
        """The association for questions, and whether it was there before."""
        if self._desk is not None:
            return *self._desk, True
        proposals = [
            Proposal(abstract_syntax=syntax, transfer_syntaxes=NATIVE)
            for syntax in (
                STUDY_ROOT + FIND,
                STUDY_ROOT + MOVE,
                STUDY_ROOT + GET,
                PUSH_MODEL,
                VERIFICATION,
            )
        ]
        association = self._patient.associate(self._device, proposals)
        self._desk = association, Asker(association.channel, self._name)
        return *self._desk, False

    def _forget(self) -> None:
        if self._desk is not None:
            self._desk[0].abort()
            self._desk = None

    def _talk(self, association: Association, talk: Callable[[], T]) -> T:
        """Let a conversation that ends, or cannot be understood, be one with a partner out of reach."""
        try:
            return talk()
        except WireError as error:
            association.abort()
            raise PeerUnreachable(self._name, "it ended the association or fell silent") from error


def _study(row: Dataset) -> StudyThere | None:
    uid = _text(row, "StudyInstanceUID")
    if StudyUID.form.fullmatch(uid) is None:
        return None
    return StudyThere(
        uid=StudyUID.trusted(uid),
        date=_text(row, "StudyDate").replace(".", "")[:8],
        instances=_count(row, "NumberOfStudyRelatedInstances"),
    )


def _text(row: Dataset, keyword: str) -> str:
    """A value as text; empty where it is not told or cannot be read."""
    try:
        value = row.get(keyword)
    except Exception:  # whatever a parser makes of a stranger's bytes
        return ""
    if value is None or isinstance(value, str):
        return (value or "").strip(" \0")
    return "\\".join(map(str, value)) if isinstance(value, Sequence) else str(value)


def _count(row: Dataset, keyword: str) -> int | None:
    text = _text(row, keyword)
    return int(text) if text.isdecimal() else None
