"""DICOM matching as SQL: a query becomes one SELECT (PS3.4 C.2.2.2).

What the columns cannot decide (sequences and attributes held in `more`) is decided row by row afterwards,
by `node.catalog.matching`.

Studies of a merged patient are found by what is known of the patient under whom they are shown, and by
nothing of their own one. A study that came for both is one row; of attributes that its parts tell
differently, the part that matches tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Select, Table, Text, cast, func, select

from node.catalog import arrival, matching, schema
from node.catalog.attributes import ATTRIBUTES, COUNTS, Attribute
from node.catalog.conditions import conditions
from node.catalog.unit import Unit
from node.domain.query import Cell, Key, Level, Query, Row, Rows

_TABLES: dict[Level, Table] = {
    Level.PATIENT: schema.patient,
    Level.STUDY: schema.study,
    Level.SERIES: schema.series,
    Level.IMAGE: schema.instance,
}
_UP: dict[Level, Any] = {
    Level.STUDY: schema.study.c.shown == schema.patient.c.id,
    Level.SERIES: schema.series.c.study == schema.study.c.id,
    Level.IMAGE: schema.instance.c.series == schema.series.c.id,
}


@dataclass(frozen=True, slots=True)
class _Column:
    """A key that the level can answer, and where its value comes from."""

    attribute: Attribute
    key: Key


def search(open_unit: Callable[[], Any], query: Query) -> Rows:
    """Rows that match, in the order of `Rows.tags`; the unit stays open while they are read.

    Args:
        open_unit: makes the context manager of a reading unit.
        query: its keys are matched and returned; those that the level cannot answer are left out.
    """
    columns = _answerable(query)
    tags = tuple((column.attribute.tag, column.attribute.vr) for column in columns)
    return Rows(tags, _run(open_unit, query, columns))


def _run(open_unit: Callable[[], Any], query: Query, columns: Sequence[_Column]) -> Iterator[Row]:
    with open_unit() as unit:
        twins = unit.corrections.twins() if query.level is Level.STUDY else frozenset()
        if any(_is_held_in_more(column.attribute) for column in columns):
            rows = _filtered(unit, query, columns, twins)
        elif twins:
            rows = unit.rows(_select(unit, query, columns, twins=twins))
        else:
            rows = unit.rows(_select(unit, query, columns).limit(query.limit))
        yield from islice(_once(rows, twins) if twins else rows, query.limit)


def _once(rows: Iterable[Row], twins: Set[str]) -> Iterator[Row]:
    """Rows without their last two columns, UID and patient; one row for a study that a patient has twice."""
    told: set[Row] = set()
    for *row, uid, patient in rows:
        if uid in twins:
            if (uid, patient) in told:
                continue
            told.add((uid, patient))
        yield tuple(row)


def _answerable(query: Query) -> list[_Column]:
    known = {key.tag: key for key in query.keys}
    found = []
    for tag in sorted(known):
        attribute = ATTRIBUTES.get(tag) or COUNTS.get(tag)
        if attribute is not None and attribute.level <= query.level:
            found.append(_Column(attribute, known[tag]))
    return found


def _is_held_in_more(attribute: Attribute) -> bool:
    return attribute.column is None and attribute.tag not in COUNTS


def _select(
    unit: Unit,
    query: Query,
    columns: Sequence[_Column],
    *,
    more: Sequence[Level] = (),
    twins: Set[str] = frozenset(),
) -> Select[Any]:
    """The SELECT: one expression per column, `more` of the levels given, then what tells twins."""
    expressions = [_expression(column.attribute, added_up=bool(twins)) for column in columns]
    expressions += [_TABLES[level].c.more for level in more]
    if twins:
        expressions += [schema.study.c.uid, schema.study.c.shown]
    statement = select(*expressions or [_TABLES[query.level].c.id]).select_from(_joined(query.level))
    keys = [(column.attribute, column.key) for column in columns]
    statement = statement.where(*conditions(keys, unit.dialect.name))
    if query.level is Level.PATIENT:
        statement = statement.where(schema.patient.c.merged == 0)
    if query.limit is not None:
        statement = statement.order_by(*_newest_first(query.level))
    return statement


def _joined(level: Level) -> Any:
    """The table of the level joined with those above it."""
    tables: Any = _TABLES[level]
    for lower in range(level, Level.PATIENT, -1):
        tables = tables.join(_TABLES[Level(lower - 1)], _UP[Level(lower)])
    return tables


def _newest_first(level: Level) -> list[Any]:
    if level is Level.PATIENT:
        return [schema.patient.c.id.desc()]
    return [schema.study.c.date.desc(), schema.study.c.time.desc(), _TABLES[level].c.id.desc()]


def _expression(attribute: Attribute, *, added_up: bool = False) -> Any:
    """What to select for an attribute; a placeholder where its value comes from `more`."""
    if attribute.tag in COUNTS:
        return _count(attribute, added_up=added_up)
    if attribute.column is None:
        return cast(None, Text)
    return _TABLES[attribute.level].c[attribute.column]


def _count(attribute: Attribute, *, added_up: bool) -> Any:
    """A count; `added_up` over both rows of a study that a patient has twice since a merge."""
    if added_up and attribute.level is Level.STUDY and attribute.column is not None:
        twin = schema.study.alias()
        both = select(func.sum(twin.c[attribute.column])).where(
            twin.c.uid == schema.study.c.uid, twin.c.shown == schema.study.c.shown
        )
        return cast(both.correlate(schema.study).scalar_subquery(), Text)
    if attribute.column is not None:
        return cast(_TABLES[attribute.level].c[attribute.column], Text)
    if attribute.tag == 0x00080062:
        return _sop_classes()
    studies = schema.study.alias()
    counted = {
        0x00201200: func.count(studies.c.uid.distinct()),
        0x00201202: func.coalesce(func.sum(studies.c.series_count), 0),
        0x00201204: func.coalesce(func.sum(studies.c.instance_count), 0),
    }
    of_patient = select(counted[attribute.tag]).where(studies.c.shown == schema.patient.c.id)
    return cast(of_patient.correlate(schema.patient).scalar_subquery(), Text)


def _sop_classes() -> Any:
    """SOP Classes in Study (0008,0062)."""
    series, instance = schema.series.alias(), schema.instance.alias()
    distinct = (
        select(instance.c.sop_class)
        .join(series, series.c.id == instance.c.series)
        .where(series.c.study == schema.study.c.id)
        .correlate(schema.study)
        .distinct()
        .subquery()
    )
    return select(func.aggregate_strings(distinct.c.sop_class, "\\")).scalar_subquery()


def _filtered(
    unit: Unit, query: Query, columns: Sequence[_Column], twins: Set[str] = frozenset()
) -> Iterator[Row]:
    """Rows whose values come from `more` in part, matched there."""
    levels = sorted({c.attribute.level for c in columns if _is_held_in_more(c.attribute)})
    plan = [
        (place, levels.index(c.attribute.level), c)
        for place, c in enumerate(columns)
        if _is_held_in_more(c.attribute)
    ]
    for row in unit.rows(_select(unit, query, columns, more=levels, twins=twins)):
        end = len(columns) + len(levels)
        held = [arrival.read(more) for more in row[len(columns) : end]]
        cells: list[Cell] = list(row[: len(columns)])
        for place, level, column in plan:
            cells[place] = held[level].get(column.attribute.tag)
        if all(matching.matches(cells[place], column.key) for place, _, column in plan):
            yield (*cells, *row[end:])
