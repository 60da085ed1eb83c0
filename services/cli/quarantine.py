"""`konzilium quarantine` and `konzilium conflicts`: what a person has to decide about."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from node.domain.errors import MalformedIdentifier, Unknown
from node.domain.ids import Digest
from node.domain.instance import Quarantined
from node.wiring import open_site
from services.cli import types
from services.cli.commands import Command, Group
from services.cli.output import as_json, columns, fields, moment, say, size

digest_argument = click.argument("digest", metavar="DIGEST")


@click.group(cls=Group, short_help="Decide about objects that name no patient or study.")
def quarantine() -> None:
    """Decide about objects that could not be archived because they name no patient or no study.

    Nothing in quarantine is found by queries, and nothing of it is lost. DIGEST is the name that
    `quarantine list` shows; its first characters are enough when no other begins with them.
    """


@quarantine.command(
    "list", short_help="Show what is in quarantine.", examples=("konzilium quarantine list /srv/brno",)
)
@types.site_argument
@types.json_option
def list_(directory: Path, *, json_: bool) -> None:
    """Show what is in quarantine, why, and where it came from."""
    with open_site(directory) as site:
        held = list(site.archive.quarantined())
    if json_:
        as_json([fields(one) for one in held])
    elif held:
        columns(
            ("DIGEST", "ARRIVED", "FROM", "SIZE", "REASON"),
            [
                (one.digest[:12], moment(one.arrived_at), one.source, size(one.size), one.reason)
                for one in held
            ],
        )
    else:
        say("Nothing is in quarantine.")


@quarantine.command(
    "show",
    short_help="Show one object in quarantine.",
    examples=(
        "konzilium quarantine show /srv/brno 3fa85f64c1d2",
        "konzilium quarantine show /srv/brno 3fa85f64c1d2 --to object.dcm",
    ),
)
@types.site_argument
@digest_argument
@click.option("--to", type=types.NEW_PATH, help="Write the object there, to look into it.")
@types.json_option
def show(directory: Path, *, digest: str, to: Path | None, json_: bool) -> None:
    """Show all that is known of one object in quarantine."""
    with open_site(directory) as site:
        one = find(list(site.archive.quarantined()), digest)
        if to:
            with site.archive.open_quarantined(site.operator(), one.digest) as stored, to.open("xb") as copy:
                shutil.copyfileobj(stored.file, copy)
    if json_:
        as_json(fields(one))
        return
    say(f"Object {one.digest}")
    say(f"  Arrived          {moment(one.arrived_at)} from {one.source}")
    say(f"  Size             {size(one.size)}")
    say(f"  Transfer syntax  {one.transfer_syntax}")
    say(f"  Why              {one.reason}")
    say(f"To archive it:  konzilium quarantine release {directory} {one.digest[:12]} --patient-id ID")
    say(f"To drop it:     konzilium quarantine discard {directory} {one.digest[:12]} --yes")


@quarantine.command(
    "release",
    short_help="Archive an object under a patient.",
    examples=("konzilium quarantine release /srv/brno 3fa85f64c1d2 --patient-id 123456",),
)
@types.site_argument
@digest_argument
@click.option("--patient-id", metavar="ID", required=True, help="The Patient ID it belongs to.")
@click.option("--issuer", default="", help="Who issued that Patient ID, if it is not this site's own.")
def release(directory: Path, *, digest: str, patient_id: str, issuer: str) -> None:
    """Archive an object from quarantine under the patient that you name."""
    with open_site(directory) as site:
        one = find(list(site.archive.quarantined()), digest)
        admission = site.archive.release(site.operator(), one.digest, patient_id, issuer)
    say(f"Released into study {admission.study} ({admission.outcome}).")


@quarantine.command(
    "discard",
    short_help="Drop an object for good.",
    examples=("konzilium quarantine discard /srv/brno 3fa85f64c1d2 --yes",),
)
@types.site_argument
@digest_argument
@click.option("--yes", is_flag=True, required=True, help="Yes, drop it; this cannot be undone.")
def discard(directory: Path, *, digest: str, yes: bool) -> None:
    """Drop an object from quarantine for good."""
    del yes  # required, so it is set
    with open_site(directory) as site:
        one = find(list(site.archive.quarantined()), digest)
        site.archive.discard(site.operator(), one.digest)
    say(f"Discarded {one.digest}.")


@click.command(
    cls=Command,
    short_help="Show what arrived and contradicts itself.",
    examples=("konzilium conflicts /srv/brno", "konzilium conflicts /srv/brno --json"),
)
@types.site_argument
@types.json_option
def conflicts(directory: Path, *, json_: bool) -> None:
    """Show what contradicts itself.

    An instance may have arrived twice with different content: both forms are kept, the first is served.
    A study may have arrived for two patients: each of them has a part of it.
    """
    with open_site(directory) as site:
        found, shared = list(site.archive.conflicts()), list(site.archive.shared_studies())
    if json_:
        as_json({"instances": [fields(one) for one in found], "studies_of_two_patients": shared})
        return
    for study in shared:
        say(f"Study {study} arrived for more than one patient: ask the sender whose it is.")
    if found:
        columns(
            ("INSTANCE", "KEPT", "OTHER", "ARRIVED", "FROM", "STATE"),
            [
                (one.instance, one.kept[:12], one.other[:12], moment(one.arrived_at), one.source, one.state)
                for one in found
            ],
        )
    elif not shared:
        say("No conflict is open.")


def find(held: list[Quarantined], begin: str) -> Quarantined:
    """The object whose digest begins like that.

    Raises:
        Unknown: none does, or several do.
        MalformedIdentifier: it is not the beginning of a digest.
    """
    if not begin or Digest.form.fullmatch(begin.ljust(64, "0")) is None:
        raise MalformedIdentifier(Digest.what)
    found = [one for one in held if one.digest.startswith(begin)]
    if len(found) != 1:
        raise Unknown(begin if not found else f"{begin} alone, since several begin with it")
    return found[0]
