"""What members are shown of the audit record: heads, the chain without content, and what is about a patient.

The chain is shown to every member; it tells of nobody. What the record says about a patient is told to those
who account for disclosures there: an operator of the member or its node, or a person whom this site lets read
its record. That it was told is itself in the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from node.audit.heads import SignedHead
from node.audit.proof import Examiner, Proof, demand_run
from node.audit.record import Event, deed_of
from node.catalog.aliases import names_of
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import Forbidden, MalformedQuery
from node.domain.job import SECOND
from node.domain.member import Member
from node.domain.principal import Action, Kind, Principal
from node.identity.audit_book import PAGE, AuditBook
from node.identity.gate import Gate
from node.replication.audit_watch import keep
from node.replication.peer import LONGEST_PAGE, Disclosed, Offered, Question

FRESH: Final = SECOND
"""A head that was signed within this time is told as it is."""
NAMES: Final = 100
"""Patients, and studies, that one question names at the most."""


class AuditDoors:
    """What members may ask of the audit record of a site."""

    def __init__(self, catalog: Catalog, book: AuditBook) -> None:
        """The doors of a site.

        Args:
            catalog: with the record.
            book: what is signed and heard.
        """
        self._catalog = catalog
        self._book = book
        self._gate = Gate(catalog)

    def exchange(self, member: Member, heads: Sequence[SignedHead]) -> Sequence[SignedHead]:
        """Hear the heads that a member knows, and tell those that were known here before."""
        self._book.sign(not_within=FRESH)
        known = self._book.told()
        self._book.hear(heads, member.site)
        return known

    def proof(self, after: int, last: int) -> Proof:
        """What stands in the record behind `after` up to `last`, without content; 1,000 at the most."""
        with self._catalog.reading() as unit:
            return unit.audit.proof(after, min(last, after + PAGE))

    def offered(self, member: Member, offered: Offered) -> int:
        """Look at a run of the record of a member that nobody can call; behind which record to go on.

        Raises:
            MalformedMessage: it shows something else than it says.
        """
        with self._catalog.reading() as unit:
            base = unit.witnesses.base(member.site, offered.after)
            marks = unit.witnesses.marks(member.site, base.seq)
        proof, last = offered.proof, min(offered.last, offered.after + PAGE)
        if proof is None or base.seq != offered.after:
            return base.seq
        demand_run(proof, offered.after, last)
        is_same = not base.seq or proof.previous == base.hash
        examiner = Examiner(base, proof.previous if base.seq else base.hash, marks)
        examiner.take(proof.links, last)
        examiner.ended(max(proof.end, last))
        if not offered.whole and (examiner.breaks or not is_same):
            return 0
        if examiner.is_clean:
            examiner.passed.append(examiner.trusted)
        self._catalog.perform(lambda unit: keep(unit, member.site, examiner))
        return last

    def disclosures(self, member: Member, principal: Principal, question: Question) -> Disclosed:
        """What the record tells of a patient or of studies.

        Raises:
            Forbidden: the principal may not read the record.
            MalformedQuery: it names nobody, or too many.
        """
        principal = self._demand(member, principal)
        _demand_named(question)
        with self._catalog.reading() as unit:
            found = disclosed(unit, question)

        def write(unit: Unit) -> None:
            what = f"{len(found.records)} records told to {member.site}"
            patient = question.patients[0] if question.patients else ""
            study = question.studies[0] if not patient else ""
            unit.audit.append(deed_of(principal, Event.AUDIT_USED, what=what, patient=patient, study=study))

        self._catalog.perform(write)
        return found

    def _demand(self, member: Member, principal: Principal) -> Principal:
        """See that the principal may read of persons here."""
        if principal.kind is Kind.PERSON:
            return self._gate.demand(principal, Action.AUDIT)
        if principal.kind is Kind.DEVICE:
            why = "devices do not read the audit record"
        elif member.export.is_nothing and member.accept.is_nothing:
            why = f"nothing is exchanged with {member.site}"
        else:
            return principal
        self._gate.record(principal, Event.REFUSED, what=Action.AUDIT, reason=why)
        error = Forbidden(principal, Action.AUDIT, why)
        error.is_recorded = True
        raise error


def disclosed(unit: Unit, question: Question) -> Disclosed:
    """The records that a question is about, a page of them."""
    names, studies = names_of(unit, question.patients)
    records = unit.audit.about(
        patients=sorted(names | set(question.patients)),
        studies=sorted(studies | set(question.studies)),
        since=question.since,
        until=question.until,
        after=question.after,
        many=LONGEST_PAGE + 1,
    )
    return Disclosed(records=records[:LONGEST_PAGE], complete=len(records) <= LONGEST_PAGE)


def _demand_named(question: Question) -> None:
    if not question.patients and not question.studies:
        raise MalformedQuery("it names neither a patient nor a study")
    if len(question.patients) > NAMES or len(question.studies) > NAMES:
        raise MalformedQuery(f"it names more than {NAMES} patients or studies")
