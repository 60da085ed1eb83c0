"""Foreign archives that are backed up into: for each a thread in the worker that keeps its copies in step."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from time import monotonic
from urllib.parse import quote
from uuid import uuid4

from node import telemetry
from node.domain.errors import NodeError, UnknownPartner
from node.domain.ids import UID, AETitle
from node.domain.instance import Admission, Chunk, Offer
from node.domain.partner import Partner, Role
from node.domain.principal import Action, Kind, Principal
from node.domain.rule import DAY
from node.partners.backup import Backup
from node.partners.book import PartnerBook
from node.wiring import Site
from services.dicom.fetching import Admit
from services.dicom.foreign import ForeignArchive
from services.run.care import healing_of
from services.run.couriers import opening
from services.run.dicom import requestor
from services.run.peers import peers_of

log = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between two looks at the list of partners."""
SOON = 10.0
"""Seconds between two looks for what has arrived."""
PARTING = 10.0
"""Seconds that a partner may take to answer when the node stops; what is not told by then is asked again."""
LONGEST_PAUSE = 300.0
"""Seconds after which a partner that failed is tried again at the latest."""


class Partners:
    """Starts a thread for each partner that is a backup, and stops them."""

    def __init__(self, site: Site) -> None:
        """The partners of a site."""
        self._site = site
        self._book = PartnerBook(site.catalog)
        self._threads: dict[AETitle, threading.Thread] = {}

    def run(self, stop: threading.Event) -> None:
        """Keep the copies at each partner in step until told to stop."""
        while not stop.is_set():
            try:
                self._start_missing(stop)
            except NodeError as error:
                log.warning("the partners could not be read", extra={"error": str(error)})
            except Exception:
                log.exception("the partners could not be looked after; they are again in a moment")
            stop.wait(LOOK)
        deadline = monotonic() + PARTING
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - monotonic()))

    def _start_missing(self, stop: threading.Event) -> None:
        self._threads = {name: thread for name, thread in self._threads.items() if thread.is_alive()}
        for partner in self._book.all():
            if partner.is_for(Role.BACKUP) and partner.ae_title not in self._threads:
                thread = threading.Thread(
                    target=self._keep,
                    args=(partner.ae_title, stop),
                    name=f"partner-{partner.ae_title}",
                    daemon=True,
                )
                self._threads[partner.ae_title] = thread
                thread.start()

    def _keep(self, ae_title: AETitle, stop: threading.Event) -> None:
        """Keep the copies at one partner in step for as long as it is one."""
        pause = SOON
        with telemetry.bound(partner=ae_title):
            while not stop.is_set():
                try:
                    self._round(self._book.find(ae_title, Role.BACKUP), stop)
                    pause = SOON
                except UnknownPartner:
                    return
                except NodeError as error:
                    log.warning("a partner could not be worked with", extra={"error": str(error)})
                    self._failed(ae_title, str(error))
                    pause = min(2 * pause, LONGEST_PAUSE)
                except Exception:
                    log.exception("a partner could not be looked after; it is again in a moment")
                stop.wait(pause)

    def _round(self, partner: Partner, stop: threading.Event) -> None:
        """Send what has arrived; compare everything where that was not done for a day."""
        is_open = opening(partner.hours, datetime.now)
        if not is_open():
            return
        with exclusively(self._site.directory, partner.ae_title, wait=False) as alone:
            if alone:
                backup, foreign = backup_of(self._site, partner, is_open=is_open, stop=stop)
                try:
                    backup.soon()
                    if self._site.clock() - partner.looked_at >= DAY:
                        backup.whole()
                finally:
                    foreign.close()
        if partner.error:
            self._failed(partner.ae_title, "")

    def _failed(self, ae_title: AETitle, reason: str) -> None:
        with suppress(NodeError):
            self._site.catalog.perform(lambda unit: unit.partners.failed(ae_title, reason))


def backup_of(
    site: Site,
    partner: Partner,
    *,
    is_open: Callable[[], bool] = lambda: True,
    stop: threading.Event | None = None,
    principal: Principal | None = None,
) -> tuple[Backup, ForeignArchive]:
    """The backup of a site at a partner, and the archive that it is at."""
    foreign = foreign_of(site, partner)
    backup = Backup(
        site.archive,
        site.catalog,
        partner,
        foreign,
        principal or itself(site),
        new_uid=new_uid,
        goes_on=lambda: is_open() and not (stop is not None and stop.is_set()),
    )
    return backup, foreign


def foreign_of(site: Site, partner: Partner) -> ForeignArchive:
    """The archive of a partner.

    Raises:
        UnknownDestination: it is on the device list no longer.
    """
    device = site.devices.find(partner.ae_title)
    return ForeignArchive(
        requestor(site.settings.dicom),
        device,
        healing_of(site, peers_of(site)),
        admit_of(site, device.ae_title, device.host, device.may),
        fetch=partner.fetch,
    )


def admit_of(site: Site, ae_title: AETitle, host: str, may: frozenset[Action]) -> Admit:
    """The door of the archive for what a partner sends over an association that this node requested."""
    sender = Principal(kind=Kind.DEVICE, name=ae_title, site=site.settings.site.name, address=host, may=may)

    def admit(offer: Offer, chunks: Iterable[Chunk]) -> Admission:
        return site.archive.admit(sender, offer, chunks)

    return admit


def itself(site: Site) -> Principal:
    """This node, as it sends copies by itself."""
    name = site.settings.site.name
    return Principal(kind=Kind.NODE, name=name, site=name, may=frozenset({Action.RETRIEVE}))


def new_uid() -> UID:
    """A UID that nobody has (PS3.5 B.2)."""
    return UID.trusted(f"2.25.{uuid4().int}")


@contextmanager
def exclusively(directory: Path, ae_title: str, *, wait: bool) -> Iterator[bool]:
    """Be the only one that works with a partner, across processes; the lock ends with the process.

    Args:
        directory: the site folder.
        ae_title: the partner.
        wait: until nobody else does; otherwise whether it could be had is what is yielded.
    """
    descriptor = os.open(
        directory / f"partner-{quote(ae_title, safe='')}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
