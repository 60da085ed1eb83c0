"""What a drill does and finds, step by step; and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from node.domain.errors import Unavailable

NAMED: Final = 100
"""Objects that are named one by one."""
Progress = Callable[[str, int, int], None]
"""Told: the step, how much of it is done, of how much (0 where nobody knows)."""


def untold(_step: str, _done: int, _of: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that was done."""

    step: str
    seconds: float
    told: str = ""


@dataclass(slots=True, kw_only=True)
class Sampled:
    """What the drill was held on."""

    objects: int = 0
    bytes: int = 0
    of_objects: int = 0
    of_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class Digests:
    """What came of reading every object of the sample at the end."""

    checked: int = 0
    equal: int = 0
    different: int = 0
    missing: int = 0
    named: list[str] = field(default_factory=list)
    """The first of those that are not equal."""

    @property
    def are_equal(self) -> bool:
        """Whether everything is here, and as it was."""
        return self.checked == self.equal


@dataclass(slots=True, kw_only=True)
class Loss:
    """What would be lost: the recovery point."""

    objects: int = 0
    facts: int = 0
    """Decisions and other facts that nobody could tell again."""
    seconds: float = 0.0
    """How far back the oldest of it goes."""
    allowed_seconds: float = 0.0
    """What came within this time may be lost: it may be on its way still."""
    named: list[str] = field(default_factory=list)
    told: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """How long it took, and how long it would take with everything: the recovery time."""

    what: str
    seconds: float
    """On the sample."""
    everything_seconds: float
    """Worked out for all that the site holds."""
    how: str
    """How that was worked out."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a drill."""

    sample: Sampled = field(default_factory=Sampled)
    steps: list[Step] = field(default_factory=list)
    planted: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    false_alarms: list[str] = field(default_factory=list)
    repaired: int = 0
    digests: Digests = field(default_factory=Digests)
    loss: Loss = field(default_factory=Loss)
    durations: list[Duration] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """Why the drill has failed; none if it has passed."""
    notes: list[str] = field(default_factory=list)

    @property
    def has_passed(self) -> bool:
        """Whether everything was as it ought to be, and anything was checked at all."""
        return not self.reasons and self.digests.checked > 0


class Course:
    """A drill under way: takes the time of its steps, and collects what is found."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        progress: Progress = untold,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """A drill that begins now.

        Args:
            monotonic: tells seconds.
            progress: is told how it goes.
            stop: whether to leave off; then each step raises `Unavailable`.
        """
        self.outcome = Outcome()
        self.is_to_stop = stop
        self._monotonic = monotonic
        self._progress = progress
        self._step = ""

    @contextmanager
    def step(self, name: str) -> Iterator[Timed]:
        """Do a step; its time stands in the report."""
        self._step = name
        self._go_on()
        timed = Timed()
        begun = self._monotonic()
        self._progress(name, 0, 0)
        try:
            yield timed
        finally:
            timed.seconds = max(self._monotonic() - begun, 1e-6)
            self.outcome.steps.append(Step(step=name, seconds=round(timed.seconds, 3), told=timed.told))

    def tell(self, done: int, of: int) -> None:
        """Say how much of the step is done."""
        self._go_on()
        self._progress(self._step, done, of)

    def _go_on(self) -> None:
        """Leave off if somebody wants that.

        Raises:
            Unavailable: somebody does.
        """
        if self.is_to_stop():
            raise Unavailable("the drill was stopped, as the node is stopping")

    def fail(self, reason: str) -> None:
        """Note why the drill has failed."""
        self.outcome.reasons.append(reason)

    def demand(self, holds: bool, reason: str) -> bool:
        """Note a reason to fail unless something holds; whether it does."""
        if not holds:
            self.fail(reason)
        return holds

    def took(self, what: str, timed: Timed, *, done: int, of: int, unit: str) -> None:
        """Note how long something took, and how long it would take for everything, at the same rate."""
        rate = done / timed.seconds
        everything = of / rate if rate else 0.0
        how = f"{timed.seconds:.1f} s for {done:,} {unit}: {rate:,.0f} a second; {of:,} at that rate"
        self.outcome.durations.append(
            Duration(
                what=what, seconds=round(timed.seconds, 3), everything_seconds=round(everything, 1), how=how
            )
        )

    def brought(self, what: str, timed: Timed, *, objects: int, size: int) -> None:
        """Note how long bytes took, and how long all would take: by objects or bytes, whichever is longer."""
        sample = self.outcome.sample
        if not objects:
            return
        size = max(size, 1)
        by_objects = timed.seconds * sample.of_objects / objects
        by_bytes = timed.seconds * sample.of_bytes / size
        how = (
            f"{timed.seconds:.1f} s for {objects:,} objects and {size / 1e6:,.1f} MB; everything is "
            f"{sample.of_objects:,} objects ({by_objects:,.0f} s) and {sample.of_bytes / 1e6:,.1f} MB "
            f"({by_bytes:,.0f} s) at that rate, and the longer of both counts"
        )
        self.outcome.durations.append(
            Duration(
                what=what,
                seconds=round(timed.seconds, 3),
                everything_seconds=round(max(by_objects, by_bytes), 1),
                how=how,
            )
        )


@dataclass(slots=True)
class Timed:
    """A step under way."""

    seconds: float = 0.0
    told: str = ""


def first(names: Iterable[str]) -> list[str]:
    """The first of some names, in order."""
    return sorted(names)[:NAMED]


def plural(count: int, noun: str = "object") -> str:
    """A number of things in words."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(counts: Sequence[tuple[str, int]]) -> str:
    """Several counts in words."""
    return ", ".join(f"{count} {name}" for name, count in counts if count) or "none"
