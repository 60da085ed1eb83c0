"""A cap on bytes per second holds over time, for all streams together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.transfer.pace import BURST_SECONDS, LONGEST_NAP, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def paced(clock, rate):
    return Pace(lambda: rate, now=clock, sleep=clock.sleep)


@given(
    counts=st.lists(st.integers(1, 5_000_000), min_size=1, max_size=40), rate=st.integers(1000, 10_000_000)
)
def test_no_more_passes_than_the_rate_allows(counts, rate):
    clock = Clock()
    pace = paced(clock, rate)
    for count in counts:
        pace.take(count)
    assert sum(counts) <= rate * (clock.now - 100 + BURST_SECONDS) + 1


@given(counts=st.lists(st.integers(1, 5_000_000), min_size=1, max_size=40))
def test_no_more_is_waited_than_needed(counts):
    clock = Clock()
    pace = paced(clock, 1_000_000)
    for count in counts:
        pace.take(count)
    assert clock.now - 100 <= sum(counts) / 1_000_000 + 1e-6


def test_without_a_cap_nobody_waits():
    clock = Clock()
    paced(clock, None).take(1 << 40)
    assert clock.naps == []


def test_a_rest_is_no_licence_for_a_flood():
    clock = Clock()
    pace = paced(clock, 1000)
    clock.now += 3600
    pace.take(10_000)
    assert clock.now > 3600 + 100 + 9


def test_a_cap_that_is_lifted_ends_a_long_wait():
    clock = Clock()
    rates = iter([1.0, 1.0, None])
    Pace(lambda: next(rates), now=clock, sleep=clock.sleep).take(1_000_000)
    assert clock.naps == [LONGEST_NAP, LONGEST_NAP]
