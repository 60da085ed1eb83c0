"""`konzilium peers`: the other sites, how it goes with them, and what needs attention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from node.catalog.unit import Unit
from node.domain.clock import system_clock
from node.domain.member import Member, Standing
from node.domain.replica import Lag
from node.identity.certificates import known
from node.identity.rotation import Rotation, Step
from node.identity.statements import agreed_with
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.output import Exit, as_json, columns, fields, finish, moment, say, size, span

MICRO: Final = 1_000_000
SILENT_TOO_LONG: Final = 3600.0
"""Seconds without a word from a member after which that needs attention."""
OWED_TOO_LONG: Final = 86400.0
"""Seconds after which a copy that is still owed needs attention."""
EXPIRES_SOON: Final = 60
"""Days before the end of a certificate from which on it needs attention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerState:
    """How it is with one other site, as `--json` writes it."""

    site: str
    standing: str
    role: str
    term: int
    reason: str
    introduced_by: str
    url: str | None
    ae_title: str
    metadata_version: int
    certificate_days: int
    fingerprints: tuple[str, ...]
    heard_at: int
    failed_at: int
    error: str
    export: str
    accept: str
    gives: str
    takes: str
    agreed: bool
    out_objects: int
    out_bytes: int
    out_oldest_at: int | None
    in_objects: int
    in_bytes: int
    in_oldest_at: int | None
    facts_behind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnState:
    """How this site is in the federation, as `--json` writes it."""

    site: str
    role: str
    term: int
    successors: tuple[str, ...]
    url: str | None
    metadata_version: int
    fingerprint: str
    certificate_days: int
    key_change: str
    announced_at: int
    unaware: tuple[str, ...]
    invitations: tuple[str, ...]


@click.command(
    cls=Command,
    short_help="Show the other sites and how replication with them goes.",
    examples=("konzilium peers /srv/brno", "konzilium peers /srv/brno --json"),
)
@types.site_argument
@types.json_option
def peers(directory: Path, *, json_: bool) -> None:
    """Show every site that is known here: where it stands, when it was heard of last, what is owed.

    TO SEND is what the other site does not hold, or has not proved, of what this one owes it; TO FETCH is
    the same in the other direction, with the journal entries that were not read yet. GIVE and TAKE are the
    terms of this site; a study moves only if those of the other side allow it, too.

    The exit code is 0 when all is well and 5 when something needs attention; each such thing is a line
    that says what to do.
    """
    now = system_clock()
    with open_site(directory) as site:
        own, found = look(site)
    needs = [*attention_of_own(own, directory, now)]
    for one in found:
        needs += attention(one, directory, now)
    if json_:
        as_json({**fields(own), "peers": [fields(one) for one in found], "attention": needs})
    else:
        tell(own, found, needs, now)
    finish(Exit.ATTENTION if needs else Exit.FINE)


def look(site: Site) -> tuple[OwnState, list[PeerState]]:
    """Read how it is."""
    progress = Rotation(site.catalog, site.home).progress()
    waiting = site.invitations.open()
    with site.catalog.reading() as unit:
        told, here = site.home.announced(unit), unit.roles.here()
        agreed = agreed_with(unit)
        found = [_state(unit, member, agreed) for member in unit.members.all()]
    own = OwnState(
        site=site.settings.site.name,
        role=here.role,
        term=here.term,
        successors=here.successors,
        url=site.home.url,
        metadata_version=told[1].version if told else 0,
        fingerprint=progress.fingerprint,
        certificate_days=progress.days_left,
        key_change=progress.step,
        announced_at=progress.announced_at,
        unaware=progress.unaware,
        invitations=tuple(f"{one.site} until {moment(one.expires_at)}" for one in waiting),
    )
    return own, found


def attention_of_own(own: OwnState, where: Path, now: int) -> Iterator[str]:
    """What somebody has to do about this site."""
    if own.certificate_days < EXPIRES_SOON and own.key_change == Step.SETTLED:
        yield f"The key of this site expires in {own.certificate_days} days. Say `konzilium rotate {where}`."
    waited = (now - own.announced_at) / MICRO
    if own.key_change == Step.ANNOUNCED and own.unaware and waited > SILENT_TOO_LONG:
        yield (
            f"The next key of this site is not known yet to {', '.join(own.unaware)}. "
            f"Wait, or say `konzilium rotate {where} --finish --insist`."
        )


def attention(peer: PeerState, where: Path, now: int) -> Iterator[str]:
    """What somebody has to do about a member, and what."""
    name = peer.site
    if peer.standing == Standing.WAITING:
        yield f"{name} has joined and waits. Compare its fingerprint: `konzilium confirm {where} {name}`."
    elif peer.standing == Standing.SUSPENDED:
        yield (
            f"The link with {name} is cut ({peer.reason or 'no reason given'}). "
            f"Say `konzilium resume {where} {name}`, or `revoke`."
        )
    elif peer.standing == Standing.ACTIVE:
        yield from _attention_of_active(peer, where, now)


