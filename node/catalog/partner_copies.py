"""Copies at partners as rows: what of this archive is where a backup is kept, as far as is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, bindparam, delete, exists, func, insert, or_, select, union

from node.catalog import schema, traits
from node.catalog.statement import Statement
from node.domain.ids import UID, Digest, InstanceUID, StudyUID
from node.domain.partner import THERE, CopyThere, PartnerCopy
from node.domain.rule import Traits

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_copy, _instance, _series, _study, _want = (
    table.c for table in (schema.partner_copy, schema.instance, schema.series, schema.study, schema.want)
)
_COLUMNS = (
    _copy.instance,
    _copy.study,
    _copy.digest,
    _copy.state,
    _copy.at,
    _copy.txn,
    _copy.asked_at,
    _copy.why,
)
_OF_PARTNER = _copy.partner == bindparam("at_partner")


def _in(*states: CopyThere) -> ColumnElement[bool]:
    """A list of states as it can be compiled once."""
    return or_(*(_copy.state == state.value for state in states))


_OF_STUDY = Statement(select(*_COLUMNS).where(_OF_PARTNER, _copy.study == bindparam("of_study")))
_FIND = Statement(select(*_COLUMNS).where(_OF_PARTNER, _copy.instance == bindparam("of")))
_SAVE = Statement(insert(schema.partner_copy).prefix_with("OR REPLACE", dialect="sqlite"))
_DROP = Statement(delete(schema.partner_copy).where(_OF_PARTNER, _copy.instance == bindparam("of")))
_OPEN = Statement(
    select(_copy.study)
    .distinct()
    .join(schema.instance, _instance.uid == _copy.instance)
    .where(
        _OF_PARTNER,
        _in(CopyThere.OWED, CopyThere.SENT),
        _instance.held == 1,
    )
    .order_by(_copy.study)
)
_COUNTS = Statement(
    select(_copy.state, func.count(), func.sum(_instance.size))
    .join(schema.instance, _instance.uid == _copy.instance)
    .where(_OF_PARTNER)
    .group_by(_copy.state)
)
_LEFT_BEHIND = Statement(
    select(*_COLUMNS)
    .where(
        _OF_PARTNER,
        _in(*sorted(THERE)),
        ~exists().where(_instance.uid == _copy.instance),
    )
    .order_by(_copy.study, _copy.instance)
)
_IN_STATE = Statement(
    select(*_COLUMNS)
    .join(schema.instance, _instance.uid == _copy.instance)
    .where(_OF_PARTNER, _copy.state == bindparam("in_state"))
    .order_by(_copy.study, _copy.instance)
)
_UNCOMMITTED = Statement(
    select(*_COLUMNS)
    .where(
        _OF_PARTNER,
        _copy.state == CopyThere.FOUND.value,
        _copy.digest != "",
        _copy.asked_at < bindparam("before"),
        exists().where(_instance.uid == _copy.instance, _instance.digest == _copy.digest),
    )
    .limit(bindparam("many"))
)
_AWAITED = Statement(
    select(func.count())
    .select_from(schema.partner_copy)
    .where(
        _OF_PARTNER,
        _copy.state == CopyThere.FOUND.value,
        _copy.why == "",
        _copy.asked_at >= bindparam("since"),
    )
)
_ASKED = Statement(
    select(*_COLUMNS).where(
        _OF_PARTNER, _copy.instance == bindparam("of"), _copy.txn == bindparam("transaction")
    )
)
_HELD = Statement(
    select(_instance.uid)
    .join(schema.series, _series.id == _instance.series)
    .join(schema.study, _study.id == _series.study)
    .where(_study.uid == bindparam("of_study"), _instance.held == 1)
)
_STUDIES = Statement(
    union(
        select(_study.uid.label("uid")).where(_study.uid > bindparam("after")),
        select(_copy.study.label("uid")).where(_OF_PARTNER, _copy.study > bindparam("after")),
    )
    .order_by("uid")
    .limit(bindparam("many"))
)
_LAST_ROW = Statement(select(func.coalesce(func.max(_instance.id), 0)))
_COUNT_STUDIES = Statement(select(func.count(_study.uid.distinct())))
_ARRIVED = Statement(
    select(_instance.id, _instance.uid)
    .where(
        _instance.id > bindparam("after"),
        or_(_instance.held == 1, exists().where(_want.digest == _instance.digest)),
    )
    .order_by(_instance.id)
    .limit(bindparam("many"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """How many copies there are, and their bytes."""

    copies: int = 0
    bytes: int = 0


class PartnerCopies:
    """What is known of the copies at a partner."""

    def __init__(self, unit: Unit) -> None:
        """The copies within a unit of work."""
        self._unit = unit

    def of_study(self, partner: str, study: StudyUID) -> dict[InstanceUID, PartnerCopy]:
        """The copies of the instances of a study."""
        rows = self._unit.run(_OF_STUDY, at_partner=partner, of_study=study).fetchall()
        return {copy.instance: copy for copy in map(_copy_of, rows)}

    def find(self, partner: str, instance: InstanceUID) -> PartnerCopy | None:
        """The copy of an instance."""
        row = self._unit.run(_FIND, at_partner=partner, of=instance).fetchone()
        return _copy_of(row) if row else None

    def save(self, partner: str, copies: Iterable[PartnerCopy]) -> None:
        """Write what is known of these copies."""
        for copy in copies:
            self._unit.run(
                _SAVE,
                partner=partner,
                instance=copy.instance,
                study=copy.study,
                digest=copy.digest or "",
                state=copy.state,
                at=copy.at,
                txn=copy.transaction or "",
                asked_at=copy.asked_at,
                why=copy.why,
            )

    def drop(self, partner: str, instances: Iterable[InstanceUID]) -> None:
        """Nothing is to be known of these copies any more."""
        for uid in instances:
            self._unit.run(_DROP, at_partner=partner, of=uid)

    def open_studies(self, partner: str) -> Sequence[StudyUID]:
        """Studies of which something is still to be sent or to be looked for there."""
        rows = self._unit.run(_OPEN, at_partner=partner).fetchall()
        return [StudyUID.trusted(study) for (study,) in rows]

    def studies(self, partner: str, after: str, many: int) -> Sequence[StudyUID]:
        """Studies that are here or of which copies are known there, by their UID."""
        rows = self._unit.run(_STUDIES, at_partner=partner, after=after, many=many).fetchall()
        return [StudyUID.trusted(study) for (study,) in rows]

    def count_studies(self) -> int:
        """How many studies are here."""
        return int(self._unit.run(_COUNT_STUDIES).fetchall()[0][0])

    def held(self, study: StudyUID) -> set[str]:
        """The instances of a study whose bytes are here."""
        return {row[0] for row in self._unit.run(_HELD, of_study=study).fetchall()}

    def last_row(self) -> int:
        """The last row of what came into the catalog; rows that went may be given to others."""
        return int(self._unit.run(_LAST_ROW).fetchall()[0][0])

    def arrived(self, after: int, many: int) -> list[tuple[int, InstanceUID, Digest, Traits]]:
        """What came into the catalog after a row, with its bytes or with these on their way: row by row."""
        found = self._unit.run(_ARRIVED, after=after, many=many).fetchall()
        named = [(row, InstanceUID.trusted(uid)) for row, uid in found]
        known = traits.of(self._unit, [uid for _, uid in named])
        return [
            (row, uid, digest, known[uid])
            for row, uid in named
            if uid in known and (digest := self._unit.instances.digest(uid)) is not None
        ]

    def counts(self, partner: str) -> dict[CopyThere, Sum]:
        """How many copies are in each state, of instances that are shown here."""
        rows = self._unit.run(_COUNTS, at_partner=partner).fetchall()
        return {CopyThere(state): Sum(copies=copies, bytes=size or 0) for state, copies, size in rows}

    def left_behind(self, partner: str) -> Sequence[PartnerCopy]:
        """Copies that are there although the instances are shown here no longer: they were withdrawn."""
        return [_copy_of(row) for row in self._unit.run(_LEFT_BEHIND, at_partner=partner).fetchall()]

    def in_state(self, partner: str, state: CopyThere) -> Iterator[PartnerCopy]:
        """The copies in a state, of instances that are shown here."""
        rows = self._unit.run(_IN_STATE, at_partner=partner, in_state=state).fetchall()
        return map(_copy_of, rows)

    def uncommitted(self, partner: str, before: int, many: int) -> Sequence[PartnerCopy]:
        """Copies that are found there, and about which no commitment was asked since a time."""
        rows = self._unit.run(_UNCOMMITTED, at_partner=partner, before=before, many=many).fetchall()
        return [_copy_of(row) for row in rows]

    def awaited(self, partner: str, since: int) -> int:
        """Of how many copies the partner was asked for commitment since a time, and has not answered."""
        return int(self._unit.run(_AWAITED, at_partner=partner, since=since).fetchall()[0][0])

    def asked(self, partner: str, transaction: UID, instances: Iterable[InstanceUID]) -> list[PartnerCopy]:
        """Those of the copies about which this Storage Commitment request was made."""
        found = []
        for uid in instances:
            row = self._unit.run(_ASKED, at_partner=partner, of=uid, transaction=transaction).fetchone()
            if row:
                found.append(_copy_of(row))
        return found


def _copy_of(row: Sequence[Any]) -> PartnerCopy:
    instance, study, digest, state, at, transaction, asked_at, why = row
    return PartnerCopy(
        instance=InstanceUID.trusted(instance),
        study=StudyUID.trusted(study),
        digest=Digest.trusted(digest) if digest else None,
        state=CopyThere(state),
        at=at,
        transaction=UID.trusted(transaction) if transaction else None,
        asked_at=asked_at,
        why=why,
    )
