"""`konzilium rotate`: change the key of this site."""

from __future__ import annotations

from pathlib import Path

import click

from node.identity.rotation import Progress, Rotation, Step
from node.wiring import open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.federation.words import say_fingerprints
from services.cli.output import as_json, fields, say


@click.command(
    cls=Command,
    short_help="Change the key by which other sites know this one.",
    examples=("konzilium rotate /srv/brno", "konzilium rotate /srv/brno --finish"),
)
@types.site_argument
@click.option("--finish", is_flag=True, help="Put the next key to use now.")
@click.option(
    "--insist", is_flag=True, help="With --finish: even if members have not heard of the next key yet."
)
@types.json_option
def rotate(directory: Path, *, finish: bool, insist: bool, json_: bool) -> None:
    """Make the next key of this site and announce it beside the one in use.

    The running node puts it to use by itself when every active member has read the announcement, and stops
    listing the old one some minutes later: nobody is cut off. With --finish that is done at once. A member
    that has not read the announcement by then will not recognise this site any more, and has to be
    invited again; so that needs --insist.
    """
    with open_site(directory) as site:
        rotation, operator = Rotation(site.catalog, site.home), site.operator()
        progress = rotation.finish(operator, insist=insist) if finish else rotation.begin(operator)
    if json_:
        as_json(fields(progress))
    else:
        tell(progress, directory)


def tell(progress: Progress, directory: Path) -> None:
    """Say how far the change is, and what comes next."""
    if progress.step is Step.SWITCHED:
        say("The next key is in use; the old one stays listed for some minutes.")
        say_fingerprints("this site", [progress.fingerprint])
        return
    say("The next key is announced beside the one in use.")
    say_fingerprints("this site from then on", [progress.other])
    if progress.unaware:
        say(f"It is put to use when {', '.join(progress.unaware)} have read that.")
    else:
        say(f"Every member has read that; `konzilium rotate {directory} --finish` puts it to use.")
