"""What really happened, written down beside the sites: by this their promises are judged.

The book knows what devices were told is safe, every fact that a site ever committed, which bytes the saboteur
damaged or destroyed, and which facts were lost for good when a catalog was. It reads disks and journals as
they are; it never asks a site what it believes.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from node.archive.part10 import file_meta
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.replica import CopyState, Replica
from node.journal.entry import LOCAL, Entry, Fact
from tests.simulation.promises import Broken
from tests.support.pool import PLACES, Sample, sample

if TYPE_CHECKING:
    from tests.simulation.site import SimulatedSite

Told = tuple[str, str, int, str]
"""Origin, kind, moment and payload of a fact, wherever it stands."""
Content = tuple[int, str]
"""What a sample says, in whatever transfer syntax."""


@cache
def samples() -> dict[Digest, Sample]:
    """All that devices may send, by the name that the stored bytes have."""
    made = [sample(number, kind) for number in PLACES for kind in ("plain", "implicit", "other", "stranger")]
    return {Digest(hashlib.sha256(file_meta(one.offer) + one.data).hexdigest()): one for one in made}


@dataclass
class Book:
    """What really happened."""

    sites: dict[SiteId, SimulatedSite]
    acknowledged: dict[Digest, Sample] = field(default_factory=dict)
    """What devices were told is safe."""
    received: dict[Digest, set[SiteId]] = field(default_factory=lambda: defaultdict(set))
    """Where."""
    excused: set[Content] = field(default_factory=set)
    """What may be gone: the saboteur destroyed the last whole copy."""
    damaged: set[tuple[SiteId, Digest]] = field(default_factory=set)
    """Bytes that rotted or vanished at a site, until they are whole there again."""
    facts: dict[tuple[str, int, int, str], Entry] = field(default_factory=dict)
    """Every fact that a site committed, by origin, epoch, number and hash."""
    at: dict[tuple[str, int, int], str] = field(default_factory=dict)
    """The hash of what stands at a place."""
    restored: dict[tuple[str, int], int] = field(default_factory=dict)
    """By origin and epoch: the number from which a restored site may write otherwise, until it notices."""
    said: set[Told] = field(default_factory=set)
    """What they say."""
    lost: set[Told] = field(default_factory=set)
    """Facts that were in a catalog that is gone, and in no other one."""
    newest: dict[SiteId, int] = field(default_factory=dict)
    """The latest epoch in which a site wrote."""
    committed: dict[Digest, frozenset[SiteId]] = field(default_factory=dict)
    """What a device was told is committed, and the sites whose copies were verified for it."""
    given_up: set[tuple[SiteId, Digest]] = field(default_factory=set)
    """Copies that somebody asked a site to give up."""
    _read: dict[tuple[SiteId, int], int] = field(default_factory=dict)

    # ---- facts

    def read(self, site: SimulatedSite) -> list[Entry]:
        """Read what a site has committed since the last time; what it states for the first time.

        Raises:
            Broken: it wrote another fact in the place of one, or in an epoch that was over.
        """
        found: list[Entry] = []
        with site.catalog.reading() as unit:
            for epoch, last in unit.journal.epochs().items():
                seen = self._read.get((site.name, epoch), 0)
                if last > seen:
                    found += unit.journal.page(seen, last - seen, epoch=epoch)
                    self._read[site.name, epoch] = last
        new = [entry for entry in found if told(entry) not in self.said]
        for entry in found:
            self._note(entry)
        return new

    def _note(self, entry: Entry) -> None:
        place = entry.origin, entry.epoch, entry.seq
        before = self.at.get(place, entry.hash)
        may_differ = entry.seq > self.restored.get(place[:2], 1 << 62)
        if before != entry.hash and not may_differ:
            raise Broken("no split brain", f"{entry.origin} wrote its entry {place[1]}/{place[2]} twice")
        if entry.epoch < self.newest.get(entry.origin, 0):
            raise Broken("no split brain", f"{entry.origin} wrote in epoch {entry.epoch}, which was over")
        self.at[place] = entry.hash
        self.facts[*place, entry.hash] = entry
        self.said.add(told(entry))
        self.newest[entry.origin] = entry.epoch

    def catalog_lost(self, site: SimulatedSite, heads: Mapping[int, int]) -> None:
        """A catalog is gone, and an older one takes its place; facts that nobody else has read are lost.

        Args:
            site: whose.
            heads: how far each epoch goes in the older one.
        """
        elsewhere: set[Told] = set()
        for other in self.sites.values():
            if other is not site:
                elsewhere |= told_at(other, site.name)
        for (origin, epoch, seq, _), entry in self.facts.items():
            if origin == site.name and seq > heads.get(epoch, 0) and told(entry) not in elsewhere:
                self.lost.add(told(entry))
        for epoch in {epoch for origin, epoch, _ in self.at if origin == site.name}:
            head = heads.get(epoch, 0)
            self.restored[site.name, epoch] = min(head, self.restored.get((site.name, epoch), head))
            self._read[site.name, epoch] = min(head, self._read.get((site.name, epoch), 0))
        self.newest[site.name] = max(heads, default=0)

    def concerns_others(self) -> set[Told]:
        """Facts that other sites are to hear of, and that are not lost."""
        return {told(entry) for entry in self.facts.values() if entry.kind not in LOCAL} - self.lost

    def decisions(self, kind: Fact) -> list[Entry]:
        """Facts of a kind that are not lost, in the order of their stamps; one that was restated once."""
        found = {told(entry): entry for entry in self.facts.values() if entry.kind is kind}
        return sorted(
            (entry for said, entry in found.items() if said not in self.lost), key=lambda entry: entry.stamp
        )

    # ---- bytes

    def holders(self, digest: Digest) -> list[SiteId]:
        """Sites on whose disks these bytes are, whole."""
        return [site.name for site in self.sites.values() if site.blobs.whole(digest)]

    def contents(self) -> set[Content]:
        """What is whole somewhere, in one form or another."""
        here = {digest for site in self.sites.values() for digest in site.blobs.blobs}
        return {sent.content for digest, sent in samples().items() if digest in here and self.holders(digest)}

    def missing(self) -> set[Content]:
        """What was acknowledged, is whole nowhere, and ought to be."""
        return {sent.content for sent in self.acknowledged.values()} - self.contents() - self.excused

    def sabotage(self, harm: Iterable[tuple[SimulatedSite, Digest, bytes | None]]) -> None:
        """Put other bytes, or none, where copies are, and write down what that destroyed."""
        before = self.contents()
        for site, digest, content in harm:
            if content is None:
                site.blobs.blobs.pop(digest, None)
            else:
                site.blobs.blobs[digest] = content
            self.damaged.add((site.name, digest))
        known = {sent.content for sent in self.acknowledged.values()}
        self.excused |= (before - self.contents()) & known

    def mended(self) -> None:
        """Forget damage where the bytes are whole again."""
        self.damaged = {(site, digest) for site, digest in self.damaged if site not in self.holders(digest)}

    @contextmanager
    def repair(self, site: SimulatedSite, *, alone: bool) -> Iterator[None]:
        """A repair of a site: what it replaces it keeps as evidence.

        Args:
            site: whose copies are mended.
            alone: whether nobody else can write the same bytes meanwhile.

        Raises:
            Broken: damaged bytes are gone.
        """
        before = {digest: site.blobs.blobs[digest] for digest in site.blobs.damaged()}
        yield
        for digest, content in before.items() if alone else ():
            kept = not site.blobs.whole(digest) or (digest, content) in site.blobs.evidence
            if not kept:
                raise Broken("repair never spreads damage", f"{site.name} kept no evidence of {digest[:8]}")
        self.mended()

    def promised(self, site: SimulatedSite, uids: Sequence[InstanceUID]) -> None:
        """A site has just told a device that these instances are committed.

        Raises:
            Broken: the bytes are not whole there.
        """
        for uid in uids:
            with site.catalog.reading() as unit:
                digest = unit.instances.digest(uid)
            whole = digest is not None and bool(self.holders(digest))
            if digest is None or not (whole or samples()[digest].content in self.excused):
                raise Broken("commitments kept", f"{site.name} vouches for {uid}, which is whole nowhere")
            self.committed[digest] = frozenset(self.holders(digest))

    def proofs_heard(self, site: SiteId, found: Sequence[Replica]) -> None:
        """A site has just told that it read copies back.

        Raises:
            Broken: it cannot have.
        """
        for proof in found:
            if proof.state is CopyState.VERIFIED and not self.sites[site].blobs.whole(proof.digest):
                raise Broken("claims are true", f"{site} vouches for {proof.digest[:8]}, which is not whole")


def told(entry: Entry) -> Told:
    """What a fact says, wherever it stands: a site that was restored states some of its facts again."""
    return entry.origin, entry.kind, entry.at, _besides(entry.payload)


def _besides(payload: str) -> str:
    """A payload without what somebody knew when he decided."""
    if '"seen"' not in payload:
        return payload
    return json.dumps({name: value for name, value in json.loads(payload).items() if name != "seen"})


def told_at(site: SimulatedSite, origin: str) -> set[Told]:
    """The facts of an origin that a site has, read from its file."""
    was_down = site.is_down
    if was_down:
        site.open()
    question = f"SELECT origin, kind, at, payload FROM journal WHERE origin = '{origin}'"
    found = {(name, kind, at, _besides(payload)) for name, kind, at, payload in site.rows(question)}
    if was_down:
        site.stop()
    return found
