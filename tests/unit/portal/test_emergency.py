"""Emergency access by the portal, its review, and who saw what."""

from __future__ import annotations

import pytest

from tests.support import synthetic
from tests.support.portal import RADIOLOGIST, Browser, Portal
from tests.support.saml_lab import Idp

STUDY = synthetic.study_uid(1)
REASON = "the patient is bleeding and cannot be asked"
PHYSICIAN = "physician@hospital-brno.test"
AUDITOR = "auditor@hospital-brno.test"
EPPN = "urn:oid:1.3.6.1.4.1.5923.1.1.1.6"


@pytest.fixture
def kept(brno: Portal) -> Portal:
    """The portal of a site that holds a study which somebody else has referred."""
    for one in synthetic.study(2, patient="P1"):
        brno.site.admit(one)
    return brno


def person(portal: Portal, name: str, role: str) -> Browser:
    """Somebody with a role who has logged in."""
    portal.grant(role, name)
    return portal.browser().log_in(attributes={EPPN: (name,)})


def broken(portal: Portal) -> Browser:
    """A physician who has broken the glass."""
    browser = person(portal, PHYSICIAN, "referring physician").get(f"/studies/{STUDY}")
    assert browser.status == 403
    (link,) = browser.tree.xpath("//a[contains(@href, '/emergency/')]/@href")
    return (
        browser.get(link)
        .submit(f"/emergency/{STUDY}", reason=REASON, understood="1")
        .get(f"/studies/{STUDY}")
    )


def test_a_closed_study_is_opened_in_an_emergency_with_a_reason(kept: Portal) -> None:
    browser = broken(kept)
    assert browser.status == 200
    assert "Open the images" in browser.text
    assert any("emergency override" in deed and REASON in deed and PHYSICIAN in deed for deed in kept.deeds())


@pytest.mark.parametrize("fields", [{"reason": "short"}, {"reason": REASON}, {"understood": "1"}])
def test_nothing_is_opened_without_a_reason_that_somebody_stands_by(
    kept: Portal, fields: dict[str, str]
) -> None:
    browser = person(kept, PHYSICIAN, "referring physician").get(f"/emergency/{STUDY}")
    browser.submit(f"/emergency/{STUDY}", **fields)
    assert browser.status == 400
    assert "Not opened." in browser.text
    assert browser.get(f"/studies/{STUDY}").status == 403


def test_who_has_no_such_way_cannot_break_the_glass(kept: Portal) -> None:
    browser = person(kept, PHYSICIAN, "researcher").get(f"/emergency/{STUDY}")
    browser.submit(f"/emergency/{STUDY}", reason=REASON, understood="1")
    assert browser.status == 403
    assert any('"refused":true' in deed for deed in kept.deeds())


def test_another_person_reviews_it(kept: Portal) -> None:
    physician = broken(kept)
    auditor = person(kept, AUDITOR, "auditor").get("/reviews")
    assert REASON in auditor.text
    auditor.submit("/reviews", verdict="unjustified", note="not on duty")
    assert "Nothing waits for a review." in auditor.get("/reviews").text
    assert physician.get(f"/studies/{STUDY}").status == 403
    assert any("emergency reviewed" in deed and AUDITOR in deed for deed in kept.deeds())


def test_nobody_reviews_the_own_emergency(kept: Portal) -> None:
    kept.grant("auditor", PHYSICIAN)
    browser = broken(kept).get("/reviews")
    assert "This was you; another person reviews it." in browser.text
    token = browser.tree.forms[0].fields["token"]
    assert browser.post("/reviews", {"token": token, "number": "1", "verdict": "justified"}).status == 403


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"number": "7", "verdict": "justified"}, 404),
        ({"number": "x"}, 404),
        ({"number": "1", "verdict": "?"}, 409),
    ],
)
def test_a_review_of_nothing_is_refused(kept: Portal, fields: dict[str, str], status: int) -> None:
    browser = person(kept, AUDITOR, "auditor").get("/reviews")
    token = browser.tree.forms[0].fields["token"]
    assert browser.post("/reviews", {"token": token} | fields).status == status


@pytest.mark.parametrize("path", ["/reviews", "/audit"])
def test_reviews_and_the_record_are_for_auditors(kept: Portal, path: str) -> None:
    browser = kept.radiologist("radiologist").get(path)
    assert browser.status == 403
    assert any('"refused":true' in deed for deed in kept.deeds())
    assert path not in {a.get("href") for a in browser.tree.iter("a")}


def test_an_auditor_learns_who_opened_the_study_of_a_patient(kept: Portal) -> None:
    reader = kept.radiologist("radiologist").get(f"/studies/{STUDY}").submit(f"/studies/{STUDY}/open")
    assert reader.status == 200
    auditor = person(kept, AUDITOR, "auditor").get("/audit").submit("/audit", patient="P1")
    assert auditor.status == 200
    assert RADIOLOGIST in auditor.text
    assert Idp().entity in auditor.text
    assert any("Audit Log Used" in deed and AUDITOR in deed for deed in kept.deeds())


@pytest.mark.parametrize("fields", [{}, {"patient": "x" * 65}, {"issuer": "H"}])
def test_an_auditor_has_to_name_a_patient_or_a_study(kept: Portal, fields: dict[str, str]) -> None:
    browser = person(kept, AUDITOR, "auditor").get("/audit").submit("/audit", **fields)
    assert browser.status == 400
    assert "Nothing was searched." in browser.text
