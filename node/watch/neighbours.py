"""Conditions of what goes between this site and its members."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from node.domain.alert import SECOND, Concern, Severity
from node.domain.words import number, span
from node.settings import AlertSettings
from node.watch.seen import Flow, Neighbour, Seen

GROWS: Final = 3600 * SECOND
"""For how long what is owed must have grown."""
FEWEST: Final = 4
"""Samples of what is owed that say something."""
SHORTEST: Final = 1800 * SECOND
"""Over how long they must reach, and how old the oldest thing owed must be."""


def neighbours(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """A member is silent, behind, or its clock is wrong."""
    for one in seen.neighbours:
        silent = _silence(one, seen, settings)
        if silent:
            yield Concern(
                kind="peer-silent",
                subject=one.site,
                severity=Severity.WARNING,
                what=f"{one.site} has not been heard of for {span(silent)}{_why(one)}.",
                todo=f"Ask there whether the node runs; see `konzilium peers {seen.directory}`.",
            )
        yield from _copies(one, seen, settings)
        yield from _lag(one, seen, quiet=bool(silent))
        if not silent:
            yield from _clock(one, seen, settings, f"clock-skew:{one.site}" in open_)
    for site in seen.waiting:
        yield Concern(
            kind="member-waiting",
            subject=site,
            severity=Severity.INFO,
            what=f"{site} has joined and waits to be confirmed.",
            todo=f"Compare its fingerprint and say `konzilium confirm {seen.directory} {site}`.",
        )


def _silence(one: Neighbour, seen: Seen, settings: AlertSettings) -> float:
    """Seconds of a silence that is too long, as far as this site was awake to hear anything; else 0."""
    longest = settings.silent_minutes * 60
    if (seen.now - seen.awake) / SECOND < longest:
        return 0
    silent = (seen.now - (one.heard_at or seen.awake)) / SECOND
    return silent if silent >= longest else 0


def _why(one: Neighbour) -> str:
    error = one.error.rstrip(".")
    return f" ({error})" if error else ""


def _copies(one: Neighbour, seen: Seen, settings: AlertSettings) -> Iterator[Concern]:
    owed = (seen.now - one.out.oldest_at) / SECOND if one.out.oldest_at else 0
    if owed > settings.copies_hours * 3600:
        yield Concern(
            kind="copies-late",
            subject=one.site,
            severity=Severity.WARNING,
            what=f"{one.site} owes {_copies_in(one.out)} that the rules want there, the oldest for "
            f"{span(owed)}.",
            todo=f"See `konzilium peers {seen.directory}`; there, look at the line, the disk and the log.",
        )
    if one.lost:
        yield Concern(
            kind="copies-lost",
            subject=one.site,
            severity=Severity.CRITICAL,
            what=f"{one.site} has lost copies that the rules want there ({one.lost} or more).",
            todo=f"Say `konzilium check {seen.directory}`, then `konzilium repair {seen.directory}`; there, "
            "look at the disk.",
        )


def _copies_in(flow: Flow) -> str:
    return number(flow.objects, "copy", "copies") if flow.objects else "copies"


def _lag(one: Neighbour, seen: Seen, *, quiet: bool) -> Iterator[Concern]:
    for direction, flow, words in (
        ("to", one.out, f"What {one.site} ought to fetch from here"),
        ("from", one.coming, f"What is to be fetched from {one.site}"),
    ):
        if is_growing(flow, seen.now):
            yield Concern(
                kind="lag",
                subject=f"{direction} {one.site}",
                severity=Severity.WARNING,
                what=f"{words} does not become less: {number(flow.objects, 'object')}, the oldest for "
                f"{span((seen.now - flow.oldest_at) / SECOND)}.",
                todo=f"See `konzilium peers {seen.directory}` and the log of the worker: the line may be too "
                "slow, or a setting of [replication] holds it back.",
                quiet=quiet,
            )


def is_growing(flow: Flow, now: int) -> bool:
    """Whether for an hour nothing old was done and not less is owed.

    A backlog that is being worked off does not count, however old its oldest part: the newest goes first.
    """
    counts = [value for at, value in flow.counts if now - at <= GROWS]
    oldest = [value for at, value in flow.oldest if now - at <= GROWS]
    moments = [at for at, _ in flow.counts if now - at <= GROWS]
    if not flow.oldest_at or len(counts) < FEWEST or moments[-1] - moments[0] < SHORTEST:
        return False
    stuck = all(oldest) and oldest == sorted(oldest, reverse=True)
    old = now - flow.oldest_at >= SHORTEST
    return stuck and old and counts[0] > 0 and min(counts) >= counts[0]


def _clock(one: Neighbour, seen: Seen, settings: AlertSettings, is_open: bool) -> Iterator[Concern]:
    """The clocks differ by more than allowed for certain: half of the call may have taken all of its time."""
    surely = max(0.0, (abs(one.skew) - one.rtt / 2) / SECOND) if one.rtt else 0.0
    if surely > settings.skew_seconds * (0.5 if is_open else 1):
        ahead = "ahead of" if one.skew > 0 else "behind"
        yield Concern(
            kind="clock-skew",
            subject=one.site,
            severity=Severity.WARNING,
            what=f"The clock of {one.site} is {span(surely)} {ahead} the one here. Beyond a minute, the "
            "sites refuse each other's calls.",
            todo="See at both sites that the time is kept by NTP: `timedatectl`.",
        )
