"""Roles on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.domain.ids import SiteId
from node.domain.member import Member, Standing
from node.domain.rule import EVERYTHING
from node.identity.roles import derive_roles
from node.wiring import open_site
from services.cli.main import main
from services.cli.output import Exit
from tests.support import synthetic


def konzilium(*words: object, code: Exit = Exit.FINE) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def made(folder: Path, name: str, other: str) -> Path:
    """A site that knows another one."""
    konzilium("init", folder / name, "--site", name)
    member = Member(
        site=SiteId(other), descriptor="", certificates=(), fingerprints=(), version=1, url=None,
        ae_title="", standing=Standing.ACTIVE, introduced_by=SiteId(name), export=EVERYTHING,
    )  # fmt: skip
    with open_site(folder / name) as opened:
        opened.catalog.perform(lambda unit: unit.members.put(member))
    return folder / name


@pytest.fixture
def brno(tmp_path: Path) -> Path:
    return made(tmp_path, "brno", "prague")


@pytest.fixture
def prague(tmp_path: Path) -> Path:
    return made(tmp_path, "prague", "brno")


def hear(here: Path, there: Path) -> None:
    """Read what the other site says of roles."""
    with open_site(there) as other, other.catalog.reading() as unit:
        facts = list(unit.journal.after(0))
    with open_site(here) as site, site.catalog.begin() as unit:
        for fact in facts:
            unit.journal.keep(fact)
        derive_roles(unit)


def told(directory: Path) -> dict[str, str]:
    return {one["site"]: one["role"] for one in json.loads(konzilium("role", directory, "--json").stdout)}


def test_every_site_is_an_archive_until_it_says_otherwise(brno):
    assert told(brno) == {"brno": "archive", "prague": "archive"}
    assert "archive" in konzilium("role", brno).stdout


def test_a_backup_is_promoted_and_the_primary_takes_its_place_back(brno, prague):
    konzilium("role", brno, "--successor", "prague", "--reason", "the second machine")
    konzilium("role", prague, "--backup", "--reason", "the second machine")
    hear(prague, brno)
    output = konzilium("promote", prague, "--reason", "brno does not answer").stdout
    assert "prague is an archive now, in place of brno." in output
    hear(brno, prague)
    assert told(brno) == {"brno": "backup", "prague": "archive"}
    refused = konzilium("role", brno, "--archive", "--reason", "back again", code=Exit.FAILED)
    assert "prague has taken its place" in refused.stderr
    konzilium("promote", brno, "--in-place-of", "prague", "--reason", "repaired")
    assert told(brno) == {"brno": "archive", "prague": "backup"}


def test_a_site_is_demoted_and_says_who_may_take_its_place(brno):
    konzilium("role", brno, "--successor", "prague", "--reason", "the second machine")
    output = konzilium("demote", brno, "--reason", "maintenance").stdout
    assert "brno is a backup now" in output
    assert "Say `konzilium promote` at prague." in output
    konzilium("role", brno, "--no-successor", "--reason", "alone")
    assert json.loads(konzilium("role", brno, "--json").stdout)[0]["successors"] == []


def test_a_decision_without_a_reason_or_against_itself_is_refused(brno):
    assert "reason" in konzilium("role", brno, "--backup", code=Exit.FAILED).stderr
    konzilium("role", brno, "--successor", "prague", "--no-successor", "--reason", "both", code=Exit.USAGE)
    strange = konzilium("promote", brno, "--reason", "nobody asked", code=Exit.FAILED)
    assert "no site has named brno" in strange.stderr


def test_an_import_into_a_backup_stops_at_the_first_file(brno, tmp_path):
    synthetic.write_study(tmp_path / "study", 30)
    konzilium("role", brno, "--backup", "--reason", "the second machine")
    result = konzilium("import", brno, tmp_path / "study", code=Exit.FAILED)
    assert "brno is a backup, which takes nothing new" in result.stderr
    assert result.stderr.count("a backup") == 1
    assert "0 kept" in result.stdout
