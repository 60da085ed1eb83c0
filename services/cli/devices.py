"""`konzilium device`: who may associate, and what they may do."""

from __future__ import annotations

from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from node.domain.ids import AETitle
from node.domain.principal import DEVICE_ACTIONS, Action, Device, Naming
from node.wiring import open_site
from services.cli import types
from services.cli.commands import Group
from services.cli.output import as_json, columns, fields, moment, say

may_option = click.option(
    "--may",
    type=types.ACTIONS,
    metavar="ACTIONS",
    default=",".join(sorted(DEVICE_ACTIONS)),
    show_default=True,
    help="What it may do, separated by commas: store, query, retrieve.",
)
people_option = click.option(
    "--people",
    type=click.Choice([one.value for one in Naming]),
    default=Naming.OPTIONAL.value,
    show_default=True,
    help="What it says of the person who sits at it: ignored, proved if it is said (optional), always "
    "said and proved (required), or trusted without a proof.",
)
ae_argument = click.argument("ae_title", metavar="AE", type=types.AE)


@click.group(cls=Group, short_help="Say which devices may send, ask and fetch.")
def device() -> None:
    """Say which devices may associate: modalities, workstations, other archives.

    A device that is not on the list is turned away; what it asked for is kept under `device pending`,
    from where one command accepts it.
    """


@device.command(
    "add",
    short_help="Put a device on the list.",
    examples=(
        "konzilium device add /srv/brno CT1 192.0.2.10 104",
        "konzilium device add /srv/brno VIEWER 192.0.2.20 11112 --may query,retrieve",
        "konzilium device add /srv/brno MR2 mr2.example.org 2762 --certificate mr2.pem",
        "konzilium device add /srv/brno WARD3 192.0.2.30 11112 --may query,retrieve --people required",
    ),
)
@types.site_argument
@ae_argument
@click.argument("host", metavar="HOST")
@click.argument("port", metavar="PORT", type=types.PORT)
@may_option
@click.option(
    "--certificate",
    type=types.FILE,
    help="PEM file with the only certificate it may show; it must use TLS then.",
)
@people_option
@click.option("--replace", is_flag=True, help="Change a device that is on the list already.")
def add(
    directory: Path,
    *,
    ae_title: AETitle,
    host: str,
    port: int,
    may: frozenset[Action],
    certificate: Path | None,
    people: str,
    replace: bool,
) -> None:
    """Put the device with AE title AE on the list. HOST and PORT are where the node calls it back."""
    pem = certificate_of(certificate) if certificate else None
    new = Device(ae_title=ae_title, host=host, port=port, may=may, certificate=pem, people=Naming(people))
    with open_site(directory) as site:
        site.devices.add(site.operator(), new, replace=replace)
    say(f"{ae_title} at {host} port {port} may {words(may)}{' over TLS only' if pem else ''}.")


@device.command(
    "list", short_help="Show the devices on the list.", examples=("konzilium device list /srv/brno",)
)
@types.site_argument
@types.json_option
def list_(directory: Path, *, json_: bool) -> None:
    """Show the devices on the list, where they are and what they may do."""
    with open_site(directory) as site:
        known = sorted(site.devices.all(), key=lambda one: one.ae_title)
    if json_:
        as_json([{**fields(one), "may": sorted(one.may)} for one in known])
    elif known:
        columns(
            ("AE TITLE", "HOST", "PORT", "MAY", "TLS", "PEOPLE"),
            [
                (d.ae_title, d.host, d.port, words(d.may), "only" if d.certificate else "", d.people)
                for d in known
            ],
        )
    else:
        say(f"No device yet; add one with `konzilium device add {directory} AE HOST PORT`.")


@device.command(
    "remove", short_help="Take a device off the list.", examples=("konzilium device remove /srv/brno CT1",)
)
@types.site_argument
@ae_argument
def remove(directory: Path, *, ae_title: AETitle) -> None:
    """Take the device off the list; what it has stored stays in the archive."""
    with open_site(directory) as site:
        site.devices.remove(site.operator(), ae_title)
    say(f"{ae_title} is off the list.")


@device.command(
    "pending",
    short_help="Show unknown devices that knocked.",
    examples=("konzilium device pending /srv/brno",),
)
@types.site_argument
@types.json_option
def pending(directory: Path, *, json_: bool) -> None:
    """Show the devices that asked for an association and were turned away, with what they asked for."""
    with open_site(directory) as site:
        knocks = sorted(site.devices.pending(), key=lambda one: -one.last_at)
    if json_:
        as_json([fields(knock) for knock in knocks])
    elif knocks:
        columns(
            ("AE TITLE", "ADDRESS", "CALLED", "TIMES", "LAST", "ASKED FOR"),
            [(k.ae_title, k.address, k.called, k.count, moment(k.last_at), k.asked) for k in knocks],
        )
        say(f"Let one in with `konzilium device accept {directory} AE`.")
    else:
        say("No unknown device has asked to connect.")


@device.command(
    "accept",
    short_help="Put a device that knocked on the list.",
    examples=("konzilium device accept /srv/brno CT1 --port 104 --may store",),
)
@types.site_argument
@ae_argument
@click.option(
    "--port",
    type=types.PORT,
    metavar="PORT",
    default=104,
    show_default=True,
    help="Its own DICOM port, where the node calls it back.",
)
@may_option
def accept(directory: Path, *, ae_title: AETitle, port: int, may: frozenset[Action]) -> None:
    """Put a pending device on the list; the address from which it knocked becomes its host."""
    with open_site(directory) as site:
        accepted = site.devices.accept(site.operator(), ae_title, port=port, may=may)
    say(f"{ae_title} at {accepted.host} port {accepted.port} may {words(may)}.")


def words(may: frozenset[Action]) -> str:
    """What a device may do, in a stable order."""
    return ", ".join(sorted(action.value for action in may))


def certificate_of(path: Path) -> str:
    """The certificate of a PEM file.

    Raises:
        UsageError: it holds none.
    """
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        raise click.BadParameter(f"{path} holds no PEM certificate", param_hint="--certificate") from None
    return certificate.public_bytes(Encoding.PEM).decode()
