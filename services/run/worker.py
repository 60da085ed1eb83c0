"""The worker process: carries out the jobs that are owed, again and again until their effect is there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeAlias

from node import telemetry
from node.archive.archive import Archive
from node.archive.commitment import requested
from node.domain.errors import BrakeTripped, CopiesOwed, NodeError, NoWholeCopy, Rejected
from node.domain.ids import AETitle, Digest, InstanceUID
from node.domain.job import Job, Task
from node.recovery.drill.door import carry_out
from node.recovery.roles import on_demoted
from node.replication import rules
from node.replication.dropping import Dropping
from node.replication.passing_on import PassingOn
from node.replication.peer import Peers
from node.wiring import Site, open_site
from services.dicom import commitment
from services.run.audit import AuditKeeper
from services.run.audit_sender import AuditSender
from services.run.care import Caretaker, make_again, mend, repair_of, scrub_of
from services.run.child import Report
from services.run.couriers import Couriers
from services.run.dicom import requestor
from services.run.drills import live_of
from services.run.partners import Partners
from services.run.peers import peers_of
from services.run.providers import Refresher
from services.run.watch import Watcher

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
            except (CopiesOwed, NoWholeCopy, BrakeTripped) as error:
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


def handlers(site: Site, peers: Peers, stop: threading.Event | None = None) -> dict[Task, Handler]:
    """What is done for each kind of job; what takes long leaves off when told to stop."""
    stop = stop or threading.Event()
    repair = repair_of(site, peers)
    return {
        Task.COMPARE: lambda job: compare(site, job),
        Task.COMMITMENT: lambda job: report(site, job),
        Task.RECONSIDER: lambda job: reconsider(site),
        Task.DROP: lambda job: None,
        Task.GIVE_UP: lambda job: pass_on(site, peers),
        Task.STEP_DOWN: lambda job: on_demoted(site.catalog, job.key),
        Task.DRILL: lambda job: carry_out(live_of(site), site.node(), job, stop=stop.is_set),
        Task.REPAIR: lambda job: mend(site, repair, job),
        Task.REBUILD: lambda job: make_again(site, repair, job),
    }


def compare(site: Site, job: Job) -> None:
    """Settle whether two stored forms of an instance are one."""
    instance, other = job.key.split(" ")
    site.archive.compare(InstanceUID.trusted(instance), Digest.trusted(other))


def reconsider(site: Site) -> None:
    """Work out again which sites owe copies, after rules or terms have changed."""
    rules.reconsider(site.catalog)


def pass_on(site: Site, peers: Peers) -> None:
    """Give up what a communication site has passed on."""
    dropping = Dropping(site.catalog, site.blobs, peers)
    PassingOn(site.catalog, dropping, cache_days=site.settings.replication.cache_days).round()


def report(site: Site, job: Job) -> None:
    """Call a device back with the answer to its Storage Commitment request (PS3.4 J.3.3)."""
    request = requested(job)
    device = site.devices.find(AETitle(request.device))
    vouched = site.archive.vouch(request.wanted)
    commitment.report(requestor(site.settings.dicom), device, request.transaction, vouched)


def take_up(archive: Archive) -> None:
    """Begin again at once what a worker that was killed had begun, if the catalog can be written now."""
    try:
        archive.take_up_jobs()
    except NodeError as error:
        log.warning("jobs that were begun are taken up later", extra={"error": str(error)})


def work(directory: Path, stop: threading.Event, ready: Report) -> None:
    """Open the site and work until told to stop."""
    with open_site(directory) as site:
        site.blobs.sweep()
        site.uploads.sweep()
        take_up(site.archive)
        ready([])
        peers = peers_of(site)
        threads = [
            threading.Thread(target=Couriers(site, peers).run, args=(stop,), name="couriers"),
            threading.Thread(target=Caretaker(scrub_of(site, stop)).run, args=(stop,), name="scrub"),
            threading.Thread(target=Watcher(site).run, args=(stop,), name="watch"),
            threading.Thread(target=Partners(site).run, args=(stop,), name="partners"),
            threading.Thread(target=AuditKeeper(site, peers, stop).run, name="audit"),
            threading.Thread(target=Refresher(site).run, args=(stop,), name="providers"),
            threading.Thread(target=AuditSender(site).run, args=(stop,), name="audit"),
        ]
        for thread in threads:
            thread.start()
        Worker(site.archive, handlers(site, peers, stop)).run(stop)
        for thread in threads:
            thread.join()
