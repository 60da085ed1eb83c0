"""Signed ends of audit records as rows: of this site, of the others, and what is wrong with any of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, desc, exists, func, insert, or_, select, update

from node.audit.heads import SignedHead
from node.audit.witness import AuditFault, Fault, Mark, State
from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.chain import Head
from node.domain.ids import SiteId

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_DAY = 86_400 * 1_000_000
_own, _witness, _fault = schema.audit_head.c, schema.witness.c, schema.audit_fault.c
_of_site = _witness.site == bindparam("site")
_sound = or_(_witness.state == State.HEARD, _witness.state == State.CHECKED, _witness.state == State.PASSED)
_trusted = or_(_witness.state == State.CHECKED, _witness.state == State.PASSED)
_signed = or_(_witness.state == State.HEARD, _witness.state == State.CHECKED)
_SIGN = Statement(insert(schema.audit_head).prefix_with("OR REPLACE", dialect="sqlite"))
_LAST_SIGNED = Statement(select(schema.audit_head).order_by(desc(_own.seq)).limit(1))
_SIGNED = Statement(select(schema.audit_head).where(_own.seq > bindparam("after")).order_by(_own.seq))
_later_own = schema.audit_head.alias()
_THIN_OWN = Statement(
    delete(schema.audit_head).where(
        _own.at < bindparam("before"),
        exists().where(_later_own.c.seq > _own.seq, _later_own.c.at / _DAY == _own.at / _DAY),
    )
)
_HEAR = Statement(insert(schema.witness).prefix_with("OR REPLACE", dialect="sqlite"))
_PASS = Statement(insert(schema.witness).prefix_with("OR IGNORE", dialect="sqlite"))
_STATE = Statement(
    update(schema.witness)
    .where(
        _witness.site == bindparam("of_site"),
        _witness.seq == bindparam("number"),
        _witness.hash == bindparam("end"),
    )
    .values(state=bindparam("to"))
)
_MARKS = Statement(
    select(_witness.seq, _witness.hash, _witness.state)
    .where(_of_site, _sound, _witness.seq > bindparam("after"))
    .order_by(_witness.seq)
)
_AT = Statement(
    select(_witness.hash, _witness.state).where(_of_site, _witness.seq == bindparam("number"), _signed)
)
_KNOWS = Statement(
    select(_witness.state).where(
        _of_site, _witness.seq == bindparam("number"), _witness.hash == bindparam("end")
    )
)
_BASE = Statement(
    select(_witness.seq, _witness.hash)
    .where(_of_site, _trusted, _witness.seq <= bindparam("until"))
    .order_by(desc(_witness.seq))
    .limit(1)
)
_NEXT = Statement(
    select(_witness.seq, _witness.hash)
    .where(_of_site, _trusted, _witness.seq >= bindparam("since"))
    .order_by(_witness.seq)
    .limit(1)
)
_FIRST_HEARD = Statement(select(func.min(_witness.seq)).where(_of_site, _witness.state == State.HEARD))
_DOUBTFUL = Statement(
    select(func.count())
    .select_from(schema.witness)
    .where(_of_site, or_(_witness.state == State.HEARD, _witness.state == State.REFUTED))
)
_newer = schema.witness.alias()
_LATEST = Statement(
    select(schema.witness)
    .where(
        _signed,
        ~exists().where(
            _newer.c.site == _witness.site,
            or_(_newer.c.state == State.HEARD, _newer.c.state == State.CHECKED),
            _newer.c.seq > _witness.seq,
        ),
    )
    .order_by(_witness.site, _witness.hash)
)
_OF_SITE = Statement(
    select(schema.witness).where(_of_site, _witness.signature != "").order_by(_witness.seq, _witness.hash)
)
_later = schema.witness.alias()
_THIN = Statement(
    delete(schema.witness).where(
        _witness.heard_at < bindparam("before"),
        _witness.state == State.CHECKED,
        exists().where(
            _later.c.site == _witness.site,
            _later.c.state == State.CHECKED,
            _later.c.seq > _witness.seq,
            _later.c.heard_at / _DAY == _witness.heard_at / _DAY,
        ),
    )
)
_BLAME = Statement(insert(schema.audit_fault))
_WITHIN = Statement(
    select(_fault.site).where(
        _fault.site == bindparam("site"),
        _fault.kind == bindparam("of"),
        _fault.first <= bindparam("b"),
        _fault.last >= bindparam("e"),
    )
)
_FAULTS = Statement(select(schema.audit_fault).order_by(_fault.site, _fault.first, _fault.kind))
_SETTLE = Statement(
    update(schema.audit_fault)
    .where(_fault.site == bindparam("of_site"), _fault.settled_at == 0)
    .values(settled_at=bindparam("now"), settled_by=bindparam("who"), note=bindparam("why"))
)


class Witnesses:
    """What is remembered of audit records, here and elsewhere."""

    def __init__(self, unit: Unit) -> None:
        """The witnesses within a unit of work."""
        self._unit = unit

    # ---- what this site has signed

    def signed(self, head: SignedHead) -> None:
        """Keep a head that this site has signed."""
        self._unit.run(
            _SIGN,
            seq=head.seq,
            hash=head.hash,
            at=head.at,
            signature=head.signature,
            certificate=head.certificate,
        )

    def last_signed(self) -> SignedHead | None:
        """The head that this site has signed last."""
        row = self._unit.run(_LAST_SIGNED).fetchone()
        return self._signed_of(row) if row else None

    def all_signed(self, after: int = 0) -> Sequence[SignedHead]:
        """The heads that this site has signed, beyond a number."""
        return [self._signed_of(row) for row in self._unit.run(_SIGNED, after=after).fetchall()]

    # ---- what others have signed

    def hear(self, head: SignedHead, via: str, state: State = State.HEARD) -> None:
        """Remember a head that is not known here yet; one at a place that was passed is checked already."""
        if state is State.HEARD and self._state(head) == State.PASSED:
            state = State.CHECKED
        row = self._row(head.site, head.head, state)
        row |= {"at": head.at, "signature": head.signature, "certificate": head.certificate, "via": via}
        self._unit.run(_HEAR, **row)

    def knows(self, head: SignedHead) -> bool:
        """Whether that end is here as one that its site has signed."""
        return self._state(head) not in {None, State.PASSED}

    def passed(self, site: SiteId, heads: Iterable[Head]) -> None:
        """Remember places of the record of another site that were computed here."""
        for head in heads:
            self._unit.run(_PASS, **self._row(site, head, State.PASSED))

    def move(self, site: SiteId, marks: Iterable[Mark], to: State) -> None:
        """Say what is known now of remembered heads."""
        for one in marks:
            self._unit.run(_STATE, of_site=site, number=one.seq, end=one.hash, to=to)

    def marks(self, site: SiteId, after: int = 0) -> Sequence[Mark]:
        """What the record of a site has to lead to, beyond a number."""
        rows = self._unit.run(_MARKS, site=site, after=after).fetchall()
        return [Mark(seq=seq, hash=end, state=State(state)) for seq, end, state in rows]

    def at(self, site: SiteId, seq: int) -> Sequence[Mark]:
        """The heads of that number that a site has signed and that were not refuted."""
        rows = self._unit.run(_AT, site=site, number=seq).fetchall()
        return [Mark(seq=seq, hash=end, state=State(state)) for end, state in rows]

    def base(self, site: SiteId, until: int) -> Head:
        """The last place up to a number to which the record of a site was seen to lead."""
        row = self._unit.run(_BASE, site=site, until=until).fetchone()
        return Head(seq=row[0], hash=row[1]) if row else Head()

    def next(self, site: SiteId, since: int) -> Head | None:
        """The first place from a number on to which the record of a site was seen to lead."""
        row = self._unit.run(_NEXT, site=site, since=since).fetchone()
        return Head(seq=row[0], hash=row[1]) if row else None

    def first_heard(self, site: SiteId) -> int | None:
        """The number of the first head of a site that was not looked into yet."""
        row = self._unit.run(_FIRST_HEARD, site=site).fetchone()
        return row[0] if row else None

    def doubtful(self, site: SiteId) -> int:
        """How many heads of a site are kept to which its record was not seen to lead."""
        row = self._unit.run(_DOUBTFUL, site=site).fetchone()
        return row[0] if row else 0

    def latest(self) -> Sequence[SignedHead]:
        """The furthest head of each site, for members to hear of; both, where a site has signed two."""
        return [_witness_of(row) for row in self._unit.run(_LATEST).fetchall()]

    def of_site(self, site: SiteId) -> Sequence[tuple[SignedHead, State]]:
        """All that a site has signed and that is kept here, with what is known of each."""
        rows = self._unit.run(_OF_SITE, site=site).fetchall()
        return [(_witness_of(row), State(row[8])) for row in rows]

    def thin(self, before: int) -> None:
        """Keep one head of each day of those that are older; the later ones of a chain vouch for them."""
        self._unit.run(_THIN_OWN, before=before)
        self._unit.run(_THIN, before=before)

    # ---- what is wrong

    def blame(self, fault: AuditFault) -> bool:
        """Keep a fault; whether it is new, and not within one that is known."""
        if self._unit.run(_WITHIN, site=fault.site, of=fault.kind, b=fault.first, e=fault.last).fetchone():
            return False
        self._unit.run(
            _BLAME,
            site=fault.site,
            first=fault.first,
            last=fault.last,
            kind=fault.kind,
            what=fault.what,
            found_at=self._unit.now,
            settled_at=0,
            settled_by="",
            note="",
        )
        return True

    def faults(self, site: SiteId | None = None, *, settled: bool = False) -> Sequence[AuditFault]:
        """What is wrong with the record of a site, or of any; what somebody has settled only if asked for."""
        found = [_fault_of(row) for row in self._unit.run(_FAULTS).fetchall()]
        return [
            one for one in found if (site is None or one.site == site) and (settled or not one.settled_at)
        ]

    def settle(self, site: SiteId, who: str, note: str) -> int:
        """Note that a person has looked into the faults of a site; how many there were."""
        done = self._unit.run(_SETTLE, of_site=site, now=self._unit.now, who=who, why=note)
        return done.rowcount

    def _state(self, head: SignedHead) -> State | None:
        row = self._unit.run(_KNOWS, site=head.site, number=head.seq, end=head.hash).fetchone()
        return State(row[0]) if row else None

    def _signed_of(self, row: Sequence[Any]) -> SignedHead:
        seq, end, at, signature, certificate = row
        return SignedHead(
            site=self._unit.origin, seq=seq, hash=end, at=at, signature=signature, certificate=certificate
        )

    def _row(self, site: SiteId, head: Head, state: State) -> dict[str, Any]:
        return {
            "site": site,
            "seq": head.seq,
            "hash": head.hash,
            "at": 0,
            "signature": "",
            "certificate": "",
            "via": "",
            "heard_at": self._unit.now,
            "state": state,
        }


def _witness_of(row: Sequence[Any]) -> SignedHead:
    site, seq, end, at, signature, certificate, *_ = row
    return SignedHead(
        site=SiteId.trusted(site), seq=seq, hash=end, at=at, signature=signature, certificate=certificate
    )


def _fault_of(row: Sequence[Any]) -> AuditFault:
    site, first, last, kind, what, found_at, settled_at, settled_by, note = row
    return AuditFault(
        site=SiteId.trusted(site),
        first=first,
        last=last,
        kind=Fault(kind),
        what=what,
        found_at=found_at,
        settled_at=settled_at,
        settled_by=settled_by,
        note=note,
    )
