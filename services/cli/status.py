"""`konzilium status`: is it running, what does it hold, what is owed, what needs attention."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from node.domain.clock import system_clock
from node.domain.member import Standing
from node.wiring import Site, open_site
from services.cli import keys, types
from services.cli.commands import Command
from services.cli.output import Exit, as_json, finish, say, size, span
from services.run.doors import dicom_doors, node_doors
from services.run.lock import running

EXPIRES_SOON = 60
"""Days before the end of the certificate from which on it needs attention."""
OWED_TOO_LONG = 86400.0
"""Seconds after which a job that is still owed needs attention."""
SILENT_TOO_LONG = 86400.0
"""Seconds after which a member that was not heard of needs attention."""

NEARLY = 2
"""A disk with less than so many times the reserve is nearly full."""
MICRO = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of a site, as `--json` writes it."""

    site: str
    ae_title: str
    running: bool
    pid: int | None
    doors: dict[str, int]
    patients: int
    studies: int
    series: int
    instances: int
    bytes: int
    shared_studies: int
    conflicts: int
    quarantined: int
    devices: int
    pending: int
    jobs: int
    oldest_job_seconds: float | None
    disk_free: int
    disk_reserve: int
    certificate_days: int
    members: int
    """Sites with which this one exchanges."""
    waiting: tuple[str, ...]
    """Sites that have joined and wait to be confirmed."""
    silent: tuple[str, ...]
    """Sites that have not been heard of for a day."""
    owed_to_members: int
    """Objects of which members owe copies that they have not proved."""


@click.command(
    cls=Command,
    short_help="Tell whether the node runs, what it holds and what needs attention.",
    examples=("konzilium status /srv/brno", "konzilium status /srv/brno --json"),
)
@types.site_argument
@types.json_option
def status(directory: Path, *, json_: bool) -> None:
    """Tell how the site is; works while the node runs and while it does not.

    The exit code is 0 when all is well and 5 when something needs attention; each such thing is a line
    that says what to do. A node that does not run is not by itself such a thing.
    """
    with open_site(directory) as site:
        found = look(site)
    needs = list(attention(found, directory))
    if json_:
        as_json({**asdict(found), "attention": needs})
    else:
        tell(found, needs)
    finish(Exit.ATTENTION if needs else Exit.FINE)


def look(site: Site) -> Status:
    """Read the state of the site."""
    settings, counts, pid = site.settings, site.archive.counts(), running(site.settings.directory)
    now = system_clock() / MICRO
    members = site.members.all()
    active = [member.site for member in members if member.is_active]
    with site.catalog.reading() as unit:
        heard = {name: unit.members.contact(name).heard_at / MICRO for name in active}
        owed = sum(unit.replicas.lag(name).objects for name in active)
    return Status(
        site=settings.site.name,
        ae_title=settings.dicom.ae_title,
        running=pid is not None,
        pid=pid or None,
        doors={door.name: door.port for door in (*dicom_doors(settings.dicom), *node_doors(settings.node))},
        patients=counts.patients,
        studies=counts.studies,
        series=counts.series,
        instances=counts.instances,
        bytes=counts.bytes,
        shared_studies=counts.shared_studies,
        conflicts=counts.conflicts,
        quarantined=counts.quarantined,
        devices=counts.devices,
        pending=counts.pending,
        jobs=counts.jobs,
        oldest_job_seconds=None
        if counts.oldest_job_at is None
        else max(0.0, now - counts.oldest_job_at / MICRO),
        disk_free=shutil.disk_usage(settings.store.path).free,
        disk_reserve=settings.store.reserve_mb * 1024 * 1024,
        certificate_days=keys.days_left(settings.dicom.certificate, datetime.fromtimestamp(now, UTC)),
        members=len(active),
        waiting=tuple(member.site for member in members if member.standing is Standing.WAITING),
        silent=tuple(name for name, at in heard.items() if now - at > SILENT_TOO_LONG),
        owed_to_members=owed,
    )


def attention(found: Status, where: Path) -> Iterator[str]:
    """What somebody has to do something about, and what."""
    if found.disk_free < found.disk_reserve:
        yield (
            f"The disk is full: {size(found.disk_free)} free, the reserve is {size(found.disk_reserve)}. "
            "Nothing can be stored (A700) until there is more room."
        )
    elif found.disk_free < NEARLY * found.disk_reserve:
        yield f"The disk is nearly full: {size(found.disk_free)} free. Make room soon."
    if found.quarantined:
        yield (
            f"{_number(found.quarantined, 'object')} without a patient or study in quarantine. "
            f"See `konzilium quarantine list {where}`."
        )
    if found.conflicts:
        yield (
            f"{_number(found.conflicts, 'instance')} arrived twice with different content; both are kept. "
            f"See `konzilium conflicts {where}`."
        )
    if found.shared_studies:
        yield (
            f"{_number(found.shared_studies, 'study', 'studies')} arrived for more than one patient. "
            f"See `konzilium conflicts {where}`."
        )
    if found.pending:
        yield (
            f"{_number(found.pending, 'unknown device')} asked to connect. "
            f"See `konzilium device pending {where}`."
        )
    for name in found.waiting:
        yield f"{name} has joined and waits to be confirmed. Say `konzilium confirm {where} {name}`."
    for name in found.silent:
        yield f"{name} has not been heard of for more than a day. See `konzilium peers {where}`."
    if found.oldest_job_seconds is not None and found.oldest_job_seconds > OWED_TOO_LONG:
        yield f"Something has been owed for {span(found.oldest_job_seconds)}. See the log of the worker."
    if found.certificate_days < 0:
        yield f"The certificate has expired. Replace it, or TLS devices stay out: {where}/keys/site.crt."
    elif found.certificate_days < EXPIRES_SOON:
        yield f"The certificate expires in {_number(found.certificate_days, 'day')}. Replace it in time."


def tell(found: Status, needs: list[str]) -> None:
    """Say it to a person."""
    ports = ", ".join(f"{name} {port}" for name, port in found.doors.items())
    rows: list[tuple[str, Any]] = [
        ("Node", f"running (process {found.pid})" if found.running else "not running"),
        ("AE title", found.ae_title),
        ("Doors", ports if found.running else f"closed ({ports} when it runs)"),
        ("Archive", _held(found)),
        ("Conflicts", found.conflicts),
        ("Quarantine", found.quarantined),
        ("Devices", f"{found.devices} known, {found.pending} pending"),
        ("Members", _members(found)),
        ("Owed", _owed(found)),
        ("Disk", f"{size(found.disk_free)} free, {size(found.disk_reserve)} in reserve"),
        ("Certificate", f"{_number(found.certificate_days, 'day')} left"),
    ]
    say(f"Site {found.site}")
    for name, value in rows:
        say(f"  {name:12} {value}")
    for need in needs:
        say(f"! {need}")


def _held(found: Status) -> str:
    return ", ".join(
        (
            _number(found.patients, "patient"),
            _number(found.studies, "study", "studies"),
            f"{found.series} series",
            _number(found.instances, "instance"),
            size(found.bytes),
        )
    )


def _members(found: Status) -> str:
    if not found.members:
        return "none"
    owed = f", {_number(found.owed_to_members, 'copy', 'copies')} owed" if found.owed_to_members else ""
    return f"{_number(found.members, 'site')}{owed}"


def _owed(found: Status) -> str:
    if found.oldest_job_seconds is None:
        return "nothing"
    return f"{_number(found.jobs, 'job')}, the oldest for {span(found.oldest_job_seconds)}"


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
