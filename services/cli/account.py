"""`konzilium account`: local accounts, for people without an institution and for the worst day."""

from __future__ import annotations

from pathlib import Path

import click

from node.domain.account import LOCAL, SEALED_NAME, Account, AccountName
from node.domain.grant import Grant
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Group
from services.cli.output import as_json, columns, fields, moment, say

ROLE = "node administrator"
"""What the sealed account is for."""

ACCOUNT = types.IdentifierType(AccountName, "name")
_SECRET = frozenset({"hash", "totp", "totp_used"})
name_argument = click.argument("name", metavar="NAME", type=ACCOUNT)


@click.group(cls=Group, short_help="Keep the local accounts, and the sealed one.")
def account() -> None:
    """Keep local accounts: for people without an institution that could vouch for them.

    They are off (login.local) until you need them; the sealed account of the administrator never is. What an
    account may do is said with `konzilium grant`, to NAME@SITE of the issuer `local`.
    """


@account.command(
    "add",
    short_help="Make an account.",
    examples=("konzilium account add /srv/brno jana --display 'Jana Test'",),
)
@types.site_argument
@name_argument
@click.option("--display", metavar="TEXT", default="", help="The name of the person, as people say it.")
def add(directory: Path, *, name: AccountName, display: str) -> None:
    """Make the account NAME and show its first password once; its holder changes it at the first login."""
    with open_site(directory) as site:
        password = site.account_book.add(site.operator(), name, display=display)
        holder = site.account_book.holder(name).name
        shut = not site.settings.login.local
    _tell(f"The account {name} is made", password)
    say(f"Give it a role with `konzilium grant add {directory} {holder} ROLE --issuer {LOCAL}`.")
    if shut:
        say("Local accounts cannot log in before login.local is true in site.toml.")


@account.command(
    "list", short_help="Show the accounts.", examples=("konzilium account list /srv/brno --json",)
)
@types.site_argument
@types.json_option
def list_(directory: Path, *, json_: bool) -> None:
    """Show the accounts, what they are good for and when they were used last."""
    with open_site(directory) as site:
        known = site.account_book.all(site.operator())
    if json_:
        as_json([_fields(one) for one in known])
    elif known:
        columns(
            ("NAME", "PERSON", "STATE", "SECOND FACTOR", "PASSWORD", "LAST LOGIN"),
            [
                (
                    one.name,
                    one.display,
                    one.state,
                    "yes" if one.totp else "no",
                    "to be changed" if one.must_change else moment(one.changed_at),
                    moment(one.used_at) if one.used_at else "never",
                )
                for one in known
            ],
        )
    else:
        say(f"No account yet; seal one with `konzilium account seal {directory}`.")


@account.command(
    "reset",
    short_help="Give an account a new password, and open it again.",
    examples=(
        "konzilium account reset /srv/brno jana",
        "konzilium account reset /srv/brno jana --second-factor",
    ),
)
@types.site_argument
@name_argument
@click.option("--second-factor", is_flag=True, help="Take its second factor away, too.")
def reset(directory: Path, *, name: AccountName, second_factor: bool) -> None:
    """Give NAME a new password, shown once and changed at the next login; its sessions end."""
    with open_site(directory) as site:
        password = site.account_book.reset(site.operator(), name, second_factor=second_factor)
    _tell(f"The account {name} is open again", password)


@account.command(
    "lock",
    short_help="Let nobody in by an account.",
    examples=("konzilium account lock /srv/brno jana",),
)
@types.site_argument
@name_argument
def lock(directory: Path, *, name: AccountName) -> None:
    """Let nobody in by NAME until it is reset; its sessions end."""
    with open_site(directory) as site:
        site.account_book.lock(site.operator(), name)
    say(f"The account {name} is locked; `konzilium account reset {directory} {name}` opens it again.")


@account.command(
    "remove",
    short_help="Take an account off the book.",
    examples=("konzilium account remove /srv/brno jana",),
)
@types.site_argument
@name_argument
def remove(directory: Path, *, name: AccountName) -> None:
    """Take NAME off the book, with the roles and the sessions of its holder."""
    with open_site(directory) as site:
        site.account_book.remove(site.operator(), name)
    say(f"The account {name} is gone, and so are its roles.")


@account.command(
    "totp",
    short_help="Give an account a second factor.",
    examples=(
        "konzilium account totp /srv/brno jana",
        "konzilium account totp /srv/brno jana --off",
    ),
)
@types.site_argument
@name_argument
@click.option("--off", is_flag=True, help="Take the second factor away.")
def totp(directory: Path, *, name: AccountName, off: bool) -> None:
    """Give NAME a second factor and show once what its holder puts into an authenticator (RFC 6238)."""
    with open_site(directory) as site:
        if off:
            site.account_book.drop_factor(site.operator(), name)
            say(f"The account {name} has no second factor any more.")
            return
        factor = site.account_book.add_factor(site.operator(), name)
    say(f"Put this into an authenticator; it is not shown again:\n\n    {factor.secret}\n")
    say(f"or make a code of bars of it: {factor.address}")


@account.command(
    "seal",
    short_help="Make the administrator's account for the worst day.",
    examples=("konzilium account seal /srv/brno",),
)
@types.site_argument
def seal(directory: Path) -> None:
    """Make the account `administrator` for the day on which nobody else gets in, or seal it again.

    Write its password on paper and lock it away. Every use raises an alert that stays until the account is
    sealed again, with a new password.
    """
    with open_site(directory) as site:
        password = site.account_book.seal(site.operator())
        _grant(site)
    _tell(f"The account {SEALED_NAME} is sealed", password, "Put it into an envelope and lock that away.")


def _grant(site: Site) -> None:
    """See that the sealed account may run the node."""
    holder = site.account_book.holder(SEALED_NAME)
    reason = "sealed account"
    site.grants.give(site.operator(), Grant(issuer=LOCAL, name=holder.name, role=ROLE, reason=reason))


def _tell(done: str, password: str, then: str = "It has to be changed at the first login.") -> None:
    say(f"{done}. Its password is not shown again:\n\n    {password}\n\n{then}")


def _fields(one: Account) -> dict[str, object]:
    """An account without its secrets."""
    told = {key: value for key, value in fields(one).items() if key not in _SECRET}
    return {**told, "second_factor": bool(one.totp), "opened": one.is_opened}
