"""A device is silent for longer than usual by what is usual for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.alert import DAY, SECOND
from node.watch.rhythm import FORGET, HOUR, WEEK, Rhythm

FLOOR = 18.0
MONDAY = 1_699_833_600 * SECOND
"""2023-11-13 00:00 UTC."""


def working(weeks: int, *, rest: tuple[int, ...] = (5, 6), begin: int = 8, end: int = 16, off=()) -> Rhythm:
    """A device that sends twice an hour on its days, but for days (counted from the first) that are off."""
    rhythm = Rhythm.begun(MONDAY + begin * HOUR)
    for day in range(weeks * 7):
        if day % 7 in rest or day in off:
            continue
        for hour in range(begin, end):
            for minute in (10, 40):
                rhythm = rhythm.heard(MONDAY + day * DAY + hour * HOUR + minute * 60 * SECOND, FLOOR)
    return rhythm


def at(weeks: int, day: int, hour: float) -> int:
    return int(MONDAY + (weeks * 7 + day) * DAY + hour * HOUR)


def silent(rhythm: Rhythm, now: int, awake: int = 0) -> bool:
    return rhythm.is_silent(now, FLOOR, awake)


def test_a_weekend_is_not_silence():
    assert not silent(working(4), at(4, 0, 8))


def test_a_weekend_with_two_holidays_after_it_is_not_silence():
    rhythm = working(4)
    assert not silent(rhythm, at(4, 1, 23))


def test_a_device_that_stays_away_on_the_third_day_is_silent():
    rhythm = working(4)
    assert not silent(rhythm, at(4, 2, 10))
    assert silent(rhythm, at(4, 2, 12))


def test_a_device_that_never_rests_is_silent_after_a_day():
    rhythm = working(4, rest=(), begin=0, end=24)
    assert not silent(rhythm, at(4, 0, 20))
    assert silent(rhythm, at(4, 1, 1))


def test_a_device_that_sends_now_and_then_is_given_longer():
    rhythm = working(6, rest=(0, 1, 3, 4, 5, 6), begin=9, end=11)
    assert not silent(rhythm, at(8, 0, 0))
    assert rhythm.expected(rhythm.last, at(8, 0, 0)) == pytest.approx(4, abs=1)


def test_a_device_that_is_new_is_not_judged():
    assert not silent(working(1), at(1, 6, 23))


def test_what_this_node_did_not_watch_is_not_counted():
    rhythm = working(4)
    assert silent(rhythm, at(4, 4, 12))
    assert not silent(rhythm, at(4, 4, 12), awake=at(4, 3, 12))


def test_a_device_whose_usual_pauses_are_long_rings_later():
    """Every second week off by two days: what is usual is half as much again."""
    off = tuple(range(7, 9)) + tuple(range(21, 23)) + tuple(range(35, 37))
    steady, pausing = working(6), working(6, off=off)
    assert pausing.longest > steady.longest
    now = at(6, 2, 11)
    assert silent(steady, now)
    assert not silent(pausing, now)


def test_an_outage_that_rang_is_not_remembered_as_usual():
    rhythm = working(4)
    usual = rhythm.longest
    after = rhythm.heard(at(5, 0, 9), FLOOR)
    assert after.longest <= usual


def test_a_device_that_comes_back_after_months_is_learned_anew():
    rhythm = working(4).heard(MONDAY + (4 * WEEK + FORGET + 48) * HOUR, FLOOR)
    assert rhythm.since == rhythm.last
    assert not silent(rhythm, rhythm.last + 3 * DAY)


@given(st.lists(st.integers(min_value=1, max_value=200 * 3600), min_size=1, max_size=60))
def test_a_rhythm_is_the_same_after_it_was_written_and_read(pauses):
    rhythm, now = Rhythm.begun(MONDAY), MONDAY
    for pause in pauses:
        now += pause * SECOND
        rhythm = rhythm.heard(now, FLOOR)
        assert all(0 <= share <= 1000 for share in rhythm.shares)
    read = Rhythm.read(rhythm.written())
    assert (read.since, read.last, read.shares) == (rhythm.since, rhythm.last, rhythm.shares)
    assert read.longest == pytest.approx(rhythm.longest, abs=0.01)
    assert rhythm.heard(rhythm.last, FLOOR) is rhythm
