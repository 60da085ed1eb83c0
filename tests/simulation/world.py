"""A world of three sites, in which one thing happens after the other as a seed decides."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from node.domain.errors import NodeError
from node.domain.ids import SiteId
from tests.simulation import deeds, invariants, templates
from tests.simulation.book import Book
from tests.simulation.clock import SiteClock, Time
from tests.simulation.disk import PowerCut
from tests.simulation.plan import Plan, plan_of
from tests.simulation.promises import Broken
from tests.simulation.quick import quick
from tests.simulation.site import SimulatedSite
from tests.simulation.wire import Wire

PAUSES = (0.05, 0.5, 2, 10, 10, 30, 30, 120, 700, 4000, 90_000)
"""Seconds between two steps."""


class World:
    """Three sites, their devices and operators, a network and a saboteur."""

    def __init__(self, plan: Plan, folder: Path, time: Time) -> None:
        self.plan = plan
        self.folder = folder
        self.time = time
        self.story: list[str] = []
        """What has happened, in lines."""
        self.ticks: list[int] = []
        """When each step began, to the microsecond: one look at a clock more or less shows."""
        self.wire = Wire(forward=self.time.forward, meanwhile_at=self.meanwhile, weather=plan.weather)
        self.chance = self.wire.chance
        self.sites: dict[SiteId, SimulatedSite] = {}
        for name in map(SiteId, templates.NAMES):
            clock = SiteClock(self.time, ahead=plan.ahead[name], drift=plan.drift[name])
            self.sites[name] = SimulatedSite(self, name, callable=name not in plan.hidden, clock=clock)
        self.book = Book(self.sites)
        self.calm = False
        """Whether the troubles are over."""
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._nested = False

    # ---- what deeds use

    def says(self, line: str) -> None:
        """Tell what has happened."""
        self.story.append(f"{self.time.elapsed:12.3f}  {'    ' if self._nested else ''}{line}")

    def later(self, seconds: float, deed: Callable[[], None]) -> None:
        """Let something happen when so much time has passed."""
        due = self.time.now + int(seconds * 1_000_000)
        heapq.heappush(self._later, (due, next(self._numbers), deed))

    @property
    def running(self) -> list[SimulatedSite]:
        """The sites that have power."""
        return [site for site in self.sites.values() if not site.is_down]

    def site(self) -> SimulatedSite:
        """Some site that has power."""
        return self.chance.choice(self.running or list(self.sites.values()))

    def others(self, site: SimulatedSite) -> list[SimulatedSite]:
        """The other sites."""
        return [other for other in self.sites.values() if other is not site]

    def meanwhile(self, name: str) -> None:
        """Something else may happen now, in the middle of what a site does."""
        if self._nested or self.calm or not self.wire.happens(self.plan.interleaved):
            return
        if any(site.catalog.is_writing for site in self.running):
            return
        self._nested = True
        fuses = {site.name: site.fuse for site in self.sites.values()}
        try:
            self._do(deeds.draw(self.chance, deeds.NESTED, self.kinds))
        finally:
            self._nested = False
            for site in self.running:
                site.fuse = fuses[site.name]

    # ---- the run

    def live(self, without: Collection[int] = ()) -> None:
        """Let all steps happen but those that are left out, then let everything heal.

        Raises:
            Broken: a promise was not kept.
        """
        kinds = random.Random(f"kinds {self.plan.seed}")
        self.kinds = frozenset(
            name for name in deeds.DEEDS if name in deeds.NEEDED or kinds.random() >= self.plan.left_out
        )
        self.kinds -= deeds.NOT_IN_A_LINE if self.plan.line else deeds.IN_A_LINE
        if self.plan.line:
            deeds.line_up(self)
        for number in range(self.plan.steps):
            if number not in without:
                self._step(number)
        self._heal()

    def _step(self, number: int) -> None:
        self.wire.chance = self.chance = random.Random(f"{self.plan.seed} {number}")
        self.time.forward(self.chance.choice(PAUSES) * self.chance.random())
        self._due()
        self.says(f"step {number}")
        self.ticks.append(self.time.now)
        self._do(deeds.draw(self.chance, deeds.DEEDS, self.kinds))
        invariants.at_every_moment(self)
        if number % 5 == 4:
            invariants.now_and_then(self)

    def _due(self) -> None:
        while self._later and self._later[0][0] <= self.time.now:
            heapq.heappop(self._later)[2]()
        for site in list(self.sites.values()):
            if not site.is_down:
                site.fuse = 0
        if not self.running:
            self.site().start()

    def _do(self, deed: deeds.Deed) -> None:
        """Do a deed; whoever loses power over it is started again some time later."""
        try:
            outcome = deed(self)
        except PowerCut as cut:
            self.sites[SiteId(cut.site)].crash()
            outcome = None
        except NodeError as error:
            outcome = f"refused: {type(error).__name__}"
        if outcome:
            self.says(f"{deed.__name__}: {outcome}")
        for site in self.sites.values():
            if site.is_down:
                self.later(self.chance.choice((0, 5, 100, 1000)), site.start)

    # ---- the end

    def _heal(self) -> None:
        """Mend everything that was broken, leave the sites alone until they rest, and look at them."""
        self.wire.chance = self.chance = random.Random(f"{self.plan.seed} end")
        self.calm = True
        self.says("everything is mended")
        try:
            deeds.mend(self)
            invariants.at_every_moment(self)
            self.settle(patiently=True)
            if deeds.take_back(self):
                self.settle()
            invariants.in_the_end(self)
        except PowerCut as cut:
            raise AssertionError("nobody cuts the power any more") from cut

    def settle(self, rounds: int = 60, *, patiently: bool = False) -> None:
        """Let the sites do what they do by themselves, until nobody has anything left to do.

        Raises:
            Broken: they never come to rest.
        """
        before = self._state()
        self.time.forward(20)
        for number in range(rounds):
            for site in self.sites.values():
                deeds.by_itself(self, site)
                self.time.forward(7)
            now = self._state()
            if now == before and not any(invariants.is_busy(site, patiently) for site in self.sites.values()):
                self.says(f"all is quiet after {number + 1} rounds")
                return
            before = now
            self.time.forward(20 if number < 5 else 700)
        left = {
            site.name: found for site in self.sites.values() if (found := invariants.pending(site, patiently))
        }
        raise Broken("convergence", f"the sites never come to rest: {left}")

    def _state(self) -> tuple[object, ...]:
        return tuple(invariants.progress(site) for site in self.sites.values())

    def digest(self) -> str:
        """A hash of all that has happened."""
        told = "\n".join([*self.story, *map(str, self.ticks)])
        return hashlib.sha256(told.encode()).hexdigest()

    def close(self) -> None:
        """Let go of everything."""
        for site in self.sites.values():
            site.stop()


@contextmanager
def world(seed: int, plan: Plan | None = None) -> Iterator[World]:
    """A new world, as a seed plans it."""
    plan = plan or plan_of(seed)
    templates.acquainted(plan.hidden)
    time = Time()
    with tempfile.TemporaryDirectory(dir=templates.room()) as folder, quick(time):
        made = World(plan, Path(folder), time)
        try:
            yield made
        finally:
            with suppress(Exception):
                made.close()
