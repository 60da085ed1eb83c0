"""`konzilium correct`: what is told of a study or patient, other than its images say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click
from pydicom.datadict import tag_for_keyword

from node.domain.errors import MalformedIdentifier
from node.domain.ids import StudyUID
from node.journal.merge import Patient
from node.wiring import open_site
from services.cli import types
from services.cli.amend.common import EVERYWHERE, issuer_option, reason_option
from services.cli.commands import Command
from services.cli.output import say

_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")


@click.command(
    cls=Command,
    short_help="Correct what is told of a study or patient.",
    examples=(
        'konzilium correct /srv/brno 1.2.840.1 StudyDescription="CT of the head" --reason "typing error"',
        "konzilium correct /srv/brno --patient 123456 PatientBirthDate=19700521 --reason passport",
        "konzilium correct /srv/brno --patient 123456 --take-back PatientSex --reason mistake",
    ),
)
@types.site_argument
@click.argument("words", metavar="[STUDY] [ATTRIBUTE=VALUE]...", nargs=-1)
@click.option("--patient", metavar="ID", help="Patient ID, to correct a patient and not a study.")
@issuer_option
@click.option(
    "--take-back",
    "taken_back",
    metavar="ATTRIBUTE",
    multiple=True,
    help="Let the images tell this attribute again; may be given several times.",
)
@reason_option
def correct(
    directory: Path,
    *,
    words: tuple[str, ...],
    patient: str | None,
    issuer: str,
    taken_back: tuple[str, ...],
    reason: str,
) -> None:
    """Correct attributes of a study, or of a patient with --patient.

    Queries tell the corrected values, here and at the sites that have the study. The images themselves stay
    as they are. ATTRIBUTE is a keyword of DICOM such as StudyDescription, or a tag such as 00081030; an empty
    value says that there is none. Identifiers cannot be corrected: see `konzilium merge`.
    """
    about, given = about_of(words, patient, issuer)
    values: dict[int, str | None] = {tag_of(word): None for word in taken_back}
    for word in given:
        attribute, equals, value = word.partition("=")
        if not equals:
            raise click.BadArgumentUsage(f"{word!r} is not of the form ATTRIBUTE=VALUE.")
        values[tag_of(attribute)] = value
    if not values:
        raise click.UsageError("Say what is to be corrected: ATTRIBUTE=VALUE, or --take-back ATTRIBUTE.")
    with open_site(directory) as site:
        site.archive.correct(site.operator(), about, values, reason)
    say(f"Corrected. {EVERYWHERE}")


def about_of(
    words: Sequence[str], patient: str | None, issuer: str
) -> tuple[StudyUID | Patient, Sequence[str]]:
    """What is to be corrected, and the words that are left."""
    named = bool(words) and "=" not in words[0]
    if patient is not None:
        if named:
            raise click.UsageError("Name a study or a patient, not both.")
        return (issuer, patient), words
    if not named:
        raise click.UsageError("Name a study, or a patient with --patient.")
    try:
        return StudyUID(words[0]), words[1:]
    except MalformedIdentifier as error:
        raise click.BadArgumentUsage(str(error)) from None


def tag_of(word: str) -> int:
    """The tag of an attribute, by its keyword or as it is written in hexadecimal."""
    if found := _TAG.fullmatch(word):
        return int(found[1] + found[2], 16)
    tag = tag_for_keyword(word)
    if tag is None:
        raise click.BadArgumentUsage(f"{word!r} is neither a keyword of DICOM nor a tag.")
    return int(tag)
