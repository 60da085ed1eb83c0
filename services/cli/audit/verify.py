"""`konzilium audit verify` and `settle`: whether records are what they were, and that somebody has looked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from node.audit.witness import AuditFault
from node.domain.errors import NodeError
from node.domain.ids import SiteId
from node.domain.words import number
from node.identity.audit_book import Verified
from node.replication.audit_watch import AuditWatch, Checked
from node.wiring import Site, open_site
from services.cli import types
from services.cli.audit import words
from services.cli.commands import Command
from services.cli.output import Exit, as_json, complain, fields, finish, moment, progress_bar, say
from services.run.peers import peers_of


@click.command(
    "verify",
    cls=Command,
    short_help="See whether the audit record is what it was.",
    examples=(
        "konzilium audit verify /srv/brno",
        "konzilium audit verify /srv/brno --peers --json",
    ),
)
@types.site_argument
@click.option("--peers", is_flag=True, help="Look at the whole records of the other sites, too.")
@types.json_option
def verify(directory: Path, *, peers: bool, json_: bool) -> None:
    """See whether the audit record is what it was when it was written; works while the node runs.

    Every record has to follow the one before, and the chain has to lead through every end that this site has
    signed, and that other sites hold of it. With --peers, the records of the other sites are looked at in the
    same way, without what they tell of persons. The running node looks at them by itself, a part at a time.

    The exit code is 0 when nothing is wrong, 7 when the record of this site was changed, 5 when that of
    another one was, and 6 when one could not be looked at and nothing worse is found.
    """
    with open_site(directory) as site:
        with _bar(f"Audit record of {site.settings.site.name}") as progress:
            own = site.audit_book.verify(progress)
        checked, silent = _others(site) if peers else ([], {})
        others = [one for one in site.audit_book.faults() if one.site != own.site]
    if json_:
        as_json(_told(own, checked, silent, others))
    else:
        _tell(own, checked, others, directory)
    for name, why in silent.items():
        complain(f"{name} could not be asked: {why}")
    finish(_verdict(own, others, silent))


@click.command(
    "settle",
    cls=Command,
    short_help="Note that somebody has looked into a changed record.",
    examples=('konzilium audit settle /srv/brno prague --note "restored from the backup of 3 May"',),
)
@types.site_argument
@click.argument("name", metavar="SITE", type=types.SITE_NAME)
@click.option("--note", required=True, metavar="TEXT", help="What was found out; it is kept.")
def settle(directory: Path, *, name: SiteId, note: str) -> None:
    """Note that somebody has looked into what is wrong with the audit record of a site.

    What was found stays known, with the note; it raises no alert any more. This is recorded.
    """
    with open_site(directory) as site:
        many = site.audit_book.settle(site.operator(), name, note)
    say(f"{number(many, 'fault')} of the audit record of {name} settled.")


@contextmanager
def _bar(label: str) -> Iterator[Callable[[int, int], object]]:
    """A bar that is told how far it is, and of how many."""
    bar = progress_bar(0, label)
    with bar:

        def progress(done: int, of: int) -> None:
            bar.length = of
            bar.update(done - bar.pos)

        yield progress


def _others(site: Site) -> tuple[list[Checked], dict[SiteId, str]]:
    """Look at the records of the other sites; which could not be looked at, and why."""
    watch = AuditWatch(site.catalog, site.audit_book, peers_of(site))
    checked: list[Checked] = []
    silent: dict[SiteId, str] = {}
    with site.catalog.reading() as unit:
        members = [member.site for member in unit.members.active()]
    for name in members:
        try:
            with _bar(f"Audit record of {name}") as progress:
                checked.append(watch.verify(name, progress))
        except NodeError as error:
            silent[name] = str(error)
    return checked, silent


def _told(
    own: Verified, checked: Sequence[Checked], silent: dict[SiteId, str], others: Sequence[AuditFault]
) -> dict[str, Any]:
    """What `--json` tells."""
    return {
        "site": own.site,
        "records": own.head.seq,
        "hash": own.head.hash,
        "sound": own.is_sound,
        "signed": words.told_head(own.signed),
        "faults": [fields(one) for one in (*own.faults, *others)],
        "peers": [{"site": one.site, "records": one.head.seq, "sound": not one.faults} for one in checked],
        "silent": silent,
    }


def _tell(own: Verified, checked: Sequence[Checked], others: Sequence[AuditFault], directory: Path) -> None:
    """Say it to a person."""
    say(f"{own.site}: {number(own.head.seq, 'record')}, end {own.head.hash[:16]}")
    if own.signed is not None:
        say(f"  signed up to record {own.signed.seq} on {moment(own.signed.at)}")
    for one in checked:
        say(f"{one.site}: looked at up to record {one.head.seq}")
    words.tell_faults([*own.faults, *others], directory)
    if not own.faults and not others:
        say("Nothing is wrong.")


def _verdict(own: Verified, others: Sequence[AuditFault], silent: dict[SiteId, str]) -> Exit:
    if not own.is_sound:
        return Exit.DAMAGED
    if others:
        return Exit.ATTENTION
    return Exit.LATER if silent else Exit.FINE
