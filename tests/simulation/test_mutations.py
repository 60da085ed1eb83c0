"""The simulation finds bugs: each one that is planted in the node breaks a promise within a few seeds."""

from __future__ import annotations

import pytest

from tests.simulation.mutations import MUTATIONS, SHOWN_BY
from tests.simulation.runs import run


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_planted_bug_is_found(name):
    """By one of the seeds that are known to show it, in which no promise is broken without the bug."""
    found = []
    for seed in SHOWN_BY[name]:
        with MUTATIONS[name]():
            found.append(run(seed).broken)
        if found[-1]:
            break
    assert any(found), f"{name} is not found by the seeds {SHOWN_BY[name]}"
