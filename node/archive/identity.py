"""Whose and which instance a data set is: the identity without which nothing is archived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from node.catalog.arrival import Arrival
from node.domain.errors import MalformedIdentifier, MalformedInstance, MismatchedInstance, Unidentified
from node.domain.ids import UID, Digest, InstanceUID, SeriesUID, SOPClassUID, StudyUID
from node.domain.instance import Offer
from node.domain.query import Cell

SOP_CLASS = 0x00080016
MODALITY = 0x00080060
SOP_INSTANCE = 0x00080018
PATIENT_ID = 0x00100020
ISSUER = 0x00100021
STUDY = 0x0020000D
SERIES = 0x0020000E
LONGEST_PATIENT_ID = 256
"""Characters; LO says 64, some information systems say more."""

U = TypeVar("U", bound=UID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """An offered data set whose identity is complete and agrees with the offer."""

    offer: Offer
    study: StudyUID
    series: SeriesUID
    patient_id: str
    issuer: str
    attributes: Mapping[int, Cell]

    @property
    def modality(self) -> str:
        """Modality (0008,0060); empty where it is absent."""
        return _text(self.attributes, MODALITY)

    def arrival(self, *, digest: Digest, size: int, source: str, at: int, stamp: str = "") -> Arrival:
        """The instance as the catalog takes it in."""
        return Arrival(
            instance=self.offer.instance,
            series=self.series,
            study=self.study,
            patient_id=self.patient_id,
            issuer=self.issuer,
            sop_class=self.offer.sop_class,
            transfer_syntax=self.offer.transfer_syntax,
            attributes=self.attributes,
            digest=digest,
            size=size,
            source=source,
            at=at,
            stamp=stamp,
        )


def identify(offer: Offer, attributes: Mapping[int, Cell]) -> Identified:
    """Check the identity of a data set.

    Raises:
        MismatchedInstance: the data set is not the one that was announced.
        Unidentified: it names no patient, study or series.
        MalformedInstance: an identifier in it is none.
    """
    if _uid(InstanceUID, attributes, SOP_INSTANCE) != offer.instance:
        raise MismatchedInstance("its SOP Instance UID")
    if _uid(SOPClassUID, attributes, SOP_CLASS) != offer.sop_class:
        raise MismatchedInstance("its SOP Class UID")
    return Identified(
        offer=offer,
        study=_uid(StudyUID, attributes, STUDY),
        series=_uid(SeriesUID, attributes, SERIES),
        patient_id=_patient_text(attributes, PATIENT_ID, "Patient ID"),
        issuer=_patient_text(attributes, ISSUER, ""),
        attributes=attributes,
    )


def _text(attributes: Mapping[int, Cell], tag: int) -> str:
    value = attributes.get(tag)
    return value if isinstance(value, str) else ""


def _uid(kind: type[U], attributes: Mapping[int, Cell], tag: int) -> U:
    text = _text(attributes, tag)
    if not text:
        raise Unidentified(kind.what, "")
    try:
        return kind(text)
    except MalformedIdentifier as error:
        raise MalformedInstance(str(error)) from None


def _patient_text(attributes: Mapping[int, Cell], tag: int, demanded: str) -> str:
    text = _text(attributes, tag)
    if demanded and not text:
        raise Unidentified(demanded, "")
    if len(text) > LONGEST_PATIENT_ID:
        raise MalformedInstance("its Patient ID or Issuer is too long")
    return text
