"""The pages of the portal in a real browser, judged by the rules of the WCAG that a program can judge by.

Light and dark, in Czech and in English, for strangers and for persons: axe-core finds nothing to object to.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from services.portal.app import portal
from tests.support import chromium, synthetic
from tests.support.peers import missing, requires
from tests.support.portal import Portal, portal_of_a_site

pytestmark = pytest.mark.peer

HERE = Path(__file__).parent / "axe"
INSTALLED = HERE / "node_modules" / "axe-core"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
JUDGE = """
    const done = arguments[arguments.length - 1];
    axe.run(document, {runOnly: arguments[0]}).then(found => done(
        found.violations.map(one => [one.id, one.help, one.nodes.map(node => node.html.slice(0, 200))])));
"""
STUDY = synthetic.study_uid(1)
FOR_STRANGERS = [
    "/login",
    "/login?find=brno",
    "/login?find=x",
    "/login/local",
    "/help",
    "/nowhere",
    "/logout",
]
FOR_PERSONS = [
    "/",
    "/studies",
    f"/studies/{STUDY}",
    "/studies/1.2.3",
    f"/emergency/{STUDY}",
    "/reviews",
    "/audit",
]


class Server(ThreadingMixIn, WSGIServer):
    """Serves several requests at once."""

    daemon_threads = True


class Silent(WSGIRequestHandler):
    """Tells nothing of requests."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Shown:
    """A portal in a browser on this machine."""

    url: str
    site: Portal
    window: chromium.Browser
    rules: str

    def violations(self) -> list[Any]:
        """What is wrong with the page that is open."""
        self._run("sync", self.rules)
        return list(self._run("async", JUDGE, RULES))

    def look(self, scheme: str, language: str) -> None:
        """See pages in light or dark, in a language."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._tell("Emulation.setEmulatedMedia", features=[feature])
        self.window.open(f"{self.url}/help?language={language}")

    def log_in(self) -> None:
        """Be somebody who may see all pages."""
        session = self.site.radiologist().cookies["__Host-konzilium"].value
        place = {"url": self.url, "path": "/", "secure": True, "httpOnly": True}
        self._tell("Network.setCookie", name="__Host-konzilium", value=session, **place)

    def _run(self, how: str, script: str, *arguments: object) -> Any:
        return self.window._call("POST", f"/execute/{how}", {"script": script, "args": list(arguments)})

    def _tell(self, command: str, **parameters: object) -> None:
        self.window._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})


@pytest.fixture(scope="module")
def rules() -> str:
    """axe-core, exactly as package-lock.json says."""
    npm = requires("npm")
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]["axe-core"]
    if not _is(wanted):
        words = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save"]
        done = subprocess.run(words, cwd=HERE, capture_output=True, text=True, timeout=200, check=False)
        if not _is(wanted):
            missing(f"axe-core from the npm registry (npm says: {done.stderr[-300:]})")
    return (INSTALLED / "axe.min.js").read_text("utf-8")


def _is(version: str) -> bool:
    about = INSTALLED / "package.json"
    return about.exists() and json.loads(about.read_text())["version"] == version


@pytest.fixture(scope="module")
def shown(rules: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A site with a study, its portal, and a browser."""
    about = {"local": True, "certificates": True, "demonstration": True, "support": "help@hospital-brno.test"}
    with portal_of_a_site(**about) as made:
        for one in synthetic.study(3, series=2, patient="P1"):
            made.site.admit(one)
        for role in ("radiologist", "auditor", "referring physician"):
            made.grant(role)
        with make_server("127.0.0.1", 0, made.app, Server, Silent) as server:  # type: ignore[arg-type]
            url = f"http://127.0.0.1:{server.server_port}"
            doors = replace(made.doors, about=replace(made.doors.about, url=url))
            server.set_app(portal(doors, idle_minutes=30))  # type: ignore[arg-type]
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with chromium.Browser(tmp_path_factory.mktemp("browser")) as window:
                yield Shown(url, made, window, rules)
            server.shutdown()


@pytest.fixture(params=[("light", "en"), ("dark", "cs")], ids=["light-en", "dark-cs"])
def page(shown: Shown, request: pytest.FixtureRequest) -> Shown:
    """The browser of a stranger."""
    shown.window.forget()
    shown.look(*request.param)
    return shown


def test_pages_for_strangers_are_accessible(page: Shown) -> None:
    found = {}
    for path in FOR_STRANGERS:
        page.window.open(page.url + path)
        found[path] = page.violations()
    page.window.open(f"{page.url}/login/local")
    page.window.type("#name", "guest")
    page.window.type("#password", "wrong")
    page.window.click("form.stack button")
    found["a wrong password"] = page.violations()
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def test_pages_for_persons_are_accessible(page: Shown) -> None:
    page.log_in()
    found = {}
    for path in FOR_PERSONS:
        page.window.open(page.url + path)
        found[path] = page.violations()
    for path, field, value in (
        ("/studies", "#id", "P1"),
        ("/audit", "#patient", "P1"),
        (f"/studies/{STUDY}", "", ""),
    ):
        page.window.open(page.url + path)
        if field:
            page.window.type(field, value)
        page.window.click("form.panel button")
        assert page.window.has("table")
        found[f"{path} answered"] = page.violations()
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def test_the_keyboard_reaches_the_content_first(page: Shown) -> None:
    page.window.open(f"{page.url}/login")
    assert page.window.has("body > a.skip[href='#main']:first-child")


def test_a_narrow_window_needs_no_sideways_scrolling(page: Shown) -> None:
    page.log_in()
    page.window.resize(500, 800)
    try:
        for path in FOR_PERSONS:
            page.window.open(page.url + path)
            script = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            assert page._run("sync", script), path
    finally:
        page.window.resize(1200, 900)
