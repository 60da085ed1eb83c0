"""The Storage service: objects of a site, listed, searched, fetched and put.

The bytes travel beside it: `prepareToGet` and `prepareToPut` answer with a ticket for `/transfer`, as the
storage resource managers of the grids did; `getObject` and `putObject` carry them as MTOM for callers that
want SOAP alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from node.domain.errors import (
    Forbidden,
    LastCopy,
    MalformedInstance,
    MalformedQuery,
    ReadOnly,
    StoreFull,
    Unidentified,
    Unknown,
    UnknownInstance,
    UnknownTicket,
    Withdrawn,
)
from node.domain.ids import Digest, StudyUID
from node.domain.instance import Outcome
from node.domain.query import Key, Level, Query
from node.replication.answer import Answers
from node.replication.federated_search import FederatedSearch
from node.replication.peer import LONGEST_PAGE, Announced
from node.replication.service import Service as Doors
from node.replication.site_answer import Answer
from node.replication.storing import Storing
from services.soap import dicomjson
from services.soap.caller import guest
from services.soap.framework.blob import Blob
from services.soap.framework.model import (
    Count,
    DigestText,
    LongText,
    Many,
    ShortText,
    Text,
    UidText,
)
from services.soap.framework.service import Call, Service, operation
from services.soap.records import (
    Digests,
    Item,
    JournalEntry,
    SiteText,
    Ticket,
    TicketText,
    ticket_of,
    written_told,
)

TagText = Annotated[str, Text(name="Tag", pattern="[0-9A-F]{8}", doc="A DICOM tag, `0020000D`.")]
VrText = Annotated[str, Text(name="Vr", pattern="[A-Z]{2}", doc="A value representation (PS3.5 6.2).")]
Studies = Annotated[tuple[UidText, ...], Many(up_to=LONGEST_PAGE, at_least=1)]


class QueryLevel(StrEnum):
    """Query/Retrieve levels (PS3.4 C.3)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemKey:
    """One attribute of the item of a sequence.

    Attributes:
        tag: which attribute.
        vr: its value representation.
        value: what to match; empty for any value.
    """

    tag: TagText
    vr: VrText
    value: LongText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryKey:
    """One attribute of a query; it is matched (PS3.4 C.2.2.2) and returned.

    Attributes:
        tag: which attribute.
        vr: its value representation.
        value: what to match; empty for any value.
        item: the keys of the item of a sequence.
    """

    tag: TagText
    vr: VrText
    value: LongText = ""
    item: Annotated[tuple[ItemKey, ...], Many(up_to=64)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of an answer.

    Attributes:
        tag: which attribute.
        vr: its value representation.
    """

    tag: TagText
    vr: VrText


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """What a search found.

    Attributes:
        site: where.
        ae_title: from which application entity the matches can be retrieved.
        complete: false where there is more than was told.
        column: the attributes that were answered.
        dataset: each match in the DICOM JSON Model (PS3.18 F).
    """

    site: SiteText
    ae_title: ShortText
    complete: bool
    column: Annotated[tuple[Column, ...], Many(up_to=256)] = ()
    dataset: Annotated[tuple[LongText, ...], Many(up_to=LONGEST_PAGE)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReport:
    """What came of asking one site.

    Attributes:
        site: which one.
        state: how it answered.
        rows: how many matches it told.
        complete: false where it has more than it told.
        why: the reason where it did not answer.
    """

    site: SiteText
    state: Answer
    rows: Count
    complete: bool
    why: ShortText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedMatch:
    """A match at some site.

    Attributes:
        site: the site that told it first.
        dataset: the match in the DICOM JSON Model (PS3.18 F).
    """

    site: SiteText
    dataset: LongText


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedMatches:
    """What a search of all sites found.

    Attributes:
        column: the attributes that were answered.
        match: the matches, those of this site first; each object once.
        report: what came of asking each site.
    """

    column: Annotated[tuple[Column, ...], Many(up_to=256)] = ()
    match: Annotated[tuple[FederatedMatch, ...], Many(up_to=64 * LONGEST_PAGE)] = ()
    report: Annotated[tuple[SiteReport, ...], Many(up_to=LONGEST_PAGE)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An instance that is held here.

    Attributes:
        instance: its SOP Instance UID.
        series: its Series Instance UID.
        study: its Study Instance UID.
        digest: SHA-256 of its bytes.
        size: how many there are.
        origin: the site that received it first.
        epoch: of the journal of the origin.
        entry: the entry there that tells of these bytes.
    """

    instance: UidText
    series: UidText
    study: UidText
    digest: DigestText
    size: Count
    origin: SiteText
    epoch: Count
    entry: JournalEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What is known of some bytes.

    Attributes:
        digest: their name.
        size: how many there are.
        instance: the SOP Instance UID that they are a form of.
    """

    digest: DigestText
    size: Count
    instance: UidText


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of an object that was put.

    Attributes:
        digest: its bytes.
        outcome: `kept`, `known` (the same bytes were here) or `conflict` (both are kept).
        study: the study that it belongs to.
    """

    digest: DigestText
    outcome: Outcome
    study: UidText


class Storage(Service):
    """Objects of this site, as its terms give them to the site of the caller."""

    name, path, version = "Storage", "storage", 1

    def __init__(self, doors: Doors, answers: Answers, storing: Storing, federation: FederatedSearch) -> None:
        """A service of this site.

        Args:
            doors: tickets and bytes.
            answers: searches of other sites.
            storing: objects put by other sites.
            federation: searches all sites.
        """
        self._federation = federation
        self._doors = doors
        self._answers = answers
        self._storing = storing

    @operation(result="matches", faults=(MalformedQuery, Forbidden))
    def search(
        self,
        call: Call,
        level: QueryLevel,
        key: Annotated[tuple[QueryKey, ...], Many(up_to=256)],
        patient_root: bool = False,
        limit: Count = LONGEST_PAGE,
    ) -> Matches:
        """Search this archive.

        Args:
            level: what to find.
            key: attributes to match and to return.
            patient_root: whether the hierarchy begins at the patient.
            limit: at the most so many matches, the newest first.

        Returns:
            What matches, as far as the terms give it to the caller.
        """
        asked = guest(call)
        query = Query(
            level=Level[level.value],
            keys=tuple(_key(one) for one in key),
            patient_root=patient_root,
            limit=min(limit, LONGEST_PAGE),
        )
        found = self._answers.search_for(asked.member, asked.principal, query)
        return Matches(
            site=found.site,
            ae_title=found.ae_title,
            complete=found.complete,
            column=tuple(Column(tag=f"{tag:08X}", vr=vr) for tag, vr in found.tags),
            dataset=tuple(dicomjson.written(found.tags, row) for row in found.rows),
        )

    @operation(result="matches", faults=(MalformedQuery, Forbidden))
    def search_federation(
        self,
        call: Call,
        level: QueryLevel,
        key: Annotated[tuple[QueryKey, ...], Many(up_to=256)],
        patient_root: bool = False,
        limit: Count = LONGEST_PAGE,
        patience: Count = 5,
    ) -> FederatedMatches:
        """Search all sites at once, for programs of this site, which show the node's own certificate.

        A member asks each site itself: nobody relays what a third site gives only to this one.

        Args:
            level: what to find.
            key: attributes to match and to return.
            patient_root: whether the hierarchy begins at the patient.
            limit: at the most so many matches of each site, the newest first.
            patience: seconds for the other sites to answer, up to 60.

        Returns:
            Matches of all sites that answered, and what came of asking each of them.
        """
        asked = guest(call)
        if asked.principal.via is not None:
            raise Forbidden(asked.principal, "search the federation", "a member asks each site itself")
        query = Query(
            level=Level[level.value],
            keys=tuple(_key(one) for one in key),
            patient_root=patient_root,
            limit=min(limit, LONGEST_PAGE),
        )
        found = self._federation.search(asked.principal, query, patience=min(patience, 60))
        matches = tuple(
            FederatedMatch(site=one.site, dataset=dicomjson.written(found.tags, one.row))
            for one in found.rows
            if one is not None
        )
        return FederatedMatches(
            column=tuple(Column(tag=f"{tag:08X}", vr=vr) for tag, vr in found.tags),
            match=matches,
            report=tuple(
                SiteReport(
                    site=one.site,
                    state=one.state,
                    rows=one.rows,
                    complete=one.complete,
                    why=one.why[:256],
                )
                for one in found.answers
            ),
        )

    @operation(result="object", faults=(Forbidden,))
    def list(self, call: Call, study: Studies) -> Annotated[tuple[StoredObject, ...], Many(up_to=40_000)]:
        """List the instances of studies that are held here.

        Args:
            study: Study Instance UIDs.

        Returns:
            The instances that the terms give the caller.
        """
        asked = guest(call)
        studies = [StudyUID.trusted(one) for one in study]
        announced = self._answers.announce_for(asked.member, asked.principal, studies)
        return tuple(_stored(one) for one in announced)

    @operation(result="stat", faults=(UnknownInstance,))
    def stat(self, call: Call, digest: DigestText) -> Stat:
        """Say what is known of some bytes.

        Args:
            digest: their name.

        Returns:
            Their size and their instance.
        """
        uid, size = self._doors.stat(guest(call).member, Digest.trusted(digest))
        return Stat(digest=digest, size=size, instance=uid)

    @operation(result="ticket", faults=(Forbidden,))
    def prepare_to_get(self, call: Call, digest: Digests) -> Ticket:
        """Ask for a ticket to fetch bytes with `POST /transfer/pack` or `GET /transfer/blob/...`.

        Args:
            digest: which bytes.

        Returns:
            A ticket for those that are here and that the terms give the caller.
        """
        asked = guest(call)
        wanted = [Digest.trusted(one) for one in digest]
        return ticket_of(self._doors.prepare_to_get(asked.member, asked.principal, wanted))

    @operation(result="ticket", faults=(Forbidden, ReadOnly, StoreFull))
    def prepare_to_put(
        self, call: Call, item: Annotated[tuple[Item, ...], Many(up_to=LONGEST_PAGE)]
    ) -> Ticket:
        """Ask for a ticket to put bytes with `PUT /transfer/pack`.

        Args:
            item: digests and sizes of DICOM Part 10 files.

        Returns:
            A ticket for all of them.
        """
        asked = guest(call)
        items = [(Digest.trusted(one.digest), one.size) for one in item]
        return ticket_of(self._storing.prepare(asked.member, asked.principal, items))

    @operation(result="fate", faults=(UnknownTicket, MalformedInstance, ReadOnly, Unidentified, Withdrawn))
    def put_done(
        self, call: Call, ticket: TicketText, digest: Digests = ()
    ) -> Annotated[tuple[Fate, ...], Many(up_to=LONGEST_PAGE)]:
        """Archive what was put with a ticket.

        Args:
            ticket: its name.
            digest: which of its objects; without any, all that came.

        Returns:
            What became of each that came; durable, and in the catalog.
        """
        asked = guest(call)
        digests = [Digest.trusted(one) for one in digest]
        done = self._storing.done(asked.member, asked.principal, ticket, digests)
        return tuple(Fate(digest=one.digest, outcome=one.outcome, study=one.study) for one in done)

    @operation(result="content", faults=(UnknownInstance,))
    def get_object(self, call: Call, digest: DigestText) -> Blob:
        """Fetch the bytes of an instance in this message.

        Args:
            digest: which bytes.

        Returns:
            A DICOM Part 10 file.
        """
        asked = guest(call)
        name = Digest.trusted(digest)
        _, size = self._doors.stat(asked.member, name)
        self._doors.prepare_to_get(asked.member, asked.principal, [name])
        return Blob(lambda: self._doors.chunks(name), size, "application/dicom")

    @operation(
        result="fate", faults=(Forbidden, MalformedInstance, ReadOnly, Unidentified, StoreFull, Withdrawn)
    )
    def put_object(self, call: Call, content: Blob) -> Fate:
        """Archive an instance that comes in this message.

        Args:
            content: a DICOM Part 10 file.

        Returns:
            What became of it; durable, and in the catalog.
        """
        asked = guest(call)
        done = self._storing.put(asked.member, asked.principal, content.chunks())
        return Fate(digest=done.digest, outcome=done.outcome, study=done.study)

    @operation(faults=(Forbidden, Unknown, LastCopy))
    def remove(self, call: Call, digest: DigestText) -> None:
        """Give up this site's copy of some bytes, where the policy here lets the caller.

        The last copy is never given up: another site has to have read its own back first.

        Args:
            digest: which bytes.
        """
        self._storing.remove(guest(call).principal, Digest.trusted(digest))


def _key(key: QueryKey) -> Key:
    items = tuple(Key(tag=int(one.tag, 16), vr=one.vr, value=one.value) for one in key.item)
    return Key(tag=int(key.tag, 16), vr=key.vr, value=key.value, items=items)


def _stored(one: Announced) -> StoredObject:
    return StoredObject(
        instance=one.uid,
        series=one.series,
        study=one.study,
        digest=one.digest,
        size=one.size,
        origin=one.origin,
        epoch=one.epoch,
        entry=written_told(one.entry),
    )
