"""The identity providers of a site: who is believed, what they know of it, and keeping that up to date."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from node.domain.alert import SECOND
from node.domain.errors import BadSetting, MalformedMetadata, NodeError
from node.identity.providers import aggregate
from node.identity.providers.aggregate import Part, Wanted, from_line
from node.identity.providers.discovery import AGGREGATE, Providers
from node.identity.providers.ports import Fetch
from node.identity.providers.refresh import Sources
from node.identity.saml.keys import make as make_login_key
from node.identity.saml.metadata import About
from node.identity.saml.sp import ServiceProvider
from node.settings import FILE
from node.settings.kinds import is_web_address
from node.wiring import KEYS, Site
from services.run.fetch import Fetcher

log = logging.getLogger(__name__)

LOOK: Final = 5.0
"""Seconds between two looks for sources that are due."""
SOON: Final = 60.0
"""Seconds after which a source that failed is tried again, first of all."""
LONGEST_READ: Final = 300.0
"""Seconds that reading a document may take."""
NICE: Final = 10
PARTING: Final = 5.0
"""Seconds that a fetch may still take when the process ends."""
_READER: Final = "node.identity.providers.aggregate"


def providers_of(site: Site, sources: Sources | None = None) -> Providers:
    """The identity providers that a site believes; query services are asked for those that are not known."""
    is_demonstration = site.settings.login.demonstration
    ask = (sources or sources_of(site)).ask
    return Providers(site.catalog, site.clock, demonstration=is_demonstration, ask=ask)


def sources_of(site: Site, fetch: Fetch | None = None) -> Sources:
    """Where a site is told of identity providers."""
    return Sources(
        site.catalog,
        site.clock,
        fetch=fetch or Fetcher(),
        read=read,
        demonstration=site.settings.login.demonstration,
    )


def sp_of(site: Site) -> ServiceProvider:
    """A site as identity providers know it; its key is made where there is none yet.

    Raises:
        BadSetting: browsers reach no portal of it.
    """
    web = site.settings.web
    address = web.public_url(os.uname().nodename)
    if web.port is None or not is_web_address(address):
        where = site.directory / FILE
        raise BadSetting("web.port", where, "is 0, so that there is no portal; set it, and web.url")
    keys = make_login_key(
        site.directory / KEYS, name=urlsplit(address).hostname or site.home.site, now=site.clock()
    )
    return ServiceProvider(entity_id=f"{address}/saml/metadata", base_url=address, keys=keys)


def about_of(site: Site) -> About:
    """What people see of a site where they log in."""
    login = site.settings.login
    return About(organization=login.organization or site.settings.site.name, support=login.support)


def read(file: BinaryIO, wanted: Wanted) -> Iterator[Part]:
    """Read a document: an aggregate in a process of its own, since its tree is ten times as large."""
    if wanted.kind == AGGREGATE:
        return read_apart(file, wanted)
    return aggregate.read(file.read(aggregate.MOST_BYTES_OF_ONE + 1), wanted)


def read_apart(file: BinaryIO, wanted: Wanted) -> Iterator[Part]:
    """Read a document in a process that ends with it.

    Raises:
        MalformedMetadata: it takes too long, or the process ended early.
        BadSignature: it is not signed with a key that was pinned.
    """
    with tempfile.TemporaryFile() as order, tempfile.TemporaryFile() as told:
        order.write(json.dumps(asdict(wanted)).encode() + b"\n")
        while piece := file.read(1 << 20):
            order.write(piece)
        order.seek(0)
        try:
            done = subprocess.run(
                [sys.executable, "-m", _READER],
                stdin=order,
                stdout=told,
                stderr=subprocess.DEVNULL,
                timeout=LONGEST_READ,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MalformedMetadata("it takes too long to read") from None
        if done.returncode:
            raise MalformedMetadata("it could not be read in the memory that there is")
        told.seek(0)
        for line in told:
            yield from_line(line)


class Refresher:
    """Fetches what is due, as long as the process lives."""

    def __init__(self, site: Site, sources: Sources | None = None) -> None:
        """The refresher of a site.

        Args:
            site: whose sources.
            sources: these, if not the usual ones.
        """
        self._sources = sources or sources_of(site)
        self._clock = site.clock
        self._period = int(site.settings.login.metadata_hours * 3600 * SECOND)
        self._waits: dict[str, tuple[int, float]] = {}

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; what is being fetched then is fetched again after the next start."""
        hand = threading.Thread(target=self._work, args=(stop,), name="providers-fetch", daemon=True)
        hand.start()
        stop.wait()
        hand.join(PARTING)

    def _work(self, stop: threading.Event) -> None:
        with suppress(OSError):  # where it may not stand aside, it works beside the others
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while not stop.is_set():
            try:
                self.round(stop)
            except NodeError as error:
                log.warning("the identity providers could not be read", extra={"error": str(error)})
            except Exception:
                log.exception("the identity providers could not be refreshed; they are again in a moment")
            stop.wait(LOOK)

    def round(self, stop: threading.Event) -> None:
        """Refresh each source that is due and does not wait after a failure."""
        for name in self._sources.due(self._period):
            again, pause = self._waits.get(name, (0, SOON))
            if stop.is_set() or self._clock() < again:
                continue
            try:
                done = self._sources.refresh(name)
                self._waits.pop(name, None)
                if not done.unchanged:
                    told = {"source": name, "known": done.read, "changed": done.changed, "gone": done.removed}
                    log.info("identity providers were refreshed", extra=told)
            except NodeError as error:
                self._waits[name] = self._clock() + int(pause * SECOND), min(2 * pause, self._longest)
                log.warning(
                    "identity providers were not refreshed", extra={"source": name, "error": str(error)}
                )

    @property
    def _longest(self) -> float:
        return max(SOON, self._period / SECOND)
