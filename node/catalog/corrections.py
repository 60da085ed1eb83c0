"""Corrections and merges laid over the rows: what persons decided about patients and studies.

The rows hold what the earliest instance tells, then corrections, latest last. A merged patient keeps its
row, hidden, and its studies are shown under the other one, so that a merge can be taken back:

```
patient A, merged ◀── study.patient ── study ── study.shown ──▶ patient B
```

While the patient into whom others were merged has no studies here itself, it has no row, and they are shown
as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from node.catalog import schema
from node.catalog.arrival import Arrival, read, written
from node.catalog.attributes import ATTRIBUTES, MODALITIES_IN_STUDY, Attribute
from node.catalog.matching import name
from node.catalog.statement import Statement
from node.domain.query import Cell, Level
from node.journal.entry import Fact, patient_subject
from node.journal.merge import Patient, corrections, merges, roots

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_patient, _study, _merging = schema.patient.c, schema.study.c, schema.merging.c
_WHO = Statement(select(_patient.issuer, _patient.patient_id).where(_patient.id == bindparam("row")))
_WHICH = Statement(select(_study.uid).where(_study.id == bindparam("row")))
_MORE = {
    Level.PATIENT: Statement(select(_patient.more).where(_patient.id == bindparam("row"))),
    Level.STUDY: Statement(select(_study.more).where(_study.id == bindparam("row"))),
}
_PATIENT_ROW = Statement(
    select(_patient.id).where(
        _patient.patient_id == bindparam("patient_id"), _patient.issuer == bindparam("issuer")
    )
)
_STUDY_ROWS = Statement(select(_study.id).where(_study.uid == bindparam("uid")).order_by(_study.stamp))
_SET_MERGED = Statement(
    update(schema.patient).where(_patient.id == bindparam("row")).values(merged=bindparam("whether"))
)
_SHOW = Statement(
    update(schema.study).where(_study.patient == bindparam("of_patient")).values(shown=bindparam("under"))
)
_MERGED = (_merging.issuer, _merging.patient_id)
_INTO = (_merging.into_issuer, _merging.into_id)
_NOTE = Statement(insert(schema.merging).prefix_with("OR REPLACE", dialect="sqlite"))
_DROP = Statement(
    delete(schema.merging).where(
        _merging.patient_id == bindparam("of_id"), _merging.issuer == bindparam("of_issuer")
    )
)
_DROP_ALL = Statement(delete(schema.merging))
_ALL = Statement(select(*_MERGED, *_INTO))
_ANY = Statement(select(_merging.patient_id).limit(1))
_FORWARD = Statement(
    select(*_INTO).where(
        _merging.patient_id == bindparam("patient_id"), _merging.issuer == bindparam("issuer")
    )
)
_BACKWARD = Statement(
    select(*_MERGED).where(
        _merging.into_id == bindparam("patient_id"), _merging.into_issuer == bindparam("issuer")
    )
)
_other = schema.study.alias().c
_TWINS = Statement(
    select(_study.uid)
    .join(schema.patient, _patient.id == _study.patient)
    .join(schema.merging, (_merging.patient_id == _patient.patient_id) & (_merging.issuer == _patient.issuer))
    .join(_other.id.table, (_other.uid == _study.uid) & (_other.shown == _study.shown))
    .group_by(_study.id, _study.uid)
    .having(func.count() > 1)
)
_TABLES = {Level.PATIENT: schema.patient, Level.STUDY: schema.study}
IDENTITY_REMOVED = 0x00120062
"""Patient Identity Removed (PS3.3 C.7.1.1): true of the bytes or not, and no word makes it so."""
_IDENTITY = frozenset({"uid", "patient_id", "issuer"})


def _correctable(level: Level) -> dict[int, Attribute]:
    return {
        tag: attribute
        for tag, attribute in ATTRIBUTES.items()
        if attribute.level is level
        and attribute.vr != "SQ"
        and tag not in {MODALITIES_IN_STUDY, IDENTITY_REMOVED}
        and attribute.column not in _IDENTITY
    }


CORRECTABLE: Mapping[Level, Mapping[int, Attribute]] = {
    level: _correctable(level) for level in (Level.PATIENT, Level.STUDY)
}
"""What a person may correct: not the identity, nor whether it was removed, nor what is counted from below."""


class Corrections:
    """What persons decided, laid over what the instances tell."""

    def __init__(self, unit: Unit) -> None:
        """The corrections within a unit of work."""
        self._unit = unit

    def lay_over(self, level: Level, row: int) -> None:
        """Lay the corrections of a patient or study over its row."""
        if level is Level.PATIENT:
            who = self._unit.run(_WHO, row=row).fetchone()
            assert who is not None
            self._lay(level, row, patient_subject(*who))
        elif level is Level.STUDY:
            which = self._unit.run(_WHICH, row=row).fetchone()
            assert which is not None
            self._lay(level, row, which[0])

    def rows(self, says: Mapping[str, Any]) -> Sequence[tuple[Level, int]]:
        """The rows of the study or patient that a fact is about; none where it is not here."""
        if "study" in says:
            rows = self._unit.run(_STUDY_ROWS, uid=says["study"]).fetchall()
            return [(Level.STUDY, row[0]) for row in rows]
        issuer, patient_id = says["patient"]
        row = self._row((issuer, patient_id))
        return [] if row is None else [(Level.PATIENT, row)]

    def study_made(self, row: int, arrival: Arrival) -> None:
        """A study is new here: it may have been corrected, or belong to a merged patient."""
        self._lay(Level.STUDY, row, arrival.study)
        patient = (arrival.issuer, arrival.patient_id)
        if self.into(patient):
            self._group_around(patient)

    def patient_made(self, row: int, arrival: Arrival) -> None:
        """A patient is new here, and may have been corrected or merged with others."""
        self._lay(Level.PATIENT, row, patient_subject(arrival.issuer, arrival.patient_id))
        self._group_around((arrival.issuer, arrival.patient_id))

    def patient_gone(self, issuer: str, patient_id: str) -> None:
        """A patient has no row any more: studies of others that were shown under it need another place."""
        self._group_around((issuer, patient_id))

    def merged(self, patient: Patient) -> None:
        """A fact about a merge of this patient is new: note what all of them add up to."""
        target = merges(self._unit.journal.about(patient_subject(*patient))).get(patient)
        before = self._together(patient)[0]
        self._unit.run(_DROP, of_issuer=patient[0], of_id=patient[1])
        if target is not None:
            self._note(patient, target)
        self._group(*self._together(patient))
        self._group(*self._together(*(before - {patient})))

    def regroup(self) -> None:
        """Note all merges anew from the facts, and show every study under the patient that follows."""
        facts = self._unit.journal.of_kind(Fact.MERGE)
        if not facts and not self.any_merged():
            return
        known = {patient for edge in self._edges().items() for patient in edge}
        self._unit.run(_DROP_ALL)
        into = merges(facts)
        for patient, target in into.items():
            self._note(patient, target)
        self._group(known | {patient for edge in into.items() for patient in edge}, into)

    def into(self, patient: Patient) -> Patient | None:
        """Into whom a patient was merged itself."""
        found = self._unit.run(_FORWARD, issuer=patient[0], patient_id=patient[1]).fetchone()
        return (found[0], found[1]) if found else None

    def root(self, patient: Patient) -> Patient:
        """The patient under whom the studies of this one belong."""
        return roots(self._together(patient)[1]).get(patient, patient)

    def same(self, patient: Patient) -> frozenset[Patient]:
        """The patient with all others that merges connect with it."""
        return frozenset(self._together(patient)[0])

    def any_merged(self) -> bool:
        """Whether there is any merged patient at all."""
        return self._unit.run(_ANY).fetchone() is not None

    def twins(self) -> frozenset[str]:
        """Studies of which a patient has two since a merge: one UID came for both that are one now."""
        if not self.any_merged():
            return frozenset()
        return frozenset(row[0] for row in self._unit.run(_TWINS).fetchall())

    def _group_around(self, patient: Patient) -> None:
        together, into = self._together(patient)
        if into:
            self._group(together, into)

    def _together(self, *patients: Patient) -> tuple[set[Patient], dict[Patient, Patient]]:
        """All patients that merges connect with these, and the merges."""
        found, todo = set(patients), list(patients)
        into: dict[Patient, Patient] = {}
        while todo:
            patient = todo.pop()
            near = self._unit.run(_BACKWARD, issuer=patient[0], patient_id=patient[1]).fetchall()
            target = self.into(patient)
            if target is not None:
                into[patient] = target
                near.append(target)
            new = set(near) - found
            found |= new
            todo += new
        return found, into

    def _group(self, patients: set[Patient], into: Mapping[Patient, Patient]) -> None:
        """Show the studies of each patient under the one at the end of its chain of merges."""
        ends = roots(into)
        for patient in patients:
            root = ends.get(patient)
            row, under = self._row(patient), self._row(root) if root else None
            if row is not None:
                self._unit.run(_SET_MERGED, row=row, whether=int(under is not None))
                self._unit.run(_SHOW, of_patient=row, under=row if under is None else under)

    def _edges(self) -> dict[Patient, Patient]:
        rows = self._unit.run(_ALL).fetchall()
        return {(issuer, known): (into_issuer, into) for issuer, known, into_issuer, into in rows}

    def _note(self, patient: Patient, target: Patient) -> None:
        self._unit.run(
            _NOTE, issuer=patient[0], patient_id=patient[1], into_issuer=target[0], into_id=target[1]
        )

    def _row(self, patient: Patient) -> int | None:
        found = self._unit.run(_PATIENT_ROW, issuer=patient[0], patient_id=patient[1]).fetchone()
        return found[0] if found else None

    def _lay(self, level: Level, row: int, subject: str) -> None:
        """Lay over what the facts add up to; what another version of the node may correct is left."""
        known = CORRECTABLE[level]
        corrected = corrections(self._unit.journal.about(subject))
        corrected = {tag: text for tag, text in corrected.items() if tag in known and isinstance(text, str)}
        if corrected:
            self._set(level, row, corrected)

    def _set(self, level: Level, row: int, corrected: Mapping[int, str]) -> None:
        table = _TABLES[level]
        found = self._unit.run(_MORE[level], row=row).fetchone()
        more: dict[int, Cell] = read(found[0]) if found else {}
        values: dict[str, Any] = {}
        for tag, value in corrected.items():
            column = ATTRIBUTES[tag].column
            if column is not None:
                values[column] = value
                if f"{column}_folded" in table.c:
                    values[f"{column}_folded"] = name(value)
            elif value:
                more[tag] = value
            else:
                more.pop(tag, None)
        statement = (
            update(table).where(table.c.id == row).values(**values, more=written(more) if more else "")
        )
        self._unit.change(statement)
