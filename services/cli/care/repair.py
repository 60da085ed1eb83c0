"""`konzilium repair`: what a check has found is mended from copies that were just proved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from node.catalog.catalog import Catalog
from node.domain.finding import Finding
from node.recovery.brake import REPAIR
from node.recovery.repair import Repaired
from node.wiring import open_site
from services.cli import types
from services.cli.care import words
from services.cli.commands import Command
from services.cli.output import as_json, finish, say
from services.run.care import repair_of
from services.run.peers import peers_of


@click.command(
    cls=Command,
    short_help="Mend what a check has found, from copies that were just proved.",
    examples=(
        "konzilium repair /srv/brno",
        "konzilium repair /srv/brno --finding corrupt --json",
        'konzilium repair /srv/brno --despite-brake "the disk was replaced"',
    ),
)
@types.site_argument
@words.finding_option
@click.option(
    "--despite-brake",
    "reason",
    metavar="REASON",
    help="Release the brake first: somebody has looked, and this is what was seen.",
)
@types.json_option
def repair(directory: Path, *, chosen: tuple[str, ...], reason: str | None, json_: bool) -> None:
    """Mend what checks have found; works while the node runs, which does the same by itself.

    Each copy is read again, twice. Then a member reads its own copy back, and only what it proves is
    fetched; the damaged bytes are kept in the folder `evidence` of the store. Bytes that no row names are
    catalogued again from the journal.

    Where too much is damaged at once, a brake stops repairs: that is a failing disk or a wrong mount, not
    bit rot, and a person looks first (exit code 6; see `konzilium brake`).

    The exit code is 0 when nothing is left, 7 when damage is left, and 5 when something else is.
    """
    with open_site(directory) as site:
        here = words.here(site)
        if reason:
            site.brake.release(site.operator(), REPAIR, reason)
        with site.catalog.reading() as unit:
            found = words.choose(unit.findings.unsettled(), chosen)
        mending = repair_of(site, peers_of(site))
        outcome = mending.run(site.operator(), found, progress=words.counter("Mending"))
        now = {finding.key: finding for finding in _as_they_stand(site.catalog, found)}
    if json_:
        as_json(
            {
                name: [words.told(now[one.key]) for one in some]
                for name, some in (
                    ("repaired", outcome.repaired),
                    ("settled", outcome.settled),
                    ("left", outcome.left),
                )
            }
        )
    else:
        _tell(outcome, now, directory)
    finish(words.verdict(outcome.left, here))


def _as_they_stand(catalog: Catalog, found: Sequence[Finding]) -> list[Finding]:
    with catalog.reading() as unit:
        return [unit.findings.find(one) or one for one in found]


def _tell(outcome: Repaired, now: dict[tuple[str, str, str], Finding], directory: Path) -> None:
    """Say to a person what came of each."""
    for label, some in (
        ("repaired", outcome.repaired),
        ("in order", outcome.settled),
        ("left", outcome.left),
    ):
        for one in some:
            say(f"{label:8}  {one.kind}  {words.named(one)}: {now[one.key].outcome}")
    if not now:
        say(f"Nothing is to be repaired; `konzilium check {directory} --verify` looks closely.")
        return
    say(
        f"{len(outcome.repaired)} repaired, {len(outcome.settled)} in order when looked at again, "
        f"{len(outcome.left)} left."
    )
