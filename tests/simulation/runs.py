"""Runs: one seed, many seeds, and the shortest story that still breaks a promise."""

from __future__ import annotations

import multiprocessing
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from tests.simulation.promises import Broken
from tests.simulation.world import world

warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")  # headers that rotted


@dataclass(frozen=True)
class Run:
    """What came of a seed."""

    seed: int
    steps: int
    digest: str
    """A hash of all that happened."""
    story: list[str] = field(repr=False)
    broken: str = ""
    """The promise that was broken, and how; empty where all were kept."""
    promise: str = ""

    @property
    def done(self) -> frozenset[str]:
        """The names of the deeds that came to something."""
        lines = [line.split(None, 1)[1].strip() for line in self.story]
        return frozenset(line.split(":")[0] for line in lines if ": " in line and ": refused" not in line)

    @property
    def kind(self) -> str:
        """What tells one failure from another, without the names of bytes and numbers."""
        return re.sub(r"[0-9a-f]{8,}|[0-9.]+|\b(brno|prague|olomouc)\b", "", self.broken)[:60]

    @property
    def command(self) -> str:
        """What tells the story again."""
        return f"python -m tests.simulation --seed {self.seed} --trace"


def run(seed: int, without: Collection[int] = ()) -> Run:
    """Run a seed, perhaps without some of its steps."""
    with world(seed) as made:
        broken = promise = ""
        try:
            made.live(without)
        except Broken as error:
            broken, promise = str(error), error.promise
        except AssertionError as error:
            broken, promise = f"a site's own assertion: {error!r}", "assertion"
        except Exception as error:
            broken, promise = f"unexpected: {error!r} {error.__cause__}", type(error).__name__
        return Run(seed, made.plan.steps, made.digest(), made.story, broken, promise)


def shrunk(failed: Run) -> tuple[Run, list[int]]:
    """A run that breaks the same promise with as few steps as leaving them out one by one allows.

    Returns:
        The run, and which steps were left out.
    """
    without: list[int] = []
    best = failed
    size = max(1, failed.steps // 2)
    while size:
        for first in range(0, failed.steps, size):
            some = [step for step in range(first, min(first + size, failed.steps)) if step not in without]
            if some and (tried := run(failed.seed, {*without, *some})).promise == failed.promise:
                best, without = tried, [*without, *some]
        size //= 2
    return best, sorted(without)


def many(seeds: Iterable[int], processes: int = 1) -> Iterator[Run]:
    """Run many seeds; of those that kept all promises only the deeds are told."""
    if processes == 1:
        yield from map(_brief, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(_brief, seeds, chunksize=8)


def _brief(seed: int) -> Run:
    done = run(seed)
    if done.broken:
        return done
    return Run(done.seed, done.steps, done.digest, [f"0 {deed}: done" for deed in sorted(done.done)])
