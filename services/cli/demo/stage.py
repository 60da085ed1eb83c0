"""What the scenes of the demonstration share: what was said and sent, the two nodes, and a look inside."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from node.domain.ids import InstanceUID
from node.domain.job import Task
from node.domain.replica import Replica
from node.wiring import Site
from services.cli.demo.commands import Commands
from services.cli.demo.corpus import RealFiles, Sent
from services.cli.demo.devices import Peer
from services.cli.demo.idp.running import IdentityProviders
from services.cli.demo.running import Node

Say = Callable[[str], None]
PATIENCE: Final = 120.0
"""Seconds to wait for what the nodes do by themselves; a machine that rests needs a few."""
LOOK: Final = 0.05
"""Seconds between two looks."""
TURN: Final = 1.2
"""Seconds in which workers and couriers have looked for work at least once."""


@dataclass(slots=True)
class Story:
    """What happened so far, and what turned out otherwise than claimed."""

    say: Say
    failures: list[str] = field(default_factory=list)
    acknowledged: dict[str, Sent] = field(default_factory=dict)
    """First file sent under each SOP Instance UID that a node answered with success."""
    begun: float = field(default_factory=time.monotonic)
    step_begun: float = 0.0

    def claim(self, holds: bool, claim: str) -> None:
        """Say what is true now, and remember it if it is not."""
        self.say(f"   {'ok ' if holds else 'NOT'}  {claim}")
        if not holds:
            self.failures.append(claim)

    def step(self, title: str) -> None:
        """Begin the next step."""
        self.pause()
        self.say(f"\n{title}")
        self.step_begun = time.monotonic()

    def typed(self, command: str) -> None:
        """Say what a person types."""
        self.say(f"   $ konzilium {command}")

    def pause(self) -> None:
        """End a step: say how long it took."""
        if self.step_begun:
            self.say(f"   {time.monotonic() - self.step_begun:.1f} s")
            self.step_begun = 0.0

    def sent(self, answers: Iterable[tuple[Sent, int]]) -> Counter[str]:
        """Remember what was acknowledged; count the answers."""
        counts: Counter[str] = Counter()
        for sent, status in answers:
            if status == 0:
                self.acknowledged.setdefault(sent.offer.instance, sent)
            counts["success" if status == 0 else f"{status:04X}"] += 1
        return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """One of the two sites: its node, and its catalog and store to look into."""

    node: Node
    site: Site

    @property
    def scanner(self) -> Peer:
        """A modality of the site."""
        return Peer(ae_title="CT1", node=self.node.ae_title, port=self.node.dicom_port)

    @property
    def viewer(self) -> Peer:
        """A workstation of the site, which asks what the site has."""
        return Peer(ae_title="VIEWER", node=self.node.ae_title, port=self.node.dicom_port)

    @property
    def far_viewer(self) -> Peer:
        """The same workstation, asking all sites at once."""
        return Peer(ae_title="VIEWER", node=self.node.everywhere, port=self.node.dicom_port)

    def instances(self) -> int:
        """How many instances are in the catalog."""
        return self.site.archive.counts().instances

    def owed(self, other: At) -> int:
        """How many copies the other site owes: it has not said that it has read them back."""
        with self.site.catalog.reading() as unit:
            return unit.replicas.lag(other.node.name).objects

    def copies(self, uid: str) -> Sequence[Replica]:
        """What the site knows of copies at other sites."""
        with self.site.catalog.reading() as unit:
            return unit.replicas.of_instance(InstanceUID(uid))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The two sites, and what there is to send."""

    story: Story
    konzilium: Commands
    brno: At
    prague: At
    providers: IdentityProviders
    series: list[Sent]
    """A CT series made for the occasion: large enough for a copy to be caught on its way."""
    files: RealFiles

    @property
    def phantom(self) -> str:
        """The Study Instance UID of the CT series."""
        return self.series[0].study

    def come_to_rest(self) -> bool:
        """Wait until both sites are in step, and still are when their workers have looked once more."""
        return until(self._is_at_rest)

    def _is_at_rest(self) -> bool:
        if not self.in_step():
            return False
        time.sleep(TURN)
        return self.in_step()

    def in_step(self) -> bool:
        """Whether nothing is on its way, and nothing left to do, between both sites."""
        return _follows(self.brno, self.prague) and _follows(self.prague, self.brno)


def until(holds: Callable[[], bool], patience: float = PATIENCE) -> bool:
    """Wait until something holds; whether it came true in time."""
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK)
    return True


def _follows(one: At, other: At) -> bool:
    """Whether one site has read, fetched and proved all that another one has for it."""
    with other.site.catalog.reading() as unit:
        epochs, owed = unit.journal.epochs(), unit.replicas.lag(one.node.name).objects
        jobs = any(not job.error for kind in Task for job in unit.jobs.of_kind(kind))  # codecs may lack
    with one.site.catalog.reading() as unit:
        read = all(unit.cursors.find(other.node.name, epoch).seq >= head for epoch, head in epochs.items())
        wanted = unit.wants.lag(other.node.name).objects
    return read and not owed and not wanted and not jobs
