"""What members may ask of the copies of this site: whether they are whole, and what is wrong with them.

A member may ask about what the terms give it, and about what it has told of itself: whoever gave something
may know what became of it. What it says of damage is a hint, no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from node.blobs.store import BlobStore
from node.catalog import traits
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import NodeError
from node.domain.finding import Finding
from node.domain.ids import Digest, InstanceUID
from node.domain.job import Task
from node.domain.member import Member
from node.domain.replica import CopyState, Replica
from node.domain.rule import Traits
from node.replication.peer import LONGEST_PAGE


class Copies:
    """The copies of a site, as members ask about them."""

    def __init__(self, catalog: Catalog, blobs: BlobStore) -> None:
        """The copies that this catalog lists.

        Args:
            catalog: the rows.
            blobs: the bytes.
        """
        self._catalog = catalog
        self._blobs = blobs

    def verify(self, member: Member, digests: Sequence[Digest]) -> Sequence[Replica]:
        """Read copies of this site back from disk now, and say what was found.

        A member may ask about what the terms give it, and about what it has told itself.
        """
        found = []
        for digest in digests[:LONGEST_PAGE]:
            with self._catalog.reading() as unit:
                held = unit.holdings.find(digest) if _may_ask(unit, member, digest) else None
                at, site, is_marked = unit.now, unit.origin, unit.jobs.find(Task.DROP, digest)
            if held is None or is_marked is not None:
                continue
            state = CopyState.VERIFIED if self._is_whole(digest) else CopyState.GONE
            if state is CopyState.GONE:
                self._owe_repairs([digest])
            found.append(
                Replica(instance=held.instance, digest=digest, site=site, state=state, size=held.size, at=at)
            )
        return found

    def repair(self, member: Member, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Look at copies that a member takes to be damaged or lost; which of them are going to be."""
        with self._catalog.reading() as unit:
            ours = [
                digest
                for digest in digests[:LONGEST_PAGE]
                if _may_ask(unit, member, digest) and unit.holdings.find(digest) is not None
            ]
        self._owe_repairs(ours)
        return ours

    def findings(self, member: Member, many: int) -> Sequence[Finding]:
        """What is wrong with copies that the terms give a member, that it owes, or has told of itself."""
        with self._catalog.reading() as unit:
            return list(
                islice((one for one in unit.findings.unsettled() if _concerns(unit, member, one)), many)
            )

    def _owe_repairs(self, digests: Sequence[Digest]) -> None:
        """Have copies of this site looked at, soon."""

        def note(unit: Unit) -> None:
            for digest in digests:
                unit.jobs.add(Task.REPAIR, digest)

        if digests:
            self._catalog.perform(note)

    def _is_whole(self, digest: Digest) -> bool:
        try:
            self._blobs.verify(digest)
        except NodeError:
            return False
        return True


def may_have(unit: Unit, member: Member, digest: Digest) -> Traits | None:
    """The traits of bytes that are here, and that the terms give a member.

    What was withdrawn is given to nobody but a site that has had it: there it is withdrawn, too, and a copy
    that is damaged can be repaired.
    """
    uid = unit.forms.holder_of(digest)
    if uid is None or _is_kept_back(unit, member, digest, uid):
        return None
    known = traits.of(unit, [uid]).get(uid)
    return known if known and member.export.allow(known, now=unit.now) else None


def _is_kept_back(unit: Unit, member: Member, digest: Digest, uid: InstanceUID) -> bool:
    """Whether an instance is withdrawn, and a member has never had these bytes of it."""
    if not unit.forms.is_withdrawn(uid):
        return False
    known = unit.replicas.state(digest, member.site)
    return known is None or known[0] is CopyState.OWED


def _may_ask(unit: Unit, member: Member, digest: Digest) -> bool:
    """Whether a member may ask how the copy here is: the terms give it that, or it has told of it itself."""
    uid = unit.forms.holder_of(digest)
    if uid is None or _is_kept_back(unit, member, digest, uid):
        return False
    if any(fact.origin == member.site for fact in unit.journal.about(uid)):
        return True
    return may_have(unit, member, digest) is not None


def _concerns(unit: Unit, member: Member, finding: Finding) -> bool:
    if finding.site == member.site:
        return True
    return bool(finding.digest) and _may_ask(unit, member, Digest.trusted(finding.digest))