def _attention_of_active(peer: PeerState, where: Path, now: int) -> Iterator[str]:
    name = peer.site
    silent = (now - peer.heard_at) / MICRO
    if peer.error:
        yield f"{peer.error.rstrip('.')}."
    elif peer.heard_at and silent > SILENT_TOO_LONG:
        yield f"{name} has not been heard of for {span(silent)}. Ask there whether the node runs."
    for what, oldest in (("to send to", peer.out_oldest_at), ("to fetch from", peer.in_oldest_at)):
        if oldest is not None and (now - oldest) / MICRO > OWED_TOO_LONG:
            yield f"Something {what} {name} has been owed for {span((now - oldest) / MICRO)}."
    if not peer.agreed:
        yield (
            f"Nothing is exchanged with {name}, introduced by {peer.introduced_by}. "
            f"Say what is: `konzilium consent {where} {name} --export ... --accept ...`."
        )
    if peer.certificate_days < EXPIRES_SOON:
        yield f"The key of {name} expires in {peer.certificate_days} days. There they say `konzilium rotate`."


def tell(own: OwnState, found: list[PeerState], needs: list[str], now: int) -> None:
    """Say it to a person."""
    say(f"Site {own.site}, called at {own.url or 'no address: it only calls'}")
    say(f"  Role         {own.role}{_heirs(own)}")
    say(f"  Metadata     version {own.metadata_version}")
    say(f"  Key          {own.certificate_days} days left{_change(own)}")
    for invitation in own.invitations:
        say(f"  Invitation   for {invitation}")
    if found:
        columns(
            (
                "SITE",
                "STANDING",
                "ROLE",
                "BY",
                "ADDRESS",
                "LAST HEARD",
                "TO SEND",
                "TO FETCH",
                "GIVE",
                "TAKE",
                "KEY",
            ),
            [_row(one, now) for one in found],
        )
    else:
        say("No other site yet; invite one with `konzilium invite`, or join on an invitation.")
    for need in needs:
        say(f"! {need}")


def _heirs(own: OwnState) -> str:
    return f", in its place: {', '.join(own.successors)}" if own.successors else ""


def _change(own: OwnState) -> str:
    if own.key_change == Step.SETTLED:
        return ""
    return f", the next one is {'announced' if own.key_change == Step.ANNOUNCED else 'in use'}"


def _row(peer: PeerState, now: int) -> tuple[Any, ...]:
    return (
        peer.site,
        peer.standing,
        peer.role,
        peer.introduced_by,
        peer.url or "only calls",
        f"{span((now - peer.heard_at) / MICRO)} ago" if peer.heard_at else "never",
        _owed(peer.out_objects, peer.out_bytes, peer.out_oldest_at, now),
        _owed(peer.in_objects, peer.in_bytes, peer.in_oldest_at, now, peer.facts_behind),
        _both(peer.export, peer.takes),
        _both(peer.accept, peer.gives),
        f"v{peer.metadata_version}, {peer.certificate_days} days",
    )


def _owed(objects: int, count: int, oldest: int | None, now: int, facts: int = 0) -> str:
    parts = []
    if objects:
        age = f", {span(max(0, now - oldest) / MICRO)}" if oldest is not None else ""
        parts.append(f"{objects} ({size(count)}{age})")
    if facts:
        parts.append(f"{facts} entries")
    return " + ".join(parts) or "-"


def _both(ours: str, theirs: str) -> str:
    """Our terms; with those of the other side where they differ."""
    return ours if ours == theirs else f"{ours} (there: {theirs})"


def _state(unit: Unit, member: Member, agreed: frozenset[str]) -> PeerState:
    contact = unit.members.contact(member.site)
    out: Lag = unit.replicas.lag(member.site)
    wanted: Lag = unit.wants.lag(member.site)
    read = unit.cursors.find(member.site, contact.epoch).seq
    part = unit.roles.of(member.site)
    return PeerState(
        site=member.site,
        standing=member.standing,
        role=part.role,
        term=part.term,
        reason=member.reason,
        introduced_by=member.introduced_by,
        url=member.url,
        ae_title=member.ae_title,
        metadata_version=member.version,
        certificate_days=max(known(pem).days_left(unit.now) for pem in member.certificates),
        fingerprints=member.fingerprints,
        heard_at=contact.heard_at,
        failed_at=contact.failed_at,
        error=contact.error,
        export=str(member.export),
        accept=str(member.accept),
        gives=str(member.gives),
        takes=str(member.takes),
        agreed=member.site in agreed,
        out_objects=out.objects,
        out_bytes=out.bytes,
        out_oldest_at=out.oldest_at,
        in_objects=wanted.objects,
        in_bytes=wanted.bytes,
        in_oldest_at=wanted.oldest_at,
        facts_behind=max(0, contact.head - read),
    )
