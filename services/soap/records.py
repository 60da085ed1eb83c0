"""Values as they stand on the wire, and the way from and to the node's own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from node.catalog.arrival import read, written
from node.domain.change import Changes, Cursor, Told
from node.domain.errors import MalformedMessage
from node.domain.ids import Digest, InstanceUID, SiteId, TransferSyntaxUID
from node.domain.instance import Description
from node.domain.replica import CopyState, Replica
from node.replication.peer import LONGEST_PAGE, TicketGrant
from services.soap.framework.model import Count, DigestText, LongText, Many, Text, UidText

SiteText = Annotated[
    str,
    Text(name="Site", pattern="[a-z][a-z0-9-]{0,30}[a-z0-9]", doc="The name of a site of the federation."),
]
TicketText = Annotated[str, Text(name="TicketName", longest=256, doc="The name of a transfer ticket.")]
HashText = Annotated[str, Text(name="ChainHash", pattern="[0-9a-f]{64}", doc="SHA-256, hexadecimal.")]
KindText = Annotated[str, Text(name="FactKind", longest=32, doc="The kind of a journal entry.")]
Digests = Annotated[tuple[DigestText, ...], Many(up_to=LONGEST_PAGE)]
Uids = Annotated[tuple[UidText, ...], Many(up_to=LONGEST_PAGE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Bytes that may be carried.

    Attributes:
        digest: their name.
        size: how many there are.
    """

    digest: DigestText
    size: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """The right to carry bytes beside this service, by HTTPS under `/transfer`.

    Attributes:
        ticket: its name, for the header `Ticket`.
        expires_at: when it ends.
        item: what may be carried; what was asked for and cannot be given is left out.
    """

    ticket: TicketText
    expires_at: datetime
    item: Annotated[tuple[Item, ...], Many(up_to=LONGEST_PAGE)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """One target of a logical name: the copy of an instance at a site.

    Attributes:
        instance: the logical name, a SOP Instance UID.
        digest: which bytes.
        site: where.
        state: what is known of the copy.
        size: bytes.
        at: since when; for a verified copy, when it was verified.
    """

    instance: UidText
    digest: DigestText
    site: SiteText
    state: CopyState
    size: Count
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """An entry of a journal, in full or with only its place in the chain.

    Attributes:
        seq: its number.
        previous: the hash of the entry before.
        hash: its own.
        at: when it was stated, in microseconds since 1970.
        kind: what it states.
        payload: canonical JSON; absent where the entry is withheld.
        owed: whether the bytes that it names are owed to who asks.
    """

    seq: Count
    previous: HashText
    hash: HashText
    at: Count = 0
    kind: KindText | None = None
    payload: LongText | None = None
    owed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Numbers of entries, both ends included.

    Attributes:
        first: the first.
        last: the last.
    """

    first: Count
    last: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalChanges:
    """A run of entries of one journal.

    Attributes:
        origin: whose journal.
        epoch: which of its epochs.
        head: the end of the journal now.
        terms: a number that changes when the terms or rules of the origin do.
        entry: the entries.
        lost: numbers within this run that the origin has no more, since it was restored from a backup.
        anew: whether these take the place of all that was read of the epoch from the first of them on.
    """

    origin: SiteText
    epoch: Count
    head: Count
    terms: Count
    entry: Annotated[tuple[JournalEntry, ...], Many(up_to=LONGEST_PAGE)] = ()
    lost: Annotated[tuple[Span, ...], Many(up_to=LONGEST_PAGE)] = ()
    anew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDescription:
    """What is catalogued of an instance.

    Attributes:
        instance: its SOP Instance UID.
        digest: the bytes that it is archived by.
        transfer_syntax: how they are encoded.
        attributes: of all levels, as a JSON object by tag (eight hexadecimal digits).
    """

    instance: UidText
    digest: DigestText
    transfer_syntax: UidText
    attributes: LongText


def written_description(one: Description) -> InstanceDescription:
    """A description for the wire."""
    return InstanceDescription(
        instance=one.instance,
        digest=one.digest,
        transfer_syntax=one.transfer_syntax,
        attributes=written(one.attributes),
    )


def description_of(told: InstanceDescription) -> Description:
    """A description from the wire.

    Raises:
        MalformedMessage: its attributes cannot be read.
    """
    try:
        attributes = read(told.attributes)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise MalformedMessage("the attributes of an instance cannot be read") from None
    if not all(isinstance(value, str | list) for value in attributes.values()):
        raise MalformedMessage("the attributes of an instance are texts and sequences")
    return Description(
        instance=InstanceUID.trusted(told.instance),
        digest=Digest.trusted(told.digest),
        transfer_syntax=TransferSyntaxUID.trusted(told.transfer_syntax),
        attributes=attributes,
    )


def moment(microseconds: int) -> datetime:
    """A time of the node as one of the wire."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)


def microseconds(moment: datetime) -> int:
    """A time of the wire as one of the node."""
    return round(moment.timestamp() * 1_000_000)


def ticket_of(grant: TicketGrant) -> Ticket:
    """A ticket for the wire."""
    return Ticket(
        ticket=grant.ticket,
        expires_at=moment(grant.expires_at),
        item=tuple(Item(digest=digest, size=size) for digest, size in grant.items),
    )


def grant_of(ticket: Ticket) -> TicketGrant:
    """A ticket from the wire."""
    return TicketGrant(
        ticket=ticket.ticket,
        expires_at=microseconds(ticket.expires_at),
        items=tuple((Digest.trusted(item.digest), item.size) for item in ticket.item),
    )


def mapping_of(replica: Replica) -> Mapping:
    """A mapping for the wire."""
    return Mapping(
        instance=replica.instance,
        digest=replica.digest,
        site=replica.site,
        state=replica.state,
        size=replica.size,
        at=moment(replica.at),
    )


def replica_of(mapping: Mapping) -> Replica:
    """A mapping from the wire."""
    return Replica(
        instance=InstanceUID.trusted(mapping.instance),
        digest=Digest.trusted(mapping.digest),
        site=SiteId.trusted(mapping.site),
        state=mapping.state,
        size=mapping.size,
        at=microseconds(mapping.at),
    )


def written_told(told: Told) -> JournalEntry:
    """An entry for the wire."""
    return JournalEntry(
        seq=told.seq,
        previous=told.previous,
        hash=told.hash,
        at=told.at,
        kind=told.kind or None,
        payload=told.payload,
        owed=told.owed,
    )


def read_told(entry: JournalEntry) -> Told:
    """An entry from the wire."""
    return Told(
        seq=entry.seq,
        previous=entry.previous,
        hash=entry.hash,
        at=entry.at,
        kind=entry.kind or "",
        payload=entry.payload,
        owed=entry.owed,
    )


def written_changes(changes: Changes) -> JournalChanges:
    """Entries for the wire."""
    return JournalChanges(
        origin=changes.origin,
        epoch=changes.epoch,
        head=changes.head,
        terms=changes.terms,
        entry=tuple(written_told(told) for told in changes.entries),
        lost=tuple(Span(first=first, last=last) for first, last in changes.lost),
        anew=changes.anew,
    )


def read_changes(changes: JournalChanges) -> Changes:
    """Entries from the wire."""
    return Changes(
        origin=SiteId.trusted(changes.origin),
        epoch=changes.epoch,
        head=changes.head,
        terms=changes.terms,
        entries=[read_told(entry) for entry in changes.entry],
        lost=[(one.first, one.last) for one in changes.lost],
        anew=changes.anew,
    )


def cursor_of(origin: str, epoch: int, seq: int) -> Cursor:
    """A cursor from the wire."""
    return Cursor(origin=SiteId.trusted(origin), epoch=epoch, seq=seq)
