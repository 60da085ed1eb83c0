"""What persons decide about what is archived: corrections, merges, withdrawals, locks.

Each decision is a fact of this site's journal that its rows follow at once, and the rows of other sites when
they hear of it. The stored bytes stay as they are: a correction changes what queries tell, a withdrawal
what is found and given at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from node.archive import owing, wanting
from node.archive.derive import derive, retell, state_of
from node.archive.values import checked, demand_reason
from node.audit.record import Event, deed_of
from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.catalog.corrections import CORRECTABLE
from node.catalog.removal import teller
from node.catalog.resources import studies_about
from node.catalog.selection import chosen
from node.catalog.unit import Unit
from node.domain.errors import (
    Locked,
    MalformedQuery,
    MalformedValue,
    Rejected,
    Unknown,
    UnknownInstance,
    UnknownPatient,
    UnknownStudy,
)
from node.domain.ids import InstanceUID, StudyUID
from node.domain.principal import Action, Principal
from node.domain.query import Level, Selection
from node.identity.gate import Gate, demand_taking
from node.journal.entry import Entry, Fact
from node.journal.merge import Patient, locked_until

Values: TypeAlias = Mapping[int, str | None]
"""New values by tag; None takes back what corrections said, so that the instances tell again."""


class Amend:
    """The doors for decisions; each is open to those who may amend what is archived.

    A backup decides nothing: each of them raises `ReadOnly` there.
    """

    def __init__(self, blobs: BlobStore, catalog: Catalog) -> None:
        """The doors of an archive.

        Args:
            blobs: from where headers are read again.
            catalog: where the facts go.
        """
        self._blobs = blobs
        self._catalog = catalog
        self._gate = Gate(catalog)

    def correct(self, principal: Principal, about: StudyUID | Patient, values: Values, reason: str) -> None:
        """Correct what is told of a study or of a patient (issuer, Patient ID).

        Raises:
            Forbidden: the policy says no.
            UnknownStudy, UnknownPatient: it is not here.
            MalformedValue: an attribute cannot be corrected at this level, or not to this value.
            Rejected: there is nothing to correct, or no reason.
        """

        def change(unit: Unit, principal: Principal) -> None:
            level, says = (
                (Level.STUDY, {"study": about})
                if isinstance(about, str)
                else (Level.PATIENT, {"patient": about})
            )
            if not unit.corrections.rows(says):
                raise UnknownStudy(about) if level is Level.STUDY else UnknownPatient
            told = {f"{tag:08X}": value for tag, value in _checked(level, values).items()}
            entry = unit.journal.append(
                Fact.CORRECT, {**says, "set": told, "reason": reason, "by": str(principal)}
            )
            follow(unit, self._blobs, entry)
            what = f"corrected {' '.join(sorted(told))}: {reason}"
            study = about if isinstance(about, str) else ""
            unit.audit.append(deed_of(principal, Event.AMENDED, what=what, study=study))

        self._decide(principal, reason, change, lambda unit: studies_about(unit, about))

    def merge(self, principal: Principal, patient: Patient, into: Patient, reason: str) -> None:
        """Show the studies of a patient under another one; a merge that is in force already stays.

        Raises:
            Forbidden: the policy says no.
            UnknownPatient: one of them is not here.
            Rejected: both are one patient already, the other way round, or there is no reason.
        """

        def change(unit: Unit, principal: Principal) -> None:
            for one in (patient, into):
                if not unit.corrections.rows({"patient": one}):
                    raise UnknownPatient
            if patient == into or unit.corrections.root(into) == patient:
                raise Rejected("a patient cannot be merged into itself; unmerge the other one first")
            if unit.corrections.into(patient) != into:
                self._merged(unit, principal, patient, into, reason)

        self._decide(principal, reason, change, lambda unit: studies_about(unit, patient, into))

    def unmerge(self, principal: Principal, patient: Patient, reason: str) -> None:
        """Take back that a patient was merged into another one.

        Raises:
            Forbidden: the policy says no.
            Rejected: the patient was not merged, or there is no reason.
        """

        def change(unit: Unit, principal: Principal) -> None:
            if unit.corrections.into(patient) is None:
                raise Rejected("no merge of that patient is in force")
            self._merged(unit, principal, patient, None, reason)

        self._decide(principal, reason, change, lambda unit: studies_about(unit, patient))

    def retract(self, principal: Principal, selection: Selection, reason: str) -> list[InstanceUID]:
        """Withdraw instances: they are hidden at every site, and do not come back by being sent again.

        Their bytes stay, so that `restore` can take it back.

        Returns:
            What was withdrawn.

        Raises:
            Forbidden: the policy says no.
            UnknownStudy, UnknownInstance: nothing that is shown here is named so.
            Locked: a study may not be withdrawn yet; nothing was done then.
            MalformedQuery: the selection names nothing.
        """
        done: list[InstanceUID] = []

        def change(unit: Unit, principal: Principal) -> None:
            found = chosen(unit, selection)
            if not found:
                raise _unknown(selection)
            for study in sorted({instance.study for instance in found}):
                _demand_unlocked(unit, study)
            for instance in found:
                self._withdrawn(unit, principal, instance.uid, instance.study, reason, withdrawn=True)
            for study in sorted({instance.study for instance in found}):
                many = sum(instance.study == study for instance in found)
                what = f"withdrew {many} instances: {reason}"
                unit.audit.append(deed_of(principal, Event.AMENDED, what=what, study=study))
            done.extend(instance.uid for instance in found)

        self._decide(principal, reason, change, lambda unit: [one.study for one in chosen(unit, selection)])
        return done

    def restore(self, principal: Principal, selection: Selection, reason: str) -> list[InstanceUID]:
        """Take back that instances were withdrawn.

        Args:
            principal: who asks.
            selection: studies or instances.
            reason: why.

        Returns:
            What is shown again.

        Raises:
            Forbidden: the policy says no.
            UnknownStudy, UnknownInstance: nothing that is withdrawn here is named so.
            MalformedQuery: the selection names neither studies nor instances.
        """
        done: list[InstanceUID] = []

        def change(unit: Unit, principal: Principal) -> None:
            found = _hidden(unit, selection)
            if not found:
                raise _unknown(selection)
            for uid, study in found.items():
                self._withdrawn(unit, principal, uid, study, reason, withdrawn=False)
            for study in sorted(set(found.values())):
                what = f"restored {list(found.values()).count(study)} instances: {reason}"
                unit.audit.append(deed_of(principal, Event.AMENDED, what=what, study=study))
            done.extend(found)

        self._decide(principal, reason, change, lambda unit: _hidden(unit, selection).values())
        return done

    def lock(self, principal: Principal, study: StudyUID, until: int, reason: str) -> None:
        """Forbid to withdraw anything of a study for some time; a lock can only be made longer.

        Args:
            principal: who asks.
            study: the study.
            until: microseconds since 1970.
            reason: why.

        Raises:
            Forbidden: the policy says no.
            UnknownStudy: it is not here.
            Locked: it is locked for longer already.
            Rejected: that time is past, or there is no reason.
        """

        def change(unit: Unit, principal: Principal) -> None:
            if not unit.corrections.rows({"study": study}):
                raise UnknownStudy(study)
            if until <= unit.now:
                raise Rejected("a lock ends in the future")
            before = locked_until(unit.journal.about(study))
            if before > until:
                raise Locked(study, day(before))
            if before < until:
                self._locked(unit, principal, study, until, reason)

        self._decide(principal, reason, change, lambda unit: studies_about(unit, study))

    def _decide(
        self,
        principal: Principal,
        reason: str,
        change: Callable[[Unit, Principal], None],
        studies: Callable[[Unit], Iterable[str]],
    ) -> None:
        """Ask the policy about the studies, then carry a decision out as a unit of its own."""
        caller = self._gate.demand_writing(principal, Action.AMEND)
        demand_reason(reason)
        self._gate.demand_studies(caller, Action.AMEND, studies)
        with self._catalog.begin() as unit:
            demand_taking(unit)
            change(unit, caller)

    def _merged(
        self, unit: Unit, principal: Principal, patient: Patient, into: Patient | None, reason: str
    ) -> None:
        says = {"patient": patient, "into": into, "reason": reason, "by": str(principal), "seen": _seen(unit)}
        follow(unit, self._blobs, unit.journal.append(Fact.MERGE, says))
        target = f"into {_named(into)}" if into else "back"
        what = f"merged {_named(patient)} {target}: {reason}"
        unit.audit.append(deed_of(principal, Event.AMENDED, what=what))

    def _withdrawn(
        self, unit: Unit, principal: Principal, uid: InstanceUID, study: str, reason: str, *, withdrawn: bool
    ) -> None:
        says = {"uid": uid, "study": study, "withdrawn": withdrawn, "reason": reason, "by": str(principal)}
        follow(unit, self._blobs, unit.journal.append(Fact.RETRACT, says))

    def _locked(self, unit: Unit, principal: Principal, study: StudyUID, until: int, reason: str) -> None:
        says = {"study": study, "until": until, "reason": reason, "by": str(principal), "seen": _seen(unit)}
        follow(unit, self._blobs, unit.journal.append(Fact.LOCK, says))
        what = f"locked until {day(until)}: {reason}"
        unit.audit.append(deed_of(principal, Event.AMENDED, what=what, study=study))


def follow(unit: Unit, blobs: BlobStore, entry: Entry) -> None:
    """Bring the rows in line with a decision, of this site or of another one; it may be done again."""
    says = entry.says
    match entry.kind:
        case Fact.CORRECT:
            _corrected(unit, blobs, says)
        case Fact.MERGE:
            issuer, patient_id = says["patient"]
            unit.corrections.merged((issuer, patient_id))
        case Fact.RETRACT:
            _shown_or_not(unit, blobs, InstanceUID.trusted(says["uid"]))
        case Fact.LOCK:
            for uid in unit.forms.withdrawn_of(says["study"]):
                _shown_or_not(unit, blobs, uid)


def _shown_or_not(unit: Unit, blobs: BlobStore, uid: InstanceUID) -> None:
    if not derive(unit, blobs, uid).withdrawn:
        wanting.ask_again(unit, uid)
    owing.settle(unit, uid)


def _corrected(unit: Unit, blobs: BlobStore, says: Mapping[str, Any]) -> None:
    """Lay corrections over; where one takes others back, the earliest instance tells first."""
    for level, row in unit.corrections.rows(says):
        if None in says["set"].values():
            retell(unit, blobs, teller(unit, level, row))
        unit.corrections.lay_over(level, row)


def _checked(level: Level, values: Values) -> dict[int, str | None]:
    if not values:
        raise Rejected("a correction names an attribute and its value")
    for tag in values:
        if tag not in CORRECTABLE[level]:
            raise MalformedValue(
                f"({tag >> 16:04X},{tag & 0xFFFF:04X})",
                f"it is not an attribute of a {level.name.lower()} that can be corrected",
            )
    return {
        tag: None if value is None else checked(CORRECTABLE[level][tag], value)
        for tag, value in values.items()
    }


def _demand_unlocked(unit: Unit, study: StudyUID) -> None:
    until = locked_until(unit.journal.about(study))
    if until > unit.now:
        raise Locked(study, day(until))


def _hidden(unit: Unit, selection: Selection) -> dict[InstanceUID, str]:
    """The withdrawn instances that are meant, each with its study."""
    if not (selection.studies or selection.instances) or selection.series:
        raise MalformedQuery("what is withdrawn is named by its study or instances")
    named = list(selection.instances)
    named += [uid for study in selection.studies for uid in unit.forms.withdrawn_of(study)]
    found = {uid: _study_of_withdrawn(unit.journal.about(uid)) for uid in named}
    return {uid: study for uid, study in found.items() if state_of(unit, uid).withdrawn}


def _study_of_withdrawn(facts: Sequence[Entry]) -> str:
    """The study that the latest decision to withdraw an instance names; empty if nobody did."""
    studies = [fact.says["study"] for fact in facts if fact.kind is Fact.RETRACT and fact.says["withdrawn"]]
    return studies[-1] if studies else ""


def _unknown(selection: Selection) -> Rejected:
    if selection.instances:
        return UnknownInstance(selection.instances[0])
    if selection.studies:
        return UnknownStudy(selection.studies[0])
    return Unknown(selection.series[0]) if selection.series else UnknownPatient()


def _seen(unit: Unit) -> dict[str, int]:
    """How far all journals were read here when somebody decided."""
    return {**unit.cursors.reached(), f"{unit.origin}/{unit.epoch}": unit.journal.head().seq}


def _named(patient: Patient) -> str:
    issuer, patient_id = patient
    return f"{patient_id}^{issuer}" if issuer else patient_id


def day(at: int) -> str:
    """The day of a moment (microseconds since 1970), as ISO 8601 writes it."""
    return datetime.fromtimestamp(at / 1_000_000, UTC).date().isoformat()
