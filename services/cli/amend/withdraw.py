"""`konzilium retract`, `restore` and `lock`: what is hidden, shown again, and may not be hidden."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from node.domain.ids import InstanceUID, SeriesUID, StudyUID
from node.domain.query import Selection
from node.wiring import open_site
from services.cli import types
from services.cli.amend.common import EVERYWHERE, reason_option
from services.cli.commands import Command
from services.cli.output import say

_MICRO = 1_000_000
study_option = click.option("--study", type=types.STUDY, metavar="UID", help="All of this study.")
instance_option = click.option("--instance", type=types.INSTANCE, metavar="UID", help="This one instance.")


@click.command(
    cls=Command,
    short_help="Withdraw a study, series or instance.",
    examples=(
        "konzilium retract /srv/brno --study 1.2.840.1 --reason 'wrong patient'",
        "konzilium retract /srv/brno --instance 1.2.840.1.1.1 --reason 'test image' --yes",
    ),
)
@types.site_argument
@study_option
@click.option("--series", type=types.SERIES, metavar="UID", help="All of this series.")
@instance_option
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
def retract(
    directory: Path,
    *,
    study: StudyUID | None,
    series: SeriesUID | None,
    instance: InstanceUID | None,
    reason: str,
    yes: bool,
) -> None:
    """Withdraw a study, a series or an instance: it is not found or given any more, at any site.

    It does not come back by being sent again. The images stay on the disk, so that `konzilium restore` can
    take it back. A study that is locked cannot be withdrawn.
    """
    selection = selected(study, series, instance)
    if not yes:
        click.confirm("Withdraw this at all sites?", abort=True)
    with open_site(directory) as site:
        done = site.archive.retract(site.operator(), selection, reason)
    say(f"Withdrew {counted(len(done))}. {EVERYWHERE}")


@click.command(
    cls=Command,
    short_help="Show again what was withdrawn.",
    examples=("konzilium restore /srv/brno --study 1.2.840.1 --reason 'it was the right patient'",),
)
@types.site_argument
@study_option
@instance_option
@reason_option
def restore(directory: Path, *, study: StudyUID | None, instance: InstanceUID | None, reason: str) -> None:
    """Show a study or an instance again that was withdrawn."""
    with open_site(directory) as site:
        done = site.archive.restore(site.operator(), selected(study, None, instance), reason)
    say(f"Restored {counted(len(done))}. {EVERYWHERE}")


@click.command(
    cls=Command,
    short_help="Forbid to withdraw a study for some time.",
    examples=("konzilium lock /srv/brno 1.2.840.1 --until 2036-01-01 --reason 'kept for ten years'",),
)
@types.site_argument
@click.argument("study", metavar="STUDY", type=types.STUDY)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    required=True,
    help="The day from which on it may be withdrawn.",
)
@reason_option
def lock(directory: Path, *, study: StudyUID, until: datetime, reason: str) -> None:
    """Forbid that anything of a study is withdrawn before a day.

    A lock can be made longer, never shorter. It also undoes a withdrawal that another site decided about
    the study without knowing of the lock.
    """
    at = int(until.replace(tzinfo=UTC).timestamp()) * _MICRO
    with open_site(directory) as site:
        site.archive.lock(site.operator(), study, at, reason)
    say(f"Locked until {until:%Y-%m-%d}. {EVERYWHERE}")


def selected(study: StudyUID | None, series: SeriesUID | None, instance: InstanceUID | None) -> Selection:
    """The one thing that was named."""
    if sum(one is not None for one in (study, series, instance)) != 1:
        raise click.UsageError("Name one thing: a study, a series or an instance.")
    return Selection(
        studies=(study,) if study else (),
        series=(series,) if series else (),
        instances=(instance,) if instance else (),
    )


def counted(many: int) -> str:
    """A number of instances in words."""
    return f"{many} instance{'' if many == 1 else 's'}"
