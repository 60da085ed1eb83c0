"""`konzilium alerts`: shows what the node has noticed, takes an acknowledgement, tries the sinks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.audit.record import read
from node.domain.alert import CALM, Concern, Severity
from node.domain.errors import BadSetting
from node.settings import load
from node.watch.watch import Watch, step
from node.wiring import open_site
from services.cli.main import main
from services.cli.output import Exit
from services.run.watch import eye_of
from tests.support import synthetic
from tests.support.notices import hook, mail_server
from tests.support.sites import Clock


def konzilium(*words: object) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(*words: object, code: Exit = Exit.FINE) -> Result:
    result = konzilium(*words)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def site(tmp_path: Path) -> Path:
    done("init", tmp_path / "brno", "--site", "brno")
    return tmp_path / "brno"


def see(site: Path, *kinds: str, clock: Clock | None = None) -> None:
    """Let the node of the site have seen so."""
    found = [
        Concern(kind=kind, severity=Severity.CRITICAL, what=f"It is {kind}.", todo="Mend it.")
        for kind in kinds
    ]
    clock = clock or Clock()
    with open_site(site, clock=clock) as opened:
        opened.catalog.perform(lambda unit: step(unit, found, {"mail": Severity.INFO}))


def test_a_site_without_alerts_is_fine(site):
    assert "No alert is open." in done("alerts", site).stdout


def test_an_open_alert_is_shown_with_what_to_do_and_who_was_not_told(site):
    see(site, "damage")
    said = done("alerts", site, code=Exit.ATTENTION).stdout
    assert "CRITICAL  damage  since" in said
    assert "It is damage." in said
    assert "Mend it." in said
    assert "Not told yet: mail." in said
    assert "The node does not run" in said


def test_an_alert_that_is_over_is_shown_on_request(site):
    clock = Clock()
    see(site, "damage", clock=clock)
    see(site, clock=clock)
    assert "it seems to be over" in done("alerts", site, code=Exit.ATTENTION).stdout
    clock.forward(CALM / 1_000_000)
    see(site, clock=clock)
    assert "No alert is open." in done("alerts", site).stdout
    assert "over since" in done("alerts", site, "--all").stdout
    (row,) = json.loads(done("alerts", site, "--all", "--json").stdout)
    assert (row["key"], row["state"], row["untold"]) == ("damage", "over", ["mail"])


def test_an_acknowledgement_is_kept_with_who_gave_it_and_recorded(site):
    see(site, "damage", "brake")
    said = done("alerts", site, "--acknowledge", "damage", code=Exit.ATTENTION).stdout
    assert said.count("acknowledged by operator:") == 1
    with open_site(site) as opened, opened.catalog.reading() as unit:
        deeds = [read(record.deed).what for record in unit.audit.after()]
    assert deeds[-1] == "acknowledged alert damage"


def test_a_key_that_is_not_open_cannot_be_acknowledged(site):
    result = done("alerts", site, "--acknowledge", "damage", code=Exit.FAILED)
    assert "No alert called damage is open" in result.stderr


def test_status_and_alerts_say_the_same_and_nothing_of_patients(site, tmp_path, monkeypatch):
    monkeypatch.setenv("KONZILIUM_STORE__QUARANTINE_LIMIT_MB", "10")
    data = synthetic.dataset(name="Nováková^Jana")
    del data.PatientID
    (tmp_path / "nobody.dcm").write_bytes(synthetic.part10(data))
    konzilium("import", site, tmp_path / "nobody.dcm")
    monkeypatch.setenv("KONZILIUM_STORE__RESERVE_MB", str(1 << 30))
    with open_site(site) as opened:
        Watch(opened.catalog, eye_of(opened), sinks={}, clock=opened.clock).round()
    rows = json.loads(done("alerts", site, "--json", code=Exit.ATTENTION).stdout)
    assert {"disk-full:store", "quarantine"} <= {row["key"] for row in rows}
    needs = json.loads(done("status", site, "--json", code=Exit.ATTENTION).stdout)["attention"]
    assert sorted(f"{row['what']} {row['do']}" for row in rows) == sorted(needs)
    assert "Nov" not in json.dumps(rows, ensure_ascii=False)


def test_a_test_goes_through_every_sink_and_says_what_happened(site, monkeypatch):
    (site / "secret").write_text("shared")
    (site / "secret").chmod(0o600)
    with hook() as receiver, mail_server() as server:
        for name, value in {
            "MAIL_HOST": "127.0.0.1",
            "MAIL_PORT": server.port,
            "MAIL_SECURITY": "none",
            "MAIL_FROM": "a@b.example",
            "MAIL_TO": "c@d.example",
            "WEBHOOK_URL": receiver.url,
            "WEBHOOK_SECRET_FILE": "secret",
        }.items():
            monkeypatch.setenv(f"KONZILIUM_ALERTS__{name}", str(value))
        said = json.loads(done("alerts", site, "--test", "--json").stdout)
        receiver.answers = [(500, {})]
        failed = done("alerts", site, "--test", code=Exit.FAILED).stdout
    assert said == {"log": "", "mail": "", "webhook": ""}
    assert server.messages[0]["Subject"].startswith("[brno] test: ")
    assert "the receiver answers 500" in failed


def test_a_test_without_mail_and_webhook_says_so(site):
    assert "Neither mail nor webhook is set up" in done("alerts", site, "--test").stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('mail_host = "mail.example"\nmail_to = "a@b.example"', "alerts.mail_from"),
        ('mail_host = "mail.example"\nmail_from = "a@b.example"', "alerts.mail_to"),
        ('webhook_url = "https://hooks.example/x"', "alerts.webhook_secret_file"),
        ('webhook_url = "http://hooks.example/x"', "https://HOST/PATH"),
        ('webhook_url = "https://user:secret@hooks.example/x"', "https://HOST/PATH"),
        ('mail_to = "a@b.example, nobody"', "mail addresses with commas"),
        ('mail_from = "a@b.example, c@d.example"', "a mail address"),
        (
            'mail_host = "mail.example"\nmail_from = "a@b.example"\nmail_to = "a@b.example"\n'
            'mail_security = "none"\nmail_password_file = "secret"',
            "the password would go over the network",
        ),
    ],
)
def test_a_wrong_setting_is_named_when_the_node_starts(site, text, words):
    (site / "secret").write_text("shared")
    (site / "secret").chmod(0o600)
    (site / "site.toml").write_text(f'[site]\nname = "brno"\n[alerts]\n{text}\n')
    with pytest.raises(BadSetting, match=words):
        load(site, {})
