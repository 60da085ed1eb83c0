"""`konzilium audit`: who did what, across sites; and whether the record of it is what it was."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from lxml import etree

from node.audit.message import schema
from node.audit.record import Event, read
from node.domain.decision import patient_text
from node.wiring import Site, open_site
from services.cli.main import main
from services.cli.output import Exit
from tests.support import synthetic
from tests.support.doors import Door, acquaint, opened, served
from tests.support.neighbours import made

PATIENT = "P0001"
STUDY = synthetic.study_uid(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A site with an instance that somebody has searched for."""
    made(tmp_path, "brno")
    with open_site(tmp_path / "brno") as site:
        admit(site)
    return tmp_path / "brno"


@pytest.fixture(scope="module")
def sites() -> Iterator[tuple[Door, Door]]:
    with opened("brno") as brno, served("prague") as prague:
        acquaint(brno, prague)
        for door in (brno, prague):
            admit(door.site)
        yield brno, prague


def admit(site: Site, **attributes) -> None:
    offer, data = synthetic.instance(study=1, patient=PATIENT, **attributes)
    site.archive.admit(site.operator(), offer, [data])


def konzilium(*words: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, words)])


def last_deed(folder: Path):
    with open_site(folder) as site, site.catalog.reading() as unit:
        *_, last = unit.audit.after()
        return read(last.deed)


def directory(door: Door) -> Path:
    return door.site.settings.directory


def test_a_record_that_is_what_it_was_is_sound(folder):
    done = konzilium("verify", folder)
    assert (done.exit_code, "Nothing is wrong." in done.output) == (Exit.FINE, True)
    told = json.loads(konzilium("verify", folder, "--json").stdout)
    assert (told["site"], told["records"], told["sound"], told["faults"]) == ("brno", 1, True, [])


def test_a_record_that_was_changed_is_named_and_stays_so_until_somebody_has_looked(folder):
    with open_site(folder) as site:
        admit(site)
        admit(site)
    with sqlite3.connect(folder / "catalog.db") as catalog:
        changed = catalog.execute("UPDATE audit SET deed = replace(deed, 'operator', 'nobody') WHERE seq = 2")
        assert changed.rowcount == 1
    catalog.close()
    done = konzilium("verify", folder)
    assert (done.exit_code, "of brno: altered" in done.output) == (Exit.DAMAGED, True), done.output
    (fault,) = json.loads(konzilium("verify", folder, "--json").stdout)["faults"]
    assert fault["first"] <= 2 <= fault["last"]
    assert konzilium("settle", folder, "brno", "--note", "a test").exit_code == Exit.FINE
    assert last_deed(folder).event is Event.AUDIT_USED


def test_who_saw_a_patient_is_told_with_the_issuer_that_is_known_here_and_that_it_was_asked(folder):
    done = konzilium("who", folder, "--patient", PATIENT)
    assert done.exit_code == Exit.FINE
    assert "Data Import" in done.stdout
    assert STUDY in done.stdout
    assert (last_deed(folder).event, last_deed(folder).patient) == (
        Event.AUDIT_USED,
        patient_text(PATIENT, ""),
    )
    told = json.loads(konzilium("who", folder, "--study", STUDY, "--json").stdout)
    assert {one["event"] for one in told["records"]} == {"Data Import"}
    assert told["sites"] == [{"site": "brno", "state": "answered", "rows": 1, "whole": True, "why": ""}]


def test_nobody_is_said_in_words(folder):
    assert "Nobody" in konzilium("who", folder, "--patient", "unknown").stdout


def test_a_patient_id_of_two_issuers_is_two_people(folder):
    with open_site(folder) as site:
        data = synthetic.dataset(study=2, patient=PATIENT)
        data.IssuerOfPatientID = "OTHER"
        site.archive.admit(site.operator(), synthetic.offer_of(data), [synthetic.encoded(data)])
    done = konzilium("who", folder, "--patient", PATIENT)
    assert (done.exit_code, "several issuers" in done.output) == (Exit.FAILED, True)
    told = json.loads(konzilium("who", folder, "--patient", PATIENT, "--issuer", "OTHER", "--json").stdout)
    assert told["patients"] == [patient_text(PATIENT, "OTHER")]
    assert {one["study"] for one in told["records"]} == {synthetic.study_uid(2)}


@pytest.mark.parametrize("words", [(), ("--patient", PATIENT, "--study", STUDY)])
def test_either_a_patient_or_a_study_is_asked_for(folder, words):
    assert konzilium("who", folder, *words).exit_code == Exit.USAGE


