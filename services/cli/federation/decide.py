"""What somebody decides about a member: confirm, consent, suspend, resume, revoke; and leaving."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from node.domain.ids import SiteId
from node.domain.member import Member
from node.domain.rule import Terms
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.federation import calling
from services.cli.federation.terms import accept_option, export_option, joined
from services.cli.federation.words import say_fingerprints
from services.cli.output import say
from services.soap.client.session import Session
from services.soap.federation import Federation, written_terms

site_argument = click.argument("name", metavar="SITE", type=types.SITE_NAME)
reason_option = click.option(
    "--reason", metavar="TEXT", default="", help="Why, for whoever looks at it later; told to the others."
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command(
    cls=Command,
    short_help="Confirm a site that has joined.",
    examples=("konzilium confirm /srv/brno prague",),
)
@types.site_argument
@site_argument
@yes_option
def confirm(directory: Path, *, name: SiteId, yes: bool) -> None:
    """Let SITE in, which has used an invitation of this site.

    Compare the fingerprint with the one that is shown there; then both administrators have agreed.
    """
    with open_site(directory) as site:
        waiting = site.members.find(name)
        say_fingerprints(name, waiting.fingerprints)
        if not yes:
            click.confirm(f"Is that what {name} shows, too?", abort=True, err=True)
        member = site.members.confirm(site.operator(), name)
        report(site, [member], lambda session: session.call(Federation.resume))
    say(f"{name} is a member. This site gives it {member.export}, and takes from it {member.accept}.")


@click.command(
    cls=Command,
    short_help="Say what is exchanged with a member.",
    examples=(
        "konzilium consent /srv/brno prague --export everything --accept everything",
        "konzilium consent /srv/brno prague --export 'modality=CT,MR younger-than=365'",
        "konzilium consent /srv/brno prague --export 'from=CT1 body-part=HEAD' --export modality=US",
        "konzilium consent /srv/brno prague --accept nothing",
    ),
)
@types.site_argument
@site_argument
@export_option
@accept_option
def consent(directory: Path, *, name: SiteId, export: tuple[Terms, ...], accept: tuple[Terms, ...]) -> None:
    """Say what this site gives SITE and takes from it; what is not said stays as it is.

    Terms are `everything`, `nothing`, or conditions that all have to hold: `modality=CT,MR`, `from=CT1`
    (the AE title of the device that sent it), `body-part=HEAD`, `younger-than=30`, `older-than=365` (days
    since the study). An option that is given several times covers what any of its terms covers.

    A study goes from one site to another only if the terms of both allow it. What was given before stays
    where it is.
    """
    given, taken = joined(export), joined(accept)
    if given is None and taken is None:
        raise click.UsageError("Say what is given with --export, or what is taken with --accept, or both.")
    with open_site(directory) as site:
        member = site.members.consent(site.operator(), name, export=given, accept=taken)
        says = {"export": written_terms(member.export), "accept": written_terms(member.accept)}
        report(site, active(member), lambda session: session.call(Federation.consent, **says))
    say(f"This site gives {name} {member.export}, and takes from it {member.accept}.")


@click.command(
    cls=Command,
    short_help="Cut the link with a member.",
    examples=("konzilium suspend /srv/brno prague --reason 'maintenance until Monday'",),
)
@types.site_argument
@site_argument
@reason_option
def suspend(directory: Path, *, name: SiteId, reason: str) -> None:
    """Cut the link with SITE at once: nothing goes either way until `konzilium resume`.

    Nothing is forgotten: when the link is resumed, both sites go on where they were. Other sites are not
    concerned.
    """
    with open_site(directory) as site:
        member = site.members.suspend(site.operator(), name, reason)
        report(site, [member], lambda session: session.call(Federation.suspend, reason=reason[:256]))
    say(f"The link with {name} is cut. `konzilium resume {directory} {name}` resumes it.")


@click.command(
    cls=Command,
    short_help="Resume the link with a member.",
    examples=("konzilium resume /srv/brno prague",),
)
@types.site_argument
@site_argument
@reason_option
def resume(directory: Path, *, name: SiteId, reason: str) -> None:
    """Trust SITE and exchange with it again, whether it was suspended or revoked, here or by another site."""
    with open_site(directory) as site:
        member = site.members.resume(site.operator(), name, reason)
        report(site, active(member), lambda session: session.call(Federation.resume))
    say(f"The link with {name} is {member.standing}.")


@click.command(
    cls=Command,
    short_help="Trust the keys of a site no more.",
    examples=("konzilium revoke /srv/brno prague --reason 'server stolen'",),
)
@types.site_argument
@site_argument
@reason_option
@yes_option
def revoke(directory: Path, *, name: SiteId, reason: str, yes: bool) -> None:
    """Trust the keys of SITE no more: from this moment on it gets through no door of this site.

    The other members hear of it and suspend SITE, too, until somebody there decides. Use it when a key or a
    machine has fallen into wrong hands. SITE can be invited again, with new keys.
    """
    if not yes:
        click.confirm(f"Trust the keys of {name} no more, and warn the other sites?", abort=True, err=True)
    with open_site(directory) as site:
        site.members.revoke(site.operator(), name, reason)
    say(f"{name} is revoked: it gets through no door of this site any more.")
    say("The other members suspend it as soon as they have read that in the journal of this site.")


@click.command(
    cls=Command,
    short_help="Leave the federation.",
    examples=("konzilium leave /srv/prague --reason 'closed at the end of the year'",),
)
@types.site_argument
@reason_option
@yes_option
def leave(directory: Path, *, reason: str, yes: bool) -> None:
    """Leave the federation: say goodbye to all members, and exchange with nobody any more.

    What this site holds it keeps, and so do the others. It may be invited again later.
    """
    if not yes:
        click.confirm("Leave the federation?", abort=True, err=True)
    with open_site(directory) as site:
        members = site.members.leave(site.operator(), reason)
        report(site, members, lambda session: session.call(Federation.leave, reason=reason[:256]))
    say("This site has left the federation.")


def active(member: Member) -> list[Member]:
    """The member, if it exchanges with this site."""
    return [member] if member.is_active else []


def report(site: Site, members: Iterable[Member], what: Callable[[Session], object]) -> None:
    """Tell members of the decision, and say who could not be told; it holds all the same."""
    for name, error in calling.tell(site, members, what):
        if error:
            say(f"{name} could not be told and will notice by itself: {error}")
