"""`konzilium verify`: whether this site and another one hold the same, with the proof or the differences."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from node.domain.ids import SiteId
from node.domain.replica import Whereabouts
from node.replication.peer import Peers
from node.replication.reconcile import MOST, Difference, Progress, Reconciled, reconcile
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.output import Exit, as_json, fields, finish, moment, say
from services.run.peers import peers_of

REASONS = {
    Whereabouts.HELD: "it is there after all",
    Whereabouts.WANTED: "it is still to be fetched",
    Whereabouts.WITHDRAWN: "somebody there has withdrawn it",
    Whereabouts.FOLDED: "it was proved equal to another form there, which is kept in its place",
    Whereabouts.MISSING: "its bytes are missing there",
    Whereabouts.ELSEWHERE: "rules or terms do not ask for a copy there",
    Whereabouts.UNKNOWN: "nobody there has heard of it yet",
}
"""Why a site lacks an object, as it says itself."""


@click.command(
    cls=Command,
    short_help="Prove that another site holds the same, or name the differences.",
    examples=(
        "konzilium verify /srv/brno --peer prague",
        "konzilium verify /srv/brno --peer prague --json",
    ),
)
@types.site_argument
@click.option(
    "--peer", metavar="SITE", type=types.SITE_NAME, required=True, help="The member to compare with."
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    metavar="NUMBER",
    default=MOST,
    show_default=True,
    help="Differences to look for; where there are more, the rest is left out.",
)
@types.json_option
def verify(directory: Path, *, peer: SiteId, limit: int, json_: bool) -> None:
    """Prove that another site holds the same, or name the differences.

    Both sites compute fingerprints of what both ought to hold: objects that are here and that the other
    site has, as it said, or owes by the rules. Where the fingerprints differ, the sites look closer, so
    the time it takes depends on how much differs, not on how much there is. Nothing is read from the disks:
    a site calls a copy its own when it has read it back once.

    The exit code is 0 where both hold the same and 5 where they do not; each object that one of them lacks
    is a line that says why, as far as the site that lacks it knows.
    """
    with open_site(directory) as site:
        found = compare(site, peers_of(site), peer, limit)
    if json_:
        as_json(_told(found))
    else:
        tell(found)
    finish(Exit.FINE if found.equal else Exit.ATTENTION)


def compare(site: Site, peers: Peers, peer: SiteId, limit: int) -> Reconciled:
    """Compare what a site and another one hold.

    Args:
        site: this one.
        peers: how it calls others.
        peer: the other one.
        limit: differences to look for.

    Raises:
        UnknownMember, LinkSuspended, PeerUnreachable: the other site cannot be asked.
    """
    with peers(peer) as other:
        return reconcile(site.catalog, other, most=limit, progress=_progress(peer))


def tell(found: Reconciled) -> None:
    """Say to a person what came of it."""
    here, there = found.site, found.peer
    if found.equal:
        say(f"{here} and {there} hold the same {_number(found.count)}, on {moment(found.compared_at)}.")
        say(f"Both have computed the fingerprint {found.fingerprint}.")
    else:
        more = "" if found.whole else "at least "
        say(f"{here} and {there} differ in {more}{_number(len(found.differences))}:")
        for difference in found.differences:
            say(f"  {described(difference, here, there)}")
    if found.unproved:
        say(f"{_number(found.unproved)} came to {there} and {there} has not said yet that they are proved.")
    if found.apart:
        say(f"{_number(found.apart)} more here: neither rules nor terms ask for a copy at {there}.")


def described(difference: Difference, here: SiteId, there: SiteId) -> str:
    """One difference in words: which instance, where it is and where not, and why."""
    holder, lacking = (here, there) if difference.here else (there, here)
    parts = [
        f"{difference.instance or difference.digest}: at {holder}, not at {lacking}",
        REASONS[difference.where],
        *([f"the last attempt failed: {difference.note}"] if difference.note else []),
        *([f"proved there on {moment(difference.proved_at)}"] if difference.proved_at else []),
    ]
    return "; ".join(parts)


def _told(found: Reconciled) -> dict[str, Any]:
    values = fields(found) | {"equal": found.equal}
    values["differences"] = [fields(difference) for difference in found.differences]
    return values


def _progress(peer: SiteId) -> Progress:
    """A line on the terminal that counts calls and differences."""
    shown = sys.stderr.isatty()

    def tell_progress(calls: int, found: int) -> None:
        if shown:
            click.echo(f"\rComparing with {peer}: {calls} calls, {found} differences ", err=True, nl=False)

    return tell_progress


def _number(count: int) -> str:
    return f"{count} object{'' if count == 1 else 's'}"
