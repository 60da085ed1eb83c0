"""Logging in by the portal, and out."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from lxml import etree

from tests.support.portal import BASE, MFA, RADIOLOGIST, Portal, certificate_person, portal_of_a_site
from tests.support.saml_lab import (
    PRAGUE_IDP,
    Answer,
    Idp,
    add,
    encoded,
    instant,
    message_in,
    redirected,
    sign,
    unique,
)

EPPN = "urn:oid:1.3.6.1.4.1.5923.1.1.1.6"
SESSION, BROWSER = "__Host-konzilium", "__Host-konzilium-login"


def test_a_person_logs_in_at_the_own_institution_and_is_known_here(brno: Portal) -> None:
    browser = brno.radiologist("radiologist")
    assert browser.status == 200
    assert RADIOLOGIST in browser.text
    assert "Hospital Brno" in browser.text
    assert "radiologist" in browser.text
    assert any(f"person:{RADIOLOGIST}" in deed and "login" in deed for deed in brno.deeds())


def test_the_session_is_in_a_cookie_that_no_script_and_no_other_host_can_have(brno: Portal) -> None:
    browser = brno.radiologist()
    cookie = browser.cookies[SESSION]
    assert (cookie.http_only, cookie.secure, cookie.path, cookie.domain) == (True, True, "/", None)
    assert cookie.same_site == "Lax"
    assert cookie.max_age is None
    assert not brno.site.rows(f"select id from session where id = '{cookie.value}'")


def test_the_login_cookie_is_the_only_one_that_comes_with_forms_of_other_sites(brno: Portal) -> None:
    browser = brno.radiologist()
    foreign = {name for name, cookie in browser.cookies.items() if cookie.same_site == "None"}
    assert foreign == {BROWSER}


def test_who_is_not_logged_in_is_asked_to_and_comes_back_afterwards(brno: Portal) -> None:
    brno.grant("radiologist")
    browser = brno.browser().get("/studies")
    assert browser.status == 200
    (link,) = {
        a.get("href") for a in browser.tree.iter("a") if quote(Idp().entity, safe="") in a.get("href", "")
    }
    browser.log_in(path=link)
    assert "Find studies" in browser.text


@pytest.mark.parametrize(
    "place",
    ["//evil.test/", "https://evil.test/", "/\\evil.test", "/\tx", "javascript:alert(1)", "/x\\y", ""],
)
def test_a_login_leads_to_no_other_site(brno: Portal, place: str) -> None:
    path = f"/login/begin?{urlencode({'provider': Idp().entity, 'next': place})}"
    browser = brno.browser().log_in(path=path, follow=False)
    assert browser.page.headers["Location"] == "/"


def test_an_answer_is_taken_in_the_browser_that_asked_and_nowhere_else(brno: Portal) -> None:
    request, relay = brno.browser().begin()
    answer = Answer(request=request, idp=Idp(), now=brno.now)
    fields = {"SAMLResponse": answer.encoded(), "RelayState": relay}
    stranger = brno.browser()
    stranger.begin()
    stranger.post("/saml/acs", fields, cross_site=True)
    assert stranger.status == 403
    assert SESSION not in stranger.cookies
    assert any('"refused":true' in deed for deed in brno.deeds())


def test_an_answer_is_taken_once(brno: Portal) -> None:
    browser = brno.browser()
    request, relay = browser.begin()
    fields = {"SAMLResponse": Answer(request=request, idp=Idp(), now=brno.now).encoded(), "RelayState": relay}
    assert browser.post("/saml/acs", fields, cross_site=True).status == 303
    assert browser.post("/saml/acs", fields, cross_site=True).status == 403


def test_a_missing_attribute_is_named_with_whom_to_ask(brno: Portal) -> None:
    browser = brno.browser().log_in(attributes={})
    assert browser.status == 403
    assert "eduPersonPrincipalName" in browser.text
    assert Idp().contact in browser.text
    assert SESSION not in browser.cookies


def test_the_same_is_said_in_czech(brno: Portal) -> None:
    browser = brno.browser(**{"Accept-Language": "cs"}).log_in(attributes={})
    assert "Nemocnice Brno: nesdělen údaj eduPersonPrincipalName" in browser.text
    assert Idp().contact in browser.text


def test_a_login_that_has_to_have_a_second_factor_is_refused_without_one() -> None:
    with portal_of_a_site(mfa=True) as brno:
        browser = brno.browser().log_in()
        assert browser.status == 403
        assert "second factor" in browser.text
        assert brno.browser().log_in(context=MFA).status == 200


@pytest.mark.parametrize("fields", [{}, {"SAMLResponse": "x"}, {"SAMLResponse": "PHg+", "RelayState": "y"}])
def test_what_is_no_answer_is_refused_with_a_page(brno: Portal, fields: dict[str, str]) -> None:
    browser = brno.browser()
    browser.begin()
    browser.post("/saml/acs", fields, cross_site=True)
    assert browser.status in (400, 403)
    assert "Reference number" in browser.text


def test_a_new_login_has_a_new_secret_and_ends_the_session_before(brno: Portal) -> None:
    browser = brno.radiologist("radiologist")
    before = browser.cookies[SESSION].value
    browser.log_in()
    assert browser.cookies[SESSION].value != before
    assert brno.sessions.find(before) is None
    assert brno.site.rows("select count(*) from session") == [(1,)]


def test_a_secret_that_was_brought_along_is_never_made_a_session(brno: Portal) -> None:
    browser = brno.browser().plant(SESSION, "planted").log_in(follow=False)
    assert browser.cookies[SESSION].value != "planted"
    assert brno.sessions.find("planted") is None


def test_a_session_ends_when_nothing_is_done_in_it(brno: Portal) -> None:
    browser = brno.radiologist()
    brno.site.clock.forward(1700)
    assert browser.get("/").status == 200
    brno.site.clock.forward(1700)
    assert "This session ends" in browser.get("/").text
    brno.site.clock.forward(1801)
    assert "Choose the institution" in browser.get("/").text
    assert any("its time was over" in deed for deed in brno.deeds())


def test_a_session_ends_in_any_case_although_it_is_used(brno: Portal) -> None:
    browser = brno.radiologist()
    for _ in range(26):
        brno.site.clock.forward(1200)
        browser.get("/")
    assert "Choose the institution" in browser.get("/").text


def test_a_logout_ends_the_session_here_and_goes_on_to_the_institution(brno: Portal) -> None:
    browser = brno.radiologist()
    secret = browser.cookies[SESSION].value
    browser.submit("/logout")
    assert browser.status == 200
    assert brno.sessions.find(secret) is None
    assert SESSION not in browser.cookies
    (refresh,) = browser.tree.xpath("//meta[@http-equiv='refresh']/@content")
    request = message_in(refresh.partition("url=")[2])
    assert request.tag.endswith("LogoutRequest")
    assert any("logout" in deed and "by the person" in deed for deed in brno.deeds())


def test_nobody_is_logged_out_by_a_link(brno: Portal) -> None:
    browser = brno.radiologist()
    browser.get("/logout")
    assert "Who you are here" in browser.text


def test_the_institution_logs_a_person_out_without_the_cookie_of_the_session(brno: Portal) -> None:
    browser = brno.radiologist()
    query = redirected(_logout_request(brno), Idp().key)
    elsewhere = brno.browser().get(f"/saml/slo?{query}", follow=False)
    assert elsewhere.status == 303
    assert message_in(elsewhere.page.headers["Location"]).tag.endswith("LogoutResponse")
    assert "Choose the institution" in browser.get("/").text
    assert any("by the identity provider" in deed for deed in brno.deeds())


def test_a_request_to_log_out_that_is_not_signed_ends_nothing(brno: Portal) -> None:
    browser = brno.radiologist()
    request = _logout_request(brno)
    query = redirected(request, PRAGUE_IDP.key)
    assert brno.browser().get(f"/saml/slo?{query}", follow=False).status == 403
    assert "Who you are here" in browser.get("/").text


def test_an_institution_that_takes_forms_alone_gets_its_answer_by_one(brno: Portal) -> None:
    eppn = {EPPN: ("physician@hospital-prague.test",)}
    browser = brno.browser().log_in(PRAGUE_IDP, attributes=eppn)
    assert "physician@hospital-prague.test" in browser.text
    request = _logout_request(brno, PRAGUE_IDP)
    sign(request, PRAGUE_IDP.key)
    fields = {"SAMLRequest": encoded(request), "RelayState": "r"}
    page = brno.browser().post("/saml/slo", fields, cross_site=True)
    assert page.status == 200
    (form,) = page.tree.forms
    assert form.action == "https://idp.hospital-prague.test/slo/answer"
    assert (
        "form-action 'self' https://idp.hospital-prague.test;" in page.page.headers["Content-Security-Policy"]
    )
    assert set(form.fields) == {"SAMLResponse", "RelayState"}
    assert "Choose the institution" in browser.get("/").text


def test_the_session_ends_when_that_of_the_institution_does(brno: Portal) -> None:
    def soon(assertion: etree._Element) -> None:
        (statement,) = assertion.iter("{*}AuthnStatement")
        statement.set("SessionNotOnOrAfter", instant(brno.now + 600))

    browser = brno.browser().log_in(in_assertion=soon)
    assert browser.status == 200
    brno.site.clock.forward(601)
    assert "Choose the institution" in browser.get("/").text


def test_institutions_are_found_by_a_part_of_their_name(brno: Portal) -> None:
    brno.believe(Idp(entity="https://idp.ostrava.test/idp", key=Idp().key))
    browser = brno.browser().get("/login?find=NEMOCNICE")
    assert "idp.hospital-brno.test" in browser.text
    assert "No institution" not in browser.text
    assert "None has a name like that" in brno.browser().get("/login?find=nowhere").text


def test_the_institution_that_was_chosen_last_comes_first(brno: Portal) -> None:
    browser = brno.radiologist()
    browser.submit("/logout")
    assert "Chosen last time" in browser.get("/login").text


def test_a_discovery_service_may_name_known_institutions_alone(brno: Portal) -> None:
    good = brno.browser().get(f"/login/discovery?{urlencode({'entityID': Idp().entity})}", follow=False)
    assert good.page.headers["Location"].startswith("https://idp.hospital-brno.test/sso")
    bad = brno.browser().get("/login/discovery?entityID=https://evil.test/idp&return=https://evil.test/")
    assert bad.status == 404
    assert "This institution is not known here" in bad.text
    assert "evil" not in bad.text
    none = brno.browser().get("/login/discovery", follow=False)
    assert none.page.headers["Location"] == "/login"


def test_a_certificate_of_a_person_opens_a_session(brno: Portal) -> None:
    brno.persons[b"der"] = certificate_person("radiologist@hospital-brno.test")
    browser = brno.browser().shows_certificate(b"der").get("/login/certificate")
    assert "radiologist@hospital-brno.test" in browser.text
    assert "CN=Test Authority" in browser.text


def test_without_a_certificate_of_a_person_nobody_gets_in(brno: Portal) -> None:
    assert brno.browser().get("/login/certificate").status == 403
    assert brno.browser().shows_certificate(b"another").get("/login/certificate").status == 403
    assert sum('"refused":true' in deed for deed in brno.deeds()) == 2


def test_metadata_are_for_everybody(brno: Portal) -> None:
    page = brno.browser().get("/saml/metadata").page
    assert page.headers["Content-Type"] == "application/samlmetadata+xml"


def _logout_request(brno: Portal, idp: Idp | None = None) -> etree._Element:
    """A request of an identity provider to end the only session of the person."""
    request = etree.Element(
        "{urn:oasis:names:tc:SAML:2.0:protocol}LogoutRequest",
        ID=unique(),
        Version="2.0",
        IssueInstant=instant(brno.now),
        Destination=f"{BASE}/saml/slo",
    )
    add(request, "saml:Issuer", (idp or Idp()).entity)
    add(request, "saml:NameID", "_transient-4711")
    add(request, "samlp:SessionIndex", "_session-1")
    return request
