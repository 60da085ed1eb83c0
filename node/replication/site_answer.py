"""What came of asking a site: answered, stale, refused, timed out or unreachable, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from node.catalog.unit import Unit
from node.domain.errors import AccessDenied, NodeError, PeerUnreachable, Unavailable
from node.domain.ids import SiteId
from node.domain.member import Member


class Answer(StrEnum):
    """How a site answered."""

    ANSWERED = "answered"
    STALE = "stale"
    """It did not answer, but all that it had told until its last contact is here and among the rows."""
    REFUSED = "refused"
    """It may not be asked, or does not let us."""
    TIMED_OUT = "timed out"
    """It did not answer by the deadline; some of what it has may be missing."""
    UNREACHABLE = "unreachable"
    """It could not be asked; some of what it has may be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAnswer:
    """What came of asking one site."""

    site: SiteId
    state: Answer
    rows: int = 0
    """Rows that it told."""
    seconds: float = 0.0
    """How long that took."""
    why: str = ""
    """The reason where it did not answer, without patient data."""
    as_of: int = 0
    """For a stale answer, when it was heard of last; microseconds since 1970."""
    complete: bool = True
    """False where it stopped at its limit."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing of what the site has is missing."""
        return self.state is Answer.ANSWERED and self.complete

    def __str__(self) -> str:
        """In few words, as an Error Comment has room for."""
        if self.state is Answer.STALE:
            return f"{self.site} stale ({_minute(self.as_of)})"
        if self.state is Answer.ANSWERED and not self.complete:
            return f"{self.site} has more"
        return f"{self.site} {self.state}"


def failure(site: SiteId, error: Exception, seconds: float) -> SiteAnswer:
    """The answer of a site that an error stands for."""
    why = str(error) if isinstance(error, NodeError) else type(error).__name__
    return SiteAnswer(site=site, state=_state(error), seconds=seconds, why=why)


def _state(error: Exception) -> Answer:
    if isinstance(error, TimeoutError):
        return Answer.TIMED_OUT
    if isinstance(error, PeerUnreachable) or not isinstance(error, AccessDenied | Unavailable):
        return Answer.UNREACHABLE
    return Answer.REFUSED


def settled(unit: Unit, member: Member, answer: SiteAnswer) -> SiteAnswer:
    """The answer with what this site's own copies make good for: stale instead of missing."""
    if answer.state not in (Answer.TIMED_OUT, Answer.UNREACHABLE) or not is_mirrored(unit, member):
        return answer
    return SiteAnswer(
        site=answer.site,
        state=Answer.STALE,
        seconds=answer.seconds,
        why=answer.why or str(answer.state),
        as_of=unit.members.contact(member.site).heard_at,
    )


def is_mirrored(unit: Unit, member: Member) -> bool:
    """Whether all that a member had at its last contact is catalogued here.

    Its journal was read to the end that it told, nothing of it was left aside, and no bytes are on their way.
    """
    contact, read = unit.members.contact(member.site), unit.cursors.all(member.site)
    ended = {int(epoch): end for epoch, end in unit.members.heads(member.site).get("ends", {}).items()}
    ends = {**ended, contact.epoch: contact.head}
    return (
        max(ends.values()) > 0
        and all(end <= read.get(epoch, 0) for epoch, end in ends.items())
        and not unit.wants.lag(member.site).objects
        and not any(_is_left_aside(unit, member, epoch) for epoch in ends)
    )


def _is_left_aside(unit: Unit, member: Member, epoch: int) -> bool:
    """Whether there is something in the member's journal that it withholds, or whose bytes are not owed here.

    A member that gives everything withholds only facts that concern itself alone.
    """
    gaps = unit.cursors.gaps(member.site, epoch)
    if gaps and not member.gives.is_everything:
        return True
    for first, last in gaps:
        told = unit.journal.page(first - 1, 1, origin=member.site, epoch=epoch)
        if told and told[0].seq <= last:
            return True
    return False


LONGEST = 64
"""Characters of an Error Comment (PS3.7 C.4.2, VR LO)."""


def summary(answers: Iterable[SiteAnswer]) -> str:
    """Which sites did not answer in full, in one line of up to 64 characters; empty where all did."""
    missing = [answer for answer in answers if not answer.is_whole]
    in_full = "; ".join(map(str, missing))
    if len(in_full) <= LONGEST:
        return in_full
    short = f"{len(missing)} sites did not answer: " + ", ".join(answer.site for answer in missing)
    return short if len(short) <= LONGEST else short[: LONGEST - 3] + "..."


def _minute(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%m-%d %H:%M")
