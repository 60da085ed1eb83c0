"""The book of audit records: what this site signs, what it hears of others, and what is wrong with any.

```
own record ── sign ──▶ own heads ──▶ told to members, and with every export
heads of others ── hear ──▶ signature and key looked at ──▶ remembered ──▶ `node.replication.audit_watch`
own record, remembered heads ── verify ──▶ faults ──▶ an alert, until a person has settled them
```

Who holds the keys and the disk of this site can write its record anew. What was told cannot be written anew:
members hold it, tell each other of it, and tell this site what they hold of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from node.audit.heads import SignedHead, is_signed, sign
from node.audit.proof import Examiner
from node.audit.record import Event, deed_of
from node.audit.witness import AuditFault, Fault, Mark, State
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.chain import Head
from node.domain.errors import Expired
from node.domain.ids import SiteId
from node.domain.job import SECOND
from node.domain.principal import Action, Principal
from node.identity.certificates import Certificate
from node.identity.formerly import certificates_ever
from node.identity.gate import Gate
from node.identity.home import Home

log = logging.getLogger(__name__)

PAGE: Final = 1000
"""Links in one proof at the most."""
HEADS: Final = 256
"""Heads that one member tells at a time at the most."""
DOUBTFUL: Final = 1000
"""Heads of one site that wait to be looked into, or were refuted: what comes beyond is not kept."""
SKEW: Final = 600 * SECOND
"""How far a clock may be off when a head is signed."""
THIN: Final = 7 * 86_400 * SECOND
"""Heads that are older are kept one for each day."""

Progress = Callable[[int, int], object]
"""Told how many records were looked at, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What came of looking at an audit record from its beginning to its end."""

    site: SiteId
    head: Head
    """Its end."""
    faults: tuple[AuditFault, ...] = ()
    """What is wrong with it, and not settled by a person yet."""
    signed: SignedHead | None = None
    """What the site has signed last."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


class AuditBook:
    """The audit records as one site knows them."""

    def __init__(self, catalog: Catalog, home: Home) -> None:
        """The book of a site.

        Args:
            catalog: of this site.
            home: this site, with its key.
        """
        self._catalog = catalog
        self._home = home

    def sign(self, *, not_within: int = 0) -> SignedHead | None:
        """Sign the end of the record, if it is another one than was signed last.

        Args:
            not_within: microseconds since the last signature within which the last one is good enough.

        Returns:
            The latest signed head; None for a record without any deed.

        Raises:
            UnusableKey: the key of the node cannot be used.
        """
        with self._catalog.reading() as unit:
            last, end, now = unit.witnesses.last_signed(), unit.audit.head(), unit.now
        if not end.seq or (last and (last.head == end or 0 <= now - last.at < not_within)):
            return last
        key = self._home.key()

        def write(unit: Unit) -> SignedHead:
            made = sign(unit.origin, unit.audit.head(), unit.now, key.signing, key.fingerprint)
            unit.witnesses.signed(made)
            unit.witnesses.thin(unit.now - THIN)
            return made

        return self._catalog.perform(write)

    def told(self) -> Sequence[SignedHead]:
        """What members are told: the latest head of this site, and those that it has of others."""
        with self._catalog.reading() as unit:
            own = unit.witnesses.last_signed()
            others = [head for head in unit.witnesses.latest() if head.site != unit.origin]
        return [*([own] if own else []), *others][:HEADS]

    def heads(self, site: SiteId | None = None) -> Sequence[tuple[SignedHead, State]]:
        """All signed heads of a site that are kept here: of this one, if none is named."""
        with self._catalog.reading() as unit:
            if site is None or site == unit.origin:
                return [(head, State.CHECKED) for head in unit.witnesses.all_signed()]
            return unit.witnesses.of_site(site)

    def hear(self, heads: Iterable[SignedHead], via: SiteId) -> Sequence[AuditFault]:
        """Take heads in that a member tells, its own and those of others; what is wrong at first sight.

        A head whose signature does not hold, or whose site or key is not known here, counts for nothing.
        """
        with self._catalog.reading() as unit:
            new = [head for head in list(heads)[:HEADS] if self._is_new(unit, head)]
        if not new:
            return ()
        return self._catalog.perform(lambda unit: [one for head in new for one in _hear(unit, head, via)])

    def verify(self, progress: Progress = lambda _done, _of: None) -> Verified:
        """Look at the whole record of this site: at its chain, and at what was signed of it.

        Args:
            progress: told how far it is.
        """
        with self._catalog.reading() as unit:
            end, site = unit.audit.head(), unit.origin
            signed, marks = _own_marks(unit)
            forged = [head for head in signed if not self._is_signed(unit, head)]
        forgeries = {(head.seq, head.hash) for head in forged}
        examiner = Examiner(Head(), Head().hash, [m for m in marks if (m.seq, m.hash) not in forgeries])
        while examiner.seq < end.seq:
            last = min(examiner.seq + PAGE, end.seq)
            with self._catalog.reading() as unit:
                links = unit.audit.proof(examiner.seq, last).links
            examiner.take(links, last)
            progress(last, end.seq)
        examiner.ended(end.seq)
        found = [
            AuditFault(
                site=site, first=one.first, last=one.last, kind=one.kind, what=one.what or "found here"
            )
            for one in examiner.found()
        ] + [_forgery(site, head) for head in forged]
        self._catalog.perform(lambda unit: [unit.witnesses.blame(one) for one in found])
        with self._catalog.reading() as unit:
            return Verified(
                site=site,
                head=end,
                faults=tuple(unit.witnesses.faults(site)),
                signed=unit.witnesses.last_signed(),
            )

    def faults(self, site: SiteId | None = None, *, settled: bool = False) -> Sequence[AuditFault]:
        """What is wrong with the record of a site, or of any.

        Args:
            site: which one; all, if None.
            settled: whether to tell of those, too, into which a person has looked.
        """
        with self._catalog.reading() as unit:
            return unit.witnesses.faults(site, settled=settled)

    def settle(self, principal: Principal, site: SiteId, note: str) -> int:
        """Note that a person has looked into what is wrong with the record of a site.

        The faults stay in the book with the note, and raise no alert any more.

        Returns:
            How many there were.

        Raises:
            Forbidden: the principal may not read the audit record.
        """
        principal = Gate(self._catalog).demand(principal, Action.AUDIT)

        def write(unit: Unit) -> int:
            many = unit.witnesses.settle(site, str(principal), note)
            if many:
                what = f"faults of the audit record of {site} settled: {note}"
                unit.audit.append(deed_of(principal, Event.AUDIT_USED, what=what))
            return many

        return self._catalog.perform(write)

    def _is_new(self, unit: Unit, head: SignedHead) -> bool:
        """Whether a head is not in the book yet, and was signed by its site with a key that was good then."""
        if head.seq <= 0 or unit.witnesses.knows(head):
            return False
        certificate = self._keys(unit, head.site).get(head.certificate)
        if certificate is None:
            log.info("a signed end of an audit record is of no key that is known", extra={"of": head.site})
            return False
        is_good = _is_current(certificate, head.at) and is_signed(head, certificate.public)
        if not is_good:
            log.warning("a signed end of an audit record does not hold", extra={"of": head.site})
        return is_good

    def _keys(self, unit: Unit, site: SiteId) -> dict[str, Certificate]:
        own = self._home.certificates() if site == unit.origin else ()
        return certificates_ever(unit, site) | {one.fingerprint: one for one in own}

    def _is_signed(self, unit: Unit, head: SignedHead) -> bool:
        """Whether a head that is kept here as one of this site holds, as far as its key is known."""
        certificate = self._keys(unit, head.site).get(head.certificate)
        return certificate is None or is_signed(head, certificate.public)


