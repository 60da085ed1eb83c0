"""What a caller may see of a result where only a part of what is here is for it: by terms, or by the policy.

A row is shown where the caller may see at least one of the instances that it stands for, and then as if
those were all: what the catalog counts or gathers of instances says nothing of the others (numbers of related
studies, series and instances, modalities and SOP classes in a study). Names and dates of a patient and a
study are those of all its instances alike, and are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from node.archive.apart import INSTANCE, ISSUER, PATIENT_ID, SERIES, STUDY
from node.catalog import matching, traits
from node.catalog.selection import chosen
from node.catalog.unit import Unit
from node.domain.ids import InstanceUID, SeriesUID, StudyUID
from node.domain.instance import Instance
from node.domain.query import Cell, Level, Query, Row, Selection
from node.domain.rule import Traits

MODALITIES_IN_STUDY: Final = 0x00080061
SOP_CLASSES_IN_STUDY: Final = 0x00080062
_STUDIES: Final = frozenset({0x00201200})
_SERIES: Final = frozenset({0x00201202, 0x00201206})
_INSTANCES: Final = frozenset({0x00201204, 0x00201208, 0x00201209})
MOST_LOOKED_AT: Final = 100_000
"""Instances that are looked at for one answer."""


class Part:
    """The part of the archive that a caller may see."""

    def __init__(self, unit: Unit, allow: Callable[[Traits], bool]) -> None:
        """What is covered, as this unit sees the archive.

        Args:
            unit: the unit of work.
            allow: whether an instance of these traits may be shown.
        """
        self._unit = unit
        self._allow = allow
        self._studies: dict[StudyUID, dict[InstanceUID, str]] = {}
        self._looked_at = 0
        self.read = 0
        """Rows that were read."""

    @property
    def is_exhausted(self) -> bool:
        """Whether so many instances were looked at that the answer ends here."""
        return self._looked_at >= MOST_LOOKED_AT

    def covers(self, study: StudyUID) -> dict[InstanceUID, str]:
        """The instances of a study that are covered, with the modality of each."""
        if study not in self._studies:
            known = traits.of_study(self._unit, study)
            self._looked_at += len(known)
            self._studies[study] = {one.uid: one.traits.modality for one in known if self._allow(one.traits)}
        return self._studies[study]

    def rows(self, rows: Iterable[Row], tags: Sequence[tuple[int, str]], query: Query) -> Iterator[Row]:
        """Those of the rows that may be shown, told as if nothing else were here."""
        places = {tag: place for place, (tag, _) in enumerate(tags)}
        for row in rows:
            if self.is_exhausted:
                return
            self.read += 1
            all_of_it = chosen(self._unit, _selection(row, places, query.level))
            covered = [one for one in all_of_it if one.uid in self.covers(one.study)]
            if len(covered) == len(all_of_it):
                yield row
            elif covered:
                told = self._retold(row, tags, covered)
                if _still_matches(told, places, query):
                    yield told

    def _retold(self, row: Row, tags: Sequence[tuple[int, str]], covered: Sequence[Instance]) -> Row:
        """The row of these instances alone."""
        return tuple(self._gathered(tag, cell, covered) for (tag, _), cell in zip(tags, row, strict=True))

    def _gathered(self, tag: int, cell: Cell, covered: Sequence[Instance]) -> Cell:
        if tag in _STUDIES:
            return str(len({one.study for one in covered}))
        if tag in _SERIES:
            return str(len({(one.study, one.series) for one in covered}))
        if tag in _INSTANCES:
            return str(len(covered))
        if tag == SOP_CLASSES_IN_STUDY:
            return "\\".join(sorted({one.sop_class for one in covered}))
        if tag == MODALITIES_IN_STUDY:
            modalities = {self.covers(one.study)[one.uid] for one in covered}
            return "\\".join(sorted(modalities - {""}))
        return cell


def _selection(row: Row, places: dict[int, int], level: Level) -> Selection:
    """The instances that a row stands for."""

    def text(tag: int) -> str:
        return str(row[places[tag]] or "")

    if level is Level.IMAGE:
        return Selection(instances=(InstanceUID.trusted(text(INSTANCE)),))
    if level is Level.SERIES:
        return Selection(series=(SeriesUID.trusted(text(SERIES)),), studies=(StudyUID.trusted(text(STUDY)),))
    patient_id, issuer = text(PATIENT_ID), text(ISSUER)
    if level is Level.PATIENT:
        return Selection(patient_id=patient_id, issuer=issuer)
    return Selection(studies=(StudyUID.trusted(text(STUDY)),), patient_id=patient_id, issuer=issuer)


def _still_matches(row: Row, places: dict[int, int], query: Query) -> bool:
    """Whether the row matches by what it tells now: else a query would tell of what it hides."""
    for key in query.keys:
        if key.tag == MODALITIES_IN_STUDY and key.tag in places:
            return matching.matches(row[places[key.tag]], key)
    return True
