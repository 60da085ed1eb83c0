"""Whose data a search is about, as far as it says so: studies or patients that it names exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from node.archive.apart import ISSUER, PATIENT_ID, STUDY
from node.catalog import search
from node.catalog.catalog import Catalog
from node.catalog.resources import patient_of
from node.domain.decision import patient_text
from node.domain.query import Key, Level, Query

MOST: Final = 20
"""Studies or patients that are recorded with one search."""

Named = Sequence[tuple[str, str]]
"""Study and patient of each; of a patient alone, the study is empty."""


def named(catalog: Catalog, query: Query) -> Named:
    """What a search names by unique keys; one pair of nothing, where it names nothing.

    Args:
        catalog: knows the patients of studies, and the issuers of Patient IDs.
        query: what is looked for.
    """
    keys = {key.tag: key.value for key in query.keys}
    if studies := _exact(keys.get(STUDY, "")):
        with catalog.reading() as unit:
            return [(study, patient_of(unit, study)) for study in studies]
    if patients := _exact(keys.get(PATIENT_ID, "")):
        issuer = keys.get(ISSUER, "")
        return [("", text) for one in patients for text in _patients(catalog, one, issuer)][:MOST]
    return [("", "")]


def issuers_of(catalog: Catalog, patient_id: str) -> Sequence[str]:
    """Who has issued that Patient ID, of the patients that are known here; empty text for nobody named."""
    keys = (Key(tag=PATIENT_ID, vr="LO", value=patient_id), Key(tag=ISSUER, vr="LO"))
    found = search.search(catalog.reading, Query(level=Level.PATIENT, keys=keys))
    return sorted({str(issuer or "") for told, issuer in found.rows if told == patient_id})


def _exact(value: str) -> Sequence[str]:
    """The values of a key that match nothing but themselves (PS3.4 C.2.2.2)."""
    values = [one for one in value.split("\\") if one]
    return values[:MOST] if not set(value) & {"*", "?"} else []


def _patients(catalog: Catalog, patient_id: str, issuer: str) -> Sequence[str]:
    """The patients of that ID that are known here; as it was asked, where none is."""
    keys = (Key(tag=PATIENT_ID, vr="LO", value=patient_id), Key(tag=ISSUER, vr="LO", value=issuer))
    found = search.search(catalog.reading, Query(level=Level.PATIENT, keys=keys, limit=MOST))
    known = sorted({patient_text(str(one), str(of or "")) for one, of in found.rows if one == patient_id})
    return known or [patient_text(patient_id, issuer)]
