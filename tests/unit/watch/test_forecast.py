"""When a disk is full follows from the pace of the last week."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.alert import DAY, SECOND
from node.watch.forecast import FEWEST, days_left, pace

GIB = 1 << 30
T0 = 1_700_000_000 * SECOND
HOUR = 3600 * SECOND


def line(hours: int, begin: float, per_day: float, every: int = 2) -> list[tuple[int, int]]:
    return [(T0 + hour * HOUR, int(begin - per_day * hour / 24)) for hour in range(0, hours + 1, every)]


def test_a_disk_that_loses_ten_gib_a_day_is_full_when_the_reserve_is_reached():
    samples = line(7 * 24, 200 * GIB, 10 * GIB)
    now, free = samples[-1]
    assert days_left(samples, free, 40 * GIB, now) == pytest.approx(9.0, rel=0.01)


def test_days_and_nights_make_one_pace():
    samples, free = [], 100 * GIB
    for hour in range(7 * 24):
        free -= GIB if 8 <= hour % 24 < 16 else 0
        samples.append((T0 + hour * HOUR, free))
    assert pace(samples, samples[-1][0]) == pytest.approx(8 * GIB, rel=0.05)


def test_what_is_older_than_a_week_says_nothing():
    old = [(T0 - 20 * DAY + hour * HOUR, (500 - hour) * GIB) for hour in range(48)]
    samples = old + line(7 * 24, 50 * GIB, GIB)
    assert pace(samples, samples[-1][0]) == pytest.approx(GIB, rel=0.01)


@pytest.mark.parametrize(
    "samples",
    [[], line(2 * FEWEST - 4, 100 * GIB, GIB), line(23, 100 * GIB, 50 * GIB, every=1)],
    ids=["none", "few", "short"],
)
def test_too_little_is_no_forecast(samples):
    now = samples[-1][0] if samples else T0
    assert days_left(samples, 10 * GIB, GIB, now) is None


@pytest.mark.parametrize("per_day", [0, -GIB])
def test_a_disk_that_does_not_fill_is_never_full(per_day):
    samples = line(7 * 24, 100 * GIB, per_day)
    assert days_left(samples, samples[-1][1], GIB, samples[-1][0]) is None


@given(
    st.floats(min_value=0.01, max_value=100),
    st.lists(st.floats(min_value=-0.2, max_value=0.2), min_size=85, max_size=85),
)
def test_noise_of_a_part_of_a_day_does_not_move_the_pace_far(per_day, noise):
    """The samples lie around a line by up to a fifth of a day's loss: the slope is off by less than that."""
    exact = line(7 * 24, 10_000 * GIB, per_day * GIB)
    samples = [(at, int(free + one * per_day * GIB)) for (at, free), one in zip(exact, noise, strict=True)]
    assert pace(samples, samples[-1][0]) == pytest.approx(per_day * GIB, rel=0.1)
