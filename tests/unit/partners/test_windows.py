"""Windows are parts of an archive that together leave nothing out."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.partners.windows import CHARACTERS, Window, windows
from tests.support.foreign import Kept, _matches
from tests.support.synthetic import series_uid, study_uid

TODAY = date(2026, 3, 1)
DATES = st.dates(min_value=date(1890, 1, 1), max_value=date(2190, 1, 1))


def taken(day: date, minute: int = 0) -> Kept:
    return Kept(
        study=study_uid(1),
        series=series_uid(1, 1),
        date=f"{day:%Y%m%d}",
        time=f"{minute // 60:02}{minute % 60:02}30",
    )


@st.composite
def some_window(draw: st.DrawFn) -> Window:
    window = draw(st.sampled_from(windows(TODAY)))
    for _ in range(draw(st.integers(0, 24))):
        parts = window.parts()
        if not parts:
            break
        window = draw(st.sampled_from(parts))
    return window


@given(some_window())
def test_a_window_is_read_as_it_was_written(window):
    assert Window.read(str(window)) == window


@given(some_window(), DATES, st.integers(0, 1439))
def test_of_the_parts_of_a_window_exactly_one_has_what_it_has(window, day, minute):
    parts = [part for part in window.parts() if not part.is_everything]
    if parts:
        study = taken(day, minute)
        assert sum(_matches(part, study) for part in parts) == _matches(window, study)


@given(DATES)
def test_every_date_is_in_exactly_one_of_the_windows_that_a_listing_begins_with(day):
    first = [window for window in windows(TODAY) if not window.is_everything]
    assert sum(_matches(window, taken(day)) for window in first) == 1


def test_a_listing_ends_with_a_query_for_everything_so_that_studies_without_a_date_are_told():
    assert windows(TODAY)[-1] == Window()
    assert (Window().dates, Window().times, Window().patients) == ("", "", "")


def test_everything_is_asked_for_by_the_first_letters_of_patients_where_it_is_cut_off():
    parts = Window().parts()
    assert [part.patients for part in parts] == [f"{letter}*" for letter in CHARACTERS]
    assert not parts[0].parts()[0].parts()


def test_a_minute_has_no_parts():
    minute = Window(first=TODAY, last=TODAY, begin=600, end=601)
    assert minute.parts() == ()
    assert (minute.dates, minute.times) == ("20260301", "100000-100059.999999")


@pytest.mark.parametrize("since", [date(2025, 7, 5), TODAY, date(1999, 5, 5), date(2030, 1, 1)])
def test_since_a_date_nothing_before_it_is_asked_for(since):
    asked = windows(TODAY, since)
    assert not any(window.is_everything for window in asked)
    for day in (since - timedelta(days=1), since, TODAY, date(2030, 6, 1)):
        told = any(_matches(window, taken(day)) for window in asked)
        assert told == (day >= since)
