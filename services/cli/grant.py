"""`konzilium grant`: which person has which role at this site."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from node.domain.grant import Grant, GrantState
from node.identity.grants import told
from node.wiring import open_site
from services.cli import types
from services.cli.commands import Group
from services.cli.output import as_json, columns, moment, say

number_argument = click.argument("number", metavar="NUMBER", type=click.IntRange(min=1))
_ENDLESS = "until it is ended"


class Attribute(click.ParamType[tuple[str, str]]):
    """What is said of a person: `NAME=VALUE`."""

    name = "attribute"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Take the name and the value apart."""
        if isinstance(value, tuple):
            return value
        name, equals, said = str(value).partition("=")
        if not (name and equals and said):
            self.fail(f"{value!r} is not NAME=VALUE.", param, ctx)
        return name, said


ATTRIBUTE = Attribute()


@click.group(cls=Group, short_help="Give persons their roles.")
def grant() -> None:
    """Give persons their roles at this site.

    Whoever logs in has no role until one is granted here. `konzilium policy show` says which roles there are
    and what each may. Some only hold when a second person has approved them; nobody gives or approves a role
    of his or her own. What is ended does not hold at the next call any more.
    """


@grant.command(
    "add",
    short_help="Give a role.",
    examples=(
        "konzilium grant add /srv/brno jana@hospital.example radiologist --issuer https://idp.hospital.example/",
        "konzilium grant add /srv/brno petr@hospital.example 'referring physician' "
        "--issuer https://idp.hospital.example/ --referring 'NOVAK^PETR' --until 2027-12-31",
        "konzilium grant add /srv/brno '*' researcher --issuer https://idp.university.example/ "
        "--attribute eduPersonEntitlement=urn:example:imaging",
        "konzilium grant add /srv/brno eva@brno auditor --issuer local --reason 'data protection officer'",
    ),
)
@types.site_argument
@click.argument("name", metavar="NAME")
@click.argument("role", metavar="ROLE")
@click.option(
    "--issuer",
    required=True,
    metavar="ISSUER",
    help="Who vouches for the person: the entity id of an identity provider, local for a local account, or "
    "x509: and the name of a certificate authority.",
)
@click.option(
    "--attribute",
    type=ATTRIBUTE,
    metavar="NAME=VALUE",
    help="Only as long as the issuer says this of the person.",
)
@click.option(
    "--referring",
    default="",
    metavar="NAME",
    help="The name by which referrals call the person, as images have it.",
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The day from which on it holds no longer.",
)
@click.option("--reason", default="", help="Why; kept with the grant.")
def add(
    directory: Path,
    *,
    name: str,
    role: str,
    issuer: str,
    attribute: tuple[str, str] | None,
    referring: str,
    until: datetime | None,
    reason: str,
) -> None:
    """Give the person NAME, as the issuer calls him or her, a ROLE.

    NAME is usually the eduPersonPrincipalName. A NAME of '*' is everybody of the issuer of whom it says the
    attribute.
    """
    asked = Grant(
        issuer=issuer,
        name=name,
        role=role,
        attribute=attribute,
        referring=referring,
        until=_at(until),
        reason=reason,
    )
    with open_site(directory) as site:
        given = site.grants.give(site.operator(), asked)
    say(f"Grant {given.id}: {told(given)}, {_until(given)}.")
    if given.state is GrantState.WAITING:
        say("It waits until another person approves it:")
        say(f"  konzilium grant approve {directory} {given.id}")


@grant.command(
    "list",
    short_help="Show who has which role.",
    examples=("konzilium grant list /srv/brno", "konzilium grant list /srv/brno --all --json"),
)
@types.site_argument
@click.option("--all", "all_", is_flag=True, help="Also what has ended.")
@types.json_option
def list_(directory: Path, *, all_: bool, json_: bool) -> None:
    """Show who has which role, and what waits to be approved."""
    with open_site(directory) as site:
        grants = site.grants.all(site.operator(), ended=all_)
    if json_:
        as_json([asdict(one) for one in grants])
    elif grants:
        rows = [(one.id, one.role, one.name, one.issuer, _condition(one), _state(one)) for one in grants]
        columns(("NUMBER", "ROLE", "NAME", "ISSUER", "CONDITION", "STATE"), rows)
    else:
        say("Nobody has a role.")


@grant.command(
    "approve",
    short_help="Stand for a grant that needs two persons.",
    examples=("konzilium grant approve /srv/brno 7",),
)
@types.site_argument
@number_argument
def approve(directory: Path, *, number: int) -> None:
    """Approve a grant that another person has given.

    On the machine itself the persons are the accounts of its operating system, also behind sudo.
    """
    with open_site(directory) as site:
        approved = site.grants.approve(site.operator(), number)
    say(f"Grant {number}: {told(approved)} holds, {_until(approved)}.")


@grant.command("end", short_help="End a grant.", examples=("konzilium grant end /srv/brno 7",))
@types.site_argument
@number_argument
@click.option("--reason", default="", help="Why; kept in the audit record.")
def end(directory: Path, *, number: int, reason: str) -> None:
    """End a grant; it does not hold at the next call any more."""
    with open_site(directory) as site:
        ended = site.grants.end(site.operator(), number, reason)
    say(f"Grant {number}: {told(ended)} has ended.")


def _at(day: datetime | None) -> int:
    """The beginning of a day, here, in microseconds since 1970; 0 for none."""
    return int(day.astimezone().timestamp()) * 1_000_000 if day else 0


def _until(one: Grant) -> str:
    return f"until {moment(one.until)}" if one.until else _ENDLESS


def _condition(one: Grant) -> str:
    words = [f"{one.attribute[0]}={one.attribute[1]}"] if one.attribute else []
    if one.referring:
        words.append(f"referring as {one.referring}")
    return ", ".join(words) or "-"


def _state(one: Grant) -> str:
    if one.state is GrantState.ENDED:
        return f"ended {moment(one.ended_at)}"
    if one.state is GrantState.WAITING:
        return "waits for approval"
    return f"until {moment(one.until)}" if one.until else "active"
