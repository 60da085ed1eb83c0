"""`konzilium rule`: at which other sites copies are owed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from node.domain.errors import MalformedIdentifier
from node.domain.ids import AETitle, RuleName, SiteId, StudyUID
from node.domain.rule import EVERYWHERE, Match, Rule
from node.replication.rules import Part, Share, described
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Group
from services.cli.output import as_json, columns, say

_AGE = click.IntRange(0, 100_000)
name_argument = click.argument("name", metavar="NAME", type=types.RULE)


@click.group(cls=Group, short_help="Say at which other sites copies are owed.")
def rule() -> None:
    """Say at which other sites copies are owed of what this site receives.

    A rule is about the instances that meet all its conditions, and names the sites that may hold their
    copies. All rules that match an instance add up. While there is no rule, every member owes a copy of
    everything; as soon as there is one, nothing is copied that no rule matches. What the terms with a member
    do not give it is not copied to it, whatever the rules say.
    """


@rule.command(
    "add",
    short_help="Add a rule, or change one.",
    examples=(
        "konzilium rule add /srv/brno everything",
        "konzilium rule add /srv/brno ct --modality CT --sites prague,olomouc",
        "konzilium rule add /srv/brno stroke --ae CT1 --body-part HEAD --younger-than 30 --copies 2",
    ),
)
@types.site_argument
@name_argument
@click.option(
    "--modality", "modalities", metavar="CODE", multiple=True, help="Series of these modalities only."
)
@click.option(
    "--ae",
    "ae_titles",
    metavar="AE",
    type=types.AE,
    multiple=True,
    help="What these devices have sent only.",
)
@click.option(
    "--body-part", "body_parts", metavar="CODE", multiple=True, help="Series of these body parts only."
)
@click.option("--younger-than", type=_AGE, metavar="DAYS", help="Studies of fewer days ago only.")
@click.option("--older-than", type=_AGE, metavar="DAYS", help="Studies of so many days ago or more only.")
@click.option(
    "--sites", metavar="SITES", help="The sites that may hold copies, with commas.  [default: all members]"
)
@click.option(
    "--copies",
    type=click.IntRange(1, 1000),
    metavar="NUMBER",
    help="At how many of them, chosen evenly by study.  [default: all of them]",
)
@click.option("--replace", is_flag=True, help="Change a rule that is there already.")
def add(
    directory: Path,
    *,
    name: RuleName,
    modalities: tuple[str, ...],
    ae_titles: tuple[AETitle, ...],
    body_parts: tuple[str, ...],
    younger_than: int | None,
    older_than: int | None,
    sites: str | None,
    copies: int | None,
    replace: bool,
) -> None:
    """Add the rule NAME, which holds for what is archived already, too.

    Options that name a modality, device or body part may be given several times: one of them has to match.
    """
    match = Match(
        modalities=_codes(modalities),
        ae_titles=ae_titles,
        body_parts=_codes(body_parts),
        younger_than=younger_than,
        older_than=older_than,
    )
    new = Rule(name=name, match=match, sites=_sites(sites), copies=copies)
    with open_site(directory) as site:
        site.rules.add(site.operator(), new, replace=replace)
        strangers = _strangers(site, new)
        rules = site.rules.all()
    say(f"{name}: {described(new)}.")
    for stranger in strangers:
        say(f"{stranger} is not a member yet; the rule holds as soon as it is.")
    if not any(one.match.is_everything for one in rules):
        say("What no rule matches is not copied.")


@rule.command("list", short_help="Show the rules.", examples=("konzilium rule list /srv/brno",))
@types.site_argument
@types.json_option
def list_(directory: Path, *, json_: bool) -> None:
    """Show the rules of this site."""
    with open_site(directory) as site:
        rules = site.rules.all()
    if json_:
        as_json([one.told() for one in rules])
    elif rules:
        columns(("NAME", "RULE"), [(one.name, described(one)) for one in rules])
    else:
        say(f"No rule: {described(EVERYWHERE)}.")


@rule.command("remove", short_help="Remove a rule.", examples=("konzilium rule remove /srv/brno stroke",))
@types.site_argument
@name_argument
def remove(directory: Path, *, name: RuleName) -> None:
    """Remove the rule NAME; copies that are at other sites already stay there."""
    with open_site(directory) as site:
        book = site.rules
        book.remove(site.operator(), name)
        left = book.all()
    say(f"{name} is removed.")
    if not left:
        say(f"No rule is left: {described(EVERYWHERE)}.")


@rule.command(
    "explain",
    short_help="Show where copies of a study are owed, and why.",
    examples=("konzilium rule explain /srv/brno 1.2.840.1",),
)
@types.site_argument
@click.argument("study", metavar="STUDY", type=types.STUDY)
@types.json_option
def explain(directory: Path, *, study: StudyUID, json_: bool) -> None:
    """Show which rules match each series of a study, which sites owe copies and why, and what they have."""
    with open_site(directory) as site:
        parts = site.rules.explain(study)
        name = site.settings.site.name
    if json_:
        as_json([asdict(part) for part in parts])
        return
    for part in parts:
        _tell(part, name)


def _tell(part: Part, here: SiteId) -> None:
    kind = ", ".join(word for word in (part.modality, part.body_part) if word)
    came = f"from {part.ae_title} " if part.ae_title else ""
    say(f"Series {part.series}{f' ({kind})' if kind else ''}")
    say(f"  {part.instances} instances, received {came}at {part.origin}")
    if part.origin == here:
        say(f"  Rules that match: {', '.join(part.rules) or 'none'}")
    if part.shares:
        rows = [("", one.site, _duty(one), one.why, _copies(one)) for one in part.shares]
        columns(("", "SITE", "OWES", "WHY", "COPIES"), rows)
    else:
        say("  No other site is a member yet.")


def _duty(share: Share) -> str:
    return "yes" if share.owes else "no"


def _copies(share: Share) -> str:
    return ", ".join(f"{many} {state}" for state, many in sorted(share.copies.items())) or "none"


def _codes(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(value.strip().upper() for value in values)


def _sites(text: str | None) -> tuple[SiteId, ...]:
    try:
        return tuple(SiteId(word.strip()) for word in text.split(",")) if text else ()
    except MalformedIdentifier as error:
        raise click.BadParameter(str(error), param_hint="--sites") from None


def _strangers(site: Site, new: Rule) -> list[SiteId]:
    with site.catalog.reading() as unit:
        return [name for name in new.sites if unit.members.find(name) is None]
