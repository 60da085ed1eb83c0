"""`konzilium role`, `promote`, `demote`: which part a site plays, and who takes its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from node.domain.ids import SiteId
from node.domain.role import Role, SiteRole
from node.wiring import open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.output import as_json, columns, say

reason_option = click.option(
    "--reason", metavar="TEXT", default="", help="Why, for whoever looks at it later; told to the others."
)
needed_reason_option = click.option(
    "--reason", metavar="TEXT", required=True, help="Why, for whoever looks at it later; told to the others."
)
successor_option = click.option(
    "--successor",
    "successors",
    metavar="SITE",
    type=types.SITE_NAME,
    multiple=True,
    help="A site that may take the place of this one; may be given several times, the first choice first.",
)


@click.command(
    cls=Command,
    short_help="Show which part each site plays, or say which this one does.",
    examples=(
        "konzilium role /srv/brno",
        "konzilium role /srv/brno --successor prague --reason 'prague has the second machine'",
        "konzilium role /srv/prague --backup --reason 'the second machine'",
        "konzilium role /srv/clinic --communication --successor brno --reason 'a clinic without a disk'",
    ),
)
@types.site_argument
@click.option("--archive", "role", flag_value=Role.ARCHIVE.value, help="Take what devices send, and keep it.")
@click.option(
    "--backup",
    "role",
    flag_value=Role.BACKUP.value,
    help="Hold copies and answer every query and retrieval; take nothing from devices and persons.",
)
@click.option(
    "--communication",
    "role",
    flag_value=Role.COMMUNICATION.value,
    help="Take what devices send and pass it on; keep it for some days only.",
)
@successor_option
@click.option("--no-successor", "alone", is_flag=True, help="No site may take the place of this one.")
@reason_option
@types.json_option
def role(
    directory: Path,
    *,
    role: str | None,
    successors: tuple[SiteId, ...],
    alone: bool,
    reason: str,
    json_: bool,
) -> None:
    """Show the role of every site; or say which one this site has, and which sites may take its place.

    An archive takes what devices send and keeps it; every site is one unless it says otherwise. A backup is
    read-only. A communication site passes on what it takes: the rules of no site count it as a place for
    copies, and after `replication.cache_days` it gives up what is proved to be where the rules want it.

    A successor may take the place of this site without asking it (`konzilium promote`): that is what it is
    for, because a site that is lost cannot be asked. What is not said stays as it is. Saying something needs
    a --reason.
    """
    if successors and alone:
        raise click.UsageError("Say --successor or --no-successor, not both.")
    named = successors or (() if alone else None)
    with open_site(directory) as site:
        if role is not None or named is not None:
            wanted = Role(role) if role else None
            site.roles.state(site.operator(), wanted, successors=named, reason=reason)
        found = site.roles.all()
    show(found, json_=json_)


@click.command(
    cls=Command,
    short_help="Take the place of an archive that is lost.",
    examples=(
        "konzilium promote /srv/prague --reason 'brno does not answer since 8:10'",
        "konzilium promote /srv/prague --in-place-of brno --reason 'maintenance in brno'",
    ),
)
@types.site_argument
@click.option(
    "--in-place-of",
    "place",
    metavar="SITE",
    type=types.SITE_NAME,
    help="Whose place; needed only where several sites have named this one as their successor.",
)
@needed_reason_option
@types.json_option
def promote(directory: Path, *, place: SiteId | None, reason: str, json_: bool) -> None:
    """Make this site an archive in place of the one that has named it as its successor.

    Both change with one fact: from now on this site takes what devices send, and the other one is a backup.
    It is not asked, so this works while it is lost. When it comes back, it hears of it before anything
    else, refuses what devices send, and gives the others what it had taken until then. Then `konzilium
    promote` there takes its place back, if that is wanted.

    Send the devices here: their settings, or an address that moves.
    """
    with open_site(directory) as site:
        site.roles.promote(site.operator(), place, reason=reason)
        found = site.roles.all()
    if not json_:
        taken = [one.site for one in found if one.by == found[0].site != one.site]
        say(f"{found[0].site} is an archive now, in place of {', '.join(taken) or 'none'}.")
        say("Devices have to send here from now on.")
    show(found, json_=json_)


@click.command(
    cls=Command,
    short_help="Take nothing from devices any more.",
    examples=("konzilium demote /srv/brno --reason 'maintenance until Monday'",),
)
@types.site_argument
@needed_reason_option
@types.json_option
def demote(directory: Path, *, reason: str, json_: bool) -> None:
    """Make this site a backup: it takes nothing from devices and persons, and serves every read.

    What it holds stays and is replicated as before. Say `konzilium promote` at a successor, so that
    devices have where to send.
    """
    with open_site(directory) as site:
        here = site.roles.demote(site.operator(), reason=reason)
        found = site.roles.all()
    if not json_:
        heirs = " or ".join(here.successors)
        say(f"{here.site} is a backup now and takes nothing from devices.")
        say(f"Say `konzilium promote` at {heirs}." if heirs else "No site is named as its successor.")
    show(found, json_=json_)


def show(found: Sequence[SiteRole], *, json_: bool) -> None:
    """Tell the roles of all sites."""
    if json_:
        as_json([told(one) for one in found])
        return
    columns(
        ("SITE", "ROLE", "TERM", "SUCCESSORS", "SAID BY", "REASON"),
        [
            (one.site, one.role, one.term, ", ".join(one.successors) or "-", one.by or "-", one.reason or "-")
            for one in found
        ],
    )


def told(one: SiteRole) -> dict[str, object]:
    """A role as `--json` writes it."""
    return {
        "site": one.site,
        "role": one.role,
        "term": one.term,
        "successors": list(one.successors),
        "by": one.by,
        "reason": one.reason,
    }
