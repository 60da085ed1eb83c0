"""`konzilium mark`: how sensitive a study or patient is, and what the patient has agreed to or refused."""

from __future__ import annotations

from pathlib import Path

import click

from node.archive.mark import Marking
from node.domain.decision import Sensitivity
from node.wiring import open_site
from services.cli import types
from services.cli.amend.common import EVERYWHERE, issuer_option, reason_option
from services.cli.amend.correct import about_of
from services.cli.commands import Command
from services.cli.output import say

LEVELS = {"usual": Sensitivity.USUAL, "restricted": Sensitivity.RESTRICTED}


@click.command(
    cls=Command,
    short_help="Say how sensitive a study or patient is, or what the patient wants.",
    examples=(
        'konzilium mark /srv/brno 1.2.840.1 --sensitivity restricted --reason "member of the staff"',
        "konzilium mark /srv/brno --patient 123456 --refuses research --reason 'form of 2026-11-20'",
        "konzilium mark /srv/brno --patient 123456 --agrees exchange --reason 'form of 2026-11-21'",
    ),
)
@types.site_argument
@click.argument("study", required=False)
@click.option("--patient", metavar="ID", help="Patient ID, to mark a patient and not a study.")
@issuer_option
@click.option("--sensitivity", type=click.Choice(list(LEVELS)), help="Who may see it: the policy says.")
@click.option("--agrees", metavar="MATTER", multiple=True, help="What the patient has agreed to.")
@click.option("--refuses", metavar="MATTER", multiple=True, help="What the patient has refused.")
@reason_option
def mark(
    directory: Path,
    *,
    study: str | None,
    patient: str | None,
    issuer: str,
    sensitivity: str | None,
    agrees: tuple[str, ...],
    refuses: tuple[str, ...],
    reason: str,
) -> None:
    """Mark a study, or a patient with --patient.

    Rules of the policy ask for marks: whether a study is restricted, and what the patient has agreed to or
    refused. The policy that every site begins with knows the matters research and exchange. The mark travels
    with the study and holds at the other sites, too.
    """
    about, _ = about_of([study] if study else [], patient, issuer)
    consent = dict.fromkeys(agrees, True) | dict.fromkeys(refuses, False)
    if set(agrees) & set(refuses):
        raise click.UsageError("A matter is either agreed to or refused.")
    if sensitivity is None and not consent:
        raise click.UsageError("Say what is to be marked: --sensitivity, --agrees or --refuses.")
    with open_site(directory) as site:
        Marking(site.catalog).mark(
            site.operator(),
            about,
            reason,
            sensitivity=None if sensitivity is None else LEVELS[sensitivity],
            consent=consent,
        )
    say(f"Marked. {EVERYWHERE}")
