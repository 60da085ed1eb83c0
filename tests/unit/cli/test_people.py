"""Roles, the policy and emergencies on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.domain.ids import StudyUID
from node.identity.persons import person
from node.policy.decide import default_text
from node.wiring import open_site
from services.cli.main import main
from services.cli.output import Exit
from tests.support import synthetic
from tests.support.sites import BRNO

IDP = "https://idp.hospital-brno.test/"
JANA = "jana@hospital-brno.test"
STUDY = synthetic.study_uid(1)


def konzilium(*words: object, code: Exit = Exit.FINE, by: str = "") -> Result:
    """What a command says, typed by the person `by` behind sudo."""
    result = CliRunner().invoke(main, [str(word) for word in words], env={"SUDO_USER": by or None})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site with a study."""
    konzilium("init", tmp_path / "brno", "--site", "brno", "--web-port", 0)
    synthetic.write_study(tmp_path / "study", 1)
    konzilium("import", tmp_path / "brno", tmp_path / "study")
    return tmp_path / "brno"


def granted(site: Path, *words: object) -> list[dict]:
    return json.loads(konzilium("grant", "list", site, "--json", *words).stdout)


# grant


def test_a_role_is_given_shown_and_ended(site):
    assert "Nobody has a role" in konzilium("grant", "list", site).stdout
    said = konzilium(
        "grant", "add", site, JANA.upper(), "referring physician", "--issuer", IDP, "--referring",
        "NOVAK^JANA", "--attribute", "eduPersonEntitlement=urn:a=b", "--until", "2099-01-01",
        "--reason", "ward 5",
    ).stdout  # fmt: skip
    assert "Grant 1: referring physician to jana@hospital-brno.test" in said
    (one,) = granted(site)
    assert one["attribute"] == ["eduPersonEntitlement", "urn:a=b"]
    assert (one["name"], one["referring"], one["reason"]) == (JANA, "NOVAK^JANA", "ward 5")
    assert "referring as NOVAK^JANA" in konzilium("grant", "list", site).stdout
    assert "has ended" in konzilium("grant", "end", site, 1, "--reason", "left").stdout
    assert granted(site) == []
    assert [one["state"] for one in granted(site, "--all")] == ["ended"]
    assert "ended" in konzilium("grant", "list", site, "--all").stdout


def test_a_role_that_two_persons_give_waits_for_the_second(site):
    said = konzilium("grant", "add", site, JANA, "auditor", "--issuer", IDP, by="one").stdout
    assert f"konzilium grant approve {site} 1" in said
    assert "waits for approval" in konzilium("grant", "list", site).stdout
    refused = konzilium("grant", "approve", site, 1, by="one", code=Exit.FAILED)
    assert "another person" in refused.stderr
    assert "holds" in konzilium("grant", "approve", site, 1, by="two").stdout
    assert [one["approved_by"] for one in granted(site)] == ["operator:two@brno"]


@pytest.mark.parametrize(
    ("words", "code", "about"),
    [
        ((JANA, "doctor", "--issuer", IDP), Exit.FAILED, "policy show"),
        (("*", "researcher", "--issuer", IDP), Exit.FAILED, "attribute"),
        ((JANA, "radiologist"), Exit.USAGE, "--issuer"),
        ((JANA, "radiologist", "--issuer", IDP, "--attribute", "nothing"), Exit.USAGE, "NAME=VALUE"),
        ((JANA, "radiologist", "--issuer", IDP, "--until", "2001-01-01"), Exit.FAILED, "later day"),
    ],
)
def test_what_cannot_be_granted_is_refused_with_what_to_do(site, words, code, about):
    assert about in konzilium("grant", "add", site, *words, code=code).stderr


# policy


def test_the_policy_that_is_shown_can_be_activated(site, tmp_path):
    text = konzilium("policy", "show", site).stdout
    assert text == default_text()
    changed = tmp_path / "policy.toml"
    changed.write_text(text.replace('version = "', 'version = "next '), "utf-8")
    assert "alter nothing" in konzilium("policy", "simulate", site, changed).stdout
    assert "decides" in konzilium("policy", "activate", site, changed, "--reason", "a try").stdout
    assert konzilium("policy", "show", site).stdout == changed.read_text("utf-8")
    assert "a try" in konzilium("policy", "history", site).stdout
    (one,) = json.loads(konzilium("policy", "history", site, "--json").stdout)
    assert one["version"].startswith("next ")


