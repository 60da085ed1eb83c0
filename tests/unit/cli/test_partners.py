"""The commands about foreign archives: what they do, what they say, and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.domain.ids import AETitle
from node.domain.principal import DEVICE_ACTIONS, Kind, Principal
from node.wiring import open_site
from services.cli import migrate as migrating
from services.cli.main import main
from services.cli.migrate import pace
from services.cli.output import Exit
from services.run import partners as running
from services.run.partners import exclusively
from tests.support import synthetic
from tests.support.foreign import Away, FakeForeign
from tests.support.neighbours import made

PACS = "PACS"


def run(*words: object) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(*words: object, code: Exit = Exit.FINE) -> str:
    result = run(*words)
    assert result.exit_code == code, result.output
    return result.output


def said(*words: object, code: Exit = Exit.FINE):
    result = run(*words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def brno(tmp_path: Path) -> Path:
    made(tmp_path, "brno")
    done("device", "add", tmp_path / "brno", PACS, "192.0.2.30", 104)
    return tmp_path / "brno"


@pytest.fixture
def foreign(brno: Path, monkeypatch) -> Iterator[FakeForeign]:
    """The archive that PACS is, in memory."""
    fake = FakeForeign()
    with open_site(brno) as site:
        sender = Principal(
            kind=Kind.DEVICE, name=PACS, site=site.settings.site.name, may=frozenset(DEVICE_ACTIONS)
        )
        fake.admit = lambda content: site.archive.admit(sender, content[0], [content[1]])
        monkeypatch.setattr(running, "foreign_of", lambda site, partner: fake)
        monkeypatch.setattr(migrating, "foreign_of", lambda site, partner: fake)
        yield fake


def admit(directory: Path, *numbers: int) -> None:
    with open_site(directory) as site:
        for number in numbers:
            offer, data = synthetic.instance(number=number)
            site.archive.admit(site.operator(), offer, [data])


def test_only_a_device_of_the_list_becomes_a_partner(brno):
    assert "is not a known device" in done("partner", "add", brno, "NOBODY", "--backup", code=Exit.FAILED)
    assert "a backup, a source, or both" in done("partner", "add", brno, PACS, code=Exit.FAILED)
    assert "hours" in done("partner", "add", brno, PACS, "--backup", "--hours", "night", code=Exit.FAILED)
    told = done("partner", "add", brno, PACS, "--backup", "--modality", "ct", "--hours", "20:00-06:00")
    assert "PACS is a backup: modality CT, at 20:00-06:00" in told
    assert "already" in done("partner", "add", brno, PACS, "--source", code=Exit.FAILED)
    done("partner", "add", brno, PACS, "--source", "--backup", "--replace")
    (listed,) = said("partner", "list", brno)
    assert (listed["ae_title"], listed["roles"], listed["match"]) == (PACS, ["backup", "source"], {})
    assert "backup and source" in done("partner", "list", brno)


def test_what_was_decided_about_partners_is_in_the_audit(brno):
    done("partner", "add", brno, PACS, "--backup")
    done("partner", "remove", brno, PACS)
    with open_site(brno) as site, site.catalog.reading() as unit:
        query = "SELECT deed FROM audit WHERE deed LIKE '%partner%' ORDER BY seq"
        deeds = [row[0] for row in unit._connection.exec_driver_sql(query)]
    assert ["is backup" in deeds[0], "removed" in deeds[1], len(deeds)] == [True, True, 2]


def test_a_partner_that_is_none_is_not_worked_with(brno):
    for command in ("report", "sync", "remove"):
        assert "is not a partner" in done("partner", command, brno, PACS, code=Exit.FAILED)
    done("partner", "add", brno, PACS, "--backup")
    assert "not a source" in done("migrate", brno, PACS, code=Exit.FAILED)
    assert "No partner yet" not in done("partner", "list", brno)
    done("partner", "remove", brno, PACS)
    assert "No partner yet" in done("partner", "list", brno)


def test_sync_sends_what_is_missing_and_the_report_says_so(brno, foreign):
    admit(brno, 1, 2)
    done("partner", "add", brno, PACS, "--backup")
    assert said("partner", "report", brno, PACS, code=Exit.ATTENTION)["backup"]["whole"] is False
    told = said("partner", "sync", brno, PACS)
    assert (told["backup"]["found"], told["backup"]["whole"], told["migration"]) == (2, True, None)
    assert len(foreign.kept) == 2
    text = done("partner", "report", brno, PACS)
    assert "ought to be there" in text and "proves nothing" in text


def test_a_report_that_verifies_notices_what_is_gone_there_and_sends_nothing(brno, foreign):
    admit(brno, 1, 2)
    done("partner", "add", brno, PACS, "--backup")
    done("partner", "sync", brno, PACS)
    foreign.kept.pop(lost := synthetic.instance_uid(1, 1, 1))
    done("partner", "report", brno, PACS)
    told = done("partner", "report", brno, PACS, "--verify", code=Exit.ATTENTION)
    assert f"owed: {lost}: it was found and is not there any more" in told
    assert len(foreign.kept) == 1


def test_what_is_refused_makes_a_sync_partly_done(brno, foreign):
    admit(brno, 1)
    foreign.refuses[synthetic.instance_uid(1, 1, 1)] = "it answered with status C000"
    done("partner", "add", brno, PACS, "--backup")
    told = said("partner", "sync", brno, PACS, code=Exit.PARTLY)["backup"]
    assert [one["why"] for one in told["problems"]] == ["it answered with status C000"]


def test_a_partner_out_of_reach_is_something_for_later(brno, foreign):
    admit(brno, 1)
    done("partner", "add", brno, PACS, "--backup", "--source")
    foreign.trouble = Away(*range(1, 100))
    assert "cannot be reached" in done("partner", "sync", brno, PACS, code=Exit.LATER)
    assert "cannot be reached" in done("migrate", brno, PACS, "--patience", 0, code=Exit.LATER)


def test_a_migration_is_surveyed_run_and_reported(brno, foreign):
    foreign.hold(1)
    foreign.hold(2)
    done("partner", "add", brno, PACS, "--source")
    assert "2 studies with 2 instances; 0 of the studies are here" in done("migrate", brno, PACS, "--dry-run")
    assert said("migrate", brno, PACS, "--dry-run")["studies"] == 2
    told = said("migrate", brno, PACS)
    assert (told["moved"]["here"], told["whole"], told["differences"]) == (2, True, [])
    assert "2 there, 2 here" in done("migrate", brno, PACS, "--verify")
    assert "2 there, 2 here" in done("partner", "report", brno, PACS)


def test_what_does_not_come_makes_a_migration_partly_done_and_is_named(brno, foreign, monkeypatch):
    monkeypatch.setattr(migrating.time, "sleep", lambda seconds: None)
    monkeypatch.setattr("node.partners.migrate.FIRST_PAUSE", 1)
    lost = foreign.hold(1)
    foreign.keeps_back.add(lost)
    done("partner", "add", brno, PACS, "--source")
    assert f"missing: {lost}" in done("migrate", brno, PACS, code=Exit.PARTLY)
    assert said("partner", "report", brno, PACS, code=Exit.ATTENTION)["migration"]["whole"] is False


def test_two_migrations_of_one_partner_do_not_run_at_once(brno, foreign):
    done("partner", "add", brno, PACS, "--source")
    with exclusively(brno, f"{PACS} source", wait=False) as alone:
        assert alone
        assert "another command" in done("migrate", brno, PACS, code=Exit.LATER)
        with exclusively(brno, AETitle(PACS), wait=False) as other:
            assert other


def paced(rate: float | None) -> tuple[Callable[[int], None], list[float]]:
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    return pace(rate, clock=lambda: now[0], wait=wait), now


def test_a_rate_is_kept_on_average():
    fetched, now = paced(10.0)
    for _ in range(20):
        fetched(25)
    assert now[0] == pytest.approx(50.0)
    fetched, now = paced(None)
    fetched(1000)
    assert now[0] == 0.0
