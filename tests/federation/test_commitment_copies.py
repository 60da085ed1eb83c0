"""Storage commitment that is reported only when the rule's copies are verified at their sites."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.archive.archive import Archive
from node.archive.commitment import key
from node.domain.commitment import Reason, Wanted
from node.domain.errors import CopiesOwed
from node.domain.ids import UID, SOPClassUID
from node.domain.job import SECOND, Task
from node.domain.member import Standing
from node.domain.replica import CopyState
from node.domain.rule import Match, Rule
from node.journal.entry import Fact
from services.run.worker import Worker
from tests.support.federation import federation, settle
from tests.support.searching import standing_of
from tests.support.synthetic import instance, instance_uid

CT = SOPClassUID("1.2.840.10008.5.1.4.1.1.2")
WANTED = Wanted(sop_class=CT, instance=instance_uid(1, 1, 1))
TRANSACTION = UID("1.2.826.0.1.99")


@pytest.fixture
def sites():
    with federation("brno", "prague") as sites:
        yield sites


def vouching(site) -> Archive:
    """The site's archive, set to wait for copies."""
    return Archive(
        site.blobs,
        site.catalog,
        quarantine_limit=1 << 20,
        owed=lambda unit, traits: unit.rules.desired(traits),
        commit_copies=True,
    )


def test_nothing_is_said_before_the_copy_was_read_back_at_its_site(sites):
    brno, prague = sites
    brno.admit(instance())
    archive = vouching(brno)
    assert brno.archive.vouch([WANTED]).held == (WANTED,)
    with pytest.raises(CopiesOwed):
        archive.vouch([WANTED])
    settle(brno, prague)
    assert archive.vouch([WANTED]).held == (WANTED,)


@pytest.mark.parametrize("state", [CopyState.OWED, CopyState.HELD, CopyState.GONE])
def test_a_copy_in_any_other_state_is_not_enough(sites, state):
    brno, prague = sites
    brno.admit(instance())
    settle(brno, prague)
    with brno.catalog.begin() as unit:
        (copy,) = unit.replicas.of_instance(WANTED.instance)
        unit.replicas.put(replace(copy, state=state))
    with pytest.raises(CopiesOwed):
        vouching(brno).vouch([WANTED])


def test_the_rules_of_this_moment_say_which_copies_are_waited_for(sites):
    brno, prague = sites
    brno.admit(instance())
    with brno.catalog.begin() as unit:
        rule = Rule(name="mr", match=Match(modalities=("MR",)))
        unit.journal.append(Fact.RULE, {"name": rule.name, "rule": rule.told(), "position": 1})
    assert vouching(brno).vouch([WANTED]).held == (WANTED,)
    assert prague.rows("SELECT count(*) FROM instance") == [(0,)]


def test_what_is_not_here_at_all_is_reported_without_waiting(sites):
    archive = vouching(sites[0])
    ((failed, reason),) = archive.vouch([WANTED]).failed
    assert (failed, reason) == (WANTED, Reason.NO_SUCH_INSTANCE)


def test_the_report_waits_for_weeks_and_comes_when_the_copy_is_there(sites):
    brno, prague = sites
    standing_of(prague, "brno", Standing.SUSPENDED)
    brno.admit(instance())
    archive, reported = vouching(brno), []

    def report(job) -> None:
        reported.append(archive.vouch([WANTED]))

    worker = Worker(archive, {Task.COMMITMENT: report, Task.RECONSIDER: lambda job: None})
    archive.request_commitment(brno.device, TRANSACTION, [WANTED])
    for _ in range(2 * 14 * 24):
        brno.clock.forward(1800)
        for job in archive.lease_jobs():
            worker._carry_out(job)
    assert reported == []
    with brno.catalog.reading() as unit:
        job = unit.jobs.find(Task.COMMITMENT, key("CT1", TRANSACTION))
    assert "1 copies are not verified" in job.error
    assert job.due_at - brno.clock.now <= 300 * SECOND
    standing_of(prague, "brno", Standing.ACTIVE)
    settle(brno, prague)
    brno.clock.forward(300)
    for job in archive.lease_jobs():
        worker._carry_out(job)
    assert [vouched.held for vouched in reported] == [(WANTED,)]
    with brno.catalog.reading() as unit:
        assert unit.jobs.find(Task.COMMITMENT, key("CT1", TRANSACTION)) is None