def test_an_accounting_goes_into_files_that_only_their_owner_reads(folder, tmp_path):
    table, messages = tmp_path / "who.csv", tmp_path / "who.xml"
    done = konzilium("who", folder, "--patient", PATIENT, "--csv", table, "--xml", messages)
    assert (done.exit_code, done.stdout) == (Exit.FINE, "")
    assert {path.stat().st_mode & 0o777 for path in (table, messages)} == {0o600}
    (row,) = csv.DictReader(io.StringIO(table.read_text("utf-8"), newline=""))
    assert (row["patient"], row["evidence"]) == (patient_text(PATIENT, ""), "own record")
    (message,) = etree.parse(messages).iterfind("Record/AuditMessage")
    schema().assertValid(etree.fromstring(etree.tostring(message, with_tail=False)))


def test_who_is_asked_at_every_site_and_each_row_says_what_speaks_for_it(sites):
    brno, prague = sites
    with prague.catalog.reading() as unit:
        before = unit.audit.head().seq
    done = konzilium("who", directory(brno), "--patient", PATIENT, "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == Exit.FINE
    assert {(one["site"], one["evidence"]) for one in told["records"]} >= {("prague", "proved")}
    with prague.catalog.reading() as unit:
        events = [read(record.deed).event for record in unit.audit.after(before)]
    assert Event.AUDIT_USED in events, "that it was told is recorded there, too"
    here = json.loads(konzilium("who", directory(brno), "--patient", PATIENT, "--here", "--json").stdout)
    assert {one["site"] for one in here["records"]} == {"brno"}


def test_a_site_that_does_not_answer_is_named(tmp_path):
    with opened("brno") as brno, opened("prague") as prague:
        acquaint(brno, prague)
        done = konzilium("who", directory(brno), "--study", STUDY)
        assert (done.exit_code, "prague" in done.stderr) == (Exit.PARTLY, True)
        done = konzilium("export", directory(brno), "--output", tmp_path / "all.csv")
        assert (done.exit_code, "prague did not hear" in done.stderr) == (Exit.PARTLY, True)
        done = konzilium("verify", directory(brno), "--peers")
        assert (done.exit_code, "prague could not be asked" in done.stderr) == (Exit.LATER, True)


def test_the_records_of_other_sites_are_looked_at_and_a_changed_one_is_named(sites):
    brno, prague = sites
    assert konzilium("verify", directory(brno), "--peers").exit_code == Exit.FINE
    with prague.catalog.begin() as unit:
        unit._connection.exec_driver_sql(
            "UPDATE audit SET deed = replace(deed, 'root', 'toor') WHERE seq = 2"
        )
        unit._connection.exec_driver_sql("UPDATE audit SET at = at + 1 WHERE seq = 2")
    done = konzilium("verify", directory(brno), "--peers", "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == Exit.ATTENTION
    (fault,) = told["faults"]
    assert fault["site"] == "prague"
    assert fault["first"] <= 2 <= fault["last"]


def test_what_is_exported_ends_with_a_signed_end_that_members_are_told(sites, tmp_path):
    brno, prague = sites
    done = konzilium("export", directory(brno), "--format", "json", "--output", tmp_path / "all.json")
    assert done.exit_code == Exit.FINE, done.output
    told = json.loads((tmp_path / "all.json").read_text("utf-8"))
    assert told["records"][-1]["event"] == "Audit Log Used", "the export itself is in it"
    assert told["end"]["seq"] == told["records"][-1]["seq"]
    assert told["end"]["signature"]
    with prague.catalog.reading() as unit:
        known = {(head.seq, head.hash) for head in unit.witnesses.latest()}
    assert (told["end"]["seq"], told["end"]["hash"]) in known


def test_records_of_a_time_are_exported_in_each_format(folder):
    for form in ("csv", "json", "xml"):
        done = konzilium("export", folder, "--format", form)
        assert (done.exit_code, STUDY in done.stdout) == (Exit.FINE, True)
        done = konzilium("export", folder, "--format", form, "--to", "2000-12-31")
        assert (done.exit_code, STUDY in done.stdout) == (Exit.FINE, False)
    assert konzilium("export", folder, "--from", "2000-01-01", "--to", "2100-01-01").stdout.count(STUDY) == 1
    assert konzilium("export", folder, "--from", "yesterday").exit_code == Exit.USAGE


def test_a_day_counts_to_its_end(folder):
    with open_site(folder) as site:
        at = site.clock()
    day = datetime.fromtimestamp(at / 1_000_000).astimezone().date().isoformat()
    assert STUDY in konzilium("export", folder, "--from", day, "--to", day).stdout


def test_heads_are_shown_once_there_are_some(folder):
    assert "Nothing was signed yet" in konzilium("heads", folder).stdout
    konzilium("export", folder)
    (head,) = json.loads(konzilium("heads", folder, "--json").stdout)
    assert (head["site"], head["state"]) == ("brno", "checked")
    assert head["hash"] in konzilium("heads", folder, "--of", "brno").stdout
