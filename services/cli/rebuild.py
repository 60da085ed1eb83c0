"""`konzilium rebuild`: the catalog anew, from the bytes and the journal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from node.recovery.rebuild import rebuild as rebuild_catalog
from node.wiring import open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.output import Exit, complain, finish, say
from services.run.lock import hold


@click.command(
    cls=Command,
    short_help="Make the catalog anew from the stored bytes and the journal.",
    examples=("konzilium rebuild /srv/brno",),
)
@types.site_argument
def rebuild(directory: Path) -> None:
    """Make the catalog anew from the stored bytes and the journal.

    Needed only when the catalog is lost or damaged. The node must not run meanwhile.
    """
    with hold(directory.absolute()), open_site(directory) as site:
        outcome = rebuild_catalog(site.archive, site.blobs, site.catalog, site.operator(), progress())
    say(f"The catalog is rebuilt from {outcome.facts} facts; {outcome.admitted} objects were admitted anew.")
    for digest in outcome.unreadable:
        complain(f"the object {digest} could not be admitted; it stays in the store")
    for instance in outcome.lost:
        complain(f"the bytes of instance {instance} are missing or damaged")
    finish(Exit.DAMAGED if outcome.lost else Exit.PARTLY if outcome.unreadable else Exit.FINE)


def progress() -> Callable[[int, int], None]:
    """A line on the terminal that counts the steps."""
    shown = sys.stderr.isatty()

    def tell(done: int, total: int) -> None:
        if shown and (done == total or done % 100 == 0):
            click.echo(f"\rRebuilding {done}/{total}", err=True, nl=done == total)

    return tell
