"""A small pool of instances that meet at several sites: other bytes, other syntaxes and other headers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from node.domain.ids import InstanceUID, StudyUID
from node.domain.instance import Offer
from tests.support import synthetic

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
PLACES = {1: ("P1", 1, "CT"), 2: ("P1", 1, "CT"), 3: ("P1", 2, "MR"), 4: ("P2", 3, "CT")}
"""Patient, study and modality of each instance."""
STRANGER = ("P3", 4, "CT")
"""Where an instance claims to be whose UID was given away twice."""
PATIENTS = tuple(("", patient) for patient in ("P1", "P2", "P3"))
STUDIES = tuple(synthetic.study_uid(number) for number in (1, 2, 3, 4))


@dataclass(frozen=True)
class Sample:
    """An instance as a device sends it."""

    offer: Offer
    data: bytes
    content: tuple[int, str]
    """The same for two that differ in their transfer syntax alone."""

    @property
    def uid(self) -> InstanceUID:
        return self.offer.instance


@cache
def uid_of(number: int) -> InstanceUID:
    """The SOP Instance UID of that number, whatever study it is in."""
    return synthetic.instance_uid(1, 1, number)


def study_of(number: int) -> StudyUID:
    return synthetic.study_uid(PLACES[number][1])


@cache
def sample(number: int, kind: str) -> Sample:
    """An instance: `plain`, `implicit` (the same, encoded otherwise), `other` (pixels) or `stranger`."""
    patient, study, modality = STRANGER if kind == "stranger" else PLACES[number]
    data = synthetic.dataset(
        patient=patient,
        name=f"Nováková^Jana^{number}",
        study=study,
        number=number,
        modality=modality,
        salt=int(kind == "other"),
        side=4,
    )
    data.SOPInstanceUID = uid_of(number)
    data.StudyDescription = f"told by {number} {'other' if kind == 'other' else ''}"
    data.SeriesDescription = f"series of {number}"
    syntax = IMPLICIT if kind == "implicit" else EXPLICIT
    content = "plain" if kind == "implicit" else kind
    return Sample(synthetic.offer_of(data, syntax), synthetic.encoded(data, syntax), (number, content))
