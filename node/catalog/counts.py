"""How much the catalog holds."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Table, func, select

from node.catalog import conflicts, quarantine, schema
from node.catalog.unit import Unit
from node.domain.ids import StudyUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows of each kind."""

    patients: int
    studies: int
    series: int
    instances: int
    bytes: int
    """Of all archived instances."""
    shared_studies: int
    """Study Instance UIDs that came for more than one patient."""
    conflicts: int
    """Not folded."""
    quarantined: int
    """Held."""
    devices: int
    pending: int
    """Unknown devices that knocked."""
    jobs: int
    oldest_job_at: int | None
    """Microseconds since 1970."""


def count(unit: Unit) -> Counts:
    """Count everything in one state of the catalog."""
    instances, size = next(
        unit.rows(
            select(
                func.coalesce(func.sum(schema.study.c.instance_count), 0),
                func.coalesce(func.sum(schema.study.c.bytes), 0),
            )
        )
    )
    jobs, oldest = unit.jobs.owed()
    return Counts(
        patients=_rows(unit, schema.patient, schema.patient.c.merged == 0),
        studies=_rows(unit, schema.study),
        series=_rows(unit, schema.series),
        instances=instances,
        bytes=size,
        shared_studies=len(shared_studies(unit)),
        conflicts=_rows(unit, schema.conflict, schema.conflict.c.state != conflicts.FOLDED),
        quarantined=_rows(unit, schema.quarantine, schema.quarantine.c.state == quarantine.HELD),
        devices=_rows(unit, schema.device),
        pending=_rows(unit, schema.knock),
        jobs=jobs,
        oldest_job_at=oldest,
    )


def shared_studies(unit: Unit) -> list[StudyUID]:
    """Study Instance UIDs of more than one patient, apart from patients that were merged."""
    uid, shown = schema.study.c.uid, schema.study.c.shown
    several = select(uid).group_by(uid).having(func.count() > 1)
    apart = func.min(shown) != func.max(shown)
    query = select(uid).where(uid.in_(several)).group_by(uid).having(apart).order_by(uid)
    return [StudyUID.trusted(row[0]) for row in unit.rows(query)]


def _rows(unit: Unit, table: Table, *where: object) -> int:
    found = next(unit.rows(select(func.count()).select_from(table).where(*where)))[0]  # type: ignore[arg-type]
    return int(found)
