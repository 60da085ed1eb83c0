"""The worker carries out what is owed, and tells what became of it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from node.domain.errors import CatalogBusy, CopiesOwed, PeerUnreachable, UnknownDestination
from node.domain.job import Job, Task
from services.run.worker import Worker


class Owed:
    """Jobs in memory; work ends when all have been settled."""

    def __init__(self, *keys: str, busy: int = 0) -> None:
        self.stop = threading.Event()
        self.settled: dict[str, str] = {}
        self._waiting = [Job(kind=Task.COMPARE, key=key) for key in keys]
        self._count = len(keys)
        self._busy = busy

    def lease_jobs(self, many: int = 8) -> list[Job]:
        if self._busy:
            self._busy -= 1
            raise CatalogBusy("another has it")
        leased, self._waiting = self._waiting[:many], self._waiting[many:]
        return leased

    def job_done(self, job: Job) -> None:
        self._settle(job, "done")

    def job_failed(self, job: Job, error: str, *, for_good: bool = False) -> None:
        self._settle(job, f"{'stalled' if for_good else 'again'}: {error}")

    def job_waits(self, job: Job, why: str) -> None:
        self._settle(job, f"waits: {why}")

    def _settle(self, job: Job, how: str) -> None:
        self.settled[job.key] = how
        if len(self.settled) == self._count:
            self.stop.set()


def worked(owed: Owed, handler: Callable[[Job], None]) -> dict[str, str]:
    Worker(owed, {Task.COMPARE: handler}).run(owed.stop)
    return owed.settled


def fail(error: Exception) -> Callable[[Job], None]:
    def handler(job: Job) -> None:
        if job.key == "odd":
            raise error

    return handler


def test_every_job_that_is_owed_is_carried_out():
    keys = [str(number) for number in range(20)]
    assert worked(Owed(*keys), lambda job: None) == dict.fromkeys(keys, "done")


def test_a_peer_that_sleeps_is_tried_again_and_holds_up_nobody():
    owed = worked(Owed("odd", "even"), fail(PeerUnreachable("CT1", "it sleeps")))
    assert owed["even"] == "done"
    assert owed["odd"].startswith("again: CT1 cannot be reached")


def test_what_has_to_come_from_elsewhere_is_waited_for():
    settled = worked(Owed("odd", "other"), fail(CopiesOwed(3)))
    assert settled == {"odd": "waits: 3 copies are not verified at their sites yet.", "other": "done"}


def test_what_no_repetition_can_mend_stalls():
    assert worked(Owed("odd"), fail(UnknownDestination("CT1")))["odd"].startswith("stalled: ")


def test_an_unexpected_failure_is_kept_by_its_class_and_tried_again():
    assert worked(Owed("odd"), fail(ValueError("NOVAK^JAN")))["odd"] == "again: ValueError"


@pytest.mark.parametrize("busy", [1])
def test_a_busy_catalog_is_asked_again(busy):
    assert worked(Owed("one", busy=busy), lambda job: None) == {"one": "done"}


def test_a_worker_that_was_told_to_stop_takes_nothing_up():
    owed = Owed("one")
    owed.stop.set()
    assert worked(owed, lambda job: None) == {}
