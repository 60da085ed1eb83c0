"""The forms of an instance whose bytes are here: the archived one, those in conflict, those withdrawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, literal_column, select

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import Digest, InstanceUID, TransferSyntaxUID
from node.journal.entry import Fact

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_instance, _conflict, _withdrawn = schema.instance.c, schema.conflict.c, schema.withdrawn.c
_journal = schema.journal.c


def _columns(table: object) -> tuple[object, ...]:
    c = table.c  # type: ignore[attr-defined]
    return c.digest, c.size, c.transfer_syntax, c.source, c.arrived_at, c.stamp


_ARCHIVED = Statement(
    select(*_columns(schema.instance)).where(_instance.uid == bindparam("uid"), _instance.held == 1)  # type: ignore[call-overload]
)
_CONFLICTING = Statement(
    select(*_columns(schema.conflict)).where(_conflict.instance == bindparam("uid"), _conflict.held == 1)  # type: ignore[call-overload]
)
_WITHDRAWN = Statement(
    select(*_columns(schema.withdrawn)).where(_withdrawn.instance == bindparam("uid"))  # type: ignore[call-overload]
)
_SHOWN = Statement(
    select(_instance.digest, _instance.stamp, _instance.held).where(_instance.uid == bindparam("uid"))
)
_WITHDRAW = Statement(insert(schema.withdrawn).prefix_with("OR REPLACE", dialect="sqlite"))
_RESTORED = Statement(delete(schema.withdrawn).where(_withdrawn.instance == bindparam("of")))
_OF_STUDY = Statement(select(_withdrawn.instance).where(_withdrawn.study == bindparam("study")).distinct())
_SELDOM: ColumnElement[bool] = literal_column(
    "kind NOT IN ('instance', 'copies', 'compare', 'quarantine', 'settle')"
)
"""The condition of the index by kind."""
_TOLD_OF_STUDY = Statement(
    select(_journal.subject)
    .where(
        _SELDOM,
        _journal.kind == bindparam("kind"),
        func.json_extract(_journal.payload, "$.study") == bindparam("study"),
    )
    .distinct()
)
_BY_DIGEST = tuple(
    Statement(query)
    for query in (
        select(_instance.uid).where(_instance.digest == bindparam("digest"), _instance.held == 1),
        select(_conflict.instance).where(_conflict.digest == bindparam("digest"), _conflict.held == 1),
        select(_withdrawn.instance).where(_withdrawn.digest == bindparam("digest")),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredForm:
    """A form whose bytes are in the store of this site."""

    digest: Digest
    size: int
    transfer_syntax: TransferSyntaxUID
    source: str
    arrived_at: int
    stamp: str


class Forms:
    """Everything that is here of an instance, shown or not."""

    def __init__(self, unit: Unit) -> None:
        """The forms within a unit of work."""
        self._unit = unit

    def here(self, uid: InstanceUID) -> list[StoredForm]:
        """All forms of an instance whose bytes are here."""
        return [
            _form_of(*row)
            for statement in (_ARCHIVED, _CONFLICTING, _WITHDRAWN)
            for row in self._unit.run(statement, uid=uid).fetchall()
        ]

    def here_of(self, uids: Sequence[InstanceUID]) -> list[tuple[InstanceUID, StoredForm]]:
        """All forms of many instances whose bytes are here and that are not withdrawn."""
        found: list[tuple[InstanceUID, StoredForm]] = []
        for table, uid in ((schema.instance, _instance.uid), (schema.conflict, _conflict.instance)):
            query = select(uid, *_columns(table)).where(uid.in_(uids), table.c.held == 1)
            for name, *form in self._unit.rows(query):
                found.append((InstanceUID.trusted(name), _form_of(*form)))
        return found

    def withdrawn_among(self, uids: Sequence[InstanceUID]) -> set[str]:
        """Those of the instances that are hidden here."""
        query = select(_withdrawn.instance).where(_withdrawn.instance.in_(uids))
        return {row[0] for row in self._unit.rows(query)}

    def shown(self, uid: InstanceUID) -> tuple[Digest, str] | None:
        """Digest and stamp of the archived form, where its bytes are here."""
        row = self._unit.run(_SHOWN, uid=uid).fetchone()
        return (Digest.trusted(row[0]), row[1]) if row and row[2] else None

    def holder_of(self, digest: Digest) -> InstanceUID | None:
        """The instance whose form these bytes are, if they are here."""
        for statement in _BY_DIGEST:
            if row := self._unit.run(statement, digest=digest).fetchone():
                return InstanceUID.trusted(row[0])
        return None

    def is_withdrawn(self, uid: InstanceUID) -> bool:
        """Whether an instance is hidden here."""
        return self._unit.run(_WITHDRAWN, uid=uid).fetchone() is not None

    def withdraw(self, uid: InstanceUID, form: StoredForm, *, study: str, traits: str) -> None:
        """Keep a form, hidden.

        Args:
            uid: the instance.
            form: its bytes.
            study: its Study Instance UID.
            traits: JSON of the traits by which rules know it.
        """
        self._unit.run(
            _WITHDRAW,
            instance=uid,
            digest=form.digest,
            transfer_syntax=form.transfer_syntax,
            size=form.size,
            source=form.source,
            arrived_at=form.arrived_at,
            stamp=form.stamp,
            study=study,
            traits=traits,
        )

    def restore(self, uid: InstanceUID) -> None:
        """The forms of an instance are not hidden any more."""
        self._unit.run(_RESTORED, of=uid)

    def withdrawn_of(self, study: str) -> list[InstanceUID]:
        """The instances of a study that somebody withdrew, whether their bytes have come here or not."""
        here = self._unit.run(_OF_STUDY, study=study).fetchall()
        told = self._unit.run(_TOLD_OF_STUDY, study=study, kind=Fact.RETRACT).fetchall()
        return [InstanceUID.trusted(uid) for uid in sorted({row[0] for row in [*here, *told]})]


def _form_of(
    digest: str, size: int, transfer_syntax: str, source: str, arrived_at: int, stamp: str
) -> StoredForm:
    return StoredForm(
        digest=Digest.trusted(digest),
        size=size,
        transfer_syntax=TransferSyntaxUID.trusted(transfer_syntax),
        source=source,
        arrived_at=arrived_at,
        stamp=stamp,
    )
