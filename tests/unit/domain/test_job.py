"""Jobs are due, leased, tried again after a pause that doubles, and stall in the end."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from node.domain.job import PATIENCE, SECOND, Job, State, Task

JOB = Job(kind=Task.COMPARE, key="1.2 ab")


def attempts(count: int) -> list[Job]:
    """What becomes of a job that fails every time, `count` times."""
    seen, job, now = [], JOB, 0
    for _ in range(count):
        job = job.leased(now + 600 * SECOND).failed(now, "BlobMissing")
        seen.append(job)
        now = job.due_at
    return seen


def test_a_leased_job_is_due_again_when_the_lease_ends_without_an_outcome():
    leased = JOB.leased(700)
    assert (leased.state, leased.due_at, leased.attempts) == (State.DUE, 700, 1)


def test_a_failed_job_is_due_after_a_pause_that_doubles_up_to_an_hour():
    due = [0, *(job.due_at for job in attempts(30))]
    pauses = [later - sooner for sooner, later in pairwise(due)]
    assert pauses[0] < 10 * SECOND
    assert all(b == min(2 * a, 3600 * SECOND) for a, b in pairwise(pauses))


def test_a_job_stalls_after_about_a_week_of_failures():
    *before, last = attempts(PATIENCE)
    assert last.state is State.STALLED
    assert {job.state for job in before} == {State.DUE}
    assert 6 * 86400 * SECOND < before[-1].due_at < 9 * 86400 * SECOND


def test_a_failure_that_no_repetition_can_mend_stalls_the_job_at_once():
    stalled = JOB.leased(1).failed(5, "Rejected", for_good=True)
    assert (stalled.state, stalled.error) == (State.STALLED, "Rejected")


@given(st.integers(0, PATIENCE * 2), st.integers(0, 1 << 60))
def test_a_failed_job_is_never_due_before_it_failed(count, now):
    job = Job(kind=Task.COMPARE, key="x", attempts=count).failed(now, "")
    assert job.state is State.STALLED or job.due_at > now


def test_a_job_that_waits_never_stalls_and_is_looked_at_within_five_minutes():
    job, now = JOB, 0
    for _ in range(PATIENCE * 30):
        job = job.leased(now + 600 * SECOND).waits(now, "CopiesOwed")
        assert job.state is State.DUE
        assert 2 * SECOND <= job.due_at - now <= 300 * SECOND
        now = job.due_at
    assert now > 14 * 86400 * SECOND
    assert job.attempts == 0


def test_waiting_does_not_use_up_the_patience_for_failures():
    failed = JOB.leased(1).failed(0, "PeerUnreachable")
    waited = failed.leased(1).waits(0, "CopiesOwed")
    assert waited.attempts == failed.attempts == 1
