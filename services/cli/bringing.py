"""`konzilium rebuild --from-peers`: what is done, stage by stage, while the node runs beside it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from typing import Final

import click

from node.domain.errors import NodeError
from node.domain.ids import SiteId
from node.domain.member import Standing
from node.domain.rule import EVERYTHING
from node.identity import addresses
from node.identity.handshake import Token
from node.identity.members import agreed_with
from node.recovery.rebuild import admit_unnamed
from node.recovery.restore import Heard, Left, Missing, Recalled, Restore
from node.replication.reconcile import Reconciled
from node.wiring import Site
from services.cli.federation.join import enter
from services.cli.federation.words import say_fingerprints
from services.cli.output import complain, size, span
from services.run.peers import peers_of

LOOK: Final = 0.5
"""Seconds between two looks at what is still to come."""
CALM: Final = 6
"""Looks in a row at which nothing more is to be had, until that is believed."""
AGREE: Final = 20
"""Seconds for the others to hear what has come."""
_STATE = "rebuild.json"


@dataclass(slots=True)
class Times:
    """When what was reached, in seconds since 1970; kept in the folder, so that a second run goes on."""

    started: float = 0.0
    opened: float = 0.0
    answers: float = 0.0
    """Searches find all that peers have described."""
    whole: float = 0.0
    survivors: bool = False
    """Whether there were any bytes left in the store."""

    @classmethod
    def of(cls, directory: Path) -> Times:
        """Those of an earlier run that was broken off, or new ones."""
        path = directory / _STATE
        try:
            return cls(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return cls(started=time.time())

    def reached(self, directory: Path, what: str) -> None:
        """Note that something is reached now."""
        if not getattr(self, what):
            setattr(self, what, time.time())
        (directory / _STATE).write_text(json.dumps(asdict(self)), "utf-8")

    def after(self, what: str) -> float:
        """Seconds from the start until something was reached; 0 if it was not."""
        at: float = getattr(self, what)
        return round(max(0.0, at - self.started), 3) if at else 0.0


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    site: SiteId
    heard: Sequence[Heard] = ()
    recalled: Recalled | None = None
    rows: int = 0
    objects: int = 0
    bytes: int = 0
    """Fetched and proved by this run."""
    admitted: int = 0
    """Bytes that were left here and that no fact named."""
    unreadable: Sequence[str] = ()
    missing: Sequence[Missing] = ()
    compared: dict[SiteId, Reconciled | str] = field(default_factory=dict)
    times: Times = field(default_factory=Times)

    @property
    def is_whole(self) -> bool:
        """Whether everything that anybody had is here, and every peer says so."""
        equal = all(isinstance(one, Reconciled) and one.equal for one in self.compared.values())
        return equal and not self.missing and not any(one.error for one in self.heard)


def restore_of(site: Site) -> Restore:
    """Brings an open site back."""
    return Restore(site.catalog, site.blobs, site.intake, site.service, site.home, peers_of(site))


def come_back(site: Site, token: Token, code: str | None, *, quiet: bool) -> None:
    """Join as the site that one was before, on the invitation of a member; again after it broke off."""
    known = {member.site for member in site.members.all()}
    if token.inviter in known:
        return
    if not quiet:
        say_fingerprints(token.inviter, token.fingerprints)
    typed = code or click.prompt("Code", err=True)
    _, welcome = enter(site, token, typed, returning=True)
    if welcome.standing is Standing.WAITING:
        complain(
            f"{token.inviter} still has to confirm this site: `konzilium confirm DIR {token.site}` there"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the facts say that is to come."""

    heard: Sequence[Heard]
    wanted: Left


