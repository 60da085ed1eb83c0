"""`konzilium check`: catalog against disk against other sites."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from node.domain.errors import NodeError
from node.domain.finding import Finding, Trouble
from node.domain.ids import SiteId
from node.domain.words import size
from node.recovery.check import Checked
from node.recovery.elsewhere import Compared
from node.replication.peer import Peers
from node.wiring import Site, open_site
from services.cli import types
from services.cli.care import words
from services.cli.commands import Command
from services.cli.output import Exit, as_json, complain, finish, say
from services.run.care import check_of, elsewhere_of
from services.run.lock import running
from services.run.peers import peers_of


@click.command(
    cls=Command,
    short_help="Compare the catalog with the disk, and with other sites.",
    examples=(
        "konzilium check /srv/brno",
        "konzilium check /srv/brno --verify",
        "konzilium check /srv/brno --verify --peer prague --json",
    ),
)
@types.site_argument
@click.option("--verify", is_flag=True, help="Read every byte back and compare it with its digest.")
@click.option(
    "--peer",
    "sites",
    metavar="SITE",
    type=types.SITE_NAME,
    multiple=True,
    help="Compare with this member, too; may be repeated.",
)
@types.json_option
def check(directory: Path, *, verify: bool, sites: tuple[SiteId, ...], json_: bool) -> None:
    """Compare the catalog with the disk, and with other sites; works while the node runs.

    Without --verify, it looks whether every object is there in its size. With --verify, it reads every byte
    back; what is wrong is read twice before it is said. What arrives meanwhile raises no alarm.

    With --peer, both sites name what one of them lacks, and the other one reads back a sample of the copies
    that it says it has; with --verify all of them.

    Each thing that is wrong becomes a finding, which `konzilium repair` takes as its evidence. The exit code
    is 0 when nothing is wrong, 7 when bytes of this site are damaged or missing, and 5 when something else
    is; a member that cannot be asked is code 6, where nothing worse is found.
    """
    with open_site(directory) as site:
        here, wait = words.here(site), _waiting(site)
        checked = check_of(site, wait=wait).run(verify=verify, progress=_folders())
        compared, silent = _elsewhere(site, peers_of(site), sites, verify=verify, wait=wait)
    found = [*checked.findings, *(one for other in compared for one in other.findings)]
    if json_:
        as_json(_told(checked, compared, silent, found))
    else:
        _tell(checked, compared, found, directory, here)
    for name, why in silent.items():
        complain(f"{name} could not be asked: {why}")
    worst = words.verdict(found, here)
    finish(Exit.LATER if silent and worst is Exit.FINE else worst)


def _waiting(site: Site) -> Callable[[float], object]:
    """How writers are waited for: not at all where there are none."""
    return time.sleep if running(site.settings.directory) is not None else lambda _seconds: None


def _elsewhere(
    site: Site, peers: Peers, sites: Sequence[SiteId], *, verify: bool, wait: Callable[[float], object]
) -> tuple[list[Compared], dict[SiteId, str]]:
    """Compare with other sites; which of them could not be asked, and why."""
    compared: list[Compared] = []
    silent: dict[SiteId, str] = {}
    for name in sites:
        site.members.find(name)
        try:
            with peers(name) as peer:
                progress = words.counter(f"Read back at {name}")
                compared.append(elsewhere_of(site, wait=wait).run(peer, verify=verify, progress=progress))
        except NodeError as error:
            silent[name] = str(error)
    return compared, silent


def _tell(
    checked: Checked, compared: Sequence[Compared], found: Sequence[Finding], directory: Path, here: SiteId
) -> None:
    """Say to a person what was looked at, and what was found."""
    how = "every byte read back" if checked.read else "existence and size"
    say(f"Checked {words.many(checked.objects)} of {here}, {size(checked.bytes)}: {how}.")
    for other in compared:
        say(f"Compared with {other.peer}: {words.many(other.objects)}, {other.read} read back there.")
        if other.on_the_way:
            say(f"  {words.many(other.on_the_way)} on the way.")
        if other.unanswered:
            say(f"  {words.many(other.unanswered)} about which {other.peer} says nothing to this site.")
        if not other.whole:
            say("  There are more differences than are named.")
    words.tell_findings(found, directory, here)
    closed = checked.closed + sum(other.closed for other in compared)
    if closed:
        say(f"{closed} earlier findings are in order now.")
    if not found:
        say("Nothing is wrong.")


def _told(
    checked: Checked, compared: Sequence[Compared], silent: dict[SiteId, str], found: Sequence[Finding]
) -> dict[str, Any]:
    """What `--json` tells."""
    counts = {kind: sum(one.kind is kind for one in found) for kind in Trouble}
    return {
        "objects": checked.objects,
        "bytes": checked.bytes,
        "read": checked.read,
        "closed": checked.closed + sum(other.closed for other in compared),
        "counts": {str(kind): count for kind, count in counts.items() if count},
        "peers": [
            {
                "site": other.peer,
                "objects": other.objects,
                "apart": other.apart,
                "on_the_way": other.on_the_way,
                "read": other.read,
                "unanswered": other.unanswered,
                "whole": other.whole,
            }
            for other in compared
        ],
        "silent": dict(silent),
        "findings": [words.told(one) for one in found],
    }


def _folders() -> Callable[[int, int, int], None]:
    """A line on the terminal that says how far it is."""
    shown = sys.stderr.isatty()

    def tell(folders: int, objects: int, found: int) -> None:
        if shown:
            line = f"\rChecking {folders * 100 // 256} %, {objects} objects, {found} findings "
            click.echo(line, err=True, nl=folders == 256)

    return tell
