"""What stands before every page of the portal."""

from __future__ import annotations

import pytest

from services.portal.guard import LOGIN_BURST
from services.portal.visit import TOKEN
from tests.support.portal import Portal, portal_of_a_site

PAGES = [
    "/", "/help", "/login", "/studies", "/reviews", "/audit", "/login/local", "/nowhere",
    "/static/portal.css",
]  # fmt: skip
FOR_PERSONS = [
    "/", "/studies", "/studies/1.2.3", "/studies/1.2.3/open", "/emergency/1.2.3", "/reviews", "/audit",
]  # fmt: skip
FORMS = [
    "/studies", "/studies/1.2.3/open", "/studies/1.2.3/download", "/emergency/1.2.3", "/reviews", "/audit",
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_keeps_to_itself(brno: Portal, path: str) -> None:
    headers = brno.radiologist("radiologist").get(path, follow=False).page.headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert headers["Cache-Control"] == ("no-cache" if path.startswith("/static") else "no-store")


@pytest.mark.parametrize("path", FOR_PERSONS)
def test_pages_for_persons_are_for_nobody_else(brno: Portal, path: str) -> None:
    page = brno.browser().get(path, follow=False).page
    assert page.status_code == 303
    assert page.headers["Location"].startswith("/login")


@pytest.mark.parametrize("path", FORMS)
def test_a_form_without_its_token_does_nothing(brno: Portal, path: str) -> None:
    browser = brno.radiologist("radiologist", "auditor")
    before = brno.deeds()
    for fields in ({"name": "X"}, {TOKEN: ""}, {TOKEN: "0" * 64}):
        assert browser.post(path, fields).status == 403
        assert "out of date" in browser.text
    assert brno.deeds() == before


def test_a_form_of_another_browser_does_nothing(brno: Portal) -> None:
    other = brno.radiologist("radiologist").get("/studies")
    token = other.tree.forms[0].fields[TOKEN]
    assert brno.radiologist().post("/studies", {TOKEN: token, "name": "X"}).status == 403


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.test"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_form_from_another_site_does_nothing(brno: Portal, headers: dict[str, str]) -> None:
    browser = brno.radiologist("radiologist").get("/studies")
    fields = dict(browser.tree.forms[-1].form_values()) | {"name": "X"}
    assert browser.post("/studies", fields, **headers).status == 403
    assert browser.post("/studies", fields).status == 200


def test_a_browser_that_came_by_another_name_is_sent_to_the_right_one(brno: Portal) -> None:
    page = brno.browser(Host="192.0.2.1:8444").get("/login", follow=False).page
    assert page.status_code == 307
    assert page.headers["Location"] == "https://images.prague.test/login"
    assert brno.browser(Host="evil.test").post("/saml/acs", {"SAMLResponse": "x"}).status == 421


def test_who_tries_to_log_in_too_often_has_to_wait(brno: Portal) -> None:
    browser = brno.browser()
    answers = {browser.post("/saml/acs", {"SAMLResponse": "x"}).status for _ in range(int(LOGIN_BURST) + 5)}
    assert 429 in answers
    assert "Retry-After" in browser.page.headers
    assert browser.get("/login").status == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/json"}, "{}", 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "name=%ff", 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "name=ř".encode(), 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "&".join(f"x{n}=1" for n in range(100)), 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "name=a&name=b", 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "name=" + "x" * 20_000, 413),
    ],
)
def test_what_is_no_form_is_refused_with_a_page(
    brno: Portal, headers: dict[str, str], body: str | bytes, status: int
) -> None:
    browser = brno.radiologist("radiologist")
    browser._ask("POST", "/studies", headers=headers, body=body)  # type: ignore[arg-type]
    assert browser.status == status
    assert "Reference number" in browser.text


@pytest.mark.parametrize("path", ["/nowhere", "/static/../portal.css", "/static/app.py", "/studies/x/y/z"])
def test_what_is_not_there_is_said_so_on_a_page(brno: Portal, path: str) -> None:
    browser = brno.radiologist().get(path)
    assert browser.status == 404
    assert "There is no such page" in browser.text


def test_a_method_that_nobody_uses_is_refused(brno: Portal) -> None:
    browser = brno.radiologist()
    browser._ask("PUT", "/studies", headers={})
    assert browser.status == 405
    assert "Reference number" in browser.text


def test_an_error_that_nobody_expected_is_a_page_that_tells_nothing(
    brno: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("NOVAK^JAN")

    browser = brno.radiologist("radiologist")
    monkeypatch.setattr(brno.sessions, "find", fails)
    browser.get("/help")
    assert browser.status == 500
    assert "NOVAK" not in browser.page.text
    assert "Reference number" in browser.text


def test_a_demonstration_says_so_on_every_page() -> None:
    with portal_of_a_site(demonstration=True) as brno:
        for path in ("/login", "/help", "/nowhere"):
            browser = brno.browser().get(path)
            assert "Demonstration." in browser.text
            assert "Strict-Transport-Security" not in browser.page.headers


def test_the_style_is_not_sent_again_to_a_browser_that_has_it(brno: Portal) -> None:
    page = brno.browser().get("/static/portal.css").page
    again = brno.browser(**{"If-None-Match": page.headers["ETag"]}).get("/static/portal.css").page
    assert (page.status_code, again.status_code) == (200, 304)
    assert not again.content
