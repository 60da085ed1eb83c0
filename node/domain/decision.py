"""What is asked about, and what the policy answered: the resource with its attributes, and the decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.ids import SiteId


class Sensitivity(StrEnum):
    """What a person marked a study or patient with."""

    USUAL = ""
    RESTRICTED = "restricted"
    """For few eyes: of staff, of persons whom many know, of some diagnoses."""


def patient_text(patient_id: str, issuer: str) -> str:
    """A patient as HL7 writes identifiers (CX): `ID^^^ISSUER`."""
    return f"{patient_id}^^^{issuer}"


class Standing(StrEnum):
    """How data stand to the site that decides about them; exactly one holds."""

    OWN = "own"
    """This site received them first."""
    SHARED = "shared"
    """Another site received them first; a copy is here by what was agreed."""
    FOREIGN = "foreign"
    """They are at another site only, which decides about them itself, too."""
    DEIDENTIFIED = "de-identified"
    """Who the patient is was removed (Patient Identity Removed, PS3.3 C.7.1.1)."""
    RETRACTED = "retracted"
    """They were withdrawn: kept, and shown to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A study, as the policy sees it."""

    standing: Standing
    site: SiteId
    """Which received it first."""
    study: str = ""
    patient: str = ""
    """Patient ID and issuer, as HL7 writes them (CX): `ID^^^ISSUER`."""
    issuer: str = ""
    """Issuer of Patient ID."""
    modalities: frozenset[str] = frozenset()
    referring: str = ""
    """The Referring Physician's Name as DICOM writes it."""
    sensitivity: Sensitivity = Sensitivity.USUAL
    consent: frozenset[str] = frozenset()
    """What the patient has agreed to, for example `research`."""
    refused: frozenset[str] = frozenset()
    """What the patient has refused."""
    requested_by: str = ""
    """Who asked for what is to be approved or reviewed now, as `issuer name`: never the one who approves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer of the policy, with the reasons that led to it."""

    allowed: bool
    reason: str
    """The one that settled it, in words for whoever may know."""
    rule: str = ""
    """The name of the rule that settled it; empty where none did."""
    version: str = ""
    """Of the policy that decided."""
    reasons: tuple[str, ...] = ()
    """Every rule that was looked at, with what came of it, in order."""
    about_study: bool = False
    """Whether the reasons tell something of a certain study."""
    step_up: bool = False
    """Whether a second factor would change the answer."""
    emergency: bool = False
    """Whether an emergency access would, or did, change the answer."""

    @property
    def told(self) -> str:
        """The reason for who asks: nothing of the study is told to somebody who may not see it."""
        if self.allowed or not self.about_study:
            return self.reason
        if self.step_up:
            return "it asks for a login with a second factor"
        return "the policy of this site does not allow it" + (
            "; in an emergency it can be opened" if self.emergency else ""
        )
