"""An alert: a critical state that somebody was told of, from its beginning to its end.

```
          seen                not seen                 away for a while
(nothing) ────▶ open ──────────────────────▶ easing ──────────────────▶ over
                 ▲                              │
                 └────────── seen again ────────┘
```

Each episode is one `Alert`. Every sink is owed a notice when it begins and one when it is over, in that
order, and of a critical one that nobody acknowledged a reminder each day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Self

from node.domain.ids import SiteId

SECOND: Final = 1_000_000
CALM: Final = 300 * SECOND
"""How long a state must stay away before it is over, so that one that comes and goes is one episode."""
REWORD: Final = 900 * SECOND
"""How old the words of an open alert may get; numbers in them change all the time."""
DAY: Final = 86_400 * SECOND


class Severity(StrEnum):
    """How much an alert matters."""

    INFO = "info"
    """Somebody has to decide about something, at leisure."""
    WARNING = "warning"
    """It gets worse if nobody does anything."""
    CRITICAL = "critical"
    """Data or service are lost, or soon will be."""

    def reaches(self, least: Severity) -> bool:
        """Whether it matters at least so much."""
        order = list(Severity)
        return order.index(self) >= order.index(least)


class AlertState(StrEnum):
    """Where an episode stands."""

    OPEN = "open"
    EASING = "easing"
    """Not seen any more, but not for long."""
    OVER = "over"


class Step(StrEnum):
    """What a notice tells."""

    RAISED = "raised"
    REMINDER = "reminder"
    OVER = "over"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """A critical state as it is seen now."""

    kind: str
    subject: str = ""
    """Which disk, site or device it is about, where there are several."""
    severity: Severity
    what: str
    """What it is, in whole sentences; never anything about a patient."""
    todo: str
    """What to do, in whole sentences with the command to type."""
    quiet: bool = False
    """It holds, but another concern says it better: an alert of it stays, and none begins."""

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.kind}:{self.subject}" if self.subject else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one sink was told of an episode; a moment of 0 is not yet."""

    raised_at: int = 0
    reminders: int = 0
    over_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a sink is to tell."""

    id: str
    """The same whenever it is sent again, so that who receives it twice can tell."""
    step: Step
    site: SiteId
    key: str
    severity: Severity
    what: str
    todo: str
    since_at: int
    over_at: int = 0
    at: int
    """When it was written; microseconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One episode."""

    key: str
    since_at: int
    """When it was seen first; microseconds since 1970, as all moments here."""
    kind: str
    subject: str
    severity: Severity
    what: str
    todo: str
    said_at: int
    """How old these words are."""
    state: AlertState = AlertState.OPEN
    eased_at: int = 0
    """Since when it is not seen any more; 0 while it is."""
    over_at: int = 0
    acknowledged_at: int = 0
    acknowledged_by: str = ""
    told: Mapping[str, Told] = field(default_factory=dict)
    """By the name of the sink; who is not named is owed nothing."""

    @classmethod
    def raised(cls, concern: Concern, now: int) -> Self:
        """A new episode."""
        return cls(
            key=concern.key,
            since_at=now,
            kind=concern.kind,
            subject=concern.subject,
            severity=concern.severity,
            what=concern.what,
            todo=concern.todo,
            said_at=now,
        )

    @property
    def is_over(self) -> bool:
        """Whether the episode has ended."""
        return self.state is AlertState.OVER

    @property
    def is_settled(self) -> bool:
        """Whether it is over and every sink that was owed a notice of that was told."""
        return self.is_over and all(told.raised_at and told.over_at for told in self.told.values())

    def seen(self, concern: Concern, now: int) -> Self:
        """The episode goes on."""
        if self.state is AlertState.OPEN and (
            concern.quiet or now - self.said_at < REWORD or (concern.what, concern.todo) == self.words
        ):
            return self
        words = self.words if concern.quiet else (concern.what, concern.todo)
        return replace(self, state=AlertState.OPEN, eased_at=0, what=words[0], todo=words[1], said_at=now)

    @property
    def words(self) -> tuple[str, str]:
        """What it is and what to do."""
        return self.what, self.todo

    def missed(self, now: int) -> Self:
        """It is not seen now: it eases, and is over once that has lasted."""
        if self.state is AlertState.OPEN:
            return replace(self, state=AlertState.EASING, eased_at=now)
        if self.state is AlertState.EASING and now - self.eased_at >= CALM:
            return replace(self, state=AlertState.OVER, over_at=self.eased_at)
        return self

    def acknowledged(self, who: str, now: int) -> Self:
        """Somebody knows of it; nobody is reminded any more."""
        return replace(self, acknowledged_at=now, acknowledged_by=who)

    def owed_to(self, sinks: Mapping[str, Severity]) -> Self:
        """Owe notices to these sinks, too, each from its least severity on."""
        new = {
            name: Told()
            for name, least in sinks.items()
            if name not in self.told and self.severity.reaches(least)
        }
        return replace(self, told={**self.told, **new}) if new and not self.is_over else self

    def with_told(self, told: Mapping[str, Told]) -> Self:
        """The episode with what was told of it meanwhile."""
        return replace(self, told={**self.told, **told})

    def due(self, sink: str, site: SiteId, now: int) -> Notice | None:
        """What a sink is to tell next, if anything."""
        told = self.told.get(sink)
        if told is None or told.over_at:
            return None
        if not told.raised_at:
            return self._notice(Step.RAISED, site, now)
        if self.is_over:
            return self._notice(Step.OVER, site, now)
        days = (now - self.since_at) // DAY
        if self._reminds and days > told.reminders:
            return self._notice(Step.REMINDER, site, now, f"-{days}")
        return None

    @property
    def _reminds(self) -> bool:
        return (
            self.severity is Severity.CRITICAL and self.state is AlertState.OPEN and not self.acknowledged_at
        )

    def _notice(self, step: Step, site: SiteId, now: int, number: str = "") -> Notice:
        return Notice(
            id=f"{self.key}/{self.since_at}/{step}{number}",
            step=step,
            site=site,
            key=self.key,
            severity=self.severity,
            what=self.what,
            todo=self.todo,
            since_at=self.since_at,
            over_at=self.over_at,
            at=now,
        )

    def heard(self, sink: str, notice: Notice) -> Self:
        """A sink has told a notice."""
        told = self.told.get(sink, Told())
        match notice.step:
            case Step.RAISED:
                told = replace(told, raised_at=notice.at, reminders=_days(self.since_at, notice.at))
            case Step.REMINDER:
                told = replace(told, reminders=_days(self.since_at, notice.at))
            case Step.OVER:
                told = replace(told, over_at=notice.at)
            case Step.TEST:
                pass
        return replace(self, told={**self.told, sink: told})


def _days(begin: int, end: int) -> int:
    return max(0, (end - begin) // DAY)
