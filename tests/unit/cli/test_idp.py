"""`konzilium idp` and `konzilium login`: a hospital is connected, and it is told what comes next."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from lxml import etree

from node.domain.alert import DAY
from node.domain.clock import system_clock
from services.cli.output import Exit
from services.cli.words import grouped
from tests.support.metadata_lab import BRNO_IDP, PRAGUE_IDP, aggregate, inner, key_of, one, signed
from tests.unit.test_cli import done, said

FEDERATION = key_of("federation")
IDP = grouped(key_of("idp-brno").certificate.fingerprint)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    done("init", tmp_path / "brno", "--site", "brno", "--web-port", 0)
    return tmp_path / "brno"


@pytest.fixture
def idp_file(tmp_path: Path) -> Path:
    (tmp_path / "idp.xml").write_text(one(until=None))
    return tmp_path / "idp.xml"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that is published, and where."""
    folder = tmp_path / "published"
    folder.mkdir()
    publish(folder, inner(), inner(PRAGUE_IDP, names={"en": "Prague Hospital"}))
    (folder / "federation.pem").write_text(FEDERATION.certificate.pem)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}/idp.xml"
    server.shutdown()
    server.server_close()


def publish(folder: Path, *entities: str) -> None:
    text = aggregate(entities, until=system_clock() + 10 * DAY)
    (folder / "idp.xml").write_bytes(signed(text, FEDERATION))


def test_a_hospital_is_compared_first_and_believed_then(site, idp_file):
    assert "No identity provider is believed" in done("idp", "list", site).stdout
    shown = done("idp", "add", site, "hospital", "--file", idp_file, code=Exit.ATTENTION)
    assert IDP in shown.stdout
    assert "not believed yet" in shown.stdout
    assert said("idp", "list", site) == []
    added = done("idp", "add", site, "hospital", "--file", idp_file, "--fingerprint", IDP)
    assert "1 identity provider believed until it is removed" in added.stdout
    assert "konzilium grant add" in added.stdout
    (listed,) = said("idp", "list", site)
    assert (listed["name"], listed["kind"], listed["providers"]) == ("hospital", "single", 1)


def test_who_adds_the_own_hospital_is_told_that_other_sites_have_to_know_its_domain(site, idp_file):
    words = ("idp", "add", site, "hospital", "--file", idp_file, "--fingerprint", IDP)
    assert "put hospital-brno.test into federation.scopes" in done(*words).stdout
    file = site / "site.toml"
    text = file.read_text("utf-8").replace("[federation]", '[federation]\nscopes = "hospital-brno.test"', 1)
    file.write_text(text, "utf-8")
    assert "federation.scopes" not in done(*words, "--replace").stdout


def test_a_hospital_that_says_no_scope_is_given_one(site, tmp_path):
    (tmp_path / "bare.xml").write_text(one(until=None, scopes=[]))
    words = ("idp", "add", site, "hospital", "--file", tmp_path / "bare.xml", "--fingerprint", IDP)
    assert "nobody can log in by it; give --scope" in done(*words).stderr
    assert done(*words, "--replace", "--scope", "hospital-brno.test").stderr == ""
    assert said("idp", "show", site, "hospital")["scopes"] == [["hospital-brno.test", False]]


def test_all_that_is_known_of_one_is_shown(site, idp_file):
    done("idp", "add", site, "hospital", "--file", idp_file, "--fingerprint", IDP)
    for name in (BRNO_IDP, "hospital"):
        shown = done("idp", "show", site, name).stdout
        for text in (BRNO_IDP, "Nemocnice Brno", "hospital-brno.test", "help@hospital-brno.test", IDP):
            assert text in shown
    assert done("idp", "show", site, "https://nobody.test", code=Exit.FAILED).stderr.count("\n") == 1


def test_a_federation_is_added_searched_refreshed_and_removed(site, federation):
    folder, url = federation
    added = done("idp", "add", site, "fed", "--aggregate", url, "--signed-by", folder / "federation.pem")
    assert "2 identity providers believed until 2" in added.stdout
    assert [one["entity"] for one in said("idp", "search", site, "prague")] == [PRAGUE_IDP]
    assert "Prague Hospital" in done("idp", "search", site, "hosp").stdout
    assert "Nothing is found" in done("idp", "search", site, "vienna").stdout
    publish(
        folder,
        inner(PRAGUE_IDP),
        inner("https://demo.test/", attributes={"urn:konzilium:demonstration": ["1"]}),
    )
    refreshed = done("idp", "refresh", site).stdout
    assert "1 identity provider, 1 new or changed, 1 gone" in refreshed
    assert "it is a demonstration, and this site is none" in refreshed
    assert said("idp", "refresh", site, "fed")[0]["read"] == 1
    done("idp", "remove", site, "fed")
    assert said("idp", "list", site) == []


def test_what_cannot_be_refreshed_is_told_and_what_is_known_stays(site, federation):
    folder, url = federation
    done("idp", "add", site, "fed", "--aggregate", url, "--signed-by", folder / "federation.pem")
    (folder / "idp.xml").write_text(aggregate([inner()]))
    failed = done("idp", "refresh", site, "fed", code=Exit.FAILED)
    assert "konzilium: fed: The metadata of fed are not believed: it is not signed." in failed.stderr
    (listed,) = said("idp", "list", site)
    assert "not signed" in listed["error"]
    assert said("idp", "show", site, BRNO_IDP)["source"] == "fed"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--url", "https://a.test/", "--mdq", "https://a.test/"),
        ("--url", "https://a.test/", "--fingerprint", "AB:CD"),
        ("--url", "https://a.test/", "--signed-by", __file__),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(site, words):
    done("idp", "add", site, "hospital", *words, code=Exit.USAGE)
    done("idp", "add", site, "Hospital!", "--url", "https://a.test/", code=Exit.USAGE)


def test_a_federation_without_a_pin_is_refused(site, federation):
    refused = done("idp", "add", site, "fed", "--aggregate", federation[1], code=Exit.FAILED)
    assert "--signed-by" in refused.stderr
    assert said("idp", "list", site) == []


def test_the_metadata_of_a_site_are_written_with_what_is_missing_in_them(tmp_path):
    done("init", tmp_path / "brno", "--site", "brno")
    result = done("login", "metadata", tmp_path / "brno")
    assert etree.fromstring(result.stdout_bytes).get("entityID", "").endswith("/saml/metadata")
    assert "set login.support" in result.stderr
    told = done("login", "metadata", tmp_path / "brno", "--output", tmp_path / "sp.xml").stdout
    assert etree.parse(str(tmp_path / "sp.xml")) is not None
    assert "read that fingerprint back" in told


def test_a_site_without_a_portal_has_no_metadata(site):
    assert "web.port" in done("login", "metadata", site, code=Exit.MISCONFIGURED).stderr


def test_the_key_of_the_login_changes_step_by_step(tmp_path):
    done("init", tmp_path / "brno", "--site", "brno")
    words = ("login", "rotate", tmp_path / "brno")
    assert "--finish" in done(*words).stdout
    assert "two days" in done(*words, "--finish", code=Exit.FAILED).stderr
    assert "--retire" in done(*words, "--finish", "--insist").stdout
    last = json.loads(done(*words, "--retire", "--json").stdout)
    assert last["step"] == "resting"