def _is_current(certificate: Certificate, at: int) -> bool:
    try:
        certificate.demand_current(at, SKEW)
    except Expired:
        return False
    return True


def _hear(unit: Unit, head: SignedHead, via: SiteId) -> list[AuditFault]:
    """Remember a new head; two of one number are a fault by themselves."""
    if unit.witnesses.doubtful(head.site) >= DOUBTFUL:
        return []
    if head.site == unit.origin:
        return _hear_of_self(unit, head, via)
    others = [one for one in unit.witnesses.at(head.site, head.seq) if one.hash != head.hash]
    unit.witnesses.hear(head, via)
    if not others:
        return []
    first = unit.witnesses.base(head.site, head.seq - 1).seq + 1
    what = f"signed two ends of the same number, one of them told by {via}"
    fault = AuditFault(site=head.site, first=first, last=head.seq, kind=Fault.FORKED, what=what)
    return [fault] if unit.witnesses.blame(fault) else []


def _hear_of_self(unit: Unit, head: SignedHead, via: SiteId) -> list[AuditFault]:
    """Another site holds a head of this one: it has to be in the record here."""
    here = unit.audit.hash(head.seq)
    if here == head.hash:
        unit.witnesses.hear(head, via, State.CHECKED)
        return []
    unit.witnesses.hear(head, via, State.REFUTED)
    end = unit.audit.head().seq
    first = end + 1 if here is None else unit.witnesses.base(head.site, head.seq - 1).seq + 1
    kind = Fault.TRUNCATED if here is None else Fault.REWRITTEN
    what = f"{via} holds a signed end that is not in this record: restored from an old backup, or changed"
    fault = AuditFault(site=head.site, first=first, last=head.seq, kind=kind, what=what)
    return [fault] if unit.witnesses.blame(fault) else []


def _own_marks(unit: Unit) -> tuple[Sequence[SignedHead], list[Mark]]:
    """What the record of this site has to lead to: what it has signed, and what others hold of it."""
    signed = unit.witnesses.all_signed()
    marks = {one: one for one in unit.witnesses.marks(unit.origin)}
    for head in signed:
        mark = Mark(seq=head.seq, hash=head.hash, state=State.CHECKED)
        marks[mark] = mark
    return signed, list(marks)


def _forgery(site: SiteId, head: SignedHead) -> AuditFault:
    return AuditFault(
        site=site,
        first=head.seq,
        last=head.seq,
        kind=Fault.ALTERED,
        what="the signed end of this number is not what was signed",
    )
