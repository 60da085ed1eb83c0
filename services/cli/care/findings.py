"""`konzilium findings`: what is wrong, and what came of what was."""

from __future__ import annotations

from pathlib import Path

import click

from node.wiring import open_site
from services.cli import types
from services.cli.care import words
from services.cli.commands import Command
from services.cli.output import as_json, columns, moment, say


@click.command(
    cls=Command,
    short_help="Show what checks, scrubs and reads have found.",
    examples=("konzilium findings /srv/brno", "konzilium findings /srv/brno --all --json"),
)
@types.site_argument
@click.option("--all", "all_", is_flag=True, help="Also what was repaired or proved to be in order; 10,000.")
@types.json_option
def findings(directory: Path, *, all_: bool, json_: bool) -> None:
    """Show what was found wrong and is still to be dealt with: by a check, by the scrub, or on a read.

    With --all, also what was dealt with, and how: the audit record keeps that for good.
    """
    with open_site(directory) as site, site.catalog.reading() as unit:
        found = unit.findings.all(many=10_000) if all_ else unit.findings.unsettled()
    if json_:
        as_json([words.told(one) for one in found])
    elif found:
        columns(
            ("KIND", "OBJECT", "AT", "FOUND", "STATE", "WHAT"),
            [
                (
                    one.kind,
                    words.named(one),
                    one.site,
                    moment(one.found_at),
                    one.state,
                    one.outcome or one.evidence,
                )
                for one in found
            ],
        )
    else:
        say("Nothing is to be dealt with.")
