"""Rules on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.domain.ids import SiteId
from node.domain.member import Member, Standing
from node.domain.rule import EVERYTHING, Match, Rule
from node.wiring import open_site
from services.cli.main import main
from services.cli.output import Exit
from tests.support import synthetic

STUDY = synthetic.study_uid(1)


def konzilium(*words: object, code: Exit = Exit.FINE) -> Result:
    result = CliRunner().invoke(main, ["rule", *(str(word) for word in words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site with a member and a study."""
    CliRunner().invoke(main, ["init", str(tmp_path / "brno"), "--site", "brno"])
    synthetic.write_study(tmp_path / "study", 2, series=2)
    CliRunner().invoke(main, ["import", str(tmp_path / "brno"), str(tmp_path / "study")])
    member = Member(
        site=SiteId("prague"), descriptor="", certificates=(), fingerprints=(), version=1, url=None,
        ae_title="", standing=Standing.ACTIVE, introduced_by=SiteId("brno"), export=EVERYTHING,
    )  # fmt: skip
    with open_site(tmp_path / "brno") as opened:
        opened.catalog.perform(lambda unit: unit.members.put(member))
    return tmp_path / "brno"


def test_without_a_rule_the_default_is_shown(site):
    assert "a copy at each of all members" in konzilium("list", site).stdout
    assert json.loads(konzilium("list", site, "--json").stdout) == []


def test_a_rule_has_the_conditions_that_were_given(site):
    konzilium(
        "add", site, "stroke", "--modality", "ct", "--modality", "MR", "--ae", "CT,1", "--body-part", "head",
        "--younger-than", 30, "--older-than", 1, "--sites", "prague, olomouc", "--copies", 1,
    )  # fmt: skip
    match = Match(
        modalities=("CT", "MR"), ae_titles=("CT,1",), body_parts=("HEAD",), younger_than=30, older_than=1
    )
    rule = Rule(name="stroke", match=match, sites=(SiteId("prague"), SiteId("olomouc")), copies=1)
    assert json.loads(konzilium("list", site, "--json").stdout) == [rule.told()]
    assert "stroke" in konzilium("list", site).stdout


def test_who_adds_a_rule_is_told_what_it_leaves_out(site):
    said = konzilium("add", site, "ct", "--modality", "CT", "--sites", "prague,olomouc").stdout
    assert "olomouc is not a member yet" in said
    assert "prague is not" not in said
    assert "What no rule matches is not copied." in said
    assert "What no rule matches" not in konzilium("add", site, "rest").stdout


def test_a_rule_is_changed_only_when_that_is_said(site):
    konzilium("add", site, "ct", "--modality", "CT")
    assert "--replace" in konzilium("add", site, "ct", code=Exit.FAILED).stderr
    konzilium("add", site, "ct", "--modality", "MR", "--replace")
    assert "modality MR" in konzilium("list", site).stdout


def test_a_rule_is_removed(site):
    konzilium("add", site, "ct", "--modality", "CT")
    assert "No rule is left" in konzilium("remove", site, "ct").stdout
    konzilium("remove", site, "ct", code=Exit.FAILED)


@pytest.mark.parametrize(
    "words",
    [("Two words",), ("x", "--sites", "Prague!"), ("x", "--copies", "0"), ("x", "--younger-than", "a")],
)
def test_what_cannot_be_understood_is_wrong_usage(site, words):
    konzilium("add", site, *words, code=Exit.USAGE)


def test_a_study_is_explained_to_persons_and_programs(site):
    konzilium("add", site, "ct", "--modality", "CT")
    told = konzilium("explain", site, STUDY).stdout
    assert told.count("Rules that match: ct") == 2
    assert "prague  yes   wanted by ct" in told
    parts = json.loads(konzilium("explain", site, STUDY, "--json").stdout)
    assert [(part["modality"], part["instances"], part["rules"]) for part in parts] == [("CT", 1, ["ct"])] * 2
    assert parts[0]["shares"][0]["owes"] is True
    konzilium("explain", site, synthetic.study_uid(9), code=Exit.FAILED)
