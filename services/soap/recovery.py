"""The Recovery service: how a site is, proofs of its copies on demand, and what programs of it may start."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

from node.domain.errors import BrakeTripped, Forbidden, NoWholeCopy, ReadOnly, Rejected, Unknown
from node.domain.ids import Digest, SiteId
from node.domain.principal import Action, Kind, Principal
from node.recovery.doors import REBUILD, Doors, Standing
from node.recovery.drill.order import Bounds, Order, Scenario
from node.recovery.roles import Roles
from node.replication.peer import LONGEST_PAGE
from node.replication.service import Service as MemberDoors
from services.soap.caller import Guest, guest
from services.soap.framework.model import Count, LongText, Many, ShortText
from services.soap.framework.service import Call, Service, operation
from services.soap.records import Digests, HashText, Mapping, SiteText, mapping_of, moment
from services.soap.recovering import (
    BrakeTold,
    DrillScenario,
    DrillTold,
    FindingCount,
    FindingTold,
    JobText,
    RoleTold,
    ScrubTold,
    Sites,
    WorkState,
    WorkTold,
    brake_told,
    finding_told,
    role_told,
    scrub_told,
    work_told,
)

AT_ONCE = 16
"""Copies that are mended while the caller waits."""


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
        role: which part it plays.
        finding: what is wrong there and still to be dealt with, by kind.
        brake: what is held up until a person has looked.
        scrub: what it has read back of its copies.
        work: long work that was asked for there; told to programs of that site.
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
    role: RoleTold | None = None
    finding: Annotated[tuple[FindingCount, ...], Many(up_to=16)] = ()
    brake: Annotated[tuple[BrakeTold, ...], Many(up_to=8)] = ()
    scrub: ScrubTold | None = None
    work: Annotated[tuple[WorkTold, ...], Many(up_to=LONGEST_PAGE)] = ()


class Recovery(Service):
    """Whether copies are whole, what there is to repair, and which site takes the place of which.

    Members ask and hint. Programs of the site itself, which show the node's own certificate and call in the
    name of an operator or of the node, may also start what takes long; `status` says how far it is.
    """

    name, path, version = "Recovery", "recovery", 1

    def __init__(self, doors: MemberDoors, own: Doors, roles: Roles) -> None:
        """A service of this site.

        Args:
            doors: what members may ask.
            own: what programs of this site may ask.
            roles: which site plays which part.
        """
        self._doors = doors
        self._own = own
        self._roles = roles

    @operation(result="status")
    def status(self, call: Call) -> Status:
        """Say how this site is.

        Returns:
            Its journal, what is owed between it and the caller, and how its recovery stands.
        """
        asked = guest(call)
        told, stands = self._doors.standing(asked.member), self._own.standing()
        at = moment(told.at)
        return Status(
            site=told.site,
            at=at,
            epoch=told.epoch,
            head=told.head.seq,
            head_hash=told.head.hash,
            reached=told.reached,
            wanted=told.wanted.objects,
            owed=told.owed.objects,
            free=told.free,
            role=role_told(stands.role),
            finding=tuple(FindingCount(kind=kind, count=count) for kind, count in stands.findings.items()),
            brake=tuple(brake_told(one) for one in stands.brakes),
            scrub=scrub_told(stands.scrub),
            work=_work(stands, at) if asked.principal.via is None else (),
        )

    @operation(result="finding", faults=(Forbidden,))
    def findings(
        self, call: Call, limit: Count = LONGEST_PAGE
    ) -> Annotated[tuple[FindingTold, ...], Many(up_to=LONGEST_PAGE)]:
        """Say what is wrong here and still to be dealt with, the oldest first.

        Args:
            limit: at the most so many.

        Returns:
            To a member, what is wrong with copies that the terms give it, that it owes, or has told of
            itself; to programs of this site, everything.
        """
        asked, many = guest(call), min(limit, LONGEST_PAGE)
        if asked.principal.via is None:
            found = self._own.findings(_household(asked, "read all findings"), many)
        else:
            found = self._doors.findings(asked.member, many)
        return tuple(finding_told(one) for one in found)

    @operation(result="mapping")
    def verify_replicas(
        self, call: Call, digest: Digests
    ) -> Annotated[tuple[Mapping, ...], Many(up_to=LONGEST_PAGE)]:
        """Read copies of this site back from its disk now.

        Args:
            digest: which bytes.

        Returns:
            What was found of each that is here, and that the terms give the caller or that it has told of
            itself: `verified`, or `gone` where the bytes are missing or damaged.
        """
        found = self._doors.verify(guest(call).member, [Digest.trusted(one) for one in digest])
        return tuple(mapping_of(one) for one in found)

    @operation(result="digest", faults=(Forbidden, BrakeTripped, NoWholeCopy))
    def repair_replica(self, call: Call, digest: Digests, at_once: bool = False) -> Digests:
        """Have copies of this site looked at that seem to be damaged or lost.

        What the caller says is a hint: the site reads them again itself, and mends what is damaged from a
        copy that was verified just then.

        Args:
            digest: which bytes.
            at_once: look while the caller waits, at 16 copies at the most; for programs of this site.

        Returns:
            Those of them that are here, and that the terms give the caller or that it has told of itself:
            they are going to be looked at, or were.
        """
        asked = guest(call)
        digests = [Digest.trusted(one) for one in digest]
        if at_once:
            return tuple(self._own.repair_now(_household(asked, "repair at once"), digests[:AT_ONCE]))
        self._own.demand_repair()
        return tuple(self._doors.repair(asked.member, digests))

    @operation(result="scrub", faults=(Forbidden,))
    def start_scrub(self, call: Call) -> ScrubTold:
        """Let every copy be looked at and read back again, for programs of this site.

        Returns:
            What is due now; `status` says how it goes on.
        """
        return scrub_told(self._own.start_scrub(_household(guest(call), "start a scrub")))

    @operation(result="work", faults=(Forbidden, BrakeTripped))
    def rebuild(self, call: Call) -> WorkTold:
        """Let everything be looked at, and what was lost of it be made again, for programs of this site.

        Rows are derived again from the journal and the bytes, and bytes are fetched from sites that prove
        their copies, while this site goes on working. A catalog that is lost altogether and a new machine
        are for `konzilium rebuild` instead, while the node stands still.

        Returns:
            The work; `status` says how far it is.
        """
        principal = _household(guest(call), "rebuild")
        self._own.demand_repair()
        job = self._own.rebuild(principal)
        return work_told(job, moment(job.created_at))

    @operation(result="role", faults=(Forbidden, Rejected, Unknown))
    def promote(
        self,
        call: Call,
        reason: LongText,
        in_place_of: SiteText | None = None,
        successor: Sites = (),
    ) -> RoleTold:
        """Make this site the archive in place of another one, which is a backup from then on.

        Args:
            reason: why.
            in_place_of: whose place; may be left out where one archive alone has named this site. A member
                can give away its own place only.
            successor: sites that may take the place of this one, the first choice first; if there are none,
                the site whose place is taken, then its other successors.

        Returns:
            The role of this site from now on.
        """
        done = self._roles.promote(
            _decider(guest(call)),
            None if in_place_of is None else SiteId.trusted(in_place_of),
            successors=[SiteId.trusted(one) for one in successor] or None,
            reason=reason,
        )
        return role_told(done)

    @operation(result="role", faults=(Forbidden, Rejected, ReadOnly))
    def demote(self, call: Call, reason: LongText) -> RoleTold:
        """Make this site a backup: it takes nothing from devices and persons from now on.

        A member may ask for it that this site has named as its successor.

        Args:
            reason: why.

        Returns:
            The role of this site from now on.
        """
        return role_told(self._roles.demote(_decider(guest(call)), reason=reason))

    @operation(result="drill", faults=(Forbidden, Rejected))
    def start_drill(
        self,
        call: Call,
        scenario: DrillScenario,
        objects: Count = 1000,
        megabytes: Count = 1000,
        seed: Count | None = None,
    ) -> DrillTold:
        """Let a drill be held on a scratch area with real data, for programs of this site.

        Args:
            scenario: what is taken to have happened.
            objects: take at the most so many.
            megabytes: take at the most so much.
            seed: what is damaged and looked at follows from it; chosen if it is left out.

        Returns:
            The drill; `drillReport` says how far it is.
        """
        principal = _household(guest(call), "start a drill")
        order = Order(
            scenario=Scenario(scenario),
            seed=secrets.randbelow(1 << 31) if seed is None else seed,
            bounds=Bounds(objects=objects, megabytes=megabytes),
        )
        return DrillTold(name=self._own.start_drill(principal, order), state=WorkState.WAITING)

    @operation(result="drill", faults=(Forbidden, Unknown))
    def drill_report(self, call: Call, name: JobText) -> DrillTold:
        """Say how far a drill is, with its report when it is done; for programs of this site.

        Args:
            name: of the drill.

        Returns:
            The drill.
        """
        found = self._own.drilled(_household(guest(call), "read the report of a drill"), name)
        return DrillTold(
            name=found.name, state=WorkState(found.state), why=found.why[:256], report=found.report
        )


def _household(asked: Guest, deed: ShortText) -> Principal:
    """Who decides something here: an operator or the node itself, in a program of this site.

    Raises:
        Forbidden: it is a member, or the program says that a device has caused the call.
    """
    principal = asked.principal
    if principal.via is not None:
        raise Forbidden(principal, deed, "only programs of the site itself do that")
    if principal.kind is Kind.DEVICE:
        raise Forbidden(principal, deed, "an operator or the node itself has to cause it")
    return replace(principal, may=principal.may | {Action.ADMINISTER})


def _decider(asked: Guest) -> Principal:
    """Who decides about roles: somebody here, or somebody of a member, as far as the roles let it."""
    return asked.principal if asked.principal.via is not None else _household(asked, "decide about roles")


def _work(stands: Standing, at: datetime) -> tuple[WorkTold, ...]:
    rounds = stands.rounds
    return tuple(
        work_told(job, at, rounds.get(REBUILD) if job.kind == REBUILD else None) for job in stands.jobs
    )
