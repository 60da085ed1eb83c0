"""`konzilium scrub`: what was read back, and when; and reading everything back now."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import click

from node.domain.finding import DAMAGE
from node.domain.job import SECOND
from node.domain.words import size, span
from node.recovery.scrub import Report, Scrub
from node.wiring import Site, open_site
from services.cli import types
from services.cli.care import words
from services.cli.commands import Command
from services.cli.output import Exit, as_json, complain, fields, finish, moment, say
from services.run.care import scrub_of
from services.run.lock import running

FLAT_OUT = 10**12
"""Bytes a second: as fast as the disk goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubRow:
    """What the scrub covered, as `--json` tells it."""

    objects: int
    bytes: int
    read_objects: int
    read_bytes: int
    """Of them, read back within the period."""
    due: int
    """Copies that are to be read back now."""
    oldest_at: int | None
    """When those that were read back longest ago were; null for an empty store."""
    looked_at: int | None
    """When existence and size were looked at last; null for never."""
    next_look_at: int
    period_days: float
    rate: int
    """Bytes a second at the most; 0 reads none."""
    late: bool
    """Whether some copy was not read back within the period."""


@click.command(
    cls=Command,
    short_help="Show what was read back from the disk, and when.",
    examples=(
        "konzilium scrub /srv/brno",
        "konzilium scrub /srv/brno --now",
        "konzilium scrub /srv/brno --now --wait",
    ),
)
@types.site_argument
@click.option("--now", is_flag=True, help="Let everything be due: the running node reads it all back.")
@click.option("--wait", is_flag=True, help="With --now: read it here, as fast as the disk goes.")
@types.json_option
def scrub(directory: Path, *, now: bool, wait: bool, json_: bool) -> None:
    """Show what the scrub has covered; the running node does it by itself, at a bounded rate.

    Every day it looks whether every copy is there in its size, and it reads back those that were read
    longest ago, so that all are within the period that the setting recovery.scrub_days says.

    The exit code is 0 when all is well, 5 when a copy was not read back within the period, and 7 when
    --wait has found damage.
    """
    if wait and not now:
        raise click.UsageError("--wait goes with --now.")
    with open_site(directory) as site:
        usual = scrub_of(site, threading.Event())
        if now:
            usual.again()
        damaged = _read_all(site) if wait else 0
        report = usual.report()
        is_running = running(site.settings.directory) is not None
    if json_:
        as_json(fields(_row(report)))
    else:
        _tell(report)
    if now and not wait and not is_running:
        complain("the node does not run; it reads everything back when it does")
    if damaged:
        complain(f"{words.many(damaged)} damaged; see `konzilium findings {directory}`")
        finish(Exit.DAMAGED)
    finish(Exit.ATTENTION if report.late else Exit.FINE)


def _read_all(site: Site) -> int:
    """Look at everything and read it back here; how many copies are damaged."""
    here = scrub_of(site, threading.Event(), rate=FLAT_OUT)
    here.look()
    _drain(here)
    with site.catalog.reading() as unit:
        counts = unit.findings.counts()
    return sum(counts.get(kind, 0) for kind in DAMAGE)


def _drain(scrub: Scrub) -> None:
    total = scrub.report().due
    progress, done = words.counter("Reading back"), 0
    while read := scrub.read():
        done += read
        progress(min(done, total), total)


def _row(report: Report) -> ScrubRow:
    cover = report.coverage
    return ScrubRow(
        objects=cover.objects,
        bytes=cover.bytes,
        read_objects=cover.recent_objects,
        read_bytes=cover.recent_bytes,
        due=report.due,
        oldest_at=cover.oldest_at,
        looked_at=report.look.ended_at if report.look else None,
        next_look_at=report.next_look,
        period_days=report.period / SECOND / 86_400,
        rate=report.rate,
        late=report.late,
    )


def _tell(report: Report) -> None:
    """Say it to a person."""
    cover, period = report.coverage, span(report.period / SECOND)
    share = cover.recent_bytes * 100 // cover.bytes if cover.bytes else 100
    say(f"Held            {words.many(cover.objects)}, {size(cover.bytes)}")
    say(f"Read back       {words.many(cover.recent_objects)} within {period}, {share} % of the bytes")
    if cover.oldest_at is not None:
        say(f"Longest ago     {moment(cover.oldest_at)}")
    say(f"Due now         {words.many(report.due)}")
    if report.look is not None and report.look.ended_at:
        say(f"Looked at       {moment(report.look.ended_at)}: {words.many(report.look.objects)}")
    else:
        say("Looked at       not yet")
    say(f"Next look       {moment(report.next_look)}")
    rate = f"{size(report.rate)} a second" if report.rate else "reads nothing back by itself"
    say(f"Rate            {rate}")
    if report.late:
        say(f"Some copies were not read back within {period}: the rate is too low (recovery.scrub_mb).")
