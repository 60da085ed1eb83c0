"""`konzilium merge` and `konzilium unmerge`: two Patient IDs of one person."""

from __future__ import annotations

from pathlib import Path

import click

from node.wiring import open_site
from services.cli import types
from services.cli.amend.common import EVERYWHERE, issuer_option, reason_option
from services.cli.commands import Command
from services.cli.output import say


@click.command(
    cls=Command,
    short_help="Show the studies of one patient under another one.",
    examples=(
        "konzilium merge /srv/brno --patient 123456 --into 654321 --reason 'registered twice'",
        "konzilium merge /srv/brno --patient 77 --issuer olomouc --into 654321 --into-issuer brno "
        "--reason transferred",
    ),
)
@types.site_argument
@click.option("--patient", metavar="ID", required=True, help="The Patient ID that goes.")
@issuer_option
@click.option("--into", metavar="ID", required=True, help="The Patient ID that stays.")
@click.option("--into-issuer", help="Who issued the one that stays.  [default: the same]")
@reason_option
def merge(
    directory: Path, *, patient: str, issuer: str, into: str, into_issuer: str | None, reason: str
) -> None:
    """Show the studies of one patient under another one.

    From then on they are found by the other Patient ID, name and birth date, and not by their own. The
    images themselves stay as they are. `konzilium unmerge` takes it back.
    """
    stays = (issuer if into_issuer is None else into_issuer, into)
    with open_site(directory) as site:
        site.archive.merge(site.operator(), (issuer, patient), stays, reason)
    say(f"Merged. {EVERYWHERE}")


@click.command(
    cls=Command,
    short_help="Take a merge of patients back.",
    examples=("konzilium unmerge /srv/brno --patient 123456 --reason 'two persons after all'",),
)
@types.site_argument
@click.option("--patient", metavar="ID", required=True, help="The Patient ID that was merged into another.")
@issuer_option
@reason_option
def unmerge(directory: Path, *, patient: str, issuer: str, reason: str) -> None:
    """Take back that a patient was merged into another one."""
    with open_site(directory) as site:
        site.archive.unmerge(site.operator(), (issuer, patient), reason)
    say(f"Taken back. {EVERYWHERE}")
