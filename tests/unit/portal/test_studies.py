"""Searching, reading and opening studies by the portal."""

from __future__ import annotations

import http.client
import io
import ssl
import zipfile
from pathlib import Path
from urllib.parse import urlencode

import pytest

from node.archive.mark import Marking
from node.audit.record import Event, read
from node.domain.decision import Sensitivity
from node.domain.ids import StudyUID
from services.https.public import PublicContexts
from services.https.server import Server
from tests.support import synthetic
from tests.support.certificates import identity
from tests.support.portal import HOST, RADIOLOGIST, Portal
from tests.support.saml_lab import MFA
from tests.support.sites import OPERATOR

STUDY = synthetic.study_uid(1)


@pytest.fixture
def kept(brno: Portal) -> Portal:
    """The portal of a site that holds a study of two series."""
    for one in synthetic.study(3, series=2, name="Černý^Jan", patient="P1"):
        brno.site.admit(one)
    return brno


def test_a_study_is_found_by_the_beginning_of_a_name(kept: Portal) -> None:
    browser = kept.radiologist("radiologist").get("/studies").submit("/studies", name="cerny jan")
    assert browser.status == 200
    assert "Jan Černý" in browser.text
    assert "Study 1" in browser.text
    assert "Found: 1" in browser.text
    assert browser.tree.xpath(f"//a[@href='/studies/{STUDY}']")


def test_what_is_searched_for_is_in_no_address(kept: Portal) -> None:
    browser = kept.radiologist("radiologist").get("/studies")
    form = next(form for form in browser.tree.forms if form.action == "/studies")
    assert form.method == "POST"
    assert browser.get("/studies?name=Cerny").tree.xpath("//table") == []


def test_a_search_for_nothing_asks_for_something(kept: Portal) -> None:
    browser = kept.radiologist("radiologist").get("/studies").submit("/studies")
    assert browser.status == 400
    assert "fill in at least one field" in browser.text


@pytest.mark.parametrize("wrong", [{"since": "yesterday"}, {"name": "x" * 65}, {"id": "a\\b"}])
def test_a_value_that_cannot_be_one_is_named(kept: Portal, wrong: dict[str, str]) -> None:
    browser = kept.radiologist("radiologist").get("/studies").submit("/studies", **wrong)
    assert browser.status == 400
    assert "Nothing was searched" in browser.text


def test_who_may_not_search_is_told_so_and_why_only_if_that_is_for_them(kept: Portal) -> None:
    installer = kept.radiologist("installer").get("/studies")
    assert installer.status == 403
    token = installer.tree.forms[0].fields["token"]
    assert installer.post("/studies", {"token": token, "name": "x"}).status == 403
    assert "You may not do this" in installer.text
    assert "no rule" not in installer.text
    assert any('"refused":true' in deed for deed in kept.deeds())


def test_a_study_shows_its_series_and_opens_nothing_by_itself(kept: Portal) -> None:
    browser = kept.radiologist("radiologist").get(f"/studies/{STUDY}")
    assert browser.status == 200
    assert "Jan Černý" in browser.text
    assert "Open the images" in browser.text
    assert not any("Transferred: sent" in deed for deed in kept.deeds())


def test_opening_a_study_is_recorded_with_the_person(kept: Portal) -> None:
    browser = kept.radiologist("radiologist").get(f"/studies/{STUDY}").submit(f"/studies/{STUDY}/open")
    assert browser.status == 200
    assert "Opened: 3 of 3 images are here." in browser.text
    sent = [deed for deed in kept.deeds() if "Transferred: sent" in deed]
    assert sent
    assert all(RADIOLOGIST in deed and STUDY in deed for deed in sent)


def test_nothing_is_opened_by_a_link(kept: Portal) -> None:
    kept.radiologist("radiologist").get(f"/studies/{STUDY}/open")
    assert not any("Transferred: sent" in deed for deed in kept.deeds())


