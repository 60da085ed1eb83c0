"""`konzilium audit heads`: the signed ends of audit records that are kept here."""

from __future__ import annotations

from pathlib import Path

import click

from node.domain.ids import SiteId
from node.wiring import open_site
from services.cli import types
from services.cli.audit import words
from services.cli.commands import Command
from services.cli.output import as_json, columns, moment, say

SHOWN = 20
"""Heads of a site that are shown to a person; `--json` tells all."""


@click.command(
    "heads",
    cls=Command,
    short_help="Show the signed ends of audit records that are kept here.",
    examples=(
        "konzilium audit heads /srv/brno",
        "konzilium audit heads /srv/brno --of prague --json",
    ),
)
@types.site_argument
@click.option("--of", "name", metavar="SITE", type=types.SITE_NAME, help="Of this site only.")
@types.json_option
def heads(directory: Path, *, name: SiteId | None, json_: bool) -> None:
    """Show the signed ends of audit records that are kept here: those of this site and those of others.

    A head that another site holds is what this site cannot deny any more: print one, and keep the paper, and
    nobody can change unnoticed what lies before it.
    """
    with open_site(directory) as site:
        with site.catalog.reading() as unit:
            sites = [unit.origin, *(member.site for member in unit.members.all())] if name is None else [name]
        found = {one: site.audit_book.heads(one) for one in sites}
    if json_:
        as_json(
            [
                {**words.told_head(head), "state": str(state)}
                for kept in found.values()
                for head, state in kept
            ]
        )
        return
    rows = [
        (head.site, head.seq, head.hash, moment(head.at), str(state))
        for kept in found.values()
        for head, state in kept[-SHOWN:]
    ]
    if rows:
        columns(("SITE", "RECORDS", "HASH", "SIGNED", "STATE"), rows)
    else:
        say("Nothing was signed yet; the running node signs every few minutes.")
