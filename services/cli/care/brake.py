"""`konzilium brake`: what stops mass repair and mass deletion, and lets them go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from node.domain.words import number
from node.recovery.brake import DELETION, REPAIR
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.output import Exit, as_json, fields, finish, moment, say

WHAT = {
    REPAIR: "Damaged copies are mended",
    DELETION: "Copies are given up",
}
"""What each brake holds up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeRow:
    """One brake, as `--json` tells it."""

    name: str
    tripped_at: int
    """0 while it has not tripped."""
    reason: str
    counted: int
    """Copies found damaged, or given up, within a day."""
    percent: int
    least: int
    """It trips beyond so many percent of the copies, and beyond so many copies."""


@click.command(
    cls=Command,
    short_help="Show whether repair or deletion is held up, and release it.",
    examples=(
        "konzilium brake /srv/brno",
        'konzilium brake /srv/brno --release repair --reason "the disk was replaced"',
    ),
)
@types.site_argument
@click.option(
    "--release",
    metavar="NAME",
    type=click.Choice((REPAIR, DELETION)),
    help="Let it go on: repair or deletion.",
)
@click.option("--reason", metavar="TEXT", help="What you have seen; it goes into the audit record.")
@types.json_option
def brake(directory: Path, *, release: str | None, reason: str | None, json_: bool) -> None:
    """Show the two brakes, and release one when you have looked at what made it trip.

    Where many copies are found damaged, or given up, within a day, that is no bit rot: a disk fails, a
    folder is not mounted, or a rule is wrong. Then nothing is mended or given up until a person says so.
    A brake that is released lets pass what was counted so far and as much again.

    The exit code is 0 when none has tripped and 5 when one has.
    """
    if (release is None) != (not reason):
        raise click.UsageError("--release and --reason go together.")
    with open_site(directory) as site:
        if release is not None and reason is not None:
            site.brake.release(site.operator(), release, reason)
        rows = _rows(site)
    if json_:
        as_json([fields(row) for row in rows])
    else:
        for row in rows:
            _tell(row, directory)
    finish(Exit.ATTENTION if any(row.tripped_at for row in rows) else Exit.FINE)


def _rows(site: Site) -> list[BrakeRow]:
    counted, settings = site.brake.counted(), site.settings.recovery
    standing = {state.name: state for state in site.brake.standing()}
    return [
        BrakeRow(
            name=name,
            tripped_at=standing[name].tripped_at if name in standing else 0,
            reason=standing[name].reason if name in standing else "",
            counted=counted[name],
            percent=settings.brake_percent,
            least=settings.brake_least,
        )
        for name in (REPAIR, DELETION)
    ]


def _tell(row: BrakeRow, directory: Path) -> None:
    limit = f"more than {row.percent} % and {number(row.least, 'copy', 'copies')} within a day trip it"
    if not row.tripped_at:
        say(f"{row.name}: at rest. {WHAT[row.name]}; {row.counted} so far, {limit}.")
        return
    say(f"{row.name}: TRIPPED on {moment(row.tripped_at)}: {row.reason}.")
    say("  Look at the disk, the mounts and the rules first. Then:")
    say(f'  konzilium brake {directory} --release {row.name} --reason "what you have seen"')
