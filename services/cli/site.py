"""`konzilium init`: a new site folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from node.domain.clock import system_clock
from node.domain.errors import AlreadyASite
from node.domain.ids import AETitle, SiteId
from node.identity import keys as node_keys
from node.settings import FILE, Settings, ae_title_of
from node.settings.kinds import Raw
from node.settings.text import toml
from node.wiring import open_site
from services.cli import keys, types
from services.cli.commands import Command
from services.cli.output import say

IGNORED = frozenset({"lost+found"})
"""What a fresh disk holds by itself."""


@click.command(
    cls=Command,
    short_help="Make a site folder.",
    examples=(
        "konzilium init /srv/brno --site brno",
        "konzilium init /srv/brno --site brno --dicom-port 104",
    ),
)
@types.site_argument
@click.option(
    "--site", "name", required=True, type=types.SITE_NAME, help="Name of the site, for example brno."
)
@click.option(
    "--ae-title", type=types.AE, metavar="AE", help="AE title of the node.  [default: the name in capitals]"
)
@click.option(
    "--dicom-port", type=types.PORT, metavar="PORT", default=11112, show_default=True, help="DICOM port."
)
@click.option(
    "--dicom-tls-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=2762,
    show_default=True,
    help="DICOM port with TLS; 0 for none.",
)
@click.option(
    "--web-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=8444,
    show_default=True,
    help="Port for browsers, by HTTPS; 0 for none.",
)
@click.option(
    "--node-url",
    metavar="URL",
    default="",
    help="Where other nodes call this one, https://HOST:PORT; none if nobody can.  "
    "[default: the name of this machine and the port]",
)
@click.option(
    "--node-port",
    type=types.PORT,
    metavar="PORT",
    default=8443,
    show_default=True,
    help="Port on which other nodes call this one, by HTTPS.",
)
def init(
    directory: Path,
    *,
    name: SiteId,
    ae_title: AETitle | None,
    dicom_port: int,
    dicom_tls_port: int,
    web_port: int,
    node_url: str,
    node_port: int,
) -> None:
    """Make a site in the folder DIR: settings, keys and an empty archive.

    DIR must be new or empty. Everything the node keeps is inside of it.
    """
    chosen: dict[str, Raw] = {
        "site.name": name,
        "dicom.ae_title": ae_title or ae_title_of(name),
        "dicom.port": dicom_port,
        "dicom.tls_port": dicom_tls_port,
        "web.port": web_port,
        "node.port": node_port,
    }
    if node_url:
        chosen["node.url"] = node_url
    tell(make(directory.absolute(), chosen))


def make(directory: Path, chosen: dict[str, Raw]) -> Settings:
    """Make the site folder, or leave everything as it was.

    Raises:
        AlreadyASite: the folder holds files.
        BadSetting: the settings contradict each other.
    """
    with new_folder(directory):
        keys.make(
            directory / "keys",
            site=SiteId(str(chosen["site.name"])),
            ae_title=AETitle(str(chosen["dicom.ae_title"])),
            host=os.uname().nodename,
            now=datetime.now(UTC),
        )
        node_keys.make(directory / "keys", site=SiteId(str(chosen["site.name"])), now=system_clock())
        (directory / FILE).write_text(toml(chosen), "utf-8")
        with open_site(directory) as site:
            settings = site.settings
        sync(directory)
        return settings


def sync(directory: Path) -> None:
    """Make the folder and all in it durable: a site whose settings are lost cannot be started."""
    for path in (directory.parent, directory, *directory.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def new_folder(directory: Path) -> Iterator[None]:
    """A new or empty folder to fill; when that fails, nothing of it stays behind."""
    existed = directory.exists()
    if existed and contents(directory):
        raise AlreadyASite(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        clear(directory)
        if not existed:
            directory.rmdir()
        raise


def contents(directory: Path) -> list[Path]:
    """What the folder holds, apart from what a fresh disk holds by itself."""
    return [path for path in directory.iterdir() if path.name not in IGNORED]


def clear(directory: Path) -> None:
    """Remove what was made in the folder."""
    for path in contents(directory):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def tell(settings: Settings) -> None:
    """Say what there is now and what to do next."""
    dicom, where = settings.dicom, settings.directory
    tls = f" and {dicom.tls_port} (TLS)" if dicom.tls_port else ""
    say(f"Site {settings.site.name} is ready in {where}.")
    say(f"  AE title     {dicom.ae_title}")
    say(f"  DICOM port   {dicom.port}{tls}")
    say(f"  Node port    {settings.node.port}")
    say(f"  Settings     {where / FILE}")
    say(f"  Certificate  {dicom.certificate} (give it to the devices that use TLS)")
    say("Next, name the devices that may send and ask, then start the node:")
    say(f"  konzilium device add {where} CT1 192.0.2.10 104")
    say(f"  konzilium serve {where}")
    say("To exchange studies with another site, invite it, or join on its invitation:")
    say(f"  konzilium invite {where} --site NAME")
