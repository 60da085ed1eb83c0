"""`konzilium partner`: foreign archives that are backed up into, or moved from, by plain DICOM."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click

from node.domain.ids import AETitle
from node.domain.job import SECOND
from node.domain.partner import Fetch, Partner, Role
from node.domain.rule import Match
from node.partners import report as reports
from node.partners.book import PartnerBook
from node.partners.report import BackupReport, MigrationReport
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Group
from services.cli.output import (
    Exit,
    as_json,
    columns,
    complain,
    fields,
    finish,
    moment,
    progress_bar,
    say,
    size,
)
from services.run.partners import backup_of, exclusively

SHOWN = 20
"""Instances told by UID on the terminal; `--json` names them all."""
ANSWERS = 20.0
"""Seconds for which `sync` waits for storage commitment that comes by the door of the node."""
_AGE = click.IntRange(0, 100_000)

ae_argument = click.argument("ae_title", metavar="AE", type=types.AE)


@click.group(cls=Group, short_help="Back up into a foreign archive, or say that one is moved from.")
def partner() -> None:
    """Work with a foreign archive by plain DICOM: back up into it, or bring what it holds.

    A partner is a device of the list, with the host and port of its archive. A backup is kept in step by
    the running node: what arrives is sent within a minute, everything is compared once a day.
    """


@partner.command(
    "add",
    short_help="Make a device a backup or a source.",
    examples=(
        "konzilium partner add /srv/brno ORTHANC --backup",
        "konzilium partner add /srv/brno ORTHANC --backup --modality CT --hours 20:00-06:00",
        "konzilium partner add /srv/brno OLDPACS --source --fetch move",
    ),
)
@types.site_argument
@ae_argument
@click.option("--backup", is_flag=True, help="Keep copies there of what is here.")
@click.option("--source", is_flag=True, help="Bring what is there with `konzilium migrate`.")
@click.option(
    "--modality", "modalities", metavar="CODE", multiple=True, help="Series of these modalities only."
)
@click.option("--younger-than", type=_AGE, metavar="DAYS", help="Studies of fewer days ago only.")
@click.option("--older-than", type=_AGE, metavar="DAYS", help="Studies of so many days ago or more only.")
@click.option("--hours", default="", metavar="HOURS", help="Busy it at these hours only, as in 20:00-06:00.")
@click.option(
    "--fetch",
    type=click.Choice([how.value for how in Fetch]),
    default=Fetch.AUTO.value,
    show_default=True,
    help="How instances come from a source: by C-GET, by C-MOVE, or by C-GET if it can.",
)
@click.option("--replace", "replace_", is_flag=True, help="Change a partner that is one already.")
def add(
    directory: Path,
    *,
    ae_title: AETitle,
    backup: bool,
    source: bool,
    modalities: tuple[str, ...],
    younger_than: int | None,
    older_than: int | None,
    hours: str,
    fetch: str,
    replace_: bool,
) -> None:
    """Make the device AE a partner, as a backup, as a source, or as both."""
    chosen = {Role.BACKUP: backup, Role.SOURCE: source}
    roles = frozenset(role for role, is_chosen in chosen.items() if is_chosen)
    match = Match(
        modalities=tuple(code.strip().upper() for code in modalities),
        younger_than=younger_than,
        older_than=older_than,
    )
    new = Partner(ae_title=ae_title, roles=roles, match=match, hours=hours, fetch=Fetch(fetch))
    with open_site(directory) as site:
        PartnerBook(site.catalog).add(site.operator(), new, replace_=replace_)
    say(f"{ae_title} is a {_words(new)}: {new.match}{f', at {hours}' if hours else ''}.")
    if backup:
        say("The running node keeps it in step; `konzilium partner report` tells how far it is.")
    if source:
        say(f"Bring what it holds with `konzilium migrate {directory} {ae_title}`.")


@partner.command("list", short_help="Show the partners.", examples=("konzilium partner list /srv/brno",))
@types.site_argument
@types.json_option
def list_(directory: Path, *, json_: bool) -> None:
    """Show the partners, what they are for, and when they were compared last."""
    with open_site(directory) as site:
        known = PartnerBook(site.catalog).all()
    if json_:
        as_json([_told(one) for one in known])
    elif known:
        columns(
            ("AE TITLE", "IS", "OF", "HOURS", "COMPARED", "MIGRATED", "TROUBLE"),
            [
                (
                    one.ae_title,
                    _words(one),
                    one.match,
                    one.hours or "always",
                    moment(one.looked_at) if one.looked_at else "never",
                    moment(one.migrated_at) if one.migrated_at else "never",
                    one.error,
                )
                for one in known
            ],
        )
    else:
        say(f"No partner yet; add one with `konzilium partner add {directory} AE --backup`.")


@partner.command(
    "report",
    short_help="Show what a partner has, and what differs.",
    examples=(
        "konzilium partner report /srv/brno ORTHANC",
        "konzilium partner report /srv/brno ORTHANC --verify",
    ),
)
@types.site_argument
@ae_argument
@click.option("--verify", is_flag=True, help="Compare every instance with the partner now, sending nothing.")
@types.json_option
def report(directory: Path, *, ae_title: AETitle, verify: bool, json_: bool) -> None:
    """Show what a partner has and what differs. The exit code is 5 when anything does."""
    with open_site(directory) as site:
        found = PartnerBook(site.catalog).find(ae_title)
        if verify and found.is_for(Role.BACKUP):
            _compare(site, found, by_uid=True, send=False)
        whole = _report(site, found, json_=json_)
    finish(Exit.FINE if whole else Exit.ATTENTION)


@partner.command(
    "sync",
    short_help="Bring a backup into step now.",
    examples=("konzilium partner sync /srv/brno ORTHANC",),
)
@types.site_argument
@ae_argument
@types.json_option
def sync(directory: Path, *, ae_title: AETitle, json_: bool) -> None:
    """Compare everything with a backup now, send what is missing, and report.

    It may run beside the node and be repeated; the exit code is 3 when anything still differs.
    """
    with open_site(directory) as site:
        found = PartnerBook(site.catalog).find(ae_title, Role.BACKUP)
        _compare(site, found, by_uid=False, send=True)
        whole = _report(site, replace(found, roles=frozenset({Role.BACKUP})), json_=json_)
    finish(Exit.FINE if whole else Exit.PARTLY)


@partner.command(
    "remove",
    short_help="Let a device be a partner no longer.",
    examples=("konzilium partner remove /srv/brno ORTHANC",),
)
@types.site_argument
@ae_argument
def remove(directory: Path, *, ae_title: AETitle) -> None:
    """Let AE be a partner no longer; what it holds stays there, it stays on the device list."""
    with open_site(directory) as site:
        PartnerBook(site.catalog).remove(site.operator(), ae_title)
    say(f"{ae_title} is a partner no longer.")


def _compare(site: Site, found: Partner, *, by_uid: bool, send: bool) -> None:
    """Compare everything with a bar on the terminal, and wait a moment for commitments."""
    begun = site.clock()
    with site.catalog.reading() as unit:
        studies = unit.partner_copies.count_studies()
    with (
        exclusively(site.directory, found.ae_title, wait=True),
        progress_bar(studies, f"Comparing with {found.ae_title}") as bar,
    ):
        backup, foreign = backup_of(site, found, principal=site.operator())
        try:
            backup.whole(lambda study: bar.update(1), by_uid=by_uid, send=send)
        finally:
            foreign.close()
    site.catalog.perform(lambda unit: unit.partners.failed(found.ae_title, ""))
    until = time.monotonic() + ANSWERS
    while send and _awaited(site, found.ae_title, begun - SECOND) and time.monotonic() < until:
        time.sleep(0.2)


def _awaited(site: Site, ae_title: AETitle, since: int) -> int:
    with site.catalog.reading() as unit:
        return unit.partner_copies.awaited(ae_title, since)


def _report(site: Site, found: Partner, *, json_: bool) -> bool:
    """Tell all reports about a partner; whether nothing differs."""
    backup = reports.of_backup(site.catalog, found) if found.is_for(Role.BACKUP) else None
    migration = reports.of_migration(site.catalog, found) if found.is_for(Role.SOURCE) else None
    if json_:
        told = {
            "partner": found.ae_title,
            "backup": backup_as_json(backup) if backup else None,
            "migration": migration_as_json(migration) if migration else None,
        }
        as_json(told)
    else:
        if backup:
            tell_backup(backup)
        if migration:
            tell_migration(migration)
    return all(one.is_whole for one in (backup, migration) if one is not None)


def tell_backup(told: BackupReport) -> None:
    """The report of a backup, for a person."""
    compared = moment(told.looked_at) if told.looked_at else "never"
    say(f"Backup at {told.partner}, compared as a whole: {compared}.")
    columns(
        ("INSTANCES", "", ""),
        [
            (told.ought, "ought to be there", size(told.bytes)),
            (told.committed, "committed", "the partner has taken the responsibility"),
            (told.found, "found", "the partner lists them, which proves nothing of their bytes"),
            (told.sent, "sent", "taken, not listed there yet"),
            (told.missing, "missing", "to be sent"),
            (told.refused, "refused", "the partner did not take them"),
            (told.withdrawn, "withdrawn", "withdrawn here and still there; DICOM cannot withdraw them there"),
        ],
    )
    if told.error:
        complain(told.error)
    for copy in told.problems[:SHOWN]:
        complain(f"{copy.state}: {copy.instance}{f': {copy.why}' if copy.why else ''}")
    for copy in told.left_behind[:SHOWN]:
        complain(f"withdrawn here, still there: {copy.instance} of study {copy.study}")
    more = max(len(told.problems) - SHOWN, 0) + max(len(told.left_behind) - SHOWN, 0)
    if more:
        complain(f"and {more} more; --json names them all")


def tell_migration(told: MigrationReport) -> None:
    """The report of a migration, for a person."""
    moved = told.moved
    ended = f"ended {moment(told.migrated_at)}" if told.migrated_at else "not ended yet"
    say(f"Migration from {told.partner}, {ended}.")
    say(
        f"Studies: {moved.studies} there, {moved.studies_here} here, {moved.studies_differ} differ, "
        f"{told.waiting} waiting. Series: {moved.series}."
    )
    say(
        f"Instances: {moved.instances} there, {moved.here} here ({size(moved.bytes)}), "
        f"{moved.fetched} of them brought. Differences: {len(told.differences)}."
    )
    for one in told.differences[:SHOWN]:
        complain(f"{one.kind}: {one.instance}: {one.why}")
    if len(told.differences) > SHOWN:
        complain(f"and {len(told.differences) - SHOWN} more; --json names them all")
    for window in told.cut:
        complain(f"the partner does not tell all studies of {window}")


def backup_as_json(told: BackupReport) -> dict[str, object]:
    """The report of a backup, for a program."""
    return fields(told) | {
        "whole": told.is_whole,
        "problems": [fields(copy) for copy in told.problems],
        "left_behind": [fields(copy) for copy in told.left_behind],
    }


def migration_as_json(told: MigrationReport) -> dict[str, object]:
    """The report of a migration, for a program."""
    return fields(told) | {"whole": told.is_whole}


def _told(one: Partner) -> dict[str, object]:
    return fields(one) | {"roles": sorted(one.roles), "match": one.match.told()}


def _words(one: Partner) -> str:
    return " and ".join(sorted(role.value for role in one.roles))
