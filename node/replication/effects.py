"""What a fact does to the rows of this site, whoever stated it."""

from __future__ import annotations

from collections.abc import Callable

from node.archive.amend import follow
from node.archive.derive import derive
from node.blobs.store import BlobStore
from node.catalog.unit import Unit
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.replica import CopyState, Replica
from node.identity.roles import hear_roles
from node.journal.entry import FEDERATION, Entry, Fact

DeriveMember = Callable[[Unit, SiteId], object]
"""Brings the row of a member in line with the facts about it."""


class Effects:
    """Applies facts of any site to the derived rows; every one may be applied again."""

    def __init__(self, blobs: BlobStore, derive_member: DeriveMember) -> None:
        """Effects on the catalog that belongs to this store.

        Args:
            blobs: where headers are read again.
            derive_member: what facts about members do.
        """
        self._blobs = blobs
        self._derive_member = derive_member

    def apply(self, unit: Unit, entry: Entry) -> None:
        """Bring the rows in line with a fact that the journal holds."""
        says = entry.says
        match entry.kind:
            case Fact.INSTANCE:
                self._instance(unit, entry)
            case Fact.COMPARE:
                derive(unit, self._blobs, InstanceUID.trusted(says["uid"]))
            case Fact.COPIES:
                self._copies(unit, entry)
            case Fact.RETRACT | Fact.LOCK | Fact.CORRECT | Fact.MERGE:
                follow(unit, self._blobs, entry)
            case Fact.ROLE:
                hear_roles(unit)
            case kind if kind in FEDERATION:
                self._derive_member(unit, SiteId.trusted(says["site"]))

    def undo(self, unit: Unit, entry: Entry) -> None:
        """Bring the rows in line after a fact was taken out of the journal, or stands elsewhere in it."""
        if entry.kind is Fact.INSTANCE:
            derive(unit, self._blobs, InstanceUID.trusted(entry.says["uid"]))
        elif entry.kind is not Fact.COPIES:
            self.apply(unit, entry)

    def _instance(self, unit: Unit, entry: Entry) -> None:
        """Another site has admitted bytes: it holds them, and they may be the earliest form."""
        says = entry.says
        uid, digest = InstanceUID.trusted(says["uid"]), Digest.trusted(says["digest"])
        unit.replicas.name(digest, uid, says["size"])
        known = unit.replicas.state(digest, entry.origin)
        is_back = known is not None and known[0] is CopyState.GONE and known[1] <= entry.at
        is_owed = known is not None and known[0] is CopyState.OWED
        if entry.origin != unit.origin and (known is None or is_owed or is_back):
            unit.replicas.put(
                Replica(
                    instance=uid,
                    digest=digest,
                    site=entry.origin,
                    state=CopyState.HELD,
                    size=says["size"],
                    at=entry.at,
                )
            )
        if len(unit.journal.about(uid)) > 1:
            derive(unit, self._blobs, uid)

    def _copies(self, unit: Unit, entry: Entry) -> None:
        """A site has read copies back, or has them no more."""
        if entry.origin == unit.origin:
            return
        says = entry.says
        for state, named in ((CopyState.VERIFIED, says["verified"]), (CopyState.GONE, says["gone"])):
            for text in named:
                self._copy(unit, Digest.trusted(text), entry.origin, state, entry.at)

    def _copy(self, unit: Unit, digest: Digest, site: SiteId, state: CopyState, at: int) -> None:
        known = unit.replicas.find(digest, site)
        if known and known.at > at and known.state in (CopyState.VERIFIED, CopyState.GONE):
            return
        uid = known.instance if known else unit.forms.holder_of(digest) or InstanceUID.trusted("")
        size = known.size if known else 0
        unit.replicas.put(Replica(instance=uid, digest=digest, site=site, state=state, size=size, at=at))
