"""The Recovery service: how a site is, and proofs of its copies on demand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from node.domain.ids import Digest
from node.replication.peer import LONGEST_PAGE
from node.replication.service import Service as Doors
from services.soap.caller import guest
from services.soap.framework.model import Count, Many
from services.soap.framework.service import Call, Service, operation
from services.soap.records import Digests, HashText, Mapping, SiteText, mapping_of, moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a site is, as far as a member needs to know.

    Attributes:
        site: which one.
        at: when it was asked.
        epoch: the epoch of its journal.
        head: the end of its journal.
        head_hash: the hash of that entry.
        reached: how far it has read the journal of who asks.
        wanted: objects of who asks that it wants and does not hold or has not proved yet.
        owed: objects of which who asks owes a copy.
        free: bytes that it can still store.
    """

    site: SiteText
    at: datetime
    epoch: Count
    head: Count
    head_hash: HashText
    reached: Count
    wanted: Count
    owed: Count
    free: Count


class Recovery(Service):
    """Whether copies are whole, and what there is to repair."""

    name, path, version = "Recovery", "recovery", 1

    def __init__(self, doors: Doors) -> None:
        """A service of this site.

        Args:
            doors: what members may ask.
        """
        self._doors = doors

    @operation(result="status")
    def status(self, call: Call) -> Status:
        """Say how this site is.

        Returns:
            Its journal, and what is owed between it and the caller.
        """
        told = self._doors.standing(guest(call).member)
        return Status(
            site=told.site,
            at=moment(told.at),
            epoch=told.epoch,
            head=told.head.seq,
            head_hash=told.head.hash,
            reached=told.reached,
            wanted=told.wanted.objects,
            owed=told.owed.objects,
            free=told.free,
        )

    @operation(result="mapping")
    def verify_replicas(
        self, call: Call, digest: Digests
    ) -> Annotated[tuple[Mapping, ...], Many(up_to=LONGEST_PAGE)]:
        """Read copies of this site back from its disk now.

        Args:
            digest: which bytes.

        Returns:
            What was found of each that is here and that the terms give the caller: `verified`, or `gone`
            where the bytes are missing or damaged.
        """
        found = self._doors.verify(guest(call).member, [Digest.trusted(one) for one in digest])
        return tuple(mapping_of(one) for one in found)
