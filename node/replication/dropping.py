"""Giving up a copy: only when another site has just read its own back, and does not give that one up, too.

```
marked here ──▶ another site reads its copy back, and is not giving it up ──▶ COPIES fact ──▶ bytes gone
```

A site that has marked a copy vouches for it to nobody. So of two sites that want to give up the last two
copies at the same time, at least one hears no, and keeps its own. The fact comes before the bytes go: a
crash between them leaves bytes that nobody counts on, never a copy that is claimed and not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from node.audit.record import Event, deed_of
from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import BrakeTripped, LastCopy, NodeError, Unknown
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.job import SECOND, Task
from node.domain.principal import Action, Principal
from node.domain.replica import CopyState, Replica
from node.identity.gate import Gate
from node.journal.entry import Fact
from node.replication.peer import Peers

DROP_LEASE = 600 * SECOND
"""How long a mark stands that was left behind by a crash."""


class Brake(Protocol):
    """Stops the giving up of many copies (see `node.recovery.brake`)."""

    def demand_deletion(self, unit: Unit, many: int = 1) -> None:
        """Let copies be given up within the unit that does so, or raise `BrakeTripped`."""
        ...

    def note(self, error: BrakeTripped) -> None:
        """Remember that it was stopped, in a unit of its own."""
        ...


class Dropping:
    """Gives up copies of this site."""

    def __init__(
        self, catalog: Catalog, blobs: BlobStore, peers: Peers, *, brake: Brake | None = None
    ) -> None:
        """The copies of one site.

        Args:
            catalog: where they are listed.
            blobs: where they are.
            peers: the sites that may have others.
            brake: asked before each; none where a site gives up everything by its role.
        """
        self._brake = brake
        self._catalog = catalog
        self._blobs = blobs
        self._peers = peers
        self._gate = Gate(catalog)

    def drop(self, principal: Principal, digest: Digest) -> SiteId:
        """Give up this site's copy of some bytes; which site has just proved its own.

        Raises:
            Forbidden: the policy says no.
            Unknown: these bytes are not archived here.
            LastCopy: no other site has proved a copy now.
            BrakeTripped: too many were given up within a day; a person has to look first.
        """
        self._gate.demand(principal, Action.ADMINISTER)
        uid, holders = self._catalog.perform(lambda unit: _mark(unit, digest))
        try:
            keeper = self._keeper(digest, holders)
            with self._catalog.begin() as unit:
                self._give_up(unit, principal, uid, digest, keeper)
            with self._catalog.begin() as unit:
                if unit.forms.holder_of(digest) is None:
                    self._blobs.remove(digest)
            return keeper
        except BrakeTripped as error:
            if self._brake is not None:
                self._brake.note(error)
            raise
        finally:
            self._catalog.perform(lambda unit: unit.jobs.done(Task.DROP, digest))

    def _keeper(self, digest: Digest, holders: Sequence[SiteId]) -> SiteId:
        """A site that has read its copy back from its disk just now."""
        for site in holders:
            try:
                with self._peers(site) as peer:
                    proofs = peer.verify([digest])
            except NodeError:
                continue
            if any(_is_proof(proof, digest, site) for proof in proofs):
                return site
        raise LastCopy(digest)

    def _give_up(
        self, unit: Unit, principal: Principal, uid: InstanceUID, digest: Digest, keeper: SiteId
    ) -> None:
        shown = unit.forms.shown(uid)
        if shown is None or shown[0] != digest:
            raise Unknown(digest)
        if self._brake is not None:
            self._brake.demand_deletion(unit)
        unit.instances.set_held(uid, held=False)
        unit.journal.append(Fact.COPIES, {"of": keeper, "verified": [], "gone": [digest], "given_up": True})
        what = f"copy of {uid} given up; {keeper} has proved its own"
        unit.audit.append(deed_of(principal, Event.SETTLED, what=what))


def _mark(unit: Unit, digest: Digest) -> tuple[InstanceUID, list[SiteId]]:
    uid = unit.forms.holder_of(digest)
    if uid is None:
        raise Unknown(digest)
    unit.jobs.add(Task.DROP, digest, after=DROP_LEASE)
    active = {member.site for member in unit.members.active()}
    copies = unit.replicas.of_digest(digest)
    held = (CopyState.VERIFIED, CopyState.HELD)
    return uid, [copy.site for copy in copies if copy.state in held and copy.site in active]


def _is_proof(proof: Replica, digest: Digest, site: SiteId) -> bool:
    return proof.digest == digest and proof.site == site and proof.state is CopyState.VERIFIED
