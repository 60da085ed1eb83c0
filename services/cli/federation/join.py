"""`konzilium join`: become a member on an invitation."""

from __future__ import annotations

from pathlib import Path

import click

from node.domain.errors import Rejected
from node.domain.member import Member, Standing
from node.domain.rule import EVERYTHING, Terms
from node.identity.handshake import Token, Welcome
from node.identity.joining import Joining
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.federation import calling
from services.cli.federation.terms import accept_option, export_option, joined
from services.cli.federation.words import say_fingerprints
from services.cli.output import as_json, moment, say
from services.soap.federation import Federation, welcome_of


@click.command(
    cls=Command,
    short_help="Join the federation on an invitation.",
    examples=(
        "konzilium join /srv/prague kz1.eyJleGFtcGxlIjo...",
        "konzilium join /srv/prague kz1.eyJleGFtcGxlIjo... --code 4821-7730 --yes",
    ),
)
@types.site_argument
@click.argument("token", metavar="TOKEN")
@click.option("--code", metavar="CODE", help="The code that was read over the phone; asked for if not given.")
@export_option
@accept_option
@click.option("--yes", is_flag=True, help="Do not ask whether the fingerprint is the right one.")
@types.json_option
def join(
    directory: Path,
    *,
    token: str,
    code: str | None,
    export: tuple[Terms, ...],
    accept: tuple[Terms, ...],
    yes: bool,
    json_: bool,
) -> None:
    """Join on the invitation TOKEN.

    The site that made it out is called, and both prove to each other that they know the code.
    The node here need not run; that of the inviter has to. Joining may be repeated when the connection
    broke. What is exchanged with the inviter can be said here, or later with `konzilium consent`; without a
    word it is everything, both ways. Sites that the inviter introduces get nothing until somebody says so.
    """
    read = Token.read(token)
    with open_site(directory) as site:
        if not json_:
            say(f"{read.inviter} at {read.url} invites {read.site}, until {moment(read.expires_at)}.")
            say_fingerprints(read.inviter, read.fingerprints)
        if not yes:
            click.confirm(f"Does {read.inviter} say that this is its fingerprint?", abort=True, err=True)
        typed = code or click.prompt("Code", err=True)
        member, welcome = enter(site, read, typed, _given(export), _given(accept))
        introduced = [one for one in site.members.all() if one.site != member.site]
    if json_:
        as_json(
            {
                "inviter": member.site,
                "standing": str(welcome.standing),
                "members": [one.site for one in (member, *introduced)],
            }
        )
        return
    tell(site, member, welcome, introduced)


def enter(
    site: Site,
    token: Token,
    code: str,
    export: Terms = EVERYTHING,
    accept: Terms = EVERYTHING,
    *,
    returning: bool = False,
) -> tuple[Member, Welcome]:
    """Call the inviter and become a member; again, if this site returns and has lost its memory.

    Raises:
        PeerUnreachable: it does not answer, or somebody else answers in its place.
        Unauthenticated: one of both does not know the code.
    """
    if not any(sign.isdigit() for sign in code):
        raise Rejected("the code is eight digits, as in 4821-7730")
    joining, operator = Joining(site.catalog, site.home), site.operator()
    attempt = joining.begin(operator, token, code)
    with calling.stranger(token) as session:
        offered = session.call(Federation.greet, invitation=token.invitation, offer=attempt.offer)
        application = attempt.application(offered)
        answer = session.call(
            Federation.join,
            invitation=application.invitation,
            offer=application.offer,
            metadata=application.metadata,
            proof=application.proof,
        )
    welcome = welcome_of(answer, token.inviter)
    member = joining.finish(
        operator, attempt, offered, welcome, export=export, accept=accept, returning=returning
    )
    return member, welcome


def tell(site: Site, member: Member, welcome: Welcome, introduced: list[Member]) -> None:
    """Say what became of it, and what is still to do."""
    where = site.settings.directory
    if welcome.standing is Standing.ACTIVE:
        say(f"{site.settings.site.name} and {member.site} are members of one federation now.")
    else:
        say(f"{member.site} knows {site.settings.site.name} now; somebody there still has to confirm it.")
        say_fingerprints(site.settings.site.name, [one.fingerprint for one in site.home.certificates()])
    say(f"This site gives it {member.export}, and takes from it {member.accept}.")
    for one in introduced:
        say(f"{member.site} introduces {one.site}; `konzilium consent` says what is exchanged with it.")
    say(f"`konzilium peers {where}` shows how it goes.")


def _given(terms: tuple[Terms, ...]) -> Terms:
    given = joined(terms)
    return EVERYTHING if given is None else given
