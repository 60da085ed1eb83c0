"""What a seed decides before anything happens: how long, what kind of deeds, which clocks and lines."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from tests.simulation.templates import NAMES
from tests.simulation.wire import Weather


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What kind of a run this is."""

    seed: int
    steps: int
    hidden: frozenset[str]
    """Sites that nobody can call."""
    ahead: Mapping[str, float]
    drift: Mapping[str, float]
    weather: Weather
    fragile: float
    """How often somebody loses power in the middle of a deed."""
    interleaved: float
    """How often something else happens in the middle of a call or a write."""
    reckless: bool
    """Whether the saboteur may also destroy last copies."""
    line: bool
    """Whether one site is the archive and the others are backups that may take its place."""
    commits_copies: bool
    """Whether sites vouch for instances only when the copies that rules want are verified."""
    streams: int
    left_out: float
    """Share of the kinds of deeds that do not occur in this run, so that others meet more often."""
    thorough: bool
    """Whether the catalogs are made anew at the end and compared."""


def plan_of(seed: int) -> Plan:
    """The plan of a seed: mostly short runs, some long ones; every kind of trouble in some, not in all."""
    chance = random.Random(f"plan {seed}")
    length = chance.random()
    steps = (
        chance.randint(6, 16)
        if length < 0.80
        else chance.randint(17, 35)
        if length < 0.97
        else chance.randint(36, 90)
    )
    line = chance.random() < 0.15
    skewed, bad = chance.random() < 0.6, chance.random() < 0.5
    return Plan(
        seed=seed,
        steps=steps,
        hidden=frozenset({"olomouc"}) if chance.random() < 0.2 else frozenset(),
        ahead={name: chance.choice([0, 240, -600, 5000]) if skewed else 0 for name in NAMES},
        drift={name: chance.choice([0, 1e-3, -1e-3]) if skewed else 0 for name in NAMES},
        weather=Weather(
            lost=chance.choice([0, 0.05, 0.3]) if bad else 0,
            twice=chance.choice([0, 0.05, 0.2]) if bad else 0,
            late=chance.choice([0, 0.05, 0.2]) if bad else 0,
            torn=chance.choice([0, 0.3]) if bad else 0,
            latency=chance.choice([0.001, 0.02, 2.0]),
        ),
        fragile=chance.choice([0, 0.1, 0.3, 0.5]),
        interleaved=chance.choice([0, 0.03, 0.15]),
        reckless=chance.random() < 0.1 and not line,
        line=line,
        commits_copies=chance.random() < 0.5,
        streams=chance.choice([1, 1, 4]),
        left_out=chance.choice([0, 0.3, 0.6]),
        thorough=chance.random() < 0.2,
    )
