"""The portal speaks Czech as well as English, in all that it says."""

from __future__ import annotations

import re
from importlib.resources import files

import falcon
import pytest
from falcon.testing import create_req

from node.policy.decide import default
from services.portal.home import RIGHTS
from services.portal.problems import MISSING, PROBLEMS
from services.portal.words import preferred, say, table
from tests.support.portal import Portal

PACKAGE = files("services.portal")
_IN_PAGES = re.compile(r'_\("((?:[^"\\]|\\.)*)"')
_IN_CODE = re.compile(r'say\([\w.]+(?:\(req\))?(?:\.language)?, "([^"]+)"')
_TEXTS = re.compile(r'^ +text = "([^"]+)"$', re.MULTILINE)


def said() -> set[str]:
    """Every text that the portal can say."""
    texts = set(RIGHTS.values())
    for problem in PROBLEMS.values():
        texts |= {problem.heading, problem.advice}
    for page in (PACKAGE / "templates").iterdir():
        texts |= set(_IN_PAGES.findall(page.read_text("utf-8")))
    for module in PACKAGE.iterdir():
        if module.name.endswith(".py"):
            source = module.read_text("utf-8")
            texts |= set(_IN_CODE.findall(source)) | set(_TEXTS.findall(source))
    return texts | set(default().roles) | {MISSING}


def told_in_code() -> set[str]:
    """Texts of pages for requests that are no page."""
    from services.portal.problems import _plain

    plain = [_plain(status, is_form=False) for status in ("404", "405", "400")]
    plain.append(_plain("403", is_form=True))
    return {text for one in plain for text in (one.heading, one.advice)}


def test_every_text_has_its_czech() -> None:
    assert not {text for text in said() | told_in_code() if not table("cs").get(text)}


def test_no_czech_text_is_left_over() -> None:
    assert not set(table("cs")) - said() - told_in_code()


@pytest.mark.parametrize("english", sorted(table("cs")))
def test_values_are_filled_in_in_both_languages(english: str) -> None:
    names = re.findall(r"\{(\w+)\}", english)
    assert sorted(re.findall(r"\{(\w+)\}", table("cs")[english])) == sorted(names)
    assert "{" not in say("cs", english, **dict.fromkeys(names, "x"))


@pytest.mark.parametrize(
    ("wished", "language"),
    [
        ("", "en"),
        ("cs", "cs"),
        ("cs-CZ,cs;q=0.9,en;q=0.8", "cs"),
        ("de, en;q=0.5, cs;q=0.7", "cs"),
        ("sk", "cs"),
        ("de", "en"),
        ("cs;q=0", "en"),
        ("en;q=x, cs;q=0.1", "cs"),
        ("*" * 10_000, "en"),
    ],
)
def test_a_browser_is_answered_in_the_language_it_likes_best(wished: str, language: str) -> None:
    req: falcon.Request = create_req(headers={"Accept-Language": wished})
    assert preferred(req, "en") == language


def test_a_page_is_in_the_language_that_it_says(brno: Portal) -> None:
    browser = brno.browser(**{"Accept-Language": "cs"}).get("/login")
    assert browser.tree.get("lang") == "cs"
    assert "Přihlášení" in browser.text
    assert browser.page.headers["Content-Language"] == "cs"


def test_a_person_chooses_a_language_for_good(brno: Portal) -> None:
    browser = brno.browser().get("/login?language=cs")
    assert "Přihlášení" in browser.get("/login").text
    assert "Log in" in browser.get("/login?language=en").text
    assert "Log in" in browser.get("/login?language=xx").text
