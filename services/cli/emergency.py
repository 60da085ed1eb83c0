"""`konzilium emergency`: what was opened without a right to it, and whether that was right."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from node.domain.clock import system_clock
from node.domain.emergency import Emergency, Verdict
from node.wiring import open_site
from services.cli import types
from services.cli.commands import Group
from services.cli.output import as_json, moment, say


@click.group(cls=Group, short_help="Review what was opened in an emergency.")
def emergency() -> None:
    """Review what was opened in an emergency.

    A person whose role the policy names may open a study that is closed to him or her, with a reason. It is
    open for as long as the policy says, an alert stays until another person has reviewed it, and the audit
    record names both.
    """


@emergency.command(
    "list",
    short_help="Show what waits to be reviewed.",
    examples=("konzilium emergency list /srv/brno", "konzilium emergency list /srv/brno --all --json"),
)
@types.site_argument
@click.option("--all", "all_", is_flag=True, help="Also what was reviewed, the newest first.")
@types.json_option
def list_(directory: Path, *, all_: bool, json_: bool) -> None:
    """Show what was opened in an emergency and waits to be reviewed."""
    with open_site(directory) as site:
        door, who = site.emergencies, site.operator()
        found = door.all(who) if all_ else door.waiting(who)
    if json_:
        as_json([asdict(one) for one in found])
        return
    for one in found:
        say(f"{one.id}  {moment(one.at)}  {one.name} of {one.issuer}")
        say(f"  Study   {one.study}")
        say(f"  Reason  {one.reason}")
        say(f"  {_state(one)}")
    if not found:
        say("Nothing was opened in an emergency." if all_ else "Nothing waits to be reviewed.")


@emergency.command(
    "review",
    short_help="Judge one of them.",
    examples=(
        "konzilium emergency review /srv/brno 3 justified",
        "konzilium emergency review /srv/brno 3 unjustified --note 'no patient of this ward; told the head'",
    ),
)
@types.site_argument
@click.argument("number", metavar="NUMBER", type=click.IntRange(min=1))
@click.argument("verdict", metavar="VERDICT", type=click.Choice(list(Verdict), case_sensitive=False))
@click.option("--note", default="", help="What was found; kept in the audit record.")
def review(directory: Path, *, number: int, verdict: Verdict, note: str) -> None:
    """Judge an emergency access: VERDICT is justified or unjustified.

    What was unjustified is closed at once, if it is still open.
    """
    with open_site(directory) as site:
        one = site.emergencies.review(site.operator(), number, verdict, note)
    say(f"Emergency access {number} of {one.name} was {one.verdict}.")


def _state(one: Emergency) -> str:
    if one.is_reviewed:
        return f"Found {one.verdict} by {one.reviewed_by} on {moment(one.reviewed_at)}. {one.note}".rstrip()
    if system_clock() < one.until:
        return f"Open until {moment(one.until)}, not reviewed"
    return f"Closed since {moment(one.until)}, not reviewed"
