"""A caller may call so often: a burst, then a steady rate, and each for itself."""

from __future__ import annotations

import pytest

from node.domain.errors import TooBusy
from services.soap.framework.rate import Rate, by_address


class Watch:
    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


@pytest.fixture
def watch():
    return Watch()


def test_a_burst_passes_and_then_one_for_each_moment(watch):
    rate = Rate(per_second=2, burst=3, now=watch)
    for _ in range(3):
        rate.demand("a")
    with pytest.raises(TooBusy) as raised:
        rate.demand("a")
    assert raised.value.retry_after == 1
    watch.time += 0.5
    rate.demand("a")
    with pytest.raises(TooBusy):
        rate.demand("a")


def test_a_refused_call_costs_nothing(watch):
    rate = Rate(per_second=1, burst=1, now=watch)
    rate.demand("a")
    for _ in range(50):
        with pytest.raises(TooBusy):
            rate.demand("a")
    watch.time += 1
    rate.demand("a")


def test_callers_do_not_take_from_each_other(watch):
    rate = Rate(per_second=1, burst=1, now=watch)
    rate.demand("a")
    rate.demand("b")


def test_a_rest_fills_no_more_than_the_burst(watch):
    rate = Rate(per_second=10, burst=2, now=watch)
    watch.time += 3600
    rate.demand("a", cost=2)
    with pytest.raises(TooBusy):
        rate.demand("a")


def test_a_dear_call_says_how_long_it_has_to_wait(watch):
    rate = Rate(per_second=2, burst=10, now=watch)
    rate.demand("a", cost=10)
    with pytest.raises(TooBusy) as raised:
        rate.demand("a", cost=10)
    assert raised.value.retry_after == 5


def test_only_so_many_callers_are_remembered(watch):
    rate = Rate(per_second=1, burst=1, remembered=2, now=watch)
    for caller in ("a", "b", "c"):
        rate.demand(caller)
    rate.demand("a")
    with pytest.raises(TooBusy):
        rate.demand("c")


def test_addresses_are_callers_too(watch):
    admit = by_address(Rate(per_second=1, burst=1, now=watch))
    admit({"REMOTE_ADDR": "192.0.2.1"})
    admit({"REMOTE_ADDR": "192.0.2.2"})
    with pytest.raises(TooBusy):
        admit({"REMOTE_ADDR": "192.0.2.1"})
