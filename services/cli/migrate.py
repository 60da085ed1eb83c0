"""`konzilium migrate`: everything that a foreign archive holds, brought here by plain DICOM."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import click

from node.domain.errors import TooBusy
from node.domain.ids import AETitle
from node.domain.partner import Partner, Role
from node.partners import report as reports
from node.partners.book import PartnerBook
from node.partners.listing import survey
from node.partners.migrate import Manners, Migration
from node.partners.report import MigrationReport
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.output import Exit, as_json, complain, fields, finish, say
from services.cli.partners import ae_argument, migration_as_json, tell_migration
from services.run.couriers import opening
from services.run.partners import exclusively, foreign_of

CLOSED = 10.0
"""Seconds between two looks whether the hours of a partner have begun."""
SHOWN_EVERY = 0.5
"""Seconds between two lines of progress."""


@click.command(
    cls=Command,
    short_help="Bring everything that a foreign archive holds.",
    examples=(
        "konzilium migrate /srv/brno OLDPACS --dry-run",
        "konzilium migrate /srv/brno OLDPACS --rate 20",
        "konzilium migrate /srv/brno OLDPACS --since 2020-01-01",
        "konzilium migrate /srv/brno OLDPACS --verify --json",
    ),
)
@types.site_argument
@ae_argument
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Studies from this date on only, as in 2020-01-31.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.01, 100_000),
    metavar="NUMBER",
    help="So many instances a second at the most, on average.  [default: as fast as it goes]",
)
@click.option(
    "--patience",
    type=click.IntRange(0, 100_000),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="How long the partner may be out of reach before the command gives up.",
)
@click.option("--dry-run", is_flag=True, help="Count what is there and what of it is here; bring nothing.")
@click.option("--verify", is_flag=True, help="Compare also what was compared before.")
@types.json_option
def migrate(
    directory: Path,
    *,
    ae_title: AETitle,
    since: datetime | None,
    rate: float | None,
    patience: int,
    dry_run: bool,
    verify: bool,
    json_: bool,
) -> None:
    """Bring everything that the partner AE holds and that is not here, and compare each series with it.

    It may be interrupted at any time, on either side: the same command goes on where it was. When it has
    ended, it may be repeated for what has come there since. If the partner sends by C-MOVE, the node must
    run, and the partner must know it. The exit code is 3 when anything differs; the report names it.
    """
    first = since.date() if since else None
    with open_site(directory) as site:
        partner = PartnerBook(site.catalog).find(ae_title, Role.SOURCE)
        if dry_run:
            _survey(site, partner, first, json_=json_)
            return
        with exclusively(site.directory, f"{ae_title} source", wait=False) as alone:
            if not alone:
                raise TooBusy(f"{ae_title} is being moved from by another command")
            begun = time.monotonic()
            ended = _move(site, partner, first, rate, patience, verify=verify)
            seconds = time.monotonic() - begun
        told = reports.of_migration(site.catalog, partner)
    _tell(told, seconds, json_=json_)
    finish(Exit.FINE if ended and told.is_whole else Exit.PARTLY)


def _move(
    site: Site, partner: Partner, since: date | None, rate: float | None, patience: int, *, verify: bool
) -> bool:
    """Run the migration in this process."""
    foreign = foreign_of(site, partner)
    manners = Manners(
        today=datetime.now(UTC).date(),
        wait=time.sleep,
        goes_on=_hours(partner),
        fetched=pace(rate),
        tell=_progress(site, partner),
        patience=patience,
    )
    try:
        return Migration(site.catalog, partner, foreign, manners, since=since).run(verify=verify)
    finally:
        foreign.close()


def _hours(partner: Partner) -> Callable[[], bool]:
    """Wait for the hours in which the partner may be busied."""
    is_open = opening(partner.hours, datetime.now)

    def goes_on() -> bool:
        if not is_open():
            complain(f"{partner.ae_title} may be busied at {partner.hours} only; waiting for that")
        while not is_open():
            time.sleep(CLOSED)
        return True

    return goes_on


def pace(
    rate: float | None,
    *,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> Callable[[int], None]:
    """Wait after what has come so long that on average no more comes than `rate` instances a second."""
    due = clock()

    def fetched(instances: int) -> None:
        nonlocal due
        if rate is not None:
            now = clock()
            due = max(due, now - 1.0) + instances / rate
            wait(max(0.0, due - now))

    return fetched


def _progress(site: Site, partner: Partner) -> Callable[[], None]:
    """A line on the terminal that tells how far it is."""
    shown, last = sys.stderr.isatty(), 0.0

    def tell() -> None:
        nonlocal last
        if not shown or time.monotonic() - last < SHOWN_EVERY:
            return
        last = time.monotonic()
        with site.catalog.reading() as unit:
            moved = unit.moving.sum(partner.ae_title)
        done = moved.studies_here + moved.studies_differ
        line = f"\r{done}/{moved.studies} studies, {moved.here}/{moved.told} instances"
        click.echo(f"{line}, {moved.fetched} brought  ", err=True, nl=False)

    return tell


def _survey(site: Site, partner: Partner, since: date | None, *, json_: bool) -> None:
    """Tell what a migration would find."""
    foreign = foreign_of(site, partner)
    try:
        found = survey(foreign, site.catalog, partner.match, datetime.now(UTC).date(), since)
    finally:
        foreign.close()
    if json_:
        as_json(fields(found))
        return
    say(
        f"{partner.ae_title} tells of {found.studies} studies with {found.instances} instances; "
        f"{found.studies_here} of the studies are here with as many instances."
    )
    if found.untold:
        say(f"Of {found.untold} studies it does not tell how many instances they have.")
    for window in found.cut:
        complain(f"the partner does not tell all studies of {window}")


def _tell(told: MigrationReport, seconds: float, *, json_: bool) -> None:
    if json_:
        as_json(migration_as_json(told) | {"seconds": round(seconds, 1)})
        return
    if sys.stderr.isatty():
        click.echo("", err=True)
    tell_migration(told)
    say(f"This run took {seconds:.0f} seconds.")
