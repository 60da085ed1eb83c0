"""What was begun goes on at once: when a clock was put right, and when the process that had it was killed."""

from __future__ import annotations

from node.domain.errors import StoreFailing
from node.domain.job import Task
from tests.support.federation import federation, settle
from tests.support.synthetic import instance


def test_a_courier_goes_on_when_a_clock_that_was_ahead_is_put_right():
    """It has failed, by that clock, an hour from now."""
    with federation("brno", "prague") as (brno, prague):
        courier = brno.courier("prague")
        brno.clock.forward(3600)
        brno.network.sever("brno", "prague")
        courier._turn()
        assert courier._turn() > 0
        brno.clock.forward(-3600)
        brno.network.heal()
        prague.admit(instance())
        while courier._turn() == 0:
            pass
        assert brno.rows("SELECT count(*) FROM instance") == [(1,)]


def test_a_job_that_was_begun_by_a_worker_that_is_gone_is_begun_again_when_the_next_one_starts():
    with federation("brno", "prague") as (brno, prague):
        digest = brno.admit(instance()).digest
        settle(brno, prague)
        while brno.work():
            pass
        with brno.catalog.begin() as unit:
            unit.jobs.add(Task.REPAIR, digest)
        for _ in range(3):
            assert len(brno.archive.lease_jobs()) == 1
            assert brno.archive.lease_jobs() == ()
            brno.archive.take_up_jobs()
        assert len(brno.archive.lease_jobs()) == 1
        brno.archive.take_up_jobs()
        assert brno.archive.lease_jobs() == (), "it may be why they ended"
        brno.clock.forward(601)
        assert brno.work() == 1


def test_copies_that_arrived_stay_so_while_the_store_cannot_be_read(monkeypatch):
    with federation("brno", "prague") as (brno, prague):
        brno.admit(instance())
        prague.courier("brno").round()

        def fails(digest: str) -> None:
            raise StoreFailing("the disk does not answer")

        with monkeypatch.context() as patched:
            patched.setattr(prague.blobs, "verify", fails)
            assert prague.intake.prove(8) == 0
        assert prague.intake.prove(8) == 1
        assert prague.rows("SELECT count(*) FROM want") == [(0,)]