def journals(site: Site, token: Token | None, *, patience: float) -> Facts:
    """Read the facts of all members, and this site's own."""
    restore, until = restore_of(site), time.monotonic() + patience
    if _has_rows(site):
        restore.vanished()
    heard = restore.facts(_count)
    while token is not None and all(one.error for one in heard) and time.monotonic() < until:
        time.sleep(LOOK)
        heard = restore.facts(_count)
    _end_line()
    if token is not None and not next((one.error for one in heard if one.site == token.inviter), ""):
        with site.catalog.reading() as unit:
            agreed = agreed_with(unit)
        if token.inviter not in agreed:
            site.members.consent(site.operator(), token.inviter, export=EVERYTHING, accept=EVERYTHING)
    addresses.save(site.home.key_folder, site.members.active())
    return Facts(heard=heard, wanted=restore.left())


def bytes_back(site: Site, facts: Facts, times: Times, stop: Event, *, patience: float) -> Outcome | None:
    """Describe what is to come, wait for it, and compare; None where it was broken off."""
    restore = restore_of(site)
    outcome = Outcome(site=site.home.site, heard=facts.heard, times=times)
    outcome.rows = restore.rows(_count)
    times.reached(site.directory, "answers")
    first = facts.wanted
    last = wait(restore, stop, patience)
    if last is None:
        return None
    if last.objects <= last.refused:
        times.reached(site.directory, "whole")
    if times.survivors:
        unlisted = admit_unnamed(
            site.archive, site.blobs, site.catalog, site.operator(), lambda done, total: None
        )
        outcome.admitted, outcome.unreadable = unlisted.admitted, unlisted.unreadable
    outcome.objects, outcome.bytes = first.objects - last.objects, first.bytes - last.bytes
    outcome.recalled, outcome.missing = restore.recalled(), restore.missing()
    outcome.compared = agreed(restore, stop)
    return outcome


def _has_rows(site: Site) -> bool:
    """Whether the catalog survived, so that some of its bytes may be gone."""
    with site.catalog.reading() as unit:
        return not unit.holdings.is_nothing


def wait(restore: Restore, stop: Event, patience: float) -> Left | None:
    """Wait until nothing more is to be had, or nothing has come for so long; None where it was broken off."""
    shown, calm, before = _Shown(), 0, Left()
    moved_at = time.monotonic()
    while not stop.wait(LOOK):
        left = restore.left()
        shown.tell(left)
        if left != before:
            before, moved_at = left, time.monotonic()
        calm = calm + 1 if left.is_over else 0
        if calm >= CALM or time.monotonic() - moved_at > patience:
            shown.end()
            return left
    return None


def agreed(restore: Restore, stop: Event) -> dict[SiteId, Reconciled | str]:
    """Compare with every peer; what has just come they hear of within moments."""
    until = time.monotonic() + AGREE
    while True:
        found = {site: str(one) if isinstance(one, NodeError) else one for site, one in restore.compared()}
        equal = all(isinstance(one, Reconciled) and one.equal for one in found.values())
        if equal or time.monotonic() > until or stop.wait(1.0):
            return found


class _Shown:
    """A line on the terminal: how much has come, how fast, and how long the rest will take."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._began = time.monotonic()
        self._most: Left | None = None

    def tell(self, left: Left) -> None:
        """Show how much is left."""
        if self._most is None or left.objects > self._most.objects:
            self._most, self._began = left, time.monotonic()
        if not self._is_shown:
            return
        came, size_of = self._most.objects - left.objects, self._most.bytes - left.bytes
        rate = size_of / max(time.monotonic() - self._began, 0.1)
        ahead = f", {span(left.bytes / rate)} left" if rate and left.bytes else ""
        click.echo(
            f"\rBringing back {came}/{self._most.objects} objects, {size(size_of)} of "
            f"{size(self._most.bytes)}, {size(int(rate))}/s{ahead}; {left.unproved} to be read back   ",
            err=True,
            nl=False,
        )

    def end(self) -> None:
        """End the line."""
        if self._is_shown:
            click.echo(err=True)


def _count(what: str, done: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\rReading {what}: {done}   ", err=True, nl=False)


def _end_line() -> None:
    if sys.stderr.isatty():
        click.echo(err=True)
