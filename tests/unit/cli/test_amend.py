"""Decisions on the command line: what is said, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.domain.query import Key, Level, Query
from node.wiring import open_site
from services.cli.main import main
from services.cli.output import Exit
from tests.support import synthetic

STUDY = synthetic.study_uid(1)
WHY = ("--reason", "typing error")


def konzilium(*words: object, answer: str = "", code: Exit = Exit.FINE) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words], input=answer)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site with a study of each of two patients."""
    konzilium("init", tmp_path / "brno", "--site", "brno")
    for number, patient in enumerate(("P1", "P2"), 1):
        synthetic.write_study(tmp_path / patient, 2, study=number, patient=patient)
        konzilium("import", tmp_path / "brno", tmp_path / patient)
    return tmp_path / "brno"


def found(site: Path, tag: int, *, level: Level = Level.STUDY) -> list[str]:
    """The values of one attribute."""
    query = Query(level=level, keys=(Key(tag=tag, vr="LO"),))
    with open_site(site) as opened:
        return sorted(str(row[0]) for row in opened.archive.search(opened.operator(), query).rows)


def test_a_study_is_corrected_by_keyword_or_tag_and_taken_back(site):
    result = konzilium("correct", site, STUDY, "StudyDescription=Head = neck", "(0008,0090)=A^B", *WHY)
    assert "Corrected" in result.stdout
    assert found(site, 0x00081030) == ["Head = neck", "Study 2"]
    assert "A^B" in found(site, 0x00080090)
    konzilium("correct", site, STUDY, "--take-back", "StudyDescription", *WHY)
    assert found(site, 0x00081030) == ["Study 1", "Study 2"]


def test_a_patient_is_corrected(site):
    konzilium("correct", site, "--patient", "P1", "PatientBirthDate=19710101", *WHY)
    assert found(site, 0x00100030, level=Level.PATIENT) == ["19700521", "19710101"]


@pytest.mark.parametrize(
    "words",
    [(), (STUDY,), ("StudyDescription=x",), (STUDY, "NoSuchThing=x"), (STUDY, "StudyDescription"),
     (STUDY, "--patient", "P1", "PatientSex=F"), ("one.two", "StudyDescription=x")],
)  # fmt: skip
def test_what_cannot_be_understood_is_wrong_usage(site, words):
    konzilium("correct", site, *words, *WHY, code=Exit.USAGE)


@pytest.mark.parametrize(
    "words",
    [(STUDY, "StudyDate=yesterday"), (STUDY, "PatientName=A"), ("--patient", "P1", "PatientID=P2"),
     ("--patient", "P9", "PatientSex=F"), ("--patient", "P1", "--issuer", "x", "PatientSex=F")],
)  # fmt: skip
def test_what_may_not_be_corrected_is_refused(site, words):
    assert konzilium("correct", site, *words, *WHY, code=Exit.FAILED).stderr.startswith("konzilium: ")


def test_patients_are_merged_and_apart_again(site):
    konzilium("merge", site, "--patient", "P1", "--into", "P2", *WHY)
    assert found(site, 0x00100020) == ["P2", "P2"]
    konzilium("merge", site, "--patient", "P2", "--into", "P1", *WHY, code=Exit.FAILED)
    konzilium("unmerge", site, "--patient", "P1", *WHY)
    assert found(site, 0x00100020) == ["P1", "P2"]
    konzilium("unmerge", site, "--patient", "P1", *WHY, code=Exit.FAILED)


def test_patients_of_different_issuers_are_merged_by_both(site):
    konzilium("merge", site, "--patient", "P1", "--into", "P2", "--into-issuer", "x", *WHY, code=Exit.FAILED)
    konzilium("merge", site, "--patient", "P1", "--into", "P2", "--into-issuer", "", *WHY)


def test_a_withdrawal_is_asked_about_and_can_be_taken_back(site):
    konzilium("retract", site, "--study", STUDY, *WHY, answer="n\n", code=Exit.FAILED)
    assert len(found(site, 0x0020000D)) == 2
    assert "2 instances" in konzilium("retract", site, "--study", STUDY, *WHY, answer="y\n").stdout
    assert found(site, 0x0020000D) == [synthetic.study_uid(2)]
    assert "2 instances" in konzilium("restore", site, "--study", STUDY, *WHY).stdout
    assert len(found(site, 0x0020000D)) == 2


def test_one_instance_is_withdrawn_without_a_question(site):
    one = synthetic.instance_uid(1, 1, 1)
    assert "1 instance." in konzilium("retract", site, "--instance", one, *WHY, "--yes").stdout
    assert len(found(site, 0x00080018, level=Level.IMAGE)) == 3
    konzilium("retract", site, "--instance", one, *WHY, "--yes", code=Exit.FAILED)
    konzilium("restore", site, "--instance", one, *WHY)
    konzilium("retract", site, "--series", synthetic.series_uid(1, 1), *WHY, "--yes")


@pytest.mark.parametrize("words", [(), ("--study", STUDY, "--instance", "1.2")])
def test_exactly_one_thing_is_withdrawn_or_restored(site, words):
    konzilium("retract", site, *words, *WHY, "--yes", code=Exit.USAGE)
    konzilium("restore", site, *words, *WHY, code=Exit.USAGE)


def test_a_locked_study_stays(site):
    konzilium("lock", site, STUDY, "--until", "2199-12-31", *WHY)
    result = konzilium("retract", site, "--study", STUDY, *WHY, "--yes", code=Exit.FAILED)
    assert "2199-12-31" in result.stderr
    konzilium("lock", site, STUDY, "--until", "2199-12-30", *WHY, code=Exit.FAILED)
    konzilium("lock", site, STUDY, "--until", "1999-12-30", *WHY, code=Exit.FAILED)
    konzilium("lock", site, STUDY, "--until", "tomorrow", *WHY, code=Exit.USAGE)


@pytest.mark.parametrize("command", ["correct", "merge", "unmerge", "retract", "restore", "lock"])
def test_no_decision_is_made_without_a_reason(site, command):
    assert "--reason" in CliRunner().invoke(main, [command, "--help"]).stdout
    konzilium(command, site, code=Exit.USAGE)
