"""Whatever comes and goes, fails and crashes: each episode is told once when it begins and once when it ends.

Who receives notices tells a repetition by its id, which only a crash between sending and noting makes; so
what counts is what came under different ids, in which order, and that nothing else was ever repeated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from node.domain.alert import CALM, SECOND, Concern, Notice, Severity, Step
from node.domain.errors import CatalogBusy, NoticeUntold
from node.watch.book import CatalogBook
from node.watch.herald import FIRST_PAUSE, LONGEST_PAUSE, Herald
from node.watch.watch import step
from tests.support.fragile import Crash, FragileCatalog
from tests.support.sites import BRNO, Clock, fast_folder

KINDS = ("disk-full", "peer-silent", "damage")
SINKS = {"mail": Severity.INFO, "webhook": Severity.INFO}


class Killed(BaseException):
    """The process is gone in the middle of a call; nothing catches that."""


class Receiver:
    """Whoever hears notices; it may be unreachable, and what it heard outlives every crash of the node."""

    least = Severity.INFO

    def __init__(self, name: str) -> None:
        self.name = name
        self.down = False
        self.crash_after = False
        self.heard: list[Notice] = []

    def tell(self, notice: Notice) -> None:
        if self.down:
            raise NoticeUntold(self.name, "down")
        self.heard.append(notice)
        if self.crash_after:
            self.crash_after = False
            raise Killed(self.name)


class Telling(RuleBasedStateMachine):
    """States come and go, sinks fail, the process crashes at any write and starts again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder: Any = fast_folder()
        self.clock = Clock()
        self.fuse = 0
        self.crashes = 0
        self.receivers = {name: Receiver(name) for name in SINKS}
        self.holds: set[str] = set()
        self.busy = False
        self.start()

    def start(self) -> None:
        """Open everything, as the next process does."""
        self.fuse = 0
        self.catalog = FragileCatalog(Path(self.folder.name) / "catalog.db", origin=BRNO, clock=self.clock)
        self.catalog.burn = self.burn
        self.heralds = [
            Herald(BRNO, receiver, [CatalogBook(self.catalog)], self.catalog, self.clock)
            for receiver in self.receivers.values()
        ]

    def burn(self) -> None:
        if self.busy:
            raise CatalogBusy("for now")
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                raise Crash("the node")

    def teardown(self) -> None:
        """In the end everything is quiet and everybody reachable: all that was owed arrives."""
        try:
            self.holds.clear()
            for receiver in self.receivers.values():
                receiver.down = receiver.crash_after = False
            self.fuse, self.busy = 0, False
            for _ in range(3):
                self.look()
                self.clock.forward(CALM / SECOND)
            self.clock.forward(LONGEST_PAUSE / SECOND)
            self.tell()
            self.all_is_told()
        finally:
            self.catalog.close()
            self.folder.cleanup()

    @initialize(fuse=st.integers(min_value=0, max_value=3))
    def begin(self, fuse: int) -> None:
        self.fuse = fuse

    @rule(kind=st.sampled_from(KINDS))
    def comes(self, kind: str) -> None:
        self.holds.add(kind)
        self.look()

    @rule(kind=st.sampled_from(KINDS))
    def goes(self, kind: str) -> None:
        self.holds.discard(kind)

    @rule(seconds=st.sampled_from([1, 30, 299, 301, 900]))
    def time_passes(self, seconds: int) -> None:
        self.clock.forward(seconds)

    @rule(fuse=st.integers(min_value=1, max_value=8))
    def crash_soon(self, fuse: int) -> None:
        self.fuse = fuse

    @rule(busy=st.booleans())
    def catalog_cannot_be_written(self, busy: bool) -> None:
        self.busy = busy
        self.tell()

    @rule(name=st.sampled_from(sorted(SINKS)))
    def sink_fails(self, name: str) -> None:
        self.receivers[name].down = True

    @rule(name=st.sampled_from(sorted(SINKS)))
    def sink_heals(self, name: str) -> None:
        self.receivers[name].down = False

    @rule(name=st.sampled_from(sorted(SINKS)))
    def crash_before_noting(self, name: str) -> None:
        self.receivers[name].crash_after = True

    @rule()
    def look(self) -> None:
        """One round of the watch, which may crash before or after its commit."""
        found = [
            Concern(kind=kind, severity=Severity.CRITICAL, what=f"{kind}.", todo="Mend it.")
            for kind in KINDS
            if kind in self.holds
        ]
        try:
            self.catalog.perform(lambda unit: step(unit, found, SINKS))
        except CatalogBusy:
            assert self.busy
        except Crash:
            self.crashes += 1
            self.start()

    @rule()
    def tell(self) -> None:
        """All sinks are told what they are owed, twice over, which may crash at any point."""
        for herald in self.heralds:
            try:
                herald.tell()
                self.clock.forward(FIRST_PAUSE / SECOND)
                herald.tell()
            except (Crash, Killed):
                self.crashes += 1
                self.start()
                return

    @invariant()
    def every_sink_hears_beginnings_and_ends_in_turn(self) -> None:
        for receiver in self.receivers.values():
            for kind in KINDS:
                steps = [one.step for one in distinct(receiver.heard) if one.key == kind]
                expected = [Step.RAISED, Step.OVER] * (len(steps) // 2 + 1)
                assert steps == expected[: len(steps)], (receiver.name, kind, steps)

    @invariant()
    def nothing_is_told_twice_but_after_a_crash(self) -> None:
        """A crash lets each sink hear one notice again: what it was told and the book had not noted yet."""
        for receiver in self.receivers.values():
            assert len(receiver.heard) - len(distinct(receiver.heard)) <= self.crashes

    def all_is_told(self) -> None:
        """Each episode of the book, no other, and each with both notices, at both sinks."""
        with self.catalog.reading() as unit:
            episodes = unit.alerts.all()
        assert all(one.is_settled for one in episodes)
        ids = {f"{one.key}/{one.since_at}/{what}" for one in episodes for what in ("raised", "over")}
        for receiver in self.receivers.values():
            assert {one.id for one in receiver.heard} == ids, receiver.name


def distinct(heard: list[Notice]) -> list[Notice]:
    """The notices without repetitions, in the order in which they came first."""
    first: dict[str, Notice] = {}
    for one in heard:
        first.setdefault(one.id, one)
    return list(first.values())


TestTelling = Telling.TestCase
TestTelling.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_what_was_told_and_could_not_be_noted_is_noted_later_and_not_told_again():
    telling = Telling()
    telling.comes("damage")
    telling.catalog_cannot_be_written(busy=True)
    telling.tell()
    telling.catalog_cannot_be_written(busy=False)
    telling.tell()
    assert [len(receiver.heard) for receiver in telling.receivers.values()] == [1, 1]
    with telling.catalog.reading() as unit:
        (alert,) = unit.alerts.open()
    assert all(told.raised_at for told in alert.told.values())
    telling.teardown()


def test_what_was_told_before_a_crash_is_told_again_under_the_same_id():
    telling = Telling()
    telling.comes("damage")
    telling.crash_before_noting("mail")
    telling.tell()
    telling.tell()
    heard = telling.receivers["mail"].heard
    assert len(heard) == 2
    assert len(distinct(heard)) == 1
    telling.teardown()
