"""The Audit service: whether the record of a site is what it was, and what it tells of a patient.

The chain of the record is shown without content, so every member may look at it. What is told of a patient is
recorded where it is asked and where it is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from node.audit.heads import SignedHead
from node.audit.proof import Link, Proof
from node.audit.record import Record
from node.audit.witness import State
from node.domain.errors import Forbidden, Malformed
from node.domain.ids import SiteId
from node.identity.audit_book import HEADS, PAGE, AuditBook
from node.replication.audit_doors import NAMES
from node.replication.peer import LONGEST_PAGE, Disclosed, Offered, Question
from node.replication.service import Service as Doors
from services.soap.caller import guest
from services.soap.framework.model import Count, LongText, Many, Text, UidText
from services.soap.framework.service import Call, Service, operation
from services.soap.records import HashText, SiteText

SignatureText = Annotated[
    str,
    Text(
        name="HeadSignature",
        longest=256,
        pattern="[A-Za-z0-9+/]+=*",
        doc="ECDSA with SHA-256 over purpose, site, number, hash and time, DER in base64.",
    ),
]
PatientText = Annotated[
    str,
    Text(name="PatientName", longest=140, doc="Patient ID and its issuer as HL7 writes them: ID^^^ISSUER."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """The end of the audit record of a site at one moment, signed by that site.

    Attributes:
        site: whose record.
        seq: the number of its last record then.
        hash: the hash of that record.
        at: when it was signed, in microseconds since 1970.
        signature: by the key of the node.
        certificate: SHA-256 of the certificate of that key (DER, hexadecimal).
        state: what is known of it where it is told; absent where nobody asked.
    """

    site: SiteText
    seq: Count
    hash: HashText
    at: Count
    signature: SignatureText
    certificate: HashText
    state: State | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLink:
    """A record without its content.

    Attributes:
        seq: its number.
        at: when it was written, in microseconds since 1970.
        deed: SHA-256 of its content.
        hash: what stands beside it as its hash.
    """

    seq: Count
    at: Count
    deed: HashText
    hash: HashText


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditProof:
    """A run of records without content.

    Attributes:
        end: the number of the last record of all.
        previous: the hash that stands in the record before the first one; absent where there is none.
        link: the records.
    """

    end: Count
    previous: HashText | None = None
    link: Annotated[tuple[AuditLink, ...], Many(up_to=PAGE)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """A record with its content.

    Attributes:
        seq: its number.
        at: when it was written, in microseconds since 1970.
        deed: what was done by whom, as JSON.
        previous: the hash of the record before.
        hash: its own.
    """

    seq: Count
    at: Count
    deed: LongText
    previous: HashText
    hash: HashText


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosures:
    """Records that concern a patient or study.

    Attributes:
        complete: whether there are no more behind the last one.
        record: the records, in order.
    """

    complete: bool
    record: Annotated[tuple[AuditRecord, ...], Many(up_to=LONGEST_PAGE)] = ()


Heads = Annotated[tuple[AuditHead, ...], Many(up_to=HEADS)]
Patients = Annotated[tuple[PatientText, ...], Many(up_to=NAMES)]
Studies = Annotated[tuple[UidText, ...], Many(up_to=NAMES)]


class Audit(Service):
    """Whether the audit record of a site is what it was, and who saw the data of a patient there.

    Each site signs the end of its record every few minutes. Members exchange these heads, and tell each other
    those of others; so a site that writes its record anew, or tells one thing here and another there, is
    found out by any of them, and they know which records it changed.
    """

    name, path, version = "Audit", "audit", 1

    def __init__(self, doors: Doors, book: AuditBook) -> None:
        """A service of this site.

        Args:
            doors: what members may ask.
            book: what this site has signed and heard.
        """
        self._doors = doors.audit
        self._book = book

    @operation(result="head")
    def exchange_heads(self, call: Call, head: Heads = ()) -> Heads:
        """Tell the signed ends of audit records, and hear those that this site knows.

        Args:
            head: of the calling site, and the latest of others that it knows.

        Returns:
            The same of this site; what it holds of the calling site is among them.
        """
        heads = [head_of(one) for one in head]
        return tuple(written_head(one) for one in self._doors.exchange(guest(call).member, heads))

    @operation(result="head")
    def get_audit_heads(self, call: Call, site: SiteText | None = None) -> Heads:
        """Give the signed ends of the audit record of a site that are kept here, as evidence.

        Args:
            site: whose; this one's, if absent.

        Returns:
            The latest of them, in order, each with what is known of it.
        """
        guest(call)
        kept = self._book.heads(SiteId.trusted(site) if site else None)
        return tuple(written_head(head, state) for head, state in kept[-HEADS:])

    @operation(result="proof")
    def get_audit_proof(self, call: Call, after: Count, last: Count) -> AuditProof:
        """Show records of this site without their content, so that their chain can be computed.

        Args:
            after: the number of the record before the first one.
            last: the number of the last one; at the most 1,000 behind that.

        Returns:
            The records.
        """
        guest(call)
        return written_proof(self._doors.proof(after, last))

    @operation(result="after")
    def offer_audit_proof(
        self, call: Call, after: Count, last: Count, proof: AuditProof | None = None, whole: bool = False
    ) -> Count:
        """Show a run of the record of the calling site, which cannot be called itself.

        Args:
            after: the number of the record before the first one.
            last: the number of the last one; at the most 1,000 behind that.
            proof: the records; absent to ask how far this site has looked at them.
            whole: whether the record is shown from its beginning, as this site has asked.

        Returns:
            Behind which record to go on; 0 asks for the whole record, as it is another one than before.
        """
        shown = None if proof is None else proof_of(proof)
        offered = Offered(after=after, last=last, proof=shown, whole=whole)
        return self._doors.offered(guest(call).member, offered)

    @operation(result="disclosures", faults=(Forbidden, Malformed))
    def get_disclosures(
        self,
        call: Call,
        patient: Patients = (),
        study: Studies = (),
        since: Count = 0,
        until: Count | None = None,
        after: Count = 0,
    ) -> Disclosures:
        """Tell what the record of this site says of a patient or of studies.

        Operators and the node of a member may ask, and persons who have the right to read the record here.
        That they did is recorded.

        Args:
            patient: a patient, under all names that the calling site knows; this site adds its own.
            study: Study Instance UIDs.
            since: not before this moment, in microseconds since 1970.
            until: before this moment.
            after: behind the record of this number.

        Returns:
            At the most 1,000 records, in order.
        """
        asked = guest(call)
        question = Question(patients=patient, studies=study, since=since, after=after)
        if until is not None:
            question = Question(patients=patient, studies=study, since=since, until=until, after=after)
        told = self._doors.disclosures(asked.member, asked.principal, question)
        return Disclosures(complete=told.complete, record=tuple(map(_written_record, told.records)))


def written_head(head: SignedHead, state: State | None = None) -> AuditHead:
    """A signed head for the wire."""
    return AuditHead(
        site=head.site,
        seq=head.seq,
        hash=head.hash,
        at=head.at,
        signature=head.signature,
        certificate=head.certificate,
        state=state,
    )


def head_of(told: AuditHead) -> SignedHead:
    """A signed head from the wire."""
    return SignedHead(
        site=SiteId.trusted(told.site),
        seq=told.seq,
        hash=told.hash,
        at=told.at,
        signature=told.signature,
        certificate=told.certificate,
    )


def written_proof(proof: Proof) -> AuditProof:
    """A proof for the wire."""
    return AuditProof(
        end=proof.end,
        previous=proof.previous or None,
        link=tuple(AuditLink(seq=one.seq, at=one.at, deed=one.digest, hash=one.hash) for one in proof.links),
    )


def proof_of(told: AuditProof) -> Proof:
    """A proof from the wire."""
    return Proof(
        end=told.end,
        previous=told.previous or "",
        links=[Link(seq=one.seq, at=one.at, digest=one.deed, hash=one.hash) for one in told.link],
    )


def disclosed_of(told: Disclosures) -> Disclosed:
    """Disclosures from the wire."""
    records = [
        Record(seq=one.seq, at=one.at, deed=one.deed, previous=one.previous, hash=one.hash)
        for one in told.record
    ]
    return Disclosed(records=records, complete=told.complete)


def _written_record(record: Record) -> AuditRecord:
    return AuditRecord(
        seq=record.seq,
        at=record.at,
        deed=record.deed,
        previous=record.previous,
        hash=record.hash,
    )
