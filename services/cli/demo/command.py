"""`konzilium demo`: two sites join, one is killed, the link is cut and heals, and both prove it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from node.domain.errors import AlreadyASite
from services.cli.commands import Command
from services.cli.demo.commands import Commands
from services.cli.demo.idp.running import stop as stop_providers
from services.cli.demo.running import HOST, stop_all
from services.cli.demo.story import Told, told
from services.cli.output import Exit, complain, finish, say
from services.cli.types import FOLDER

TEMPORARY = "a temporary folder"


@click.command(
    cls=Command,
    short_help="Show two sites that share real DICOM files.",
    examples=(
        "konzilium demo",
        "konzilium demo --check && echo well",
        "konzilium demo --keep /tmp/two-sites",
        "konzilium demo --stop /tmp/two-sites",
    ),
)
@click.option("--check", is_flag=True, help="Without words: only the exit code tells.")
@click.option(
    "--keep",
    metavar="[FOLDER]",
    type=FOLDER,
    is_flag=False,
    flag_value=Path(),
    help="Leave both sites running, in a new folder, and say how to reach and how to stop them.  "
    f"[default: {TEMPORARY}]",
)
@click.option("--stop", metavar="FOLDER", type=FOLDER, help="Stop the sites that --keep left running there.")
def demo(*, check: bool, keep: Path | None, stop: Path | None) -> None:
    """Show on this machine what two sites do for each other, in about a minute.

    Brno and Prague join. A scanner sends real files to Brno, and copies are proved at Prague, which is killed
    meanwhile. The link is cut and both receive and decide; it heals and both agree. A radiologist of Brno
    logs in at a portal and opens a study of Prague. At the end both prove what they hold.

    Nobody else can reach the two sites. Nothing is left behind, unless --keep says so. The exit code is 1 if
    anything was otherwise than told.
    """
    if sum((check, keep is not None, stop is not None)) > 1:
        raise click.UsageError("--check, --keep and --stop exclude each other.")
    if stop is not None:
        stopped = stop_all(stop)
        if stop_providers(stop / "idp"):
            stopped.append("identity providers")
        say(f"Stopped: {', '.join(stopped) or 'no node was running'}. The folder {stop} is yours to remove.")
        return
    failures = _shown(keep, quiet=check)
    for failure in failures:
        complain(f"this did not hold: {failure}")
    finish(Exit.FAILED if failures else Exit.FINE)


def _shown(keep: Path | None, *, quiet: bool) -> list[str]:
    """Tell the story; returns what did not hold."""
    logging.getLogger("pynetdicom").propagate = False
    konzilium = Commands(click.get_current_context().find_root().command)
    with (
        _folder(keep) as folder,
        told(konzilium, folder, (lambda _: None) if quiet else say) as cast,
    ):
        if keep is not None and cast.nodes:
            _leave(folder, cast)
    if keep is None and not quiet:
        say("Both nodes have stopped; nothing is left behind.")
    return cast.failures


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where the sites are made; removed at the end unless it is to be kept."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="konzilium-demo-") as folder:
            yield Path(folder)
    elif keep == Path():
        yield Path(tempfile.mkdtemp(prefix="konzilium-demo-"))
    else:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise AlreadyASite(keep)
        yield keep.absolute()


def _leave(folder: Path, cast: Told) -> None:
    """Let all of it run on, and say how to reach it."""
    say("\nBoth sites go on running:")
    for node in cast.nodes:
        say(f"  {node.name:8} AE title {node.ae_title}, {HOST} port {node.dicom_port}")
        say(f"  {'':8} {node.everywhere} is the AE title that asks all sites")
        say(f"  {'':8} folder {node.directory}, log {node.log}")
        node.leave()
    cast.providers.leave()
    brno, prague = cast.nodes
    _say_who_can_log_in(cast)
    say("Send files to one, find them at the other, or at all (with DCMTK, for example):")
    say(f"  storescu -aet CT1 -aec {brno.ae_title} {HOST} {brno.dicom_port} FILE.dcm")
    say(
        f"  findscu -S -aet VIEWER -aec {prague.ae_title} {HOST} {prague.dicom_port} "
        "-k QueryRetrieveLevel=STUDY -k PatientName -k StudyInstanceUID"
    )
    say(f"  konzilium peers {brno.directory}")
    say(f"  konzilium verify {brno.directory} --peer {prague.name}")
    say("Stop them:")
    say(f"  konzilium demo --stop {folder}")


def _say_who_can_log_in(cast: Told) -> None:
    """Name the portals and the people."""
    say("Log in with a browser of this machine (it will warn of certificates that nobody has signed)")
    for node in cast.nodes:
        say(f"  {node.name:8} {node.portal}")
    say("and choose whom to be. Nobody is asked for a password: these hospitals prove nothing, and say so.")
    for house in cast.providers.houses:
        say(f"  {house.hospital.english}")
        for person in house.hospital.people:
            say(f"    {person.display}: {person.does}")
