"""WHERE clauses for the keys of a query (PS3.4 C.2.2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, UniqueConstraint, column, exists, or_, select, table

from node.catalog import matching, schema
from node.catalog.attributes import ATTRIBUTES, MODALITIES_IN_STUDY, PATIENT_NAME, Attribute
from node.domain.query import Key, Level

_TABLES = {
    Level.PATIENT: schema.patient,
    Level.STUDY: schema.study,
    Level.SERIES: schema.series,
    Level.IMAGE: schema.instance,
}
_INDEXED = frozenset(
    columns[0]
    for held in _TABLES.values()
    for columns in [
        *(list(index.columns) for index in held.indexes),
        *(list(one.columns) for one in held.constraints if isinstance(one, UniqueConstraint)),
    ]
)
"""Columns that begin an index."""
_NAMES = table("patient_name", column("rowid"), column("name_folded"))
_TRIGRAM = 3


def conditions(keys: Iterable[tuple[Attribute, Key]], dialect: str) -> Iterator[ColumnElement[bool]]:
    """The clauses that the keys of a query add, apart from those held in `more`; none for universal ones."""
    wanted = [
        (attribute, key)
        for attribute, key in keys
        if attribute.tag in ATTRIBUTES and attribute.column and not matching.is_universal(key)
    ]
    narrow = any(_narrows(attribute, key) for attribute, key in wanted)
    for attribute, key in wanted:
        if attribute.tag == MODALITIES_IN_STUDY:
            yield _modalities(key, dialect, narrow=narrow)
        elif attribute.tag == PATIENT_NAME:
            names = [matching.name(value) for value in matching.values(key)]
            yield or_(*[_name(name, dialect, narrow=narrow) for name in names])
        else:
            yield _column(_held(attribute), attribute.vr, matching.values(key), dialect)


def _held(attribute: Attribute) -> Any:
    assert attribute.column is not None
    return _TABLES[attribute.level].c[attribute.column + ("_folded" if attribute.vr == "PN" else "")]


def _narrows(attribute: Attribute, key: Key) -> bool:
    """Whether an index finds the few rows of this key, so that the others need none."""
    return _held(attribute) in _INDEXED and not key.value.startswith(("*", "?", "-"))


def _column(held: Any, vr: str, values: Sequence[str], dialect: str) -> ColumnElement[bool]:
    """One of the values has to match: those that are compared as they are in one list, the others each."""
    plain = [value for value in values if vr not in matching.RANGED | matching.WILD]
    if plain:
        return held.in_(plain)  # type: ignore[no-any-return]
    return or_(*[_one(held, vr, value, dialect) for value in values])


def _one(held: Any, vr: str, value: str, dialect: str) -> ColumnElement[bool]:
    if vr in matching.RANGED:
        first, last = matching.bounds(vr, value)
        return held.between(first, last)  # type: ignore[no-any-return]
    if vr == "PN":
        value = matching.name(value)
    return _text(held, value, dialect)


def _text(held: Any, pattern: str, dialect: str) -> ColumnElement[bool]:
    """Equality, or a pattern of `*` and `?`; the range of its prefix lets an index serve it."""
    if "*" not in pattern and "?" not in pattern:
        return held == pattern  # type: ignore[no-any-return]
    clause = _like(held, pattern, dialect)
    prefix = pattern.replace("?", "*").partition("*")[0]
    if prefix:
        clause = clause & (held >= prefix) & (held < prefix + "\U0010ffff")
    return clause


def _like(held: Any, pattern: str, dialect: str) -> ColumnElement[bool]:
    if dialect == "sqlite":
        return held.op("GLOB", is_comparison=True)(pattern.replace("[", "[[]"))  # type: ignore[no-any-return]
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return held.like(escaped.replace("*", "%").replace("?", "_"), escape="\\")  # type: ignore[no-any-return]


def _name(pattern: str, dialect: str, *, narrow: bool) -> ColumnElement[bool]:
    """A patient's name; where no other key is narrow, the trigram index finds it inside of names."""
    clause = _text(schema.patient.c.name_folded, pattern, dialect)
    runs = pattern.replace("?", "*").split("*")
    inside = len(runs[0]) < _TRIGRAM and any(len(run) >= _TRIGRAM for run in runs)
    if dialect == "sqlite" and inside and not narrow:
        found = select(_NAMES.c.rowid).where(_like(_NAMES.c.name_folded, pattern, dialect))
        clause = clause & schema.patient.c.id.in_(found)
    return clause


def _modalities(key: Key, dialect: str, *, narrow: bool) -> ColumnElement[bool]:
    """Modalities in Study: one of the study's modalities has to match (PS3.4 C.2.2.3)."""
    modality = schema.study_modality.c
    wanted = or_(*[_text(modality.modality, value, dialect) for value in matching.values(key)])
    if narrow:
        return exists().where(modality.study == schema.study.c.id, wanted)
    return schema.study.c.id.in_(select(modality.study).where(wanted))
