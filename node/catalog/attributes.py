"""Which attribute lives at which level, and where: the columns of the catalog in DICOM's words.

Attributes without a column are held in `more` of their level. Levels and attributes follow the query keys
of PS3.4 C.6.1.1 and C.6.2.1, with those that viewers and worklists ask for besides.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.domain.query import Level

PATIENT_NAME = 0x00100010
MODALITIES_IN_STUDY = 0x00080061


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute that the catalog holds."""

    tag: int
    vr: str
    level: Level
    column: str | None = None
    """Its column in the table of the level; None for one held in `more` or counted."""
    multiple: bool = False
    """Its value may hold several values, joined by backslashes."""


def _attributes() -> dict[int, Attribute]:
    table = (
        Attribute(0x00100010, "PN", Level.PATIENT, "name"),
        Attribute(0x00100020, "LO", Level.PATIENT, "patient_id"),
        Attribute(0x00100021, "LO", Level.PATIENT, "issuer"),
        Attribute(0x00100030, "DA", Level.PATIENT, "birth_date"),
        Attribute(0x00100040, "CS", Level.PATIENT, "sex"),
        Attribute(0x00100032, "TM", Level.PATIENT),
        Attribute(0x00101002, "SQ", Level.PATIENT),
        Attribute(0x00102160, "SH", Level.PATIENT),
        Attribute(0x00104000, "LT", Level.PATIENT),
        Attribute(0x0020000D, "UI", Level.STUDY, "uid"),
        Attribute(0x00080020, "DA", Level.STUDY, "date"),
        Attribute(0x00080030, "TM", Level.STUDY, "time"),
        Attribute(0x00080050, "SH", Level.STUDY, "accession"),
        Attribute(0x00200010, "SH", Level.STUDY, "study_id"),
        Attribute(0x00081030, "LO", Level.STUDY, "description"),
        Attribute(0x00080090, "PN", Level.STUDY, "referring"),
        Attribute(MODALITIES_IN_STUDY, "CS", Level.STUDY, "modalities", multiple=True),
        Attribute(0x00080051, "SQ", Level.STUDY),
        Attribute(0x00081032, "SQ", Level.STUDY),
        Attribute(0x00081060, "PN", Level.STUDY, multiple=True),
        Attribute(0x00081080, "LO", Level.STUDY, multiple=True),
        Attribute(0x00101010, "AS", Level.STUDY),
        Attribute(0x00101020, "DS", Level.STUDY),
        Attribute(0x00101030, "DS", Level.STUDY),
        Attribute(0x00102180, "SH", Level.STUDY),
        Attribute(0x001021B0, "LT", Level.STUDY),
        Attribute(0x00120062, "CS", Level.STUDY),
        Attribute(0x0020000E, "UI", Level.SERIES, "uid"),
        Attribute(0x00080060, "CS", Level.SERIES, "modality"),
        Attribute(0x00200011, "IS", Level.SERIES, "number"),
        Attribute(0x0008103E, "LO", Level.SERIES, "description"),
        Attribute(0x00180015, "CS", Level.SERIES, "body_part"),
        Attribute(0x00080021, "DA", Level.SERIES, "date"),
        Attribute(0x00080031, "TM", Level.SERIES, "time"),
        Attribute(0x00080070, "LO", Level.SERIES),
        Attribute(0x00080080, "LO", Level.SERIES),
        Attribute(0x00081010, "SH", Level.SERIES),
        Attribute(0x00081040, "LO", Level.SERIES),
        Attribute(0x00081050, "PN", Level.SERIES, multiple=True),
        Attribute(0x00081070, "PN", Level.SERIES, multiple=True),
        Attribute(0x00081090, "LO", Level.SERIES),
        Attribute(0x00181030, "LO", Level.SERIES),
        Attribute(0x00200052, "UI", Level.SERIES),
        Attribute(0x00200060, "CS", Level.SERIES),
        Attribute(0x00400244, "DA", Level.SERIES),
        Attribute(0x00400245, "TM", Level.SERIES),
        Attribute(0x00400253, "SH", Level.SERIES),
        Attribute(0x00400254, "LO", Level.SERIES),
        Attribute(0x00400275, "SQ", Level.SERIES),
        Attribute(0x00080018, "UI", Level.IMAGE, "uid"),
        Attribute(0x00080016, "UI", Level.IMAGE, "sop_class"),
        Attribute(0x00200013, "IS", Level.IMAGE, "number"),
        Attribute(0x00080008, "CS", Level.IMAGE, multiple=True),
        Attribute(0x00080022, "DA", Level.IMAGE),
        Attribute(0x00080023, "DA", Level.IMAGE),
        Attribute(0x00080032, "TM", Level.IMAGE),
        Attribute(0x00080033, "TM", Level.IMAGE),
        Attribute(0x00200012, "IS", Level.IMAGE),
        Attribute(0x00280008, "IS", Level.IMAGE),
        Attribute(0x00280010, "US", Level.IMAGE),
        Attribute(0x00280011, "US", Level.IMAGE),
        Attribute(0x00280100, "US", Level.IMAGE),
        Attribute(0x0040A043, "SQ", Level.IMAGE),
        Attribute(0x0040A491, "CS", Level.IMAGE),
        Attribute(0x0040A493, "CS", Level.IMAGE),
        Attribute(0x00420010, "ST", Level.IMAGE),
    )
    return {attribute.tag: attribute for attribute in table}


ATTRIBUTES = _attributes()
"""Attributes read from data sets, by tag."""

COUNTS = {
    0x00201200: Attribute(0x00201200, "IS", Level.PATIENT),
    0x00201202: Attribute(0x00201202, "IS", Level.PATIENT),
    0x00201204: Attribute(0x00201204, "IS", Level.PATIENT),
    0x00201206: Attribute(0x00201206, "IS", Level.STUDY, "series_count"),
    0x00201208: Attribute(0x00201208, "IS", Level.STUDY, "instance_count"),
    0x00201209: Attribute(0x00201209, "IS", Level.SERIES, "instance_count"),
    0x00080062: Attribute(0x00080062, "UI", Level.STUDY, multiple=True),
}
"""Return keys that the catalog counts or gathers (PS3.4 C.3.4, Number of ... Related ...)."""

READ = frozenset(ATTRIBUTES) - {MODALITIES_IN_STUDY}
"""Tags to look for in a data set."""
