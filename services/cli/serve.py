"""`konzilium serve`: the node in the foreground."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import click

from node import telemetry
from node.domain.errors import BadSetting, Misconfigured, PortTaken
from node.settings import Settings, load
from services.cli import types
from services.cli.commands import Command
from services.cli.output import as_json, say
from services.run.doors import Door
from services.run.lock import hold
from services.run.supervisor import Supervisor, parts

LEVELS = click.Choice(["debug", "info", "warning", "error"])


@click.command(
    cls=Command,
    short_help="Run the node until it is told to stop.",
    examples=("konzilium serve /srv/brno", "konzilium serve /srv/brno --log-level debug 2> node.log"),
)
@types.site_argument
@click.option(
    "--log-level",
    type=LEVELS,
    metavar="LEVEL",
    help="How much to log: debug, info, warning or error.  [default: the setting log.level]",
)
@types.json_option
def serve(directory: Path, *, log_level: str | None, json_: bool) -> None:
    """Run the node of the site in the foreground, until Ctrl-C or SIGTERM.

    It says on which doors it listens once they are open. The log goes to standard error. To stop, it
    lets the requests that are being served finish, for up to 10 seconds; a second Ctrl-C ends them at once.
    """
    if log_level:
        os.environ["KONZILIUM_LOG__LEVEL"] = log_level
    settings = load(directory, os.environ)
    telemetry.configure(settings.log.level, file=settings.log.file)
    with hold(settings.directory) as lock:
        check_ports(settings)
        Supervisor(
            parts(settings.directory, web=settings.web.port is not None),
            inherit=(lock,),
            announce=lambda doors: announce(settings, doors, json_=json_),
        ).run()


def check_ports(settings: Settings) -> None:
    """See that the ports are free, so that a port in use is named before anything starts.

    Raises:
        PortTaken: another program listens there.
        Misconfigured: this user or this machine cannot listen there.
    """
    for port in (settings.dicom.port, settings.dicom.tls_port):
        if port is not None:
            _check("dicom.host", settings.dicom.host, port)
    if settings.web.port is not None:
        _check("web.host", settings.web.host, settings.web.port)
    if settings.node.url != "none":
        _check("node.host", settings.node.host, settings.node.port)


def _check(setting: str, host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except PermissionError:
        raise Misconfigured(
            f"this user may not open port {port}; ports below 1024 are the administrator's"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(port) from None
        raise BadSetting(setting, host, "this machine has no such address") from None


def announce(settings: Settings, doors: list[Door], *, json_: bool) -> None:
    """Say that the node runs, and where it listens."""
    if json_:
        as_json(
            {
                "site": settings.site.name,
                "ae_title": settings.dicom.ae_title,
                "pid": os.getpid(),
                "doors": [{"name": door.name, "host": door.host, "port": door.port} for door in doors],
            }
        )
        return
    say(f"Site {settings.site.name} is open, as AE title {settings.dicom.ae_title}:")
    for door in doors:
        say(f"  {door.name:10} {door.host} port {door.port}")
    say("Stop with Ctrl-C.")
