"""Retrieve what is not here: asked for at other sites, fetched, catalogued, and sent on as it comes.

```
 selection ──▶ here? ──▶ those that are go out first
                │
                └─ not all ──▶ Locate: who has them? ──▶ Demand: kept facts, wanted bytes
                                                            │ packs, series by series
                    the next portion ◀── catalogued ◀── fetched from the nearest holder that gives it
```
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from node.archive.named import issuers_of
from node.catalog.catalog import Catalog
from node.catalog.selection import absent
from node.domain.errors import Forbidden, MalformedQuery, NodeError, PeerUnreachable, TooBusy
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.instance import Instance
from node.domain.principal import Principal
from node.domain.query import Selection
from node.replication.calls import Call, Calls
from node.replication.demand import Demand
from node.replication.locate import Locate, Located
from node.replication.nearness import nearest_first
from node.replication.peer import Announced, Peers

log = logging.getLogger(__name__)

PACK: Final = 64
"""Instances that are fetched together; a retrieval goes on with them while the next ones come."""
TICK: Final = 0.5
"""Seconds after which whoever waits for instances hears that none have come."""
SILENCE: Final = 30.0
"""Seconds after which a site that sends no instance is given up."""


class Here(Protocol):
    """The door of this site's archive that retrievals go through."""

    def select(self, principal: Principal, selection: Selection, *, destination: str = "") -> list[Instance]:
        """Find the instances a principal may have sent to a destination."""
        ...


@dataclass(slots=True)
class Retrieval:
    """The instances of a retrieval: those that are here, then those that come from other sites."""

    total: int
    """How many there will be if all come."""
    portions: Generator[Sequence[Instance] | None]
    """Instances whose bytes are here now; None where none have come yet."""
    missing: dict[InstanceUID, None]
    """Those that were announced and have not come; in the end, those that could not be had."""


