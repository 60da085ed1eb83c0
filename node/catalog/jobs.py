"""Jobs as rows: leased by one worker at a time, retried until they are done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.job import Job, State, Task

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_job = schema.job.c
_NAMED = (_job.kind == bindparam("of_kind"), _job.key == bindparam("of_key"))
_COLUMNS = (
    _job.kind,
    _job.key,
    _job.payload,
    _job.state,
    _job.created_at,
    _job.due_at,
    _job.attempts,
    _job.error,
)
_FIND = Statement(select(*_COLUMNS).where(*_NAMED))
_ADD = Statement(insert(schema.job).values({c.name: bindparam(c.name) for c in _COLUMNS}))
_SAVE = Statement(
    update(schema.job)
    .where(*_NAMED)
    .values({c.name: bindparam(c.name) for c in (_job.state, _job.due_at, _job.attempts, _job.error)})
)
_DONE = Statement(delete(schema.job).where(*_NAMED))
_DUE = Statement(
    select(*_COLUMNS)
    .where(_job.state == State.DUE, _job.due_at <= bindparam("now"))
    .order_by(_job.due_at)
    .limit(bindparam("many"))
)
_OF_KIND = Statement(select(*_COLUMNS).where(_job.kind == bindparam("of_kind")).order_by(_job.created_at))
_BEGUN = Statement(
    update(schema.job)
    .where(_job.state == State.DUE, _job.attempts > 0, _job.attempts <= bindparam("most"))
    .values(due_at=func.min(_job.due_at, bindparam("moment")))
)
_OWED = Statement(select(func.count(), func.min(_job.created_at)).select_from(schema.job))


class Jobs:
    """What is still to do at this site."""

    def __init__(self, unit: Unit) -> None:
        """The jobs within a unit of work."""
        self._unit = unit

    def add(self, kind: Task, key: str, payload: str = "", *, after: int = 0) -> None:
        """Owe a job from `after` microseconds on; one of that kind and key that is owed already is left."""
        if self.find(kind, key) is None:
            now = self._unit.now
            self._unit.run(
                _ADD,
                kind=kind,
                key=key,
                payload=payload,
                state=State.DUE,
                created_at=now,
                due_at=now + after,
                attempts=0,
                error="",
            )

    def find(self, kind: Task, key: str) -> Job | None:
        """The job of that kind and key."""
        row = self._unit.run(_FIND, of_kind=kind, of_key=key).fetchone()
        return _job_of(row) if row else None

    def of_kind(self, kind: Task) -> Sequence[Job]:
        """The jobs of a kind, the oldest first."""
        return [_job_of(row) for row in self._unit.run(_OF_KIND, of_kind=kind).fetchall()]

    def lease(self, many: int, lease: int) -> Sequence[Job]:
        """Take up to `many` jobs that are due, each for `lease` microseconds."""
        rows = self._unit.run(_DUE, now=self._unit.now, many=many).fetchall()
        leased = [_job_of(row).leased(self._unit.now + lease) for row in rows]
        for job in leased:
            self.save(job)
        return leased

    def take_up(self, most: int) -> None:
        """Let jobs be due that were begun, up to so many times, and have no outcome: who had them is gone."""
        self._unit.run(_BEGUN, most=most, moment=self._unit.now)

    def any_due(self) -> bool:
        """Whether there is a job to lease."""
        return self._unit.run(_DUE, now=self._unit.now, many=1).fetchone() is not None

    def save(self, job: Job) -> None:
        """Write the state of a job."""
        self._unit.run(
            _SAVE,
            of_kind=job.kind,
            of_key=job.key,
            state=job.state,
            due_at=job.due_at,
            attempts=job.attempts,
            error=job.error,
        )

    def done(self, kind: Task, key: str) -> None:
        """Forget a job whose effect is committed."""
        self._unit.run(_DONE, of_kind=kind, of_key=key)

    def owed(self) -> tuple[int, int | None]:
        """How many jobs are owed, and since when the oldest (microseconds since 1970)."""
        row = self._unit.run(_OWED).fetchone()
        return (row[0], row[1]) if row else (0, None)


def _job_of(row: Sequence[Any]) -> Job:
    kind, key, payload, state, created_at, due_at, attempts, error = row
    return Job(
        kind=Task(kind),
        key=key,
        payload=payload,
        state=State(state),
        created_at=created_at,
        due_at=due_at,
        attempts=attempts,
        error=error,
    )
