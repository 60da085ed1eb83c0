"""`konzilium drill`: what it says, its exit codes, and the reports that it keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.cli.output import Exit
from tests.support import synthetic
from tests.unit.test_cli import done, said


@pytest.fixture
def brno(tmp_path: Path) -> Path:
    """A site that knows no other, with eight images."""
    folder = tmp_path / "brno"
    done("init", folder, "--site", "brno")
    synthetic.write_study(tmp_path / "study", 8, series=2)
    done("import", folder, tmp_path / "study")
    return folder


def drilled(folder: Path, scenario: str, *options: object, code: Exit = Exit.FINE) -> dict:
    return said("drill", folder, "--scenario", scenario, *options, code=code)


def test_a_drill_says_what_came_of_it_and_keeps_a_report_and_a_page(brno):
    answer = done("drill", brno, "--scenario", "corrupt-catalog", "--seed", 3).output
    assert "The drill corrupt-catalog has passed." in answer
    assert "Tried on 8 of 8 objects (seed 3)." in answer
    assert "Recovery time, the same for a million instances" in answer
    kept = sorted(path.suffix for path in (brno / "drills").iterdir() if path.name != "lock")
    assert kept == [".html", ".json"]


def test_a_site_that_knows_no_other_is_told_that_nothing_would_be_repaired(brno):
    told = drilled(brno, "bit-rot", code=Exit.ATTENTION)
    assert told["verdict"] == "failed"
    assert any("this site has no member" in reason for reason in told["reasons"])
    assert told["missed"] == told["false_alarms"] == []


def test_a_site_that_knows_no_other_loses_everything_with_its_disk(brno):
    told = drilled(brno, "lose-disk", code=Exit.ATTENTION)
    assert told["loss"]["objects"] == told["digests"]["missing"] == 8
    answer = done("drill", brno, "--scenario", "lose-site", code=Exit.ATTENTION).output
    assert "has failed" in answer
    assert "8 objects" in answer


def test_the_list_shows_the_last_drill_first_and_names_what_was_changed(brno):
    assert "No drill was held here" in done("drill", brno, "--list").output
    first = drilled(brno, "corrupt-catalog")["name"]
    last = drilled(brno, "bit-rot", code=Exit.ATTENTION)["name"]
    listed = said("drill", brno, "--list")
    assert [(one["name"], one["verdict"]) for one in listed] == [(last, "failed"), (first, "passed")]
    report = brno / "drills" / f"{last}.json"
    report.write_text(report.read_text("utf-8").replace('"failed"', '"passed"'), "utf-8")
    answer = done("drill", brno, "--list", code=Exit.DAMAGED).output
    assert first in answer
    assert f"{last}: The signature does not hold: the report was changed after it was signed." in answer


def test_a_report_is_believed_by_itself_and_by_the_certificate_that_is_known(brno, tmp_path):
    report = brno / "drills" / f"{drilled(brno, 'corrupt-catalog')['name']}.json"
    told = said("drill", "--verify-report", report)
    assert (told["site"], told["verdict"], told["pinned"]) == ("brno", "passed", False)
    assert said("drill", brno, "--verify-report", report)["pinned"] is True
    assert told["fingerprint"] in done("drill", "--verify-report", report).output
    done("init", tmp_path / "prague", "--site", "prague")
    answer = done("drill", tmp_path / "prague", "--verify-report", report, code=Exit.FAILED).output
    assert "brno is not known here by that certificate" in answer
    signed = json.loads(report.read_text("utf-8"))
    signed["report"]["loss"]["objects"] = 0
    signed["report"]["seed"] += 1
    report.write_text(json.dumps(signed), "utf-8")
    answer = done("drill", "--verify-report", report, code=Exit.FAILED).output
    assert "changed after it was signed" in answer
    report.write_text("{}", "utf-8")
    assert "no signed report" in done("drill", "--verify-report", report, code=Exit.FAILED).output


def test_the_scratch_area_is_where_it_was_chosen_and_stays_only_if_told_so(brno, tmp_path):
    place = tmp_path / "spare"
    drilled(brno, "partition", "--scratch", place)
    assert list(place.iterdir()) == []
    told = drilled(brno, "corrupt-catalog", "--scratch", place, "--keep")
    (kept,) = place.iterdir()
    assert any(kept.name in note for note in told["notes"])
    drilled(brno, "corrupt-catalog", "--scratch", place)
    assert list(place.iterdir()) == [kept]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--scenario", "lose-site"),
        ("--list",),
        (".", "--scenario", "earthquake"),
        (".", "--list", "--scenario", "bit-rot"),
    ],
)
def test_a_drill_that_is_not_named_is_not_begun(words):
    done("drill", *words, code=Exit.USAGE)