class ReadThrough:
    """Retrieves from the federation."""

    def __init__(
        self,
        archive: Here,
        catalog: Catalog,
        peers: Peers,
        calls: Calls,
        fetches: Calls,
        demand: Demand,
        *,
        patience: float,
        everywhere: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Retrieve through an archive.

        Args:
            archive: this site's; it asks the policy and writes the audit record.
            catalog: to know what is here, and the members.
            peers: makes the peer of a member.
            calls: bounds the questions under way.
            fetches: bounds the packs under way; one more waits.
            demand: takes in what comes.
            patience: seconds for the other sites to say what they have.
            everywhere: ask the others even where all that is known here is here.
            monotonic: seconds.
        """
        self._archive = archive
        self._catalog = catalog
        self._peers = peers
        self._fetches = fetches
        self._demand = demand
        self._patience = patience
        self._everywhere = everywhere
        self._monotonic = monotonic
        self._locate = Locate(peers, calls, monotonic=monotonic)

    def retrieve(self, principal: Principal, selection: Selection, *, destination: str = "") -> Retrieval:
        """Find the instances of a selection here and at other sites.

        Raises:
            Forbidden: the policy of this site says no, or its terms accept nothing of what others have.
            MalformedQuery: the selection names nothing, or an ambiguous patient.
        """
        known = self._archive.select(principal, selection, destination=destination)
        with self._catalog.reading() as unit:
            away = absent(unit, selection)
            members = [member for member in unit.members.active() if not member.accept.is_nothing]
        here = [instance for instance in known if instance.uid not in away]
        if not members or (here and not away and not self._everywhere):
            return _retrieval(here, away, iter(()))
        located = self._locate(principal, selection, members, patience=self._patience)
        self._nearest_first(located)
        self._demand_one_patient(selection, located)
        sought = self._sought(located, {instance.uid for instance in here})
        if located.offers and not sought and not known:
            refused = ", ".join(site for site, _ in located.offers)
            raise Forbidden(refused, "send this here", "the terms of this site do not accept it")
        missing = dict.fromkeys([*away, *sought])
        fetched = self._fetched(principal, packs(sought.values()))
        return _retrieval(here, missing, self._shown(principal, selection, destination, fetched, missing))

    def bring(self, principal: Principal, selection: Selection) -> int:
        """Bring what is missing of a selection here; how many instances came.

        Raises:
            Forbidden, MalformedQuery: see `retrieve`.
        """
        retrieval = self.retrieve(principal, selection)
        before = len(retrieval.missing)
        with closing(retrieval.portions):
            for _ in retrieval.portions:
                pass
        return before - len(retrieval.missing)

    def _demand_one_patient(self, selection: Selection, located: Located) -> None:
        """The same Patient ID of two issuers is two people, also where they are at two sites."""
        if selection.patient_id is None or selection.issuer is not None:
            return
        if selection.studies or selection.series or selection.instances:
            return
        here = issuers_of(self._catalog, selection.patient_id)
        if len({*here, *located.issuers}) > 1:
            raise MalformedQuery("several issuers have this Patient ID; name the Issuer of Patient ID too")

    def _nearest_first(self, located: Located) -> None:
        """Put the sites in the order in which they are asked for what several of them have."""
        offered = dict(located.offers)
        with self._catalog.reading() as unit:
            located.offers = [(site, offered[site]) for site in nearest_first(unit, offered)]

    def _sought(self, located: Located, here: set[InstanceUID]) -> dict[InstanceUID, Sought]:
        """What is to be fetched: what somebody has and the terms of this site accept, each instance once."""
        sought: dict[InstanceUID, Sought] = {}
        for site, announced in located.offers:
            new = [one for one in announced if one.uid not in here and one.uid not in sought]
            accepted = set(self._demand.want(site, new))
            for one in announced:
                known = sought.get(one.uid)
                if known is not None:
                    known.offer(site, one)
                elif one.uid not in here and one.digest in accepted:
                    sought[one.uid] = Sought(one, {site: one})
        return sought

    def _shown(
        self,
        principal: Principal,
        selection: Selection,
        destination: str,
        fetched: Iterator[list[InstanceUID] | None],
        missing: dict[InstanceUID, None],
    ) -> Iterator[Sequence[Instance] | None]:
        """What has come, as the archive shows it to who asks."""
        for uids in fetched:
            if uids is None:
                yield None
                continue
            for uid in uids:
                missing.pop(uid, None)
            wanted = replace(selection, instances=tuple(uids))
            yield self._archive.select(principal, wanted, destination=destination)

    def _fetched(
        self, principal: Principal, waiting: Sequence[Sequence[Sought]]
    ) -> Iterator[list[InstanceUID] | None]:
        """What has been fetched and catalogued, pack by pack; None where nothing has come for a while."""
        dead: set[SiteId] = set()
        for pack in waiting:
            left = {one.announced.digest: one for one in pack}
            for site in pack[0].holders:
                if site in dead or not left:
                    continue
                came: list[Digest] = []
                try:
                    for digest in self._from(principal, site, list(left.values())):
                        if digest is None:
                            yield None
                        else:
                            came.append(digest)
                except (NodeError, TimeoutError) as error:
                    dead.add(site)
                    why = str(error) or "it fell silent"
                    log.warning("a site gave not all that it announced", extra={"peer": site, "why": why})
                done = [left.pop(digest).announced.uid for digest in self._catalogued(site, came)]
                if done:
                    yield done

    def _catalogued(self, site: SiteId, came: Sequence[Digest]) -> Sequence[Digest]:
        try:
            return self._demand.arrived(site, came) if came else ()
        except NodeError as error:
            log.warning("what came could not be catalogued", extra={"peer": site, "error": str(error)})
            return ()

    def _from(self, principal: Principal, site: SiteId, pack: Sequence[Sought]) -> Iterator[Digest | None]:
        """Fetch a pack from one site; None where nothing has come for a while.

        Raises:
            TimeoutError: it fell silent.
            NodeError: it does not give them.
        """
        if site != pack[0].first:
            self._demand.want(site, [one.holders[site] for one in pack])
        fetch = _Fetch(self._peers, principal, site, [one.announced.digest for one in pack])
        heard_at = self._monotonic()
        call: Call | None = None
        try:
            while True:
                call = call or self._begun(fetch)
                try:
                    told = fetch.came.get(timeout=TICK)
                except Empty:
                    if self._monotonic() - heard_at > SILENCE:
                        raise TimeoutError from None
                    yield None
                    continue
                if told is None:
                    return
                if isinstance(told, Exception):
                    raise told if isinstance(told, NodeError) else PeerUnreachable(site, type(told).__name__)
                heard_at = self._monotonic()
                yield told
        finally:
            fetch.stop.set()
            if call is not None:
                call.leave()

    def _begun(self, fetch: _Fetch) -> Call | None:
        """The call that fetches; None while there are too many others."""
        try:
            return self._fetches.start(fetch.site, fetch.work)
        except TooBusy:
            return None


class Sought:
    """An instance that is to be fetched, and who has it."""

    def __init__(self, announced: Announced, holders: dict[SiteId, Announced]) -> None:
        """An instance as the first site announced it."""
        self.announced = announced
        self.holders = holders
        self.first = next(iter(holders))

    def offer(self, site: SiteId, announced: Announced) -> None:
        """Another site has it too, if the bytes are the same."""
        if announced.digest == self.announced.digest:
            self.holders[site] = announced


class _Fetch:
    """One pack on its way, in a thread of its own."""

    def __init__(self, peers: Peers, principal: Principal, site: SiteId, digests: Sequence[Digest]) -> None:
        self._peers = peers
        self._principal = principal
        self.site = site
        self._digests = digests
        self.came: SimpleQueue[Digest | Exception | None] = SimpleQueue()
        """What has come; None at the end."""
        self.stop = threading.Event()

    def work(self) -> None:
        """Fetch; the store keeps what comes."""
        try:
            with self._peers(self.site, timeout=SILENCE) as peer:
                grant = peer.prepare_to_get(self._digests, self._principal)
                granted = [digest for digest, _ in grant.items if digest in self._digests]
                for digest in peer.fetch(grant, granted) if granted else ():
                    self.came.put(digest)
                    if self.stop.is_set():
                        break
            self.came.put(None)
        except Exception as error:
            self.came.put(error)


def packs(sought: Iterable[Sought]) -> list[list[Sought]]:
    """What is to be fetched, series by series, in packs of what the same sites have."""

    def alike(one: Sought) -> tuple[str, str, tuple[SiteId, ...]]:
        return one.announced.study, one.announced.series, tuple(one.holders)

    runs = [list(group) for _, group in groupby(sorted(sought, key=alike), key=alike)]
    return [run[first : first + PACK] for run in runs for first in range(0, len(run), PACK)]


def local(instances: Sequence[Instance]) -> Retrieval:
    """A retrieval of what is here alone."""
    return _retrieval(instances, (), iter(()))


def _retrieval(
    here: Sequence[Instance],
    missing: Iterable[InstanceUID],
    coming: Iterator[Sequence[Instance] | None],
) -> Retrieval:
    """What is here first, then what comes."""
    left = missing if isinstance(missing, dict) else dict.fromkeys(missing)
    return Retrieval(len(here) + len(left), _portions(here, coming), left)


def _portions(
    here: Sequence[Instance], coming: Iterator[Sequence[Instance] | None]
) -> Generator[Sequence[Instance] | None]:
    if here:
        yield here
    yield from coming
