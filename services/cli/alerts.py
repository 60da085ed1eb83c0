"""`konzilium alerts`: what the node has noticed, who was told, and that somebody knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from node.audit.record import Event, deed_of
from node.catalog.unit import Unit
from node.domain.alert import SECOND, Alert, AlertState
from node.domain.clock import system_clock
from node.domain.errors import UnknownAlert
from node.domain.words import span
from node.watch.herald import try_all
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.output import Exit, as_json, fields, finish, moment, say
from services.run.lock import running
from services.run.watch import sinks_of, trial


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """One alert, as `--json` writes it."""

    key: str
    severity: str
    state: str
    what: str
    do: str
    since_at: int
    over_at: int
    acknowledged_at: int
    acknowledged_by: str
    told: tuple[str, ...]
    """The sinks that know of it."""
    untold: tuple[str, ...]
    """The sinks that could not be told yet."""


@click.command(
    cls=Command,
    short_help="Show what the node has noticed, and who was told.",
    examples=(
        "konzilium alerts /srv/brno",
        "konzilium alerts /srv/brno --all --json",
        "konzilium alerts /srv/brno --acknowledge disk-full:store",
        "konzilium alerts /srv/brno --test",
    ),
)
@types.site_argument
@click.option("--all", "all_", is_flag=True, help="Also those of the last 90 days that are over.")
@click.option("--acknowledge", metavar="KEY", help="Say that somebody takes care of it: no more reminders.")
@click.option(
    "--test", "test_", is_flag=True, help="Send a test by log, mail and webhook, as they are set up."
)
@types.json_option
def alerts(directory: Path, *, all_: bool, acknowledge: str | None, test_: bool, json_: bool) -> None:
    """Show the alerts that are open: what it is, since when, and what to do.

    The running node notices by itself and tells the log, and by mail and webhook whoever the settings name
    ([alerts]): once when it begins, once when it is over, and each day of a critical one that nobody has
    acknowledged.

    The exit code is 0 when none is open and 5 when one is; with --test 1 when a test did not get through.
    """
    with open_site(directory) as site:
        if test_:
            trying(site, json_=json_)
            return
        if acknowledge is not None:
            know(site, acknowledge)
        with site.catalog.reading() as unit:
            found = unit.alerts.all() if all_ else unit.alerts.open()
    is_watched = running(directory) is not None
    if json_:
        as_json([fields(row_of(one)) for one in found])
    else:
        tell(found, is_watched=is_watched)
    finish(Exit.ATTENTION if any(not one.is_over for one in found) else Exit.FINE)


def know(site: Site, key: str) -> None:
    """Note that somebody knows of an alert.

    Raises:
        UnknownAlert: no alert of that key is open.
    """
    who = site.operator()

    def note(unit: Unit) -> None:
        alert = next((one for one in unit.alerts.open() if one.key == key), None)
        if alert is None:
            raise UnknownAlert(key)
        if not alert.acknowledged_at:
            unit.alerts.save(alert.acknowledged(str(who), unit.now))
            unit.audit.append(deed_of(who, Event.CONFIGURED, what=f"acknowledged alert {key}"))

    site.catalog.perform(note)


def trying(site: Site, *, json_: bool) -> None:
    """Send a test by every sink and say what became of it."""
    results = try_all(sinks_of(site.settings.alerts, site.clock), trial(site))
    if json_:
        as_json(results)
    else:
        for sink, error in results.items():
            say(f"{sink:8} {error or 'sent'}")
        if len(results) == 1:
            say("Neither mail nor webhook is set up: see [alerts] in site.toml.")
    finish(Exit.FAILED if any(results.values()) else Exit.FINE)


def row_of(alert: Alert) -> AlertRow:
    """An alert as `--json` writes it."""
    told = {sink for sink, one in alert.told.items() if (one.over_at if alert.is_over else one.raised_at)}
    return AlertRow(
        key=alert.key,
        severity=alert.severity,
        state=alert.state,
        what=alert.what,
        do=alert.todo,
        since_at=alert.since_at,
        over_at=alert.over_at,
        acknowledged_at=alert.acknowledged_at,
        acknowledged_by=alert.acknowledged_by,
        told=tuple(sorted(told)),
        untold=tuple(sorted(alert.told.keys() - told)),
    )


def tell(found: Sequence[Alert], *, is_watched: bool) -> None:
    """Say it to a person."""
    now = system_clock()
    for one in found:
        say(f"{one.severity.upper():8}  {one.key}  {_when(one, now)}")
        say(f"  {one.what}")
        if not one.is_over:
            say(f"  {one.todo}")
        untold = row_of(one).untold
        if untold:
            say(f"  Not told yet: {', '.join(untold)}.")
    if not found:
        say("No alert is open.")
    if not is_watched:
        say("The node does not run, so this is how it was when it ran last; `konzilium status` looks now.")


def _when(alert: Alert, now: int) -> str:
    if alert.is_over:
        lasted = span((alert.over_at - alert.since_at) / SECOND)
        return f"over since {moment(alert.over_at)}, it lasted {lasted}"
    words = f"since {moment(alert.since_at)} ({span(max(0, now - alert.since_at) / SECOND)})"
    if alert.state is AlertState.EASING:
        words += ", it seems to be over"
    if alert.acknowledged_at:
        words += f", acknowledged by {alert.acknowledged_by}"
    return words
