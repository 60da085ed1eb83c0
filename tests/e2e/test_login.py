"""People log in at the portals of two sites and open studies, with real identity providers and a browser.

Each hospital is a site of its own for the browser: what it withholds between sites is withheld here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

import pytest
from lxml import etree

from node.audit.record import Event
from tests.support import synthetic
from tests.support.chromium import Browser
from tests.support.federated import in_step, send
from tests.support.hospitals import Hospital, choose, enter, hospitals, konzilium, log_in
from tests.support.serving import eventually

IMAGES = 3
OPEN = 'form[action$="/open"] button'
OPENED, AT_BRNO, AT_PRAGUE, CONDITIONAL = (synthetic.study_uid(number) for number in range(1, 5))
"""Studies, one for each test that opens one: what was brought to Brno once is judged by Brno alone."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Hospital]]:
    """Two hospitals that know each other; Prague has studies that no rule has copied to Brno."""
    with hospitals(tmp_path_factory.mktemp("hospitals"), "brno", "prague") as made:
        brno, prague = made
        konzilium("rule", "add", prague.node.folder, "only-ultrasound", "--modality", "US")
        for number in range(1, 5):
            send(prague.node, synthetic.study(IMAGES, study=number, patient=f"P000{number}"))
        eventually(lambda: in_step(brno.node, prague.node), "Brno has read the journal of Prague")
        yield made


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser."""
    with Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def browser(window: Browser) -> Browser:
    """The browser, without anything that it remembers."""
    window.forget()
    return window


@pytest.fixture(scope="module")
def radiologist(tmp_path_factory: pytest.TempPathFactory, both: Sequence[Hospital]) -> Iterator[Browser]:
    """The browser of a radiologist of Brno, who is logged in there and has no role anywhere."""
    with Browser(tmp_path_factory.mktemp("radiologist")) as opened:
        enter(opened, both[0], both[0], "radiologist")
        yield opened


@pytest.fixture
def brno(both: Sequence[Hospital]) -> Hospital:
    """The first of the two."""
    return both[0]


@pytest.fixture
def prague(both: Sequence[Hospital]) -> Hospital:
    """The second."""
    return both[1]


def test_somebody_finds_the_own_hospital_and_logs_in(browser, brno):
    browser.open(f"{brno.portal}/")
    assert browser.url == f"{brno.portal}/login"
    assert browser.all(".choices strong") == ["Hospital Brno", "Hospital Prague"]
    browser.type("#find", "brno")
    browser.follow("Search")
    assert browser.all(".choices strong") == ["Hospital Brno"]
    browser.click(".choices a")
    log_in(browser, brno.idp, "radiologist")

    browser.wait_for("h1", "Test Radiologist")
    assert browser.url == f"{brno.portal}/"
    assert "radiologist@hospital-brno.test" in browser.text


def test_the_login_comes_back_across_sites_and_goes_on_to_the_page_that_was_wanted(browser, brno, prague):
    """The form of Prague's identity provider is sent from another site: only one cookie may come with it."""
    browser.open(f"{brno.portal}/studies")
    choose(browser, prague)
    log_in(browser, prague.idp, "radiologist")

    browser.wait_at(f"{brno.portal}/studies")
    cookies = browser.cookies()
    session, login = cookies["__Host-konzilium"], cookies["__Host-konzilium-login"]
    assert (session["sameSite"], login["sameSite"]) == ("Lax", "None")
    assert all(one["secure"] and one["httpOnly"] and one["path"] == "/" for one in (session, login))
    assert is_known(browser, brno)


def test_what_was_chosen_last_is_offered_first(browser, brno, prague):
    enter(browser, brno, prague, "radiologist")
    browser.follow("Log out")
    browser.open(f"{brno.portal}/login")

    assert browser.all(".choices strong")[0] == "Hospital Prague"


def test_one_login_at_the_hospital_is_enough_for_both_portals(browser, brno, prague):
    enter(browser, brno, brno, "radiologist")
    browser.open(f"{prague.portal}/")
    choose(browser, brno)

    browser.wait_for("h1", "Test Radiologist")
    assert browser.url == f"{prague.portal}/"


def test_who_leaves_the_portal_is_logged_out_at_the_hospital_too(browser, brno, prague):
    enter(browser, brno, prague, "radiologist")
    browser.follow("Log out")
    browser.wait_for("h1", "You are logged out here")
    browser.wait_at(f"{brno.portal}/logout")

    assert not is_known(browser, brno)
    choose(browser, prague)
    assert browser.has("#password"), "the hospital asks for the password again"


def test_who_leaves_the_hospital_is_logged_out_at_both_portals(browser, brno, prague):
    enter(browser, brno, prague, "radiologist")
    browser.open(f"{prague.portal}/")
    choose(browser, prague)
    browser.wait_for("h1", "Test Radiologist")

    browser.open(prague.idp.logout_url())

    browser.wait(lambda: "You have been logged out" in browser.text, "end of the logout")
    assert not is_known(browser, brno)
    assert not is_known(browser, prague)


