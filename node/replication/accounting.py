"""The accounting of disclosures: who saw the images of a person, at all sites, with the evidence for it.

```
names and studies of the patient ──▶ own record ───────────────────────▶ rows
                                └──▶ every member: its rows ──▶ does its chain, as remembered here, hold them?
                                                                  proved, not witnessed yet, refuted
```

Evidence says that a row stands in the record of that site as it was when it was written. That a site leaves
rows out cannot be seen from outside; what was sent to another site stands in the records of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from node.archive.named import issuers_of
from node.audit.proof import Link, Proof, demand_run
from node.audit.record import Deed, Event, Record, deed_of, digest, read
from node.catalog.aliases import names_of
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.chain import Head, link
from node.domain.decision import patient_text
from node.domain.errors import MalformedMessage, MalformedQuery
from node.domain.ids import SiteId
from node.domain.member import Member
from node.domain.principal import Action, Principal
from node.identity.audit_book import PAGE, AuditBook
from node.identity.gate import Gate
from node.replication.audit_doors import NAMES, disclosed
from node.replication.audit_watch import AuditWatch
from node.replication.peer import Disclosed, Peer, Peers, Question
from node.replication.site_answer import Answer, SiteAnswer, failure

AT_ONCE: Final = 8
"""Sites that are asked at the same time."""
MOST: Final = 20_000
"""Rows of one site."""
FRESH: Final = 5_000
"""Records of a site that were not looked at yet and are while somebody waits."""
LOOKS: Final = 200
"""Stretches of the record of a site that are looked at for evidence."""


class Evidence(StrEnum):
    """What speaks for a row."""

    OWN = "own record"
    PROVED = "proved"
    """The chain of its site, as it is remembered here, holds it."""
    UNWITNESSED = "not witnessed yet"
    """It is told by its site; no end behind it that the site has signed was looked at here."""
    REFUTED = "refuted"
    """The chain that its site shows does not hold it, or is another one than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """A deed that concerns the patient, where it is recorded, and what speaks for it."""

    site: SiteId
    seq: int
    at: int
    deed: Deed
    hash: str
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who saw what, as far as the sites have answered."""

    rows: tuple[Disclosure, ...]
    """By time."""
    sites: tuple[SiteAnswer, ...]
    """What came of asking each site, this one first."""
    patients: tuple[str, ...] = ()
    """The names (CX) under which it was asked."""
    studies: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every site has answered in full."""
        return all(one.is_whole for one in self.sites)


