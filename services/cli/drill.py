"""`konzilium drill`: try on a copy whether this site can recover, and file the proof."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from node.domain.errors import Malformed
from node.recovery.drill import door, report
from node.recovery.drill.order import Bounds, Order, Scenario
from node.recovery.drill.outcome import Progress, untold
from node.recovery.drill.scratch import DRILLS
from node.recovery.drill.sign import Signed, verify
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.output import Exit, as_json, columns, complain, finish, moment, say
from services.run.drills import live_of

_USUAL = Bounds()
_WIDEST = 20


@click.command(
    cls=Command,
    short_help="Try on a copy whether this site can recover, and file the proof.",
    examples=(
        "konzilium drill /srv/brno --scenario lose-site",
        "konzilium drill /srv/brno --scenario bit-rot --objects 5000 --scratch /mnt/spare",
        "konzilium drill /srv/brno --list",
        "konzilium drill --verify-report 20260131T101500Z-lose-site.json",
    ),
)
@click.argument("directory", metavar="[DIR]", type=types.FOLDER, required=False)
@click.option(
    "--scenario",
    type=click.Choice([one.value for one in Scenario]),
    metavar="SCENARIO",
    help=f"What is taken to have happened: {', '.join(Scenario)}.",
)
@click.option(
    "--objects",
    type=click.IntRange(1),
    metavar="NUMBER",
    default=_USUAL.objects,
    show_default=True,
    help="Stored objects that are tried at the most.",
)
@click.option(
    "--megabytes",
    type=click.IntRange(1),
    metavar="NUMBER",
    default=_USUAL.megabytes,
    show_default=True,
    help="Their bytes at the most.",
)
@click.option("--all", "everything", is_flag=True, help="Try everything that the site holds.")
@click.option(
    "--seed", type=click.IntRange(0), metavar="NUMBER", help="Repeat the choice of a report.  [default: new]"
)
@click.option("--scratch", metavar="FOLDER", type=types.FOLDER, help="Make the scratch area there.")
@click.option("--keep", is_flag=True, help="Leave the scratch area for a person to look at.")
@click.option("--list", "list_", is_flag=True, help="Show the drills that were held here.")
@click.option(
    "--verify-report", "check", metavar="FILE", type=types.FILE, help="Tell whether a report is unchanged."
)
@types.json_option
def drill(
    directory: Path | None,
    *,
    scenario: str | None,
    objects: int,
    megabytes: int,
    everything: bool,
    seed: int | None,
    scratch: Path | None,
    keep: bool,
    list_: bool,
    check: Path | None,
    json_: bool,
) -> None:
    """Try on a scratch area, with real data, whether the site in DIR can recover.

    The site goes on working, and nothing of it is changed: its catalog is copied, stored objects are read,
    and the members are asked for what they would be asked for if it had happened. Every object of the sample
    is compared with its digest in the end. The report says what would be lost (the recovery point) and how
    long it would take (the recovery time); it is signed, and kept as JSON and as a page in DIR/drills.

    The exit code is 0 if the drill has passed, and 5 if not; the reasons are in the report.
    """
    if sum((scenario is not None, list_, check is not None)) != 1:
        raise click.UsageError("Choose one of --scenario, --list and --verify-report.")
    if check is not None:
        _verify(check, directory, json_=json_)
    elif directory is None:
        raise click.UsageError("Which site? Name its folder.")
    elif list_:
        _list(directory, json_=json_)
    else:
        bounds = Bounds(objects=objects, megabytes=megabytes, everything=everything)
        chosen = secrets.randbelow(1 << 31) if seed is None else seed
        _hold(
            directory,
            Order(scenario=Scenario(scenario or ""), seed=chosen, bounds=bounds),
            scratch,
            keep=keep,
            json_=json_,
        )


def _hold(directory: Path, order: Order, scratch: Path | None, *, keep: bool, json_: bool) -> None:
    """Hold a drill, and say what came of it."""
    with open_site(directory) as site:
        signed = door.hold(
            live_of(site), site.operator(), order, place=scratch, keep=keep, progress=_progress()
        )
    if json_:
        as_json(signed.report)
    else:
        _tell(signed.report, directory / DRILLS)
    finish(Exit.FINE if report.summary(signed).has_passed else Exit.ATTENTION)


def _tell(told: Any, folder: Path) -> None:
    """Say to a person what came of a drill."""
    digests, sample = told["digests"], told["sample"]
    say(f"The drill {told['scenario']} has {told['verdict']}.")
    for reason in told["reasons"]:
        say(f"  {reason}")
    say(f"Tried on {sample['objects']:,} of {sample['of_objects']:,} objects (seed {told['seed']}).")
    say(f"Digests: {digests['equal']:,} of {digests['checked']:,} equal.")
    say(f"Recovery point: {told['loss']['told']}.")
    for one in told["durations"]:
        say(
            f"Recovery time, {one['what']}: {one['seconds']:,.1f} s; "
            f"for everything {one['everything_seconds']:,.0f} s"
        )
        say(f"  ({one['how']})")
    for note in told["notes"]:
        say(f"Note: {note}.")
    say(f"The report is {folder / told['name']}.html, and .json, which is signed.")


def _list(directory: Path, *, json_: bool) -> None:
    """Show the drills that were held here."""
    with open_site(directory) as site:
        held = list(report.held(site.directory / DRILLS))
    drills = [one for one in held if isinstance(one, report.Summary)]
    if json_:
        as_json([report.told_short(one) for one in drills])
    elif drills:
        rows = [
            (moment(one.held_at), one.scenario, one.verdict, one.objects, one.loss_objects, one.name)
            for one in drills
        ]
        columns(("WHEN", "SCENARIO", "VERDICT", "OBJECTS", "WOULD BE LOST", "REPORT"), rows)
    else:
        say("No drill was held here. Hold one with `konzilium drill DIR --scenario lose-site`.")
    changed = [one for one in held if isinstance(one, Malformed)]
    for error in changed:
        complain(error)
    finish(Exit.DAMAGED if changed else Exit.FINE)


def _verify(file: Path, directory: Path | None, *, json_: bool) -> None:
    """Tell whether a report is what was signed, and by whom.

    Raises:
        BadSignature, Malformed: it is not.
    """
    signed = report.load(file)
    pinned = None
    if directory is not None:
        with open_site(directory) as site:
            pinned = _pinned(site, signed)
        verify(signed, pinned)
    short = report.summary(signed)
    if json_:
        known = {"fingerprint": signed.fingerprint, "pinned": pinned is not None}
        as_json(report.told_short(short) | {"site": signed.report["site"]} | known)
        return
    say(f"The report is unchanged: {signed.report['site']}, {short.scenario}, {short.verdict}.")
    say(f"It was signed with the certificate {signed.fingerprint}.")
    if pinned is None:
        say("Compare that with `konzilium peers`, or name DIR: whoever has that key has made it.")
    else:
        say(f"That certificate is known here as the one of {signed.report['site']}.")


def _pinned(site: Site, signed: Signed) -> Collection[str]:
    """The fingerprints of the certificates by which the site of a report is known here."""
    name = signed.report["site"]
    if name == site.settings.site.name:
        return [certificate.fingerprint for certificate in site.home.certificates()]
    return next((member.fingerprints for member in site.members.all() if member.site == name), ())


def _progress() -> Progress:
    """A line on the terminal that counts the steps."""
    if not sys.stderr.isatty():
        return untold
    last = ""

    def tell(step: str, done: int, of: int) -> None:
        nonlocal last
        if step != last:
            click.echo(f"{'' if not last else chr(10)}{step} ", err=True, nl=False)
            last = step
        if of and (done == of or done % _WIDEST == 0):
            click.echo(f"\r{step} {done:,}/{of:,} ", err=True, nl=False)

    return tell
