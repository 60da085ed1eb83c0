"""`konzilium invite`: let another site in."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from node.domain.ids import SiteId
from node.domain.rule import Terms
from node.identity.handshake import Invited
from node.identity.invitations import USED, is_open
from node.settings.kinds import is_web_address
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.federation.terms import accept_option, export_option, joined
from services.cli.federation.words import say_fingerprints
from services.cli.output import Exit, as_json, complain, finish, moment, say

PAUSE: Final = 0.5
"""Seconds between two looks at whether the other site has joined."""


@click.command(
    cls=Command,
    short_help="Invite another site into the federation.",
    examples=(
        "konzilium invite /srv/brno --site prague",
        "konzilium invite /srv/brno --site prague --export 'modality=CT younger-than=365'",
    ),
)
@types.site_argument
@click.option("--site", "name", required=True, type=types.SITE_NAME, help="Name of the site that is invited.")
@click.option(
    "--url",
    metavar="URL",
    help="Where that site can call this one, https://HOST:PORT.  [default: node.url of the settings]",
)
@export_option
@accept_option
@click.option(
    "--hours",
    type=click.FloatRange(0.1, 720),
    metavar="HOURS",
    help="How long it can be used.  [default: federation.invitation_hours of the settings]",
)
@click.option(
    "--wait/--no-wait",
    "wait",
    default=None,
    help="Wait until the site has joined, and ask for confirmation.  [default: at a terminal]",
)
@click.option("--yes", is_flag=True, help="Confirm the site in advance: whoever has token and code gets in.")
@click.option(
    "--returning",
    is_flag=True,
    help="The site is a member that has lost its folder and comes back: its old key is not trusted any more.",
)
@types.json_option
def invite(
    directory: Path,
    *,
    name: SiteId,
    url: str | None,
    export: tuple[Terms, ...],
    accept: tuple[Terms, ...],
    hours: float | None,
    wait: bool | None,
    yes: bool,
    returning: bool,
    json_: bool,
) -> None:
    """Make out an invitation: a token to send, and a short code to read over the phone.

    The token may travel by any way, by mail for instance. The code should travel by another one: who has
    only one of them gets nowhere. An invitation is good for one site, once, and for a limited time.

    What is exchanged can be said here, or later with `konzilium consent`; without a word it is everything,
    both ways. The other site says the same from its side, and only what both allow is exchanged.

    A member that has lost its folder, keys included, is invited with --returning: it comes back under its
    name with a new key, on the terms of before, and gets its own journal and its studies back.
    """
    with open_site(directory) as site:
        invited = site.invitations.invite(
            site.operator(),
            name,
            url=checked(url),
            lifetime=timedelta(hours=hours or site.settings.federation.invitation_hours).total_seconds(),
            export=joined(export),
            accept=joined(accept),
            confirmed=yes,
            returning=returning,
        )
        tell(invited, directory, yes=yes, returning=returning, json_=json_)
        if sys.stdin.isatty() if wait is None else wait:
            follow(site, invited, directory)


def checked(url: str | None) -> str | None:
    """The address, if it is one.

    Raises:
        BadParameter: it is none.
    """
    if url is not None and not is_web_address(url):
        raise click.BadParameter(f"{url!r} is not of the form https://HOST:PORT", param_hint="--url")
    return url


def tell(invited: Invited, directory: Path, *, yes: bool, returning: bool, json_: bool) -> None:
    """Say what to do with token and code; this is the only time that they are shown."""
    token = invited.token
    if json_:
        as_json(
            {
                "site": token.site,
                "token": str(token),
                "code": invited.code,
                "expires_at": moment(token.expires_at),
                "fingerprints": list(token.fingerprints),
            }
        )
        return
    say(f"Invitation for {token.site}, good once and until {moment(token.expires_at)}.")
    say("Send this token to whoever runs that site:")
    say()
    say(str(token))
    say()
    say(f"Read this code to them over the phone:  {invited.code}")
    say_fingerprints(token.inviter, token.fingerprints)
    say("There they say:")
    say(f"  konzilium {'rebuild DIR --from-peers --invitation' if returning else 'join DIR'} TOKEN")
    if not yes:
        say(f"When they have, confirm it here with `konzilium confirm {directory} {token.site}`.")


def follow(site: Site, invited: Invited, directory: Path) -> None:
    """Wait for the other site, and let the person here confirm it."""
    token = invited.token
    complain(f"waiting for {token.site}; Ctrl-C stops the waiting, the invitation stays good")
    while (found := site.invitations.find(token.invitation)) and is_open(found, site.clock()):
        time.sleep(PAUSE)
    if found is None or found.state != USED:
        complain(f"{token.site} has not joined, and the invitation cannot be used any more")
        finish(Exit.FAILED)
    joined_as = site.members.find(token.site)
    say(f"{token.site} has joined from {joined_as.url or 'a place that nobody can call'}.")
    say_fingerprints(token.site, joined_as.fingerprints)
    if joined_as.is_active:
        return
    if sys.stdin.isatty() and click.confirm(f"Is that what {token.site} shows, too?", err=True):
        site.members.confirm(site.operator(), token.site)
        say(f"{token.site} is a member.")
    else:
        say(f"Nothing is exchanged until you say `konzilium confirm {directory} {token.site}`.")
