"""How the recovery of a site stands, as it stands on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from node.catalog.brakes import BrakeState
from node.catalog.proofs import Round
from node.domain.finding import Finding, FindingState, Trouble
from node.domain.job import Job
from node.domain.role import Role, SiteRole
from node.recovery.scrub import Report
from services.soap.framework.model import Count, DigestText, Many, ShortText, Text, UidText
from services.soap.records import SiteText, moment

JobText = Annotated[
    str, Text(name="JobName", longest=80, pattern="[A-Za-z0-9][A-Za-z0-9._-]*", doc="The name of a job.")
]
Sites = Annotated[tuple[SiteText, ...], Many(up_to=64)]


class DrillScenario(StrEnum):
    """What is taken to have happened."""

    BIT_ROT = "bit-rot"
    CORRUPT_CATALOG = "corrupt-catalog"
    LOSE_DISK = "lose-disk"
    LOSE_SITE = "lose-site"
    PARTITION = "partition"


class WorkState(StrEnum):
    """Where long work stands."""

    WAITING = "waiting"
    RUNNING = "running"
    STALLED = "stalled"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingCount:
    """How much of one kind is wrong.

    Attributes:
        kind: what is wrong.
        count: how many findings are still to be dealt with.
    """

    kind: Trouble
    count: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeTold:
    """A brake that has tripped: a person has to look before anything goes on.

    Attributes:
        name: `repair` or `deletion`.
        tripped_at: since when.
        reason: why.
    """

    name: ShortText
    tripped_at: datetime
    reason: ShortText


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubTold:
    """What the scrub has covered.

    Attributes:
        objects: copies that are looked after.
        bytes: of these.
        read_objects: of them, read back within the period.
        read_bytes: bytes of these.
        due: copies that are to be read back now.
        period_days: within which every copy is read back.
        late: whether some copy was not.
        oldest_at: when those that were read back longest ago were.
        looked_at: when existence and size were looked at last.
    """

    objects: Count
    bytes: Count
    read_objects: Count
    read_bytes: Count
    due: Count
    period_days: float
    late: bool
    oldest_at: datetime | None = None
    looked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleTold:
    """The role of a site.

    Attributes:
        site: which one.
        role: `archive`, `backup` (read-only) or `communication`.
        term: grows with every change.
        successor: the sites that may take its place, the first choice first.
        by: the site that said so: itself, or the one that took its place.
    """

    site: SiteText
    role: Role
    term: Count
    successor: Sites = ()
    by: SiteText | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkTold:
    """Long work that somebody has asked for.

    Attributes:
        kind: `rebuild` or `drill`.
        name: by which it is asked about.
        state: where it stands.
        asked_at: since when it is owed.
        objects: how many were looked at so far, where it counts them.
        found: how many findings were made.
        why: what it waits for, or why the last attempt failed.
    """

    kind: ShortText
    name: JobText
    state: WorkState
    asked_at: datetime
    objects: Count = 0
    found: Count = 0
    why: ShortText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingTold:
    """Something that is wrong.

    Attributes:
        kind: what is wrong.
        site: whose copy.
        digest: of the bytes; none where it is about an instance or a study as such.
        uid: the SOP Instance UID, or the Study Instance UID of a row that is stale.
        size: bytes that there ought to be.
        evidence: what showed it.
        found_at: when it was found first.
        seen_at: when it was seen last.
        state: `open`, or `lost` while no member has a whole copy.
        outcome: what came of attempts to deal with it.
    """

    kind: Trouble
    site: SiteText
    digest: DigestText | None = None
    uid: UidText | None = None
    size: Count
    evidence: ShortText
    found_at: datetime
    seen_at: datetime
    state: FindingState
    outcome: ShortText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillTold:
    """A drill.

    Attributes:
        name: of the drill and its report.
        state: where it stands.
        why: what it waits for, or why the last attempt failed.
        report: the report, signed, as JSON, when it is done.
    """

    name: JobText
    state: WorkState
    why: ShortText = ""
    report: str = ""


def finding_told(one: Finding) -> FindingTold:
    """A finding for the wire."""
    return FindingTold(
        kind=one.kind,
        site=one.site,
        digest=one.digest or None,
        uid=one.instance or None,
        size=one.size,
        evidence=one.evidence[:256],
        found_at=moment(one.found_at),
        seen_at=moment(one.seen_at),
        state=one.state,
        outcome=one.outcome[:256],
    )


def brake_told(one: BrakeState) -> BrakeTold:
    """A brake for the wire."""
    return BrakeTold(name=one.name, tripped_at=moment(one.tripped_at), reason=one.reason[:256])


def scrub_told(one: Report) -> ScrubTold:
    """The scrub for the wire."""
    cover, look = one.coverage, one.look
    return ScrubTold(
        objects=cover.objects,
        bytes=cover.bytes,
        read_objects=cover.recent_objects,
        read_bytes=cover.recent_bytes,
        due=one.due,
        period_days=one.period / 86_400_000_000,
        late=one.late,
        oldest_at=None if cover.oldest_at is None else moment(cover.oldest_at),
        looked_at=moment(look.ended_at) if look and look.ended_at else None,
    )


def role_told(one: SiteRole) -> RoleTold:
    """A role for the wire."""
    return RoleTold(site=one.site, role=one.role, term=one.term, successor=tuple(one.successors), by=one.by)


def work_told(job: Job, now: datetime, round_: Round | None = None) -> WorkTold:
    """Long work for the wire."""
    begun = round_ is not None and round_.begun_at >= job.created_at
    state = WorkState.WAITING
    if job.state == "stalled":
        state = WorkState.STALLED
    elif job.attempts and moment(job.due_at) > now and not job.error:
        state = WorkState.RUNNING
    return WorkTold(
        kind=job.kind,
        name=job.key,
        state=state,
        asked_at=moment(job.created_at),
        objects=round_.objects if round_ and begun else 0,
        found=round_.found if round_ and begun else 0,
        why=job.error[:256],
    )
