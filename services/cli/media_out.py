"""`konzilium export`: standard Part 10 files, or a DICOMDIR medium, that need no Konzilium to read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, TypeAlias

import click

from node.archive.part10 import StoredFile
from node.audit.record import Event
from node.domain.errors import Damaged, NodeError, Unknown
from node.domain.ids import SeriesUID, StudyUID
from node.domain.instance import Instance
from node.domain.query import Selection
from node.wiring import open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.media.dicomdir import Medium, UnlistableError
from services.cli.media.targets import Folder, OccupiedError, Target, ZipFile
from services.cli.output import Exit, complain, finish, progress_bar, say, size

Open: TypeAlias = Callable[[Instance], AbstractContextManager[StoredFile]]


@click.command(
    cls=Command,
    short_help="Write studies out as DICOM files, a DICOMDIR medium or a zip file.",
    examples=(
        "konzilium export /srv/brno --study 1.2.840.1 --to /tmp/study",
        "konzilium export /srv/brno --study 1.2.840.1 --to /media/usb --dicomdir",
        "konzilium export /srv/brno --patient 123456 --to patient.zip --zip",
    ),
)
@types.site_argument
@click.option(
    "--study", "studies", type=types.STUDY, multiple=True, help="Study Instance UID; may be repeated."
)
@click.option("--series", type=types.SERIES, multiple=True, help="Series Instance UID; may be repeated.")
@click.option("--patient", metavar="ID", help="Patient ID: everything of the patient.")
@click.option("--issuer", help="Who issued that Patient ID, where several patients have it.")
@click.option(
    "--to", "path", required=True, type=types.NEW_PATH, help="The folder, or with --zip the file, to write."
)
@click.option(
    "--dicomdir", is_flag=True, help="Make a medium: short file names and a DICOMDIR that names them."
)
@click.option("--zip", "zip_", is_flag=True, help="Write one zip file.")
def export(
    directory: Path,
    *,
    studies: tuple[StudyUID, ...],
    series: tuple[SeriesUID, ...],
    patient: str | None,
    issuer: str | None,
    path: Path,
    dicomdir: bool,
    zip_: bool,
) -> None:
    """Write the instances of studies, series or a patient as standard DICOM files.

    The content of every file is proved while it is copied. A file that is there already is left alone when
    it is the same, and never overwritten when it is not; the exit code is 3 then.
    """
    if not (studies or series or patient):
        raise click.UsageError("Say what to export: --study UID, --series UID or --patient ID.")
    selection = Selection(studies=studies, series=series, patient_id=patient, issuer=issuer)
    with open_site(directory) as site:
        where = f"file:{path.name}"
        instances = site.archive.select(site.operator(), selection, destination=where, event=Event.EXPORT)
        if not instances:
            raise Unknown(", ".join((*studies, *series)) or "that Patient ID")
        with ZipFile(path) if zip_ else Folder(path, fresh=dicomdir) as target:
            counts = write(instances, site.archive.open, target, dicomdir=dicomdir)
    say(f"{counts['written']} written, {counts['there']} there already, {counts['refused']} refused: {path}")
    finish(Exit.DAMAGED if counts["damaged"] else Exit.PARTLY if counts["refused"] else Exit.FINE)


def write(instances: Sequence[Instance], open_: Open, target: Target, *, dicomdir: bool) -> Counter[str]:
    """Copy the instances to the target, and count what became of them."""
    counts: Counter[str] = Counter()
    names = listed(instances, open_, target, counts) if dicomdir else named(instances)
    total = sum(instance.size for instance in instances)
    bar = progress_bar(total, f"Exporting {size(total)}")
    with bar:
        for instance in instances:
            if instance.uid in names:
                counts.update(_one(instance, names[instance.uid], open_, target))
            bar.update(instance.size)
    return counts


def _one(instance: Instance, name: str, open_: Open, target: Target) -> Iterator[str]:
    """Copy one instance; the words under which it counts."""
    try:
        with open_(instance) as stored:
            yield "written" if target.put(name, instance.digest, stored) else "there"
    except OccupiedError:
        complain(f"{name}: there is another file of that name; it was left alone")
        yield "refused"
    except NodeError as error:
        complain(f"{name}: {error}")
        yield from ("refused", "damaged") if isinstance(error, Damaged) else ("refused",)


def named(instances: Sequence[Instance]) -> dict[str, str]:
    """Names that say what the files are: study, series, instance."""
    return {one.uid: f"{one.study}/{one.series}/{one.uid}.dcm" for one in instances}


def listed(
    instances: Sequence[Instance], open_: Open, target: Target, counts: Counter[str]
) -> dict[str, str]:
    """The File IDs of a medium; writes its DICOMDIR."""
    medium = Medium()
    for instance in instances:
        try:
            with open_(instance) as stored:
                medium.add(_stream(stored))
        except (UnlistableError, NodeError) as error:
            complain(f"{instance.uid}: {error}")
            counts.update(("refused", "damaged") if isinstance(error, Damaged) else ("refused",))
    names = medium.file_ids()
    if names:
        target.write("DICOMDIR", medium.directory())
    return names


def _stream(stored: StoredFile) -> BinaryIO:
    """A stream of its own over the stored file, which closes without closing that."""
    stream = os.fdopen(os.dup(stored.fd), "rb")
    stream.seek(0)
    return stream
