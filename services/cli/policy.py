"""`konzilium policy`: who may do what at this site, why, and what a changed policy would alter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from node.domain.decision import Decision, Resource
from node.domain.ids import SiteId, StudyUID
from node.domain.principal import Action, Principal
from node.domain.words import number
from node.identity.policies import Explanation, Subject
from node.identity.simulation import Effect, Simulation
from node.policy.rules import LONGEST_POLICY, Policy
from node.policy.simulate import Difference
from node.wiring import open_site
from services.cli import types
from services.cli.commands import Group
from services.cli.grant import ATTRIBUTE
from services.cli.output import as_json, columns, moment, say

file_argument = click.argument("file", metavar="FILE", type=types.FILE)


@click.group(cls=Group, short_help="Say who may do what.")
def policy() -> None:
    """Say who may do what at this site, at every door alike.

    The policy is a list of rules: nothing is allowed that no rule allows, and a rule that denies outweighs
    all others. To change it, write the one that decides into a file, edit that, see what it would alter,
    activate it.
    """


@policy.command(
    "show",
    short_help="Show the policy that decides.",
    examples=(
        "konzilium policy show /srv/brno > policy.toml",
        "konzilium policy show /srv/brno --roles",
    ),
)
@types.site_argument
@click.option("--roles", "roles_", is_flag=True, help="Only the roles, and what each is.")
@types.json_option
def show(directory: Path, *, roles_: bool, json_: bool) -> None:
    """Show the policy that decides at this site, as `policy activate` reads it."""
    with open_site(directory) as site:
        text = site.policies.text()
        now = site.policies.current() if roles_ or json_ else None
    if now is None:
        say(text.rstrip("\n"))
    elif json_:
        as_json(_written(now))
    else:
        rows = [
            (name, "two persons" if name in now.dual else "one", what) for name, what in now.roles.items()
        ]
        columns(("ROLE", "GRANTED BY", "WHAT IT IS"), rows)


@policy.command(
    "simulate",
    short_help="Show what a changed policy would alter.",
    examples=(
        "konzilium policy simulate /srv/brno policy.toml",
        "konzilium policy simulate /srv/brno policy.toml --json",
    ),
)
@types.site_argument
@file_argument
@types.json_option
def simulate(directory: Path, *, file: Path, json_: bool) -> None:
    """Show what the policy in FILE would alter, and change nothing.

    Both policies are asked about every action of everybody who has a role and of devices, on data of every
    standing, and about the last 200 studies of the archive.
    """
    text = _text(file)
    with open_site(directory) as site:
        found = site.policies.simulate(site.operator(), text)
    if json_:
        as_json(asdict(found))
    else:
        _tell(found)


@policy.command(
    "activate",
    short_help="Let a changed policy decide.",
    examples=("konzilium policy activate /srv/brno policy.toml --reason 'researchers may ask for data'",),
)
@types.site_argument
@file_argument
@click.option("--reason", required=True, help="Why; kept in the audit record.")
def activate(directory: Path, *, file: Path, reason: str) -> None:
    """Let the policy in FILE decide from the next call on; the node need not be started again.

    A policy with another text needs another version: the audit record names the version with every decision.
    """
    text = _text(file)
    with open_site(directory) as site:
        new = site.policies.activate(site.operator(), text, reason)
    say(f"Policy {new.version} decides from now on: {number(len(new.rules), 'rule')}.")


@policy.command(
    "history",
    short_help="Show which policies decided when.",
    examples=("konzilium policy history /srv/brno",),
)
@types.site_argument
@types.json_option
def history(directory: Path, *, json_: bool) -> None:
    """Show the policies that were activated here, the latest first."""
    with open_site(directory) as site:
        found = site.policies.history()
    if json_:
        as_json([asdict(one) for one in found])
    elif found:
        rows = [(one.id, moment(one.at), one.version, one.by, one.reason) for one in found]
        columns(("NUMBER", "SINCE", "VERSION", "BY", "REASON"), rows)
    else:
        say("None was activated: the policy that every site begins with decides.")


@policy.command(
    "why",
    short_help="Explain who may do what.",
    examples=(
        "konzilium policy why /srv/brno jana@hospital.example retrieve 1.2.840.1",
        "konzilium policy why /srv/brno device:CT1 store",
        "konzilium policy why /srv/brno role:researcher retrieve 1.2.840.1 --json",
    ),
)
@types.site_argument
@click.argument("principal", metavar="PRINCIPAL")
@click.argument("action", metavar="ACTION", type=click.Choice(list(Action), case_sensitive=False))
@click.argument("study", metavar="[STUDY]", type=types.STUDY, required=False)
@click.option("--issuer", default="", metavar="ISSUER", help="Who vouches for the person.")
@click.option(
    "--attribute",
    "attributes",
    type=ATTRIBUTE,
    metavar="NAME=VALUE",
    multiple=True,
    help="What the issuer says of the person; may be given several times.",
)
@click.option("--mfa", is_flag=True, help="As if a second factor had been proved.")
@click.option("--purpose", default="", metavar="WORD", help="Why it is asked, as doors say it.")
@click.option("--via", type=types.SITE_NAME, metavar="SITE", help="As if another site brought the call.")
@types.json_option
def why(
    directory: Path,
    *,
    principal: str,
    action: Action,
    study: StudyUID | None,
    issuer: str,
    attributes: tuple[tuple[str, str], ...],
    mfa: bool,
    purpose: str,
    via: SiteId | None,
    json_: bool,
) -> None:
    """Explain whether PRINCIPAL may do ACTION on a STUDY, with every rule that was looked at.

    PRINCIPAL is a person by the name in a grant, device:AE, or role:ROLE for anybody who has that role alone.
    Without a STUDY it is asked whether there may be one on which it is allowed.
    """
    about = _subject(principal, issuer, attributes, mfa=mfa, purpose=purpose, via=via)
    with open_site(directory) as site:
        found = site.policies.why(site.operator(), about, action, study)
    if json_:
        as_json([_answer(found.principal, resource, decision) for resource, decision in found.answers])
    else:
        _explain(found, action)


def _subject(
    text: str,
    issuer: str,
    attributes: tuple[tuple[str, str], ...],
    *,
    mfa: bool,
    purpose: str,
    via: SiteId | None,
) -> Subject:
    kind, _, name = text.partition(":")
    if kind == "device" and name:
        return Subject(name=name, is_device=True, via=via)
    roles = frozenset({name}) if kind == "role" and name else frozenset[str]()
    return Subject(
        name="" if roles else text,
        issuer=issuer,
        roles=roles,
        attributes=attributes,
        mfa=mfa,
        purpose=purpose,
        via=via,
    )


def _explain(found: Explanation, action: Action) -> None:
    who = found.principal
    say(f"{who}: {', '.join(sorted(who.roles)) or 'no role'}")
    for resource, decision in found.answers:
        about = "" if resource is None else f" {_about(resource)}"
        say(f"{action}{about}: {'yes' if decision.allowed else 'no'}, {decision.reason}.")
        for line in decision.reasons:
            say(f"  {line}")
        if decision.step_up:
            say("  A login with a second factor would change the answer.")
        if decision.emergency and not decision.allowed:
            say("  An emergency access would change the answer.")
        say(f"  Policy {decision.version}.")


def _about(resource: Resource) -> str:
    words = [f"{resource.standing} data from {resource.site}"]
    if resource.sensitivity:
        words.append(f"marked {resource.sensitivity}")
    words += [f"{matter} refused" for matter in sorted(resource.refused)]
    words += [f"consent to {matter}" for matter in sorted(resource.consent)]
    return f"({', '.join(words)})"


def _answer(who: Principal, resource: Resource | None, decision: Decision) -> dict[str, Any]:
    return {
        "principal": str(who),
        "issuer": who.issuer,
        "roles": sorted(who.roles),
        "resource": None if resource is None else _plain(asdict(resource)),
        **asdict(decision),
    }


def _tell(found: Simulation) -> None:
    asked = f"{number(found.grants, 'grant')} and {number(found.studies, 'study', 'studies')}"
    if not found.alters:
        say(f"Policy {found.version} would alter nothing for devices, {asked}.")
        return
    say(f"Policy {found.version} would alter, for devices, {asked}:")
    alike: dict[tuple[object, ...], list[Difference]] = {}
    for one in found.differences:
        key = ("+" if one.after else "-", one.who, one.many or "-", one.action, one.about)
        alike.setdefault(key, []).append(one)
    columns(
        ("", "WHO", "PERSONS", "ACTION", "ON DATA", "BECAUSE"),
        [
            (*key[:4], f"{', '.join(one.standing for one in some)} {key[4]}".rstrip(), some[0].reason)
            for key, some in alike.items()
        ],
    )
    if found.effects:
        say()
        heads = ("WHO", "ACTION", "STUDIES OPENED", "CLOSED", "FOR EXAMPLE")
        columns(heads, [_effect(one) for one in found.effects])


def _effect(one: Effect) -> Sequence[object]:
    return one.who, one.action, one.opened, one.closed, one.example


def _written(now: Policy) -> dict[str, Any]:
    return {
        "version": now.version,
        "roles": dict(now.roles),
        "dual_control": sorted(now.dual),
        "emergency": _plain(asdict(now.glass)),
        "rules": [_plain(asdict(rule)) for rule in now.rules],
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Sets as lists in order, as JSON has them."""
    return {key: sorted(value) if isinstance(value, frozenset) else value for key, value in values.items()}


def _text(file: Path) -> str:
    """A policy in a file; what is no text is said to be none."""
    if file.stat().st_size > 4 * LONGEST_POLICY:
        raise click.BadParameter(f"{file} is too long for a policy.", param_hint="FILE")
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        raise click.BadParameter(f"{file} is no text in UTF-8.", param_hint="FILE") from None
