"""What persons say of a study or patient that decides who may see it: its sensitivity, and consent.

A mark is a fact as a correction is: it travels to the sites that have the study and holds there, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from node.archive.values import demand_reason
from node.audit.record import Event, deed_of
from node.catalog.catalog import Catalog
from node.catalog.resources import studies_about
from node.catalog.unit import Unit
from node.domain.decision import Sensitivity, patient_text
from node.domain.errors import Rejected, UnknownPatient, UnknownStudy
from node.domain.ids import StudyUID
from node.domain.principal import Action, Principal
from node.identity.gate import Gate, demand_taking
from node.journal.entry import Fact
from node.journal.merge import Patient


class Marking:
    """The door for marks."""

    def __init__(self, catalog: Catalog) -> None:
        """The door of the site that this catalog belongs to."""
        self._catalog = catalog
        self._gate = Gate(catalog)

    def mark(
        self,
        principal: Principal,
        about: StudyUID | Patient,
        reason: str,
        *,
        sensitivity: Sensitivity | None = None,
        consent: Mapping[str, bool] | None = None,
    ) -> None:
        """Say how sensitive a study or patient is, or what the patient has agreed to or refused.

        Args:
            principal: who asks.
            about: the study, or the patient as (issuer, Patient ID).
            reason: why.
            sensitivity: None leaves it as it is.
            consent: by the matter, such as `research` or `exchange`: whether it was agreed to.

        Raises:
            Forbidden: the policy says no.
            ReadOnly: this site is a backup.
            UnknownStudy, UnknownPatient: it is not here.
            Rejected: there is nothing to say, or no reason.
        """
        if sensitivity is None and not consent:
            raise Rejected("a mark says how sensitive it is, or what the patient has agreed to or refused")
        demand_reason(reason)
        caller = self._gate.demand_writing(principal, Action.AMEND)
        self._gate.demand_studies(caller, Action.AMEND, lambda unit: studies_about(unit, about))
        subject: dict[str, object] = {"study": about} if isinstance(about, str) else {"patient": about}
        says = {**subject, **_said(sensitivity, consent or {}), "reason": reason, "by": str(principal)}
        with self._catalog.begin() as unit:
            demand_taking(unit)
            if not unit.corrections.rows(subject):
                raise UnknownStudy(about) if isinstance(about, str) else UnknownPatient
            unit.journal.append(Fact.MARK, says)
            self._record(unit, caller, about, f"marked {_told(sensitivity, consent or {})}: {reason}")

    def _record(self, unit: Unit, caller: Principal, about: StudyUID | Patient, what: str) -> None:
        """Write it into the audit record of the study or the patient."""
        if isinstance(about, str):
            unit.audit.append(deed_of(caller, Event.AMENDED, what=what, study=about))
        else:
            issuer, patient_id = about
            patient = patient_text(patient_id, issuer)
            unit.audit.append(deed_of(caller, Event.AMENDED, what=what, patient=patient))


def _said(sensitivity: Sensitivity | None, consent: Mapping[str, bool]) -> dict[str, object]:
    """The mark in the words of the journal."""
    return ({} if sensitivity is None else {"sensitivity": str(sensitivity)}) | (
        {"consent": dict(consent)} if consent else {}
    )


def _told(sensitivity: Sensitivity | None, consent: Mapping[str, bool]) -> str:
    """The mark in words."""
    words = [] if sensitivity is None else [sensitivity or "usual"]
    words += [f"{matter} {'agreed' if agreed else 'refused'}" for matter, agreed in consent.items()]
    return ", ".join(words)
