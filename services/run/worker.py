"""The worker process: carries out the jobs that are owed, again and again until their effect is there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeAlias

from node import telemetry
from node.archive.commitment import requested
from node.domain.errors import CopiesOwed, NodeError, Rejected
from node.domain.ids import AETitle, Digest, InstanceUID
from node.domain.job import Job, Task
from node.replication import rules
from node.wiring import Site, open_site
from services.dicom import commitment
from services.run.child import Report
from services.run.couriers import Couriers
from services.run.dicom import requestor
from services.run.peers import peers_of

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks for jobs when there were none."""
HANDS = 4
"""Jobs at the same time, so that one silent device does not hold up the others."""

Handler: TypeAlias = Callable[[Job], None]


class Jobs(Protocol):
    """The doors of the archive that a worker goes through."""

    def lease_jobs(self, many: int = ...) -> Sequence[Job]:
        """Jobs that are due."""

    def job_done(self, job: Job) -> None:
        """The effect of the job is committed."""

    def job_failed(self, job: Job, error: str, *, for_good: bool = ...) -> None:
        """The job has to be tried again later, or waits for a person."""

    def job_waits(self, job: Job, why: str) -> None:
        """What the job waits for has not come yet."""


class Worker:
    """Leases jobs and hands each to the handler of its kind."""

    def __init__(self, jobs: Jobs, handlers: Mapping[Task, Handler]) -> None:
        self._jobs = jobs
        self._handlers = handlers

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; what is begun is finished."""
        with ThreadPoolExecutor(HANDS) as hands:
            while not stop.is_set():
                if not self._round(hands):
                    stop.wait(TICK)

    def _round(self, hands: ThreadPoolExecutor) -> int:
        """Carry out what is due now, and tell how much that was."""
        try:
            jobs = self._jobs.lease_jobs(HANDS)
            return sum(hands.map(self._carry_out, jobs))
        except NodeError as error:
            log.warning("jobs could not be leased or settled", extra={"error": str(error)})
            return 0

    def _carry_out(self, job: Job) -> int:
        with telemetry.bound(job=f"{job.kind} {job.key}"):
            try:
                self._handlers[job.kind](job)
            except CopiesOwed as error:
                log.info("a job waits", extra={"why": str(error)})
                self._jobs.job_waits(job, str(error))
            except NodeError as error:
                log.warning("a job failed", extra={"error": str(error), "attempts": job.attempts})
                self._jobs.job_failed(job, str(error), for_good=isinstance(error, Rejected))
            except Exception as error:
                log.exception("a job failed unexpectedly", extra={"attempts": job.attempts})
                self._jobs.job_failed(job, type(error).__name__)
            else:
                self._jobs.job_done(job)
                log.info("a job is done", extra={"attempts": job.attempts})
        return 1


def handlers(site: Site) -> dict[Task, Handler]:
    """What is done for each kind of job."""
    return {
        Task.COMPARE: lambda job: compare(site, job),
        Task.COMMITMENT: lambda job: report(site, job),
        Task.RECONSIDER: lambda job: reconsider(site),
        Task.DROP: lambda job: None,
    }


def compare(site: Site, job: Job) -> None:
    """Settle whether two stored forms of an instance are one."""
    instance, other = job.key.split(" ")
    site.archive.compare(InstanceUID.trusted(instance), Digest.trusted(other))


def reconsider(site: Site) -> None:
    """Work out again which sites owe copies, after rules or terms have changed."""
    rules.reconsider(site.catalog)


def report(site: Site, job: Job) -> None:
    """Call a device back with the answer to its Storage Commitment request (PS3.4 J.3.3)."""
    request = requested(job)
    device = site.devices.find(AETitle(request.device))
    vouched = site.archive.vouch(request.wanted)
    commitment.report(requestor(site.settings.dicom), device, request.transaction, vouched)


def work(directory: Path, stop: threading.Event, ready: Report) -> None:
    """Open the site and work until told to stop."""
    with open_site(directory) as site:
        site.blobs.sweep()
        site.uploads.sweep()
        ready([])
        couriers = Couriers(site, peers_of(site))
        thread = threading.Thread(target=couriers.run, args=(stop,), name="couriers")
        thread.start()
        Worker(site.archive, handlers(site)).run(stop)
        thread.join()