def test_who_must_show_a_second_factor_and_has_none_is_told_so(browser, brno, prague):
    begin(browser, brno, prague, mfa=True)
    log_in(browser, prague.idp, "radiologist")

    browser.wait_for("h1", "This needs a login with a second factor")
    assert not is_known(browser, brno)


def test_who_has_shown_a_second_factor_is_known_to_have(browser, brno, prague):
    begin(browser, brno, prague, mfa=True)
    log_in(browser, prague.idp, "surgeon")

    browser.wait_for("h1", "Test Surgeon")
    assert fact(browser, "Second factor") == "proved"


def test_an_attribute_that_is_missing_is_named_with_whom_to_ask(browser, brno, prague):
    begin(browser, brno, prague)
    log_in(browser, prague.idp, "nameless")

    browser.wait_for("h1", "Your institution did not tell enough about you")
    assert "eduPersonPrincipalName" in browser.text
    assert "help@hospital-prague.test" in browser.text
    assert not is_known(browser, brno)


def test_no_hospital_speaks_for_the_people_of_another_one(browser, brno, prague):
    begin(browser, brno, prague)
    log_in(browser, prague.idp, "impostor")

    browser.wait_for("h1", "The login did not succeed")
    assert browser.read("code"), "a reference number"
    assert not is_known(browser, brno)


def test_a_hospital_that_sends_and_takes_forms_alone_is_understood(browser, brno, prague):
    """The other binding, for logins and for a logout that the hospital begins."""
    idp, metadata = prague.idp, brno.metadata()
    place = idp.described()
    place.write_text(by_forms_alone(place.read_text()))
    brno.believes(idp, place)
    idp.trust(by_forms_alone(metadata), prague.metadata())
    try:
        begin(browser, brno, prague)
        browser.follow("Go on")
        log_in(browser, idp, "radiologist")
        browser.wait_for("h1", "Test Radiologist")
        browser.open(idp.logout_url())
        browser.wait_for("h1", "One more step")
        browser.follow("Go on")
        browser.wait(lambda: "You have been logged out" in browser.text, "end of the logout")
        assert not is_known(browser, brno)
    finally:
        brno.knows(idp)
        idp.trust(metadata, prague.metadata())


def test_a_discovery_service_of_a_federation_may_name_the_hospital(browser, brno, prague):
    back = f"{brno.portal}/login/discovery"
    browser.open(f"{back}?entityID={quote(prague.idp.entity, safe='')}")
    log_in(browser, prague.idp, "radiologist")
    browser.wait_for("h1", "Test Radiologist")

    browser.forget()
    browser.open(f"{back}?entityID={quote('https://idp.elsewhere.test/idp', safe='')}")
    assert browser.read("h1") == "This institution is not known here"
    browser.open(back)
    assert browser.url == f"{brno.portal}/login"


def test_an_answer_that_another_browser_brings_is_not_taken(browser, brno, prague, tmp_path):
    """Somebody begins a login, and has a second person finish it."""
    begin(browser, brno, prague)
    at = browser.url
    with Browser(tmp_path) as other:
        other.open(at)
        log_in(other, prague.idp, "radiologist")
        other.wait_for("h1", "The login did not succeed")
        assert not is_known(other, brno)


def test_a_hospital_changes_the_key_that_it_signs_with(browser, brno, prague):
    """First it publishes the next one, then it uses it, then it forgets the old one."""
    idp = prague.idp
    idp.begin_rollover()
    brno.knows(idp)
    assert can_log_in(browser, brno, prague)
    idp.use_next_key()
    assert can_log_in(browser, brno, prague)
    idp.end_rollover()
    for hospital in (brno, prague):
        hospital.knows(idp)
    assert can_log_in(browser, brno, prague)

    idp.use_first_key()
    assert not can_log_in(browser, brno, prague)
    idp.end_rollover()
    assert can_log_in(browser, brno, prague)


def test_without_a_role_nothing_is_found(radiologist, brno, prague):
    radiologist.open(f"{brno.portal}/studies/{OPENED}")

    assert not radiologist.has(OPEN)
    assert "P0001" not in radiologist.text


def test_with_a_role_at_both_the_study_is_opened_and_prague_knows_the_person(radiologist, brno, prague):
    here = brno.grant(brno.idp, "radiologist", "radiologist")
    there = prague.grant(brno.idp, "radiologist", "radiologist")
    try:
        before = len(prague.deeds())
        radiologist.open(f"{brno.portal}/studies")
        radiologist.type("#id", "P0001")
        radiologist.click("form.panel button")
        assert radiologist.all("tbody .tag") == ["prague"]
        radiologist.click("tbody a")
        radiologist.click(OPEN)
        assert f"Opened: {IMAGES} of {IMAGES} images are here" in radiologist.text
        deeds = [deed for deed in prague.deeds()[before:] if "radiologist@hospital-brno.test" in deed.who]
    finally:
        end(brno, here)
        end(prague, there)

    assert Event.SENT in {deed.event for deed in deeds if deed.study == OPENED and not deed.refused}
    assert {deed.issuer for deed in deeds} == {brno.idp.entity}
    assert {deed.via for deed in deeds} == {"brno"}
    assert {deed.display for deed in deeds} == {"Test Radiologist"}
    assert {deed.roles for deed in deeds} == {("radiologist",)}
    assert {deed.purpose for deed in deeds} == {"TREATMENT"}