class Accounting:
    """Tells who saw the data of a person."""

    def __init__(self, catalog: Catalog, book: AuditBook, peers: Peers, *, patience: float = 30.0) -> None:
        """The accounting of a site.

        Args:
            catalog: of this site.
            book: what it knows of the records of others.
            peers: makes the peer of a member.
            patience: seconds for a call to another site.
        """
        self._catalog = catalog
        self._gate = Gate(catalog)
        self._watch = AuditWatch(catalog, book, peers)
        self._peers = peers
        self._patience = patience

    def named(self, patient_id: str, issuer: str | None = None) -> str:
        """A patient as `who` wants it; where nobody says the issuer, the only one that is known here.

        Raises:
            MalformedQuery: several issuers have this Patient ID.
        """
        if issuer is not None:
            return patient_text(patient_id, issuer)
        known = issuers_of(self._catalog, patient_id)
        if len(known) > 1:
            names = ", ".join(name or "(none)" for name in known)
            raise MalformedQuery(f"several issuers have this Patient ID ({names}); say which one")
        return patient_text(patient_id, known[0] if known else "")

    def who(
        self,
        principal: Principal,
        *,
        patient: str = "",
        study: str = "",
        since: int = 0,
        until: int = 1 << 62,
        everywhere: bool = True,
        progress: Callable[[SiteAnswer], object] = lambda _answer: None,
    ) -> Account:
        """Who did what with the data of a patient, or with a study.

        That it was asked is recorded here, and at every site that answers.

        Args:
            principal: who asks.
            patient: Patient ID with its issuer, as `patient_text` writes it; empty if a study is asked for.
            study: Study Instance UID; empty if a patient is asked for.
            since: not before this moment (microseconds since 1970).
            until: before this moment.
            everywhere: whether members are asked, too.
            progress: told what came of each site.

        Raises:
            Forbidden: the policy does not let the principal read the audit record.
            MalformedQuery: neither patient nor study is named.
        """
        if not patient and not study:
            raise MalformedQuery("it names neither a patient nor a study")
        caller, principal = principal, self._gate.demand(principal, Action.AUDIT)
        with self._catalog.reading() as unit:
            origin, question = unit.origin, _question(unit, patient, study, since, until)
            own = [
                _row(origin, one, Evidence.OWN)
                for one in _pages(lambda asked: disclosed(unit, asked), question)
            ]
            members = unit.members.active() if everywhere else []
        self._record(principal, patient, study, len(own))
        answers = [SiteAnswer(site=origin, state=Answer.ANSWERED, rows=len(own), complete=len(own) < MOST)]
        progress(answers[0])
        rows = list(own)
        for answer, found in self._ask(members, caller, question):
            answers.append(answer)
            rows += found
            progress(answer)
        return Account(
            rows=tuple(sorted(rows, key=lambda one: (one.at, one.site, one.seq))),
            sites=tuple(answers),
            patients=question.patients,
            studies=question.studies,
        )

    def _record(self, principal: Principal, patient: str, study: str, many: int) -> None:
        what = f"{many} records of disclosures"
        deed = deed_of(principal, Event.AUDIT_USED, what=what, patient=patient, study=study)
        self._catalog.perform(lambda unit: unit.audit.append(deed))

    def _ask(
        self, members: Sequence[Member], principal: Principal, question: Question
    ) -> Iterator[tuple[SiteAnswer, list[Disclosure]]]:
        """What the members tell, several of them asked at the same time."""
        if members:
            with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="accounting") as pool:
                yield from pool.map(lambda one: self._ask_one(one, principal, question), members)

    def _ask_one(
        self, member: Member, principal: Principal, question: Question
    ) -> tuple[SiteAnswer, list[Disclosure]]:
        try:
            with self._peers(member.site, timeout=self._patience) as peer:
                self._watch.exchange(peer)
                self._watch.follow(peer, most=FRESH)
                records = list(_pages(lambda asked: peer.disclosures(asked, principal), question))
                rows = self._weighed(peer, records)
        except Exception as error:
            return failure(member.site, error, 0.0), []
        complete = len(records) < MOST
        answer = SiteAnswer(site=member.site, state=Answer.ANSWERED, rows=len(rows), complete=complete)
        return answer, rows

    def _weighed(self, peer: Peer, records: Sequence[Record]) -> list[Disclosure]:
        """The rows of another site with what its chain says of them."""
        stretch, links, rows, looks = (Head(), Head()), dict[int, Link](), list[Disclosure](), 0
        for one in records:
            if not stretch[0].seq < one.seq <= stretch[1].seq:
                found = self._stretch(peer.site, one.seq) if looks < LOOKS else None
                if found is None:
                    rows.append(_row(peer.site, one, Evidence.UNWITNESSED))
                    continue
                stretch, looks = found, looks + 1
                links = _proved(peer, *stretch)
            shown = links.get(one.seq)
            holds = shown is not None and (shown.at, shown.digest) == (one.at, digest(one.deed))
            rows.append(_row(peer.site, one, Evidence.PROVED if holds else Evidence.REFUTED))
        return rows

    def _stretch(self, site: SiteId, seq: int) -> tuple[Head, Head] | None:
        """The places on both sides of a record to which the chain of its site was seen to lead."""
        with self._catalog.reading() as unit:
            before, behind = unit.witnesses.base(site, seq - 1), unit.witnesses.next(site, seq)
        return None if behind is None else (before, behind)


def _question(unit: Unit, patient: str, study: str, since: int, until: int) -> Question:
    """The question, with all names and studies of the patient that are known here."""
    names, studies = names_of(unit, [patient] if patient else [])
    asked = sorted({*studies, *([study] if study else [])})
    return Question(
        patients=tuple(sorted(names | ({patient} if patient else set())))[:NAMES],
        studies=tuple(asked)[:NAMES],
        since=since,
        until=until,
    )


def _pages(ask: Callable[[Question], Disclosed], question: Question) -> Iterator[Record]:
    """All records that a question is about, page by page, in order."""
    count = 0
    while count < MOST:
        told = ask(question)
        for one in told.records:
            if one.seq <= question.after:
                raise MalformedMessage("records are told out of order")
            question = replace(question, after=one.seq)
            count += 1
            yield one
        if told.complete or not told.records:
            return


def _proved(peer: Peer, before: Head, behind: Head) -> dict[int, Link]:
    """The links between two places, if they lead from one to the other; none, if not."""
    links: dict[int, Link] = {}
    end = before.hash
    for after in range(before.seq, behind.seq, PAGE):
        last = min(after + PAGE, behind.seq)
        proof: Proof = peer.audit_proof(after, last)
        demand_run(proof, after, last)
        for one in proof.links:
            end = link(end, one.seq, one.at, one.digest)
            links[one.seq] = one
    return links if end == behind.hash else {}


def _row(site: SiteId, record: Record, evidence: Evidence) -> Disclosure:
    try:
        deed = read(record.deed)
    except (ValueError, TypeError):
        raise MalformedMessage("a record cannot be read") from None
    return Disclosure(site=site, seq=record.seq, at=record.at, deed=deed, hash=record.hash, evidence=evidence)
