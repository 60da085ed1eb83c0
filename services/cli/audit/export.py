"""`konzilium audit export`: the audit record in a file, with its signed end, which members are told, too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import click

from node.audit.export import Entry, Format
from node.audit.participants import Source
from node.audit.record import Event, Record
from node.domain.errors import NodeError
from node.domain.principal import Action
from node.domain.words import number
from node.identity.gate import Gate
from node.replication.audit_watch import AuditWatch
from node.wiring import Site, open_site
from services.cli import types
from services.cli.audit import words
from services.cli.commands import Command
from services.cli.output import Exit, complain, finish, progress_bar
from services.run.peers import peers_of

PATIENCE = 10.0
"""Seconds that a member may take to hear of the end of the record."""
PAGE = 1000
"""Records that are read at a time."""


@click.command(
    "export",
    cls=Command,
    short_help="Write the audit record into a file.",
    examples=(
        "konzilium audit export /srv/brno --from 2026-01-01 --to 2026-03-31 --format csv --output q1.csv",
        "konzilium audit export /srv/brno --format json --output audit.json",
    ),
)
@types.site_argument
@click.option(
    "--from",
    "since",
    type=words.MomentType(),
    metavar="DAY",
    default=0,
    help="Not before this day or moment.",
)
@click.option(
    "--to",
    "until",
    type=words.MomentType(end=True),
    metavar="DAY",
    default=words.EVER,
    help="Up to this day, or this moment.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice([str(one) for one in Format]),
    default=str(Format.CSV),
    metavar="FORMAT",
    show_default=True,
    help="A table (csv), the same exactly (json), or the messages of PS3.15 (xml).",
)
@click.option(
    "--output", "path", type=words.OUTPUT, metavar="FILE", default="-", help="The file.  [default: print it]"
)
def export(directory: Path, *, since: int, until: int, form: str, path: Path) -> None:
    """Write the audit record into a file, or print it; works while the node runs.

    It ends with the signed end of the record (of a table, this is told apart). Every member that can be
    reached is told that end, so that what was exported cannot be changed later by this site either. That it
    was exported is recorded.
    """
    with open_site(directory) as site:
        operator = Gate(site.catalog).demand(site.operator(), Action.AUDIT)
        Gate(site.catalog).record(operator, Event.AUDIT_USED, what=f"exported as {form}")
        signed = cache(lambda: words.told_head(site.audit_book.sign()))
        count = words.write_file(path, Format(form), _entries(site, since, until), signed)
        end = signed()
        silent = _tell_members(site)
    click.echo(f"{number(count, 'record')}; signed end: {end.get('seq', 0)} {end.get('hash', '')}", err=True)
    for name, why in silent.items():
        complain(f"{name} did not hear of the end: {why}")
    finish(Exit.PARTLY if silent else Exit.FINE)


def _entries(site: Site, since: int, until: int) -> Iterator[Entry]:
    """The records of a time, with a bar for a person at a terminal; the catalog is not held meanwhile."""
    source = Source(site=site.settings.site.name, ae_title=site.settings.dicom.ae_title)
    with site.catalog.reading() as unit:
        end = unit.audit.head().seq
    bar = progress_bar(end, "Audit record")
    with bar:
        reached = 0
        while page := _page(site, reached, end):
            reached = page[-1].seq
            yield from (Entry.of(one, source) for one in page if since <= one.at < until)
            bar.update(len(page))


def _page(site: Site, after: int, end: int) -> list[Record]:
    """Some records behind a number, as far as they were there in the beginning."""
    with site.catalog.reading() as unit:
        return [record for record in islice(unit.audit.after(after), PAGE) if record.seq <= end]


def _tell_members(site: Site) -> dict[str, str]:
    """Give the end to every member; which of them did not hear, and why."""
    peers = peers_of(site)
    watch, silent = AuditWatch(site.catalog, site.audit_book, peers), dict[str, str]()
    with site.catalog.reading() as unit:
        members = [member.site for member in unit.members.active()]
    for name in members:
        try:
            with peers(name, timeout=PATIENCE) as peer:
                watch.exchange(peer)
        except NodeError as error:
            silent[name] = str(error)
    return silent