def test_a_site_that_activated_none_says_so(site):
    assert "every site begins with" in konzilium("policy", "history", site).stdout
    assert "two persons" in konzilium("policy", "show", site, "--roles").stdout
    written = json.loads(konzilium("policy", "show", site, "--json").stdout)
    assert written["emergency"]["minutes"] == 60
    assert {"version", "roles", "rules", "dual_control"} <= written.keys()


def test_what_a_changed_policy_would_alter_is_shown(site, tmp_path):
    konzilium("grant", "add", site, JANA, "radiologist", "--issuer", IDP)
    changed = tmp_path / "policy.toml"
    changed.write_text(
        default_text()
        .replace('version = "', 'version = "next ')
        .replace('name = "radiologists read"', 'name = "radiologists read"\nissuers = ["NOBODY"]'),
        "utf-8",
    )
    said = konzilium("policy", "simulate", site, changed).stdout
    assert (
        "-  radiologist (jana@hospital-brno.test)  1        retrieve  own, shared, foreign, de-identified"
        in said
    )
    assert STUDY in said
    found = json.loads(konzilium("policy", "simulate", site, changed, "--json").stdout)
    assert found["studies"] == found["grants"] == 1
    assert {one["closed"] for one in found["effects"]} == {1}


@pytest.mark.parametrize(("content", "about"), [(b"version = 1", "version"), (b"\xff\xfe", "UTF-8")])
def test_a_file_that_is_no_policy_is_refused(site, tmp_path, content, about):
    (tmp_path / "bad.toml").write_bytes(content)
    for words in (("simulate",), ("activate", "--reason", "why")):
        command, *options = words
        result = CliRunner().invoke(
            main, ["policy", command, str(site), str(tmp_path / "bad.toml"), *options]
        )
        assert result.exit_code in {Exit.FAILED, Exit.USAGE}
        assert about in result.stderr


def test_why_somebody_may_do_something_is_explained(site):
    konzilium("grant", "add", site, JANA, "radiologist", "--issuer", IDP)
    said = konzilium("policy", "why", site, JANA, "retrieve", STUDY).stdout
    assert "retrieve (own data from brno): yes" in said
    assert "radiologists read: allows it" in said
    assert "no, " in konzilium("policy", "why", site, "role:installer", "retrieve", STUDY).stdout
    konzilium("device", "add", site, "CT1", "127.0.0.1", 104)
    assert "yes" in konzilium("policy", "why", site, "device:CT1", "store").stdout
    (answer,) = json.loads(konzilium("policy", "why", site, JANA, "amend", "--json", "--mfa").stdout)
    assert answer["allowed"] is False
    assert answer["roles"] == ["radiologist"]


# emergency


def test_what_was_opened_in_an_emergency_is_shown_and_reviewed(site):
    assert "Nothing waits" in konzilium("emergency", "list", site).stdout
    konzilium("grant", "add", site, JANA, "referring physician", "--issuer", IDP)
    with open_site(site) as opened:
        who = person(issuer=IDP, name=JANA, site=BRNO)
        opened.emergencies.break_glass(who, StudyUID(STUDY), "unconscious, no time to ask")
    said = konzilium("emergency", "list", site).stdout
    assert "unconscious, no time to ask" in said
    assert "Open until" in said
    assert "unjustified" in konzilium("emergency", "review", site, 1, "unjustified", "--note", "no").stdout
    assert json.loads(konzilium("emergency", "list", site, "--json").stdout) == []
    (one,) = json.loads(konzilium("emergency", "list", site, "--all", "--json").stdout)
    assert (one["verdict"], one["note"]) == ("unjustified", "no")
    assert "Found unjustified by operator:" in konzilium("emergency", "list", site, "--all").stdout
    assert "77" in konzilium("emergency", "review", site, 77, "justified", code=Exit.FAILED).stderr
