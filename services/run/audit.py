"""What looks after audit records: signs the own one, exchanges heads with members, looks at theirs."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

from node.audit.witness import AuditFault
from node.catalog.unit import Unit
from node.domain.errors import NodeError
from node.domain.ids import SiteId
from node.domain.job import SECOND
from node.replication.audit_watch import AuditWatch
from node.replication.peer import Peers
from node.wiring import Site

log = logging.getLogger(__name__)

LOOK = 5.0
"""Seconds between two looks whether something was signed that members ought to hear of at once."""
NICE = 10
"""How far it stands aside for everything else."""
VERIFIED = "audit verified"
"""A note: when the own record was looked at in all."""
EVERY = 86_400 * SECOND
"""How often that is."""


class _Stopped(Exception):
    """It was told to stop in the midst of a record; that is looked at after the next start."""


class AuditKeeper:
    """Looks after the audit records as long as the process lives."""

    def __init__(
        self,
        site: Site,
        peers: Peers,
        stop: threading.Event,
        *,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        """Look after the records that a site knows.

        Args:
            site: which.
            peers: makes the peer of a member.
            stop: set when it is to stop.
            monotonic: seconds.
        """
        self._site = site
        self._stop = stop
        self._watch = AuditWatch(
            site.catalog,
            site.audit_book,
            peers,
            only_calls=site.home.url is None,
            stop=stop.is_set,
        )
        self._pause = site.settings.audit.heads_minutes * 60
        self._monotonic = monotonic
        self._turned = float("-inf")
        self._told = 0
        self._said: set[str] = set()

    def run(self) -> None:
        """Work until told to stop."""
        with suppress(OSError):  # where it may not stand aside, it works beside the others
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while not self._stop.is_set():
            try:
                if self._is_due():
                    self.turn()
            except NodeError as error:
                log.warning("the audit record could not be signed or looked at", extra={"error": str(error)})
            except Exception:
                log.exception("the audit records could not be looked after; they are again in a moment")
            self._stop.wait(LOOK)

    def turn(self) -> None:
        """Sign, tell every member, look at what each shows; now and then at the own record."""
        self._turned = self._monotonic()
        signed = self._site.audit_book.sign()
        for member in self._site.members.active():
            if member.url is not None and not self._stop.is_set():
                self._look(member.site)
        self._told = signed.seq if signed else 0
        self._verify_own()

    def _is_due(self) -> bool:
        """Whether it is time, or an end was signed that nobody was told: with an export, for example."""
        if self._monotonic() - self._turned >= self._pause:
            return True
        with self._site.catalog.reading() as unit:
            signed = unit.witnesses.last_signed()
        return signed is not None and signed.seq > self._told

    def _look(self, site: SiteId) -> None:
        try:
            checked = self._watch.round(site)
        except NodeError as error:
            log.warning("an audit record could not be looked at", extra={"peer": site, "error": str(error)})
        else:
            self._tell(checked.faults)

    def _verify_own(self) -> None:
        """Look at the own record in all, once a day."""
        with self._site.catalog.reading() as unit:
            looked, now = unit.gauges.noted(VERIFIED), unit.now
        if 0 <= now - looked < EVERY:
            return
        try:
            found = self._site.audit_book.verify(self._still)
        except _Stopped:
            return
        self._tell(found.faults)

        def note(unit: Unit) -> None:
            unit.gauges.note(VERIFIED, "", unit.now)

        self._site.catalog.perform(note)

    def _still(self, _done: int, _of: int) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _tell(self, faults: Sequence[AuditFault]) -> None:
        """Write what is wrong into the log, once; the alert stays."""
        for fault in faults:
            if str(fault) not in self._said:
                self._said.add(str(fault))
                log.warning(
                    "an audit record is not what it was", extra={"peer": fault.site, "what": str(fault)}
                )
