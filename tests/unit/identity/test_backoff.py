"""Whoever fails again and again waits, and is forgiven in time."""

from __future__ import annotations

import pytest

from node.identity import backoff
from node.identity.backoff import BackOff


class Time:
    """Seconds, as they are told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def addresses(time: Time) -> BackOff:
    return BackOff(free=3, first=2.0, longest=60.0, forgiven=30.0, monotonic=time)


def test_a_few_failures_cost_nothing_and_each_further_one_twice_as_much(addresses: BackOff) -> None:
    waits = []
    for _ in range(12):
        addresses.failed("here")
        waits.append(addresses.wait("here"))
    assert waits == [0, 0, 0, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert addresses.wait("there") == 0


def test_a_wait_passes(addresses: BackOff, time: Time) -> None:
    for _ in range(5):
        addresses.failed("here")
    assert addresses.wait("here") == 4
    time.now += 1.5
    assert addresses.wait("here") == 2.5
    time.now += 2.5
    assert addresses.wait("here") == 0


def test_failures_are_forgiven_one_by_one(addresses: BackOff, time: Time) -> None:
    """One mistyped password in half a minute, of all the people of a ward, goes on for ever."""
    for _ in range(200):
        addresses.failed("ward")
        assert addresses.wait("ward") == 0
        time.now += 30


def test_only_so_many_are_remembered(addresses: BackOff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "KEPT", 2)
    for _ in range(5):
        addresses.failed("first")
    for name in ("second", "third"):
        addresses.failed(name)
    assert addresses.wait("first") == 0
