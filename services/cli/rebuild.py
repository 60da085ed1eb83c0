"""`konzilium rebuild`: the catalog anew from the bytes and the journal, or a whole site from its peers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from node.domain.errors import Rejected
from node.domain.ids import AETitle, SiteId
from node.identity.handshake import Token
from node.recovery.rebuild import Rebuilt
from node.recovery.rebuild import rebuild as rebuild_catalog
from node.settings import ae_title_of
from node.settings.kinds import Raw
from node.wiring import open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.from_peers import From, rebuild_from_peers
from services.cli.output import Exit, as_json, complain, finish, say
from services.run.lock import hold


@click.command(
    cls=Command,
    short_help="Make the catalog anew, or bring the whole site back from its peers.",
    examples=(
        "konzilium rebuild /srv/brno",
        "konzilium rebuild /srv/brno --from-peers",
        "konzilium rebuild /srv/brno --from-peers --site brno --invitation kz1.eyJleGFtcGxlIjo...",
    ),
)
@types.site_argument
@click.option("--from-peers", "from_peers", is_flag=True, help="Bring back what the other sites have.")
@click.option(
    "--site", "name", type=types.SITE_NAME, metavar="NAME", help="Name of the site, where its folder is lost."
)
@click.option(
    "--invitation",
    metavar="TOKEN",
    help="What `konzilium invite --returning` gave, where the keys or the addresses of the others are lost.",
)
@click.option("--code", metavar="CODE", help="The code that was read over the phone; asked for if not given.")
@click.option("--ae-title", type=types.AE, metavar="AE", help="For a new folder, as for `konzilium init`.")
@click.option("--dicom-port", type=types.PORT, metavar="PORT", help="The same.")
@click.option("--dicom-tls-port", type=click.IntRange(0, 65535), metavar="PORT", help="The same.")
@click.option("--node-url", metavar="URL", help="The same.")
@click.option("--node-port", type=types.PORT, metavar="PORT", help="The same.")
@click.option(
    "--patience",
    type=click.FloatRange(1, 86400),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait while nothing comes.",
)
@click.option("--stay", is_flag=True, help="Let the node run on when all is back, until Ctrl-C.")
@types.json_option
def rebuild(
    directory: Path,
    *,
    from_peers: bool,
    name: SiteId | None,
    invitation: str | None,
    code: str | None,
    ae_title: AETitle | None,
    dicom_port: int | None,
    dicom_tls_port: int | None,
    node_url: str | None,
    node_port: int | None,
    patience: float,
    stay: bool,
    json_: bool,
) -> None:
    """Make the catalog anew, or bring the whole site back from its peers.

    Without --from-peers the catalog is made from the stored bytes and the journal, which is needed only when
    it is damaged or lost; the node must not run meanwhile.

    With --from-peers a site comes back that has lost its folder, or a part of it. Settings and keys that were
    saved are put in place before (site.toml and keys/). Where they were not, one of the other sites says
    `konzilium invite --returning`, and what it gave is said here as --invitation; the folder is made then,
    with a new key. The facts come first, so that searches find everything within minutes; then the node is
    opened, and studies are retrieved through the others, and received, while their bytes come back.
    Interrupted, the same command goes on.
    """
    if not from_peers:
        if invitation or name:
            raise Rejected("--site and --invitation go with --from-peers")
        _alone(directory, json_=json_)
        return
    token = Token.read(invitation) if invitation else None
    if token and name and token.site != name:
        raise Rejected(f"the invitation is for {token.site}, not for {name}")
    site = name or (token.site if token else None)
    chosen: dict[str, Raw | None] = {
        "site.name": site or "",
        "dicom.ae_title": ae_title or (ae_title_of(site) if site else ""),
        "dicom.port": dicom_port,
        "dicom.tls_port": dicom_tls_port,
        "node.url": node_url,
        "node.port": node_port,
    }
    said = {setting: value for setting, value in chosen.items() if value is not None and value != ""}
    rebuild_from_peers(
        directory.absolute(),
        From(token=token, code=code, chosen=said, patience=patience, stay=stay, json=json_),
    )


def _alone(directory: Path, *, json_: bool) -> None:
    with hold(directory.absolute()), open_site(directory) as site:
        outcome = rebuild_catalog(site.archive, site.blobs, site.catalog, site.operator(), progress())
    if json_:
        as_json(
            {
                "facts": outcome.facts,
                "admitted": outcome.admitted,
                "lost": outcome.lost,
                "unreadable": outcome.unreadable,
            }
        )
    else:
        _tell(outcome)
    finish(Exit.DAMAGED if outcome.lost else Exit.PARTLY if outcome.unreadable else Exit.FINE)


def _tell(outcome: Rebuilt) -> None:
    say(f"The catalog is rebuilt from {outcome.facts} facts; {outcome.admitted} objects were admitted anew.")
    for digest in outcome.unreadable:
        complain(f"the object {digest} could not be admitted; it stays in the store")
    for instance in outcome.lost:
        complain(f"the bytes of instance {instance} are missing or damaged")


def progress() -> Callable[[int, int], None]:
    """A line on the terminal that counts the steps."""
    shown = sys.stderr.isatty()

    def tell(done: int, total: int) -> None:
        if shown and (done == total or done % 100 == 0):
            click.echo(f"\rRebuilding {done}/{total}", err=True, nl=done == total)

    return tell
