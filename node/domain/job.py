"""A job: what is still to do, written in the unit of work of the fact that caused it.

```
due ── the effect is committed ──▶ done (the row goes)
 │ ▲── due again after a pause, or when somebody revives it
 ▼   └── what it waits for has not come: due again, however often
stalled   too many failures in a row, or one that no repetition can mend
```
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

SECOND = 1_000_000
"""Microseconds."""
HOUR = 3600 * SECOND
_FIRST_PAUSE = 2 * SECOND
_LONGEST_PAUSE = 3600 * SECOND
_LONGEST_LOOK = 300 * SECOND
PATIENCE = 200
"""Attempts before a job stalls: about a week at the longest pause."""


class Task(StrEnum):
    """Kinds of jobs."""

    COMPARE = "compare"
    """Prove two stored forms of an instance equal, or different."""
    COMMITMENT = "commitment"
    """Tell a device what became of its Storage Commitment request."""
    DROP = "drop"
    """A copy is being given up: it is vouched for to nobody."""
    REPAIR = "repair"
    """A copy was found damaged: read it again, and mend it from another one."""
    GIVE_UP = "give up"
    """Give up copies that a communication site has passed on."""
    STEP_DOWN = "step down"
    """Another site has taken the place of this one: begin anew as a read-only one."""
    REBUILD = "rebuild"
    """Look at everything, and make again what was lost of it."""
    DRILL = "drill"
    """Hold a drill on a scratch area, and write its report."""
    RECONSIDER = "reconsider"
    """Work out again which sites owe copies, after rules, terms or members have changed."""


class State(StrEnum):
    """Where a job stands."""

    DUE = "due"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One thing to do; `kind` and `key` name it, so that asking twice does it once."""

    kind: Task
    key: str
    payload: str = ""
    state: State = State.DUE
    created_at: int = 0
    due_at: int = 0
    """Microseconds since 1970; while it is leased, the end of the lease."""
    attempts: int = 0
    error: str = ""

    def leased(self, until: int) -> Self:
        """The job in somebody's hands: due again when the lease ends without an outcome."""
        return replace(self, due_at=until, attempts=self.attempts + 1)

    def failed(self, now: int, error: str, *, for_good: bool = False) -> Self:
        """The job after a failure: due after a pause that doubles, or stalled."""
        if for_good or self.attempts >= PATIENCE:
            return replace(self, state=State.STALLED, error=error)
        pause = min(_FIRST_PAUSE * 2 ** min(self.attempts, 20), _LONGEST_PAUSE)
        return replace(self, due_at=now + pause, error=error)

    def waits(self, now: int, why: str) -> Self:
        """The job while what it waits for has not come: no failure, so it never stalls by that.

        It is due again after an eighth of the time that it has waited already, within five minutes.
        """
        pause = min(max((now - self.created_at) // 8, _FIRST_PAUSE), _LONGEST_LOOK)
        return replace(self, due_at=now + pause, attempts=max(self.attempts - 1, 0), error=why)
