"""`konzilium audit who`: the accounting of disclosures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from node.audit.export import About, Entry, Format, row_of
from node.audit.participants import Source
from node.domain.ids import SiteId, StudyUID
from node.domain.words import number
from node.replication.accounting import Account, Accounting, Disclosure, Evidence
from node.replication.site_answer import SiteAnswer
from node.wiring import Site, open_site
from services.cli import types
from services.cli.audit import words
from services.cli.commands import Command
from services.cli.output import Exit, as_json, columns, complain, finish, moment, say
from services.run.peers import peers_of


@click.command(
    "who",
    cls=Command,
    short_help="Who saw the data of a patient, at all sites.",
    examples=(
        "konzilium audit who /srv/brno --patient 4711 --issuer HOSPITAL",
        "konzilium audit who /srv/brno --study 1.2.826.0.1.3680043.8.498.1 --here --json",
        "konzilium audit who /srv/brno --patient 4711 --since 2026-01-01 --csv disclosures.csv",
    ),
)
@types.site_argument
@click.option("--patient", metavar="ID", default="", help="Patient ID.")
@click.option(
    "--issuer", metavar="NAME", help="Issuer of that Patient ID.  [default: the only one known here]"
)
@click.option("--study", type=types.STUDY, metavar="UID", help="A study instead of a patient.")
@words.since_option
@words.until_option
@click.option("--here", is_flag=True, help="Ask this site alone.")
@click.option("--csv", "csv", type=words.OUTPUT, metavar="FILE", help="Write a table into a file.")
@click.option("--xml", "xml", type=words.OUTPUT, metavar="FILE", help="Write messages (PS3.15) into a file.")
@types.json_option
def who(
    directory: Path,
    *,
    patient: str,
    issuer: str | None,
    study: StudyUID | None,
    since: int,
    until: int,
    here: bool,
    csv: Path | None,
    xml: Path | None,
    json_: bool,
) -> None:
    """Tell who did what with the data of a patient or a study: here, and at every other site.

    All names and studies under which the patient is known here are asked for. Beside each row of another
    site stands what speaks for it: it is proved if the record of that site, as this one has watched it, holds
    it. That this was asked is recorded here and there.

    The exit code is 0 when every site has answered, 3 when one has not, and 7 when a site tells something
    that its own record does not hold.
    """
    if bool(patient) == bool(study):
        raise click.UsageError("Say either --patient ID or --study UID.")
    with open_site(directory) as site:
        accounting = Accounting(site.catalog, site.audit_book, peers_of(site))
        account = accounting.who(
            site.operator(),
            patient=accounting.named(patient, issuer) if patient else "",
            study=study or "",
            since=since,
            until=until,
            everywhere=not here,
            progress=_progress,
        )
        entries = list(_entries(account, _titles(site)))
    _write(account, entries, {Format.CSV: csv, Format.XML: xml})
    if json_:
        as_json(_told(account, entries))
    elif csv is None and xml is None:
        _tell(account)
    _tell_sites(account)
    finish(_verdict(account))


def _write(account: Account, entries: Sequence[Entry], files: Mapping[Format, Path | None]) -> None:
    """Write the rows into the files that were asked for."""
    about: About = {"patients": " ".join(account.patients), "sites": "; ".join(map(str, account.sites))}
    for form, path in files.items():
        if path is not None:
            words.write_file(path, form, entries, lambda: about)


def _titles(site: Site) -> Mapping[str, str]:
    """The AE titles of the sites."""
    with site.catalog.reading() as unit:
        others = {str(member.site): str(member.ae_title) for member in unit.members.active()}
    return {**others, site.settings.site.name: site.settings.dicom.ae_title}


def _entries(account: Account, titles: Mapping[str, str]) -> Iterator[Entry]:
    for one in account.rows:
        yield Entry(
            source=Source(site=one.site, ae_title=titles.get(one.site, "")),
            seq=one.seq,
            at=one.at,
            deed=one.deed,
            hash=one.hash,
            evidence=one.evidence,
        )


def _progress(answer: SiteAnswer) -> None:
    words.note(f"{answer}: {number(answer.rows, 'row')}")


def _told(account: Account, entries: Sequence[Entry]) -> dict[str, object]:
    """What `--json` tells."""
    return {
        "patients": account.patients,
        "studies": account.studies,
        "sites": [
            {
                "site": one.site,
                "state": str(one.state),
                "rows": one.rows,
                "whole": one.is_whole,
                "why": one.why,
            }
            for one in account.sites
        ],
        "records": [asdict(row_of(one)) for one in entries],
    }


def _tell(account: Account) -> None:
    """Say it to a person."""
    if not account.rows:
        say("Nobody, as far as the sites tell.")
        return
    columns(("WHEN", "WHERE", "WHO", "WHAT", "EVIDENCE"), [_line(one) for one in account.rows])


def _line(one: Disclosure) -> tuple[str, SiteId, str, str, str]:
    deed = one.deed
    person = f"{deed.display} <{deed.who}>" if deed.display else deed.who
    via = f" by {deed.via}" if deed.via else ""
    what = " ".join(part for part in (deed.event, deed.what, deed.study) if part)
    return moment(one.at), one.site, f"{person}{via}", what, str(one.evidence)


def _tell_sites(account: Account) -> None:
    """Complain about sites that did not answer, and about rows that are not what they seem."""
    for one in account.sites:
        if not one.is_whole:
            complain(f"{one}{f': {one.why}' if one.why else ''}; some of what happened there may be missing")
    for row in account.rows:
        if row.evidence is Evidence.REFUTED:
            complain(
                f"record {row.seq} of {row.site} is not what its chain says; see `konzilium audit verify`"
            )


def _verdict(account: Account) -> Exit:
    if any(row.evidence is Evidence.REFUTED for row in account.rows):
        return Exit.DAMAGED
    return Exit.FINE if account.is_whole else Exit.PARTLY
