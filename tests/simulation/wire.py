"""The wire between simulated sites: latency, cuts of one direction, lost answers, calls that arrive twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from node.domain.errors import NodeError, PeerUnreachable
from node.domain.ids import Digest, SiteId
from node.domain.member import Member
from node.domain.replica import Replica
from node.replication.peer import TicketGrant
from node.replication.service import Service
from tests.simulation.disk import PowerCut
from tests.support.federation import LocalPeer, Network, carry

if TYPE_CHECKING:
    from tests.simulation.site import SimulatedSite

T = TypeVar("T")
Door = Callable[[Service, Member], T]


@dataclass
class Weather:
    """How bad the lines are: chances by call."""

    lost: float = 0.0
    """That an answer does not come back, after its effect."""
    twice: float = 0.0
    """That a call arrives a second time at once, as a proxy or a driver repeats it."""
    late: float = 0.0
    """That a call arrives a second time, much later."""
    torn: float = 0.0
    """That bytes on their way are damaged."""
    latency: float = 0.02
    """Seconds that a call takes."""


@dataclass
class Wire(Network):
    """All links; draws from the chance of the step that is under way."""

    forward: Callable[[float], None]
    meanwhile_at: Callable[[str], None]
    """Lets something else happen at a site in the middle of a call."""
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    weather: Weather = field(default_factory=Weather)
    late: list[Callable[[], object]] = field(default_factory=list)
    """Calls that are still on their way for a second time."""
    calls: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def sever_one_way(self, one: str, other: str) -> None:
        """What one site sends does not reach the other one."""
        self.cut.add((one, other))

    def heal(self) -> None:
        super().heal()
        self.weather = Weather()
        self.late.clear()

    def happens(self, odds: float) -> bool:
        return odds > 0 and self.chance.random() < odds

    def deliver_late(self) -> bool:
        """Deliver the oldest call that is on its way for a second time; nobody waits for the answer."""
        if not self.late:
            return False
        with suppress(NodeError):
            self.late.pop(0)()
        return True


class SimulatedPeer(LocalPeer):
    """Another site over that wire."""

    _caller: SimulatedSite
    _called: SimulatedSite

    @property
    def wire(self) -> Wire:
        network = self._caller.network
        assert isinstance(network, Wire)
        return network

    def _service(self) -> tuple[Service, Member]:
        """The doors of the other site, which has recognised the caller."""
        if self._called.is_down or not self._called.callable:
            raise PeerUnreachable(self.site, "nobody answers")
        if (self._caller.name, self.site) in self.wire.cut:
            raise PeerUnreachable(self.site, "the link is cut")
        member = self._called.members.recognise(self._caller.fingerprint)
        return self._called.service, member

    def _call(self, name: str, door: Door[T]) -> T:
        wire = self.wire
        wire.calls += 1
        wire.forward(wire.weather.latency)
        answer = self._through(door)
        if wire.happens(wire.weather.twice):
            answer = self._through(door)
        if wire.happens(wire.weather.late):
            wire.late.append(lambda: self._through(door))
        wire.meanwhile_at(self._caller.name)
        self._came_back(name)
        return answer

    def _through(self, door: Door[T]) -> T:
        try:
            return door(*self._service())
        except PowerCut as cut:
            if cut.site != self.site:
                raise
            self._called.crash()
            raise PeerUnreachable(self.site, "it crashed") from None

    def _came_back(self, call: str = "") -> None:
        if (self.site, self._caller.name) in self.wire.cut:
            raise PeerUnreachable(self.site, "the answer was lost")
        if self._called.is_down or self.wire.happens(self.wire.weather.lost):
            raise PeerUnreachable(self.site, "the answer was lost")

    def fetch(self, grant: TicketGrant, digests: Sequence[Digest]) -> Iterator[Digest]:
        service, member = self._service()
        service.to_get(grant.ticket, member.site, digests)
        for digest in digests:
            self.wire.forward(self.wire.weather.latency)
            self._came_back("fetch")
            if self.wire.happens(self.wire.weather.torn):
                continue  # the data plane turns damaged bytes away (services.transfer)
            if carry(digest, self._called.blobs, self._caller.blobs):
                yield digest

    def verify(self, digests: Sequence[Digest]) -> Sequence[Replica]:
        found = super().verify(digests)
        self._caller.world.book.proofs_heard(self.site, found)
        return found


def peer_of(caller: SimulatedSite, to: SiteId) -> SimulatedPeer:
    """Another site, to be called."""
    called = caller.network.sites[to]
    return SimulatedPeer(caller, called)
