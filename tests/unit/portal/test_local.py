"""Local accounts by the portal: the fallback for people without an institution."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.domain.account import AccountName
from node.identity import totp
from node.identity.account_book import AccountBook
from tests.support.portal import Portal, portal_of_a_site
from tests.support.sites import BRNO, OPERATOR

GOOD = "sešit okno tramvaj 47 meruňka"


@pytest.fixture
def brno() -> Iterator[Portal]:
    with portal_of_a_site(local=True) as made:
        yield made


@pytest.fixture
def book(brno: Portal) -> AccountBook:
    return AccountBook(brno.site.catalog, BRNO)


def test_the_first_password_has_to_be_changed_before_anything_else(brno: Portal, book: AccountBook) -> None:
    first = book.add(OPERATOR, AccountName("guest"), display="Test Guest")
    browser = brno.browser().get("/login/local").submit("/login/local", name="guest", password=first)
    assert "Choose a new password" in browser.text
    assert first not in browser.page.text
    assert "__Host-konzilium" not in browser.cookies
    browser.submit("/login/local", password=first, new=GOOD, again=GOOD + "x")
    assert "both have to be the same" in browser.text
    browser.submit("/login/local", password=first, new="short", again="short")
    assert "This password cannot be used" in browser.text
    browser.submit("/login/local", password=first, new=GOOD, again=GOOD)
    assert browser.status == 303
    assert "Test Guest" in browser.get("/").text
    assert "this site itself" in browser.text


def test_a_second_factor_is_asked_for_and_proved(brno: Portal, book: AccountBook) -> None:
    first = book.add(OPERATOR, AccountName("guest"))
    brno.doors.accounts.enter("guest", first, new=GOOD, address="192.0.2.7")
    factor = book.add_factor(OPERATOR, "guest")
    browser = brno.browser().get("/login/local").submit("/login/local", name="guest", password=GOOD)
    assert browser.status == 403
    assert "the code that your authenticator shows" in browser.text
    code = totp.code_at(factor.secret, brno.site.clock())
    browser.submit("/login/local", password=GOOD, code=code)
    assert browser.status == 303
    assert "not proved" not in browser.get("/").text


def test_wrong_names_and_wrong_passwords_are_told_alike(brno: Portal, book: AccountBook) -> None:
    book.add(OPERATOR, AccountName("guest"))
    said = set()
    for name in ("guest", "nobody", "NOBODY AT ALL"):
        browser = brno.browser().get("/login/local").submit("/login/local", name=name, password="x" * 20)
        assert browser.status == 403
        said.add(browser.tree.xpath("string(//*[@role='alert'])"))
    assert len(said) == 1
    assert sum('"refused":true' in deed for deed in brno.deeds()) == 3


def test_where_local_accounts_are_off_they_are_not_offered() -> None:
    with portal_of_a_site() as brno:
        book = AccountBook(brno.site.catalog, BRNO)
        first = book.add(OPERATOR, AccountName("guest"))
        browser = brno.browser()
        assert "account of this site" not in browser.get("/login").text
        assert browser.get("/login/local").submit("/login/local", name="guest", password=first).status == 403


def test_the_sealed_account_gets_in_where_all_others_do_not() -> None:
    with portal_of_a_site() as brno:
        password = AccountBook(brno.site.catalog, BRNO).seal(OPERATOR)
        browser = brno.browser().get("/login/local")
        browser.submit("/login/local", name="administrator", password=password)
        assert browser.status == 303


def test_a_form_of_a_stranger_needs_the_token_of_its_browser(brno: Portal) -> None:
    browser = brno.browser().get("/login/local")
    assert browser.post("/login/local", {"name": "guest", "password": "x"}).status == 403
    assert "out of date" in browser.text
