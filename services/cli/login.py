"""`konzilium login`: what identity providers have to know of this site, and its key."""

from __future__ import annotations

from pathlib import Path

import click

from node.identity.saml import metadata
from node.identity.saml.rollover import Rollover, Standing, Step
from node.wiring import KEYS, open_site
from services.cli import types
from services.cli.commands import Group
from services.cli.output import as_json, complain, fields, moment, say
from services.cli.words import grouped
from services.run.providers import about_of, sp_of


@click.group(cls=Group, short_help="Show what identity providers have to know of this site.")
def login() -> None:
    """Show what identity providers have to know of this site, and change the key that it logs people in with.

    Which identity providers are believed here is said with `konzilium idp`.
    """


@login.command(
    "metadata",
    short_help="Write the metadata of this site.",
    examples=(
        "konzilium login metadata /srv/brno",
        "konzilium login metadata /srv/brno --output konzilium-brno.xml",
    ),
)
@types.site_argument
@click.option(
    "--output", type=types.NEW_PATH, metavar="FILE", help="Write them into this file; else to the terminal."
)
def metadata_(directory: Path, *, output: Path | None) -> None:
    """Write the signed SAML metadata of this site, to hand to an identity provider or a federation.

    The running node gives the same at https://PORTAL/saml/metadata. On standard error it says what a
    federation would send them back for.
    """
    with open_site(directory) as site:
        sp, about = sp_of(site), about_of(site)
        document = metadata.written(sp, about)
    for sentence in metadata.lacking(sp, about):
        complain(sentence)
    if output is None:
        click.echo(document)
        return
    output.write_bytes(document + b"\n")
    say(f"The metadata of {sp.entity_id} are in {output}.")
    say("Their certificate has the SHA-256 fingerprint")
    say(f"  {grouped(sp.keys.current().certificate.fingerprint)}")
    say("Hand them to the identity provider, and let its administrator read that fingerprint back to you.")


@login.command(
    "rotate",
    short_help="Change the key of the login, step by step.",
    examples=(
        "konzilium login rotate /srv/brno",
        "konzilium login rotate /srv/brno --finish",
        "konzilium login rotate /srv/brno --retire",
    ),
)
@types.site_argument
@click.option("--finish", "step", flag_value="finish", help="Put the next key to use.")
@click.option("--retire", "step", flag_value="retire", help="List the old key no longer.")
@click.option("--insist", is_flag=True, help="With --finish: although it was announced just now.")
@types.json_option
def rotate(directory: Path, *, step: str | None, insist: bool, json_: bool) -> None:
    """Make the next key of the login and list it in the metadata, beside the one in use.

    Then give the new metadata to every identity provider (a federation wants them, too), and wait until all
    have read them, some days: --finish then puts the next key to use. Some days after that, --retire takes
    the old one away; until then, what is still encrypted for it can be read. Nobody is locked out.
    """
    with open_site(directory) as site:
        sp_of(site)
        rollover, who = Rollover(site.catalog, directory / KEYS, site.clock), site.operator()
        if step == "finish":
            standing = rollover.finish(who, insist=insist)
        else:
            standing = rollover.retire(who) if step == "retire" else rollover.begin(who)
    if json_:
        as_json(fields(standing))
    else:
        tell(standing, directory)


def tell(standing: Standing, directory: Path) -> None:
    """Say how far the change is, and what comes next."""
    in_use = f"  {grouped(standing.fingerprint)}"
    match standing.step:
        case Step.ANNOUNCED:
            say("The next key is in the metadata, beside the one in use:")
            say(f"  {grouped(standing.other)}")
            say(f"Give them to every identity provider: `konzilium login metadata {directory}`.")
            say(f"When all have read them, say `konzilium login rotate {directory} --finish`.")
        case Step.SWITCHED:
            say("The next key is in use; what is encrypted for the old one can still be read:")
            say(in_use)
            say(f"In some days, say `konzilium login rotate {directory} --retire`.")
        case Step.RESTING:
            say("The old key is gone. This one is in use:")
            say(in_use)
            say(f"Its certificate ends on {moment(standing.ends_at)}.")
