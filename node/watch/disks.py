"""Conditions of disks and of what is kept on them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from node.domain.alert import DAY, Concern, Severity
from node.domain.words import number, size
from node.settings import AlertSettings
from node.watch.forecast import days_left
from node.watch.seen import Disk, Seen

NEARLY: Final = 2
"""A disk with less than so many times the reserve is nearly full, whatever the pace."""
MARGIN: Final = 1.1
"""How far a disk must be above a bound again before it is above it."""
LATE: Final = 1.1
"""By how much reading back may be behind its period, since it goes from object to object."""


def disks(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """A disk is full, or will be."""
    for disk in seen.disks:
        full = _is_full(disk, open_)
        if full:
            yield Concern(
                kind="disk-full",
                subject=disk.name,
                severity=Severity.CRITICAL,
                what=f"The disk is full ({disk.name}): {size(disk.free)} free, the reserve is "
                f"{size(disk.reserve)}. Nothing can be stored (A700) until there is more room.",
                todo="Make room on it, or move the store to a larger disk (docs/SITE-OWNER.md).",
            )
        words = _filling(disk, settings, seen.now, f"disk-filling:{disk.name}" in open_)
        if words:
            yield Concern(
                kind="disk-filling",
                subject=disk.name,
                severity=Severity.WARNING,
                what=words,
                todo="Make room on it, or plan a larger disk (docs/SITE-OWNER.md).",
                quiet=full,
            )


def _is_full(disk: Disk, open_: Collection[str]) -> bool:
    margin = MARGIN if f"disk-full:{disk.name}" in open_ else 1
    return disk.free < disk.reserve * margin or disk.free == 0


def _filling(disk: Disk, settings: AlertSettings, now: int, is_open: bool) -> str:
    """How it fills, where that is worth a warning."""
    left = days_left(disk.samples, disk.free, disk.reserve, now)
    if left is not None and left < settings.disk_days * (1.5 if is_open else 1):
        when = f"in about {number(round(left), 'day')}" if left >= 1 else "within a day"
        return (
            f"The disk is filling ({disk.name}): {size(disk.free)} free; full {when} at the pace of the "
            "last week."
        )
    if disk.free < NEARLY * disk.reserve * (MARGIN if is_open else 1):
        return f"The disk is nearly full ({disk.name}): {size(disk.free)} free."
    return ""


def store(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """The store cannot be written, holds damage, or is not read back in time."""
    if seen.store_error:
        yield Concern(
            kind="store-failing",
            severity=Severity.CRITICAL,
            what=f"The store cannot be written: {seen.store_error.rstrip('.')}.",
            todo="Look at the disk and at who owns the folder; nothing is stored until then.",
        )
    if seen.damage:
        kinds = ", ".join(f"{count} {kind}" for kind, count in seen.damage.items())
        yield Concern(
            kind="damage",
            severity=Severity.CRITICAL,
            what=f"{number(sum(seen.damage.values()), 'stored copy is', 'stored copies are')} damaged "
            f"({kinds}) and not repaired yet.",
            todo=f"Say `konzilium check {seen.directory}`, then `konzilium repair {seen.directory}`.",
        )
    for name, reason in seen.brakes.items():
        yield Concern(
            kind="brake",
            subject=name,
            severity=Severity.CRITICAL,
            what=f"The brake has tripped ({name}): {reason.rstrip('.')}.",
            todo=f"Look at the disk first; then say `konzilium brake {seen.directory}`.",
        )
    yield from _scrub(seen)


def _scrub(seen: Seen) -> Iterator[Concern]:
    if not seen.scrub_days or seen.oldest_proof_at is None:
        return
    behind = (seen.now - seen.oldest_proof_at) / DAY
    if behind > seen.scrub_days * LATE:
        yield Concern(
            kind="scrub-late",
            severity=Severity.WARNING,
            what=f"Some copies were not read back for {number(int(behind), 'day')}; every one ought to be "
            f"within {seen.scrub_days:g}.",
            todo="Give reading back more of the disk (recovery.scrub_mb), or a longer period "
            "(recovery.scrub_days).",
        )