@pytest.mark.parametrize(("ends_at", "study"), [("brno", AT_BRNO), ("prague", AT_PRAGUE)])
def test_when_the_grant_ends_at_either_site_so_does_the_access_at_the_next_call(
    radiologist, brno, prague, ends_at, study
):
    grants = {
        one.node.site: (one, one.grant(brno.idp, "radiologist", "radiologist")) for one in (brno, prague)
    }
    page = f"{brno.portal}/studies/{study}"
    radiologist.open(page)
    assert radiologist.has(OPEN)

    end(*grants.pop(ends_at))

    radiologist.click(OPEN)
    assert "Opened:" not in radiologist.text
    radiologist.open(page)
    assert not radiologist.has(OPEN)
    for grant in grants.values():
        end(*grant)


def test_when_the_attribute_is_gone_so_is_the_access(radiologist, brno, prague):
    """A role that holds only for what the hospital says of the person."""
    said = "eduPersonScopedAffiliation=employee@hospital-brno.test"
    other = "eduPersonScopedAffiliation=faculty@hospital-brno.test"
    here = brno.grant(brno.idp, "radiologist", "radiologist")
    holds = prague.grant(brno.idp, "radiologist", "radiologist", "--attribute", said)
    page = f"{brno.portal}/studies/{CONDITIONAL}"
    radiologist.open(page)
    assert radiologist.has(OPEN)
    end(prague, holds)
    never = prague.grant(brno.idp, "radiologist", "radiologist", "--attribute", other)
    radiologist.open(page)
    assert not radiologist.has(OPEN)
    end(prague, never)
    end(brno, here)


def test_who_may_know_is_told_why_a_study_is_refused_and_others_get_a_number(browser, prague):
    """Whoever gives roles at Prague sees no images, but may know why; a stranger may not."""
    prague.grant(prague.idp, "surgeon", "node administrator")
    enter(browser, prague, prague, "surgeon")
    browser.open(f"{prague.portal}/studies/{OPENED}")
    assert "You may not do this" in browser.read("h1")
    assert browser.all("details li"), "the reasons"
    browser.forget()
    enter(browser, prague, prague, "radiologist")
    browser.open(f"{prague.portal}/studies/{OPENED}")
    assert not browser.has("details li")
    assert browser.read("code"), "a reference number"


def test_a_portal_changes_the_key_that_answers_are_encrypted_for(browser, brno, prague):
    """Hospitals read the metadata when they like: those of yesterday are good enough at every step."""
    yesterday, other = brno.metadata(), prague.metadata()
    brno.rotate()
    prepared = brno.metadata()
    assert can_log_in(browser, brno, prague), "with the metadata of yesterday"
    prague.idp.trust(prepared, other)
    assert can_log_in(browser, brno, prague), "with both keys"
    brno.rotate("--finish", "--insist")
    assert can_log_in(browser, brno, prague)
    prague.idp.trust(brno.metadata(), other)
    assert can_log_in(browser, brno, prague), "with the new key first"
    brno.rotate("--retire")
    assert can_log_in(browser, brno, prague)

    prague.idp.trust(yesterday, other)
    browser.forget()
    begin(browser, brno, prague)
    assert "Unable to validate signature" in browser.text, "the hospital knows the old key alone"
    for hospital in (brno, prague):
        hospital.idp.trust(brno.metadata(), other)
    assert can_log_in(browser, brno, prague)


def begin(browser: Browser, at: Hospital, of: Hospital, *, mfa: bool = False) -> None:
    """Begin a login at a portal, with a second factor if it is wanted."""
    more = "&mfa=1" if mfa else ""
    browser.open(f"{at.portal}/login/begin?provider={quote(of.idp.entity, safe='')}{more}")


def by_forms_alone(metadata: str) -> str:
    """Metadata without the addresses that take messages by redirect."""
    root = etree.fromstring(metadata.encode())
    for one in root.xpath("//*[@Binding='urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect']"):
        one.getparent().remove(one)
    return etree.tostring(root).decode()


def is_known(browser: Browser, at: Hospital) -> bool:
    """Whether a portal knows who sits at this browser."""
    browser.open(f"{at.portal}/")
    return not browser.url.startswith(f"{at.portal}/login")


def can_log_in(browser: Browser, at: Hospital, of: Hospital) -> bool:
    """Whether somebody of a hospital, who has just sat down, comes in at a portal."""
    browser.forget()
    begin(browser, at, of)
    log_in(browser, of.idp, "radiologist")
    browser.wait(lambda: browser.url.startswith(at.portal) and browser.has("h1"), "page of the portal")
    return is_known(browser, at)


def fact(browser: Browser, name: str) -> str:
    """What the first page says of somebody."""
    return dict(zip(browser.all("dl.facts dt"), browser.all("dl.facts dd"), strict=True))[name]


def end(at: Hospital, grant: int) -> None:
    """End a grant."""
    konzilium("grant", "end", at.node.folder, grant)
