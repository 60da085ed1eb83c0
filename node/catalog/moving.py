"""A migration as rows: which parts of a foreign archive are listed, and what has come of each study.

Every step is committed when it is done, so that a migration that was interrupted goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, desc, func, insert, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import InstanceUID, SeriesUID, StudyUID
from node.domain.partner import Difference, Moving, MovingSeries, MovingStudy, Unlike

if TYPE_CHECKING:
    from node.catalog.unit import Unit

DUE, DONE, CUT = "due", "done", "cut"
"""States of a window: to be listed, listed, listed as far as the partner tells."""
_PAGE = 500

_window, _study, _series, _difference = (
    table.c
    for table in (
        schema.moving_window,
        schema.moving_study,
        schema.moving_series,
        schema.moving_difference,
    )
)
_instance = schema.instance.c
_PUT_WINDOW = Statement(insert(schema.moving_window).prefix_with("OR REPLACE", dialect="sqlite"))
_DROP_WINDOW = Statement(
    delete(schema.moving_window).where(_window.partner == bindparam("of"), _window.part == bindparam("named"))
)
_DROP_WINDOWS = Statement(delete(schema.moving_window).where(_window.partner == bindparam("of")))
_WINDOWS = Statement(
    select(_window.part)
    .where(_window.partner == bindparam("of"), _window.state == bindparam("in_state"))
    .order_by(desc(_window.part))
)
_HERE_OF_STUDY = Statement(
    select(func.coalesce(func.sum(schema.study.c.instance_count), 0)).where(
        schema.study.c.uid == bindparam("named")
    )
)
_PUT_STUDY = Statement(insert(schema.moving_study).prefix_with("OR REPLACE", dialect="sqlite"))
_STUDY_COLUMNS = (
    _study.study,
    _study.date,
    _study.told,
    _study.state,
    _study.attempts,
    _study.due_at,
    _study.error,
)
_FIND_STUDY = Statement(
    select(*_STUDY_COLUMNS).where(_study.partner == bindparam("of"), _study.study == bindparam("named"))
)
_NEXT_STUDY = Statement(
    select(*_STUDY_COLUMNS)
    .where(
        _study.partner == bindparam("of"),
        _study.state == Moving.LISTED.value,
        _study.due_at <= bindparam("now"),
    )
    .order_by(_study.due_at, _study.study)
    .limit(bindparam("many"))
)
_DUE_NEXT = Statement(
    select(func.min(_study.due_at)).where(
        _study.partner == bindparam("of"), _study.state == Moving.LISTED.value
    )
)
_STUDY_COUNTS = Statement(
    select(_study.state, func.count()).where(_study.partner == bindparam("of")).group_by(_study.state)
)
_REVIVE = Statement(
    update(schema.moving_study)
    .where(_study.partner == bindparam("of"), _study.state == bindparam("from_state"))
    .values(state=Moving.LISTED.value, attempts=0, due_at=0, error="")
)
_PUT_SERIES = Statement(insert(schema.moving_series).prefix_with("OR REPLACE", dialect="sqlite"))
_SERIES = Statement(
    select(
        _series.series,
        _series.study,
        _series.modality,
        _series.there,
        _series.here,
        _series.bytes,
        _series.fetched,
        _series.state,
        _series.error,
    ).where(_series.partner == bindparam("of"), _series.study == bindparam("named"))
)
_DROP_SERIES = Statement(
    delete(schema.moving_series).where(
        _series.partner == bindparam("of"),
        _series.study == bindparam("of_study"),
        _series.series == bindparam("named"),
    )
)
_SUM = Statement(
    select(
        func.count(),
        func.coalesce(func.sum(_series.there), 0),
        func.coalesce(func.sum(_series.here), 0),
        func.coalesce(func.sum(_series.bytes), 0),
        func.coalesce(func.sum(_series.fetched), 0),
    ).where(_series.partner == bindparam("of"))
)
_TOLD = Statement(select(func.coalesce(func.sum(_study.told), 0)).where(_study.partner == bindparam("of")))
_ADD_DIFFERENCE = Statement(insert(schema.moving_difference).prefix_with("OR REPLACE", dialect="sqlite"))
_FORGET = Statement(
    delete(schema.moving_difference).where(
        _difference.partner == bindparam("of"),
        _difference.study == bindparam("of_study"),
        _difference.series == bindparam("of_series"),
    )
)
_DIFFERENCES = Statement(
    select(_difference.instance, _difference.study, _difference.series, _difference.kind, _difference.why)
    .where(_difference.partner == bindparam("of"))
    .order_by(_difference.study, _difference.series, _difference.instance)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """How far a migration is."""

    studies: int = 0
    studies_here: int = 0
    studies_differ: int = 0
    series: int = 0
    told: int = 0
    """Instances there, where the partner told their number with the study."""
    instances: int = 0
    """Instances there, of the series that were compared."""
    here: int = 0
    bytes: int = 0
    fetched: int = 0


class MovingRows:
    """What is known of the way of studies from a partner to here."""

    def __init__(self, unit: Unit) -> None:
        """The rows within a unit of work."""
        self._unit = unit

    def windows(self, partner: str, state: str) -> Sequence[str]:
        """The windows in a state."""
        return [row[0] for row in self._unit.run(_WINDOWS, of=partner, in_state=state).fetchall()]

    def put_window(self, partner: str, part: str, state: str, listed: int = 0) -> None:
        """Write where a window stands."""
        self._unit.run(_PUT_WINDOW, partner=partner, part=part, state=state, listed=listed)

    def drop_window(self, partner: str, part: str) -> None:
        """Smaller windows stand for this one."""
        self._unit.run(_DROP_WINDOW, of=partner, named=part)

    def drop_windows(self, partner: str) -> None:
        """Begin to list anew."""
        self._unit.run(_DROP_WINDOWS, of=partner)

    def study(self, partner: str, uid: StudyUID) -> MovingStudy | None:
        """What is known of a study."""
        row = self._unit.run(_FIND_STUDY, of=partner, named=uid).fetchone()
        return _study_of(row) if row else None

    def put_study(self, partner: str, study: MovingStudy) -> None:
        """Write where a study stands."""
        self._unit.run(
            _PUT_STUDY,
            partner=partner,
            study=study.uid,
            date=study.date,
            told=study.told,
            state=study.state,
            attempts=study.attempts,
            due_at=study.due_at,
            error=study.error,
        )

    def next_studies(self, partner: str, many: int) -> Sequence[MovingStudy]:
        """Studies that are to be brought now."""
        rows = self._unit.run(_NEXT_STUDY, of=partner, now=self._unit.now, many=many).fetchall()
        return [_study_of(row) for row in rows]

    def next_due(self, partner: str) -> int | None:
        """When the next study is to be brought; None where none is left."""
        due: int | None = self._unit.run(_DUE_NEXT, of=partner).fetchall()[0][0]
        return due

    def revive(self, partner: str, state: Moving) -> None:
        """Have studies in this state brought, or compared, again."""
        self._unit.run(_REVIVE, of=partner, from_state=state)

    def series(self, partner: str, study: StudyUID) -> dict[SeriesUID, MovingSeries]:
        """What is known of the series of a study."""
        rows = self._unit.run(_SERIES, of=partner, named=study).fetchall()
        return {series.uid: series for series in map(_series_of, rows)}

    def put_series(self, partner: str, series: MovingSeries, differences: Iterable[Difference]) -> None:
        """Write where a series stands, and what of it differs now."""
        self._unit.run(
            _PUT_SERIES,
            partner=partner,
            study=series.study,
            series=series.uid,
            modality=series.modality,
            there=series.there,
            here=series.here,
            bytes=series.bytes,
            fetched=series.fetched,
            state=series.state,
            error=series.error,
        )
        self._unit.run(_FORGET, of=partner, of_study=series.study, of_series=series.uid)
        for one in differences:
            self._unit.run(
                _ADD_DIFFERENCE,
                partner=partner,
                study=one.study,
                series=one.series,
                instance=one.instance,
                kind=one.kind,
                why=one.why,
            )

    def drop_series(self, partner: str, study: StudyUID, series: SeriesUID) -> None:
        """A series is there no longer."""
        self._unit.run(_DROP_SERIES, of=partner, of_study=study, named=series)
        self._unit.run(_FORGET, of=partner, of_study=study, of_series=series)

    def sum(self, partner: str) -> Moved:
        """How far the migration is."""
        states: dict[str, int] = dict(self._unit.run(_STUDY_COUNTS, of=partner).fetchall())
        series, there, here, size, fetched = self._unit.run(_SUM, of=partner).fetchall()[0]
        return Moved(
            studies=sum(states.values()),
            studies_here=states.get(Moving.HERE, 0),
            studies_differ=states.get(Moving.DIFFERS, 0),
            series=series,
            told=self._unit.run(_TOLD, of=partner).fetchall()[0][0],
            instances=there,
            here=here,
            bytes=size,
            fetched=fetched,
        )

    def differences(self, partner: str) -> Iterator[Difference]:
        """Every instance that is not here as it is there."""
        for instance, study, series, kind, why in self._unit.run(_DIFFERENCES, of=partner).fetchall():
            yield Difference(
                instance=InstanceUID.trusted(instance),
                study=StudyUID.trusted(study),
                series=SeriesUID.trusted(series),
                kind=Unlike(kind),
                why=why,
            )

    def instances_here(self, study: StudyUID) -> int:
        """How many instances of a study are catalogued here."""
        return int(self._unit.run(_HERE_OF_STUDY, named=study).fetchall()[0][0])

    def here_among(self, uids: Sequence[InstanceUID]) -> dict[str, tuple[int, str]]:
        """Size and transfer syntax of those of the instances whose bytes are archived here."""
        found: dict[str, tuple[int, str]] = {}
        for start in range(0, len(uids), _PAGE):
            page = uids[start : start + _PAGE]
            query = select(_instance.uid, _instance.size, _instance.transfer_syntax).where(
                _instance.uid.in_(page), _instance.held == 1
            )
            found |= {uid: (size, syntax) for uid, size, syntax in self._unit.rows(query)}
        return found

    def withdrawn_among(self, uids: Sequence[InstanceUID]) -> set[str]:
        """Those of the instances that were withdrawn here."""
        found: set[str] = set()
        for start in range(0, len(uids), _PAGE):
            found |= self._unit.forms.withdrawn_among(uids[start : start + _PAGE])
        return found


def _study_of(row: Sequence[Any]) -> MovingStudy:
    uid, date, told, state, attempts, due_at, error = row
    return MovingStudy(
        uid=StudyUID.trusted(uid),
        date=date,
        told=told,
        state=Moving(state),
        attempts=attempts,
        due_at=due_at,
        error=error,
    )


def _series_of(row: Sequence[Any]) -> MovingSeries:
    uid, study, modality, there, here, size, fetched, state, error = row
    return MovingSeries(
        uid=SeriesUID.trusted(uid),
        study=StudyUID.trusted(study),
        modality=modality,
        there=there,
        here=here,
        bytes=size,
        fetched=fetched,
        state=Moving(state),
        error=error,
    )
