"""A heartbeat shows how far another site's clock is off, give or take half of the call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.replication.courier import clocks
from tests.support.federation import federation

SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND


@given(
    skew=st.integers(min_value=-(10**12), max_value=10**12),
    there=st.integers(min_value=0, max_value=10**8),
    back=st.integers(min_value=0, max_value=10**8),
)
def test_the_true_skew_is_within_half_of_the_call(skew, there, back):
    told = T0 + there + skew
    estimate, rtt = clocks(T0, told, T0 + there + back)
    assert abs(estimate - skew) <= rtt / 2 + 1
    assert rtt == max(there + back, 1)


def test_a_site_that_tells_no_time_and_a_clock_that_was_set_back_say_nothing():
    assert clocks(T0, 0, T0 + 5) == (0, 0)
    assert clocks(T0, T0, T0 - 5) == (0, 0)


@pytest.mark.parametrize("ahead", [45.0, -45.0])
def test_a_courier_notes_the_clock_of_the_site_that_it_calls(ahead):
    with federation("brno", "prague", ahead={"prague": ahead}) as (brno, prague):
        brno.courier("prague").round()
        prague.courier("brno").round()
        with brno.catalog.reading() as unit:
            seen = unit.members.contact(prague.name)
        with prague.catalog.reading() as unit:
            back = unit.members.contact(brno.name)
    assert seen.skew == pytest.approx(ahead * SECOND, abs=seen.rtt)
    assert back.skew == pytest.approx(-ahead * SECOND, abs=back.rtt)
    assert 0 < seen.rtt < SECOND