def test_an_opened_study_can_be_taken_away_as_files(kept: Portal) -> None:
    browser = kept.radiologist("radiologist").get(f"/studies/{STUDY}").submit(f"/studies/{STUDY}/open")
    browser.submit(f"/studies/{STUDY}/download")
    assert browser.page.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(browser.page.content)) as packed:
        assert packed.testzip() is None
        assert len(packed.namelist()) == 3
        assert all(packed.read(name)[128:132] == b"DICM" for name in packed.namelist())
        assert not any("ern" in name for name in packed.namelist())


def test_the_files_come_whole_over_https(kept: Portal, tmp_path: Path) -> None:
    browser = kept.radiologist("radiologist").get(f"/studies/{STUDY}")
    held = identity(tmp_path, "portal")
    server = Server(kept.app, ("127.0.0.1", 0), PublicContexts(held.certificate, held.private_key))
    server.start()
    try:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", server.port, context=ssl._create_unverified_context(), timeout=20
        )
        fields = urlencode({"token": browser.tree.forms[0].fields["token"]})
        headers = {
            "Host": HOST,
            "Cookie": "; ".join(f"{name}={cookie.value}" for name, cookie in browser.cookies.items()),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        connection.request("POST", f"/studies/{STUDY}/download", fields, headers)
        answer = connection.getresponse()
        assert answer.status == 200
        with zipfile.ZipFile(io.BytesIO(answer.read())) as packed:
            assert packed.testzip() is None
            assert len(packed.namelist()) == 3
    finally:
        connection.close()
        server.stop()


def test_a_study_that_is_nowhere_is_not_found(kept: Portal) -> None:
    browser = kept.radiologist("radiologist").get("/studies/1.2.3.4")
    assert browser.status == 404
    assert "There is no such study" in browser.text
    for path in ("/studies/x;y", "/studies/" + "1" * 70):
        assert kept.radiologist().get(path).status == 404


def test_who_may_know_is_told_why_a_study_is_refused(kept: Portal) -> None:
    auditor = kept.radiologist("auditor", "researcher").get(f"/studies/{STUDY}")
    assert auditor.status == 403
    assert "Why, for those who may know" in auditor.text


def test_nobody_else_learns_that_a_refused_study_is_there(kept: Portal) -> None:
    refused = kept.radiologist("researcher").get(f"/studies/{STUDY}")
    assert refused.status == 404
    assert "Study 1" not in refused.text
    assert "Why, for those" not in refused.text
    with kept.site.catalog.reading() as unit:
        last = max((read(record.deed) for record in unit.audit.after()), key=lambda deed: deed.refused)
    assert (last.event, last.study, last.who.startswith("person:")) == (Event.REFUSED, STUDY, True)


def test_a_restricted_study_offers_to_log_in_with_a_second_factor(kept: Portal) -> None:
    _restrict(kept)
    browser = kept.radiologist("radiologist").get(f"/studies/{STUDY}")
    assert browser.status == 403
    (link,) = browser.tree.xpath("//a[contains(@href, 'mfa=1')]/@href")
    browser.log_in(path=link, context=MFA)
    assert browser.status == 200
    assert "Study 1" in browser.text


def test_access_ends_with_the_grant_at_the_next_call(kept: Portal) -> None:
    browser = kept.radiologist("radiologist").get(f"/studies/{STUDY}")
    assert browser.status == 200
    with kept.site.catalog.begin() as unit:
        for grant in unit.grants.all():
            unit.grants.end(grant.id, by="an administrator")
    assert browser.submit(f"/studies/{STUDY}/open").status == 403


def test_a_name_in_the_pages_is_never_markup(brno: Portal) -> None:
    brno.site.admit(synthetic.instance(name="<script>alert(1)</script>^X", patient="P1"))
    browser = brno.radiologist("radiologist").get("/studies").submit("/studies", id="P1")
    assert "<script" not in browser.page.text
    assert "&lt;script&gt;" in browser.page.text


def _restrict(portal: Portal) -> None:
    """Mark the study as a person would."""
    restricted = Sensitivity.RESTRICTED
    Marking(portal.site.catalog).mark(OPERATOR, StudyUID(STUDY), "a test", sensitivity=restricted)
