"""`konzilium status`: is it running, what does it hold, what is owed, what needs attention."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from node.domain.alert import Concern
from node.domain.clock import system_clock
from node.domain.member import Standing
from node.domain.words import number
from node.watch.conditions import concerns
from node.watch.look import days_left
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.output import Exit, as_json, finish, say, size, span
from services.run.doors import dicom_doors, node_doors
from services.run.lock import running
from services.run.watch import eye_of

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
    """Sites that have not been heard of for longer than `alerts.silent_minutes`."""
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
        concerned = attention(site)
        found = look(site, concerned)
    needs = [f"{one.what} {one.todo}" for one in concerned]
    if json_:
        as_json({**asdict(found), "attention": needs})
    else:
        tell(found, needs)
    finish(Exit.ATTENTION if needs else Exit.FINE)


def look(site: Site, concerned: Sequence[Concern]) -> Status:
    """Read the state of the site."""
    settings, counts, pid = site.settings, site.archive.counts(), running(site.settings.directory)
    now = system_clock() / MICRO
    members = site.members.all()
    active = [member.site for member in members if member.is_active]
    with site.catalog.reading() as unit:
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
        certificate_days=days_left(settings.dicom.certificate, system_clock()),
        members=len(active),
        waiting=tuple(member.site for member in members if member.standing is Standing.WAITING),
        silent=tuple(one.subject for one in concerned if one.kind == "peer-silent"),
        owed_to_members=owed,
    )


def attention(site: Site) -> list[Concern]:
    """What somebody has to do something about: the conditions of the alerts, judged now."""
    with site.catalog.reading() as unit:
        eye, open_ = eye_of(site), {alert.key for alert in unit.alerts.open()}
        found = concerns(eye.look(unit).seen, eye.limits, open_)
    return [one for one in found if not one.quiet]


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
        ("Certificate", f"{number(found.certificate_days, 'day')} left"),
    ]
    say(f"Site {found.site}")
    for name, value in rows:
        say(f"  {name:12} {value}")
    for need in needs:
        say(f"! {need}")


def _held(found: Status) -> str:
    return ", ".join(
        (
            number(found.patients, "patient"),
            number(found.studies, "study", "studies"),
            f"{found.series} series",
            number(found.instances, "instance"),
            size(found.bytes),
        )
    )


def _members(found: Status) -> str:
    if not found.members:
        return "none"
    owed = f", {number(found.owed_to_members, 'copy', 'copies')} owed" if found.owed_to_members else ""
    return f"{number(found.members, 'site')}{owed}"


def _owed(found: Status) -> str:
    if found.oldest_job_seconds is None:
        return "nothing"
    return f"{number(found.jobs, 'job')}, the oldest for {span(found.oldest_job_seconds)}"
