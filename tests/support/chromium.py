"""A real browser without a window: Debian's Chromium, driven by its own chromedriver (W3C WebDriver).

Names ending in `.test` are this machine, so pages of different hospitals are different sites for it, as they
are for everybody: cookies that a browser withholds between sites are withheld here too. Certificates that
nobody has signed are accepted, as the nodes of tests make their own.

```
with Browser(folder) as browser:
    browser.open("https://images.brno.test:8444/")
    browser.type("#username", "radiologist")
    browser.click("button[type=submit]")
    browser.wait_for("h1", "Studies")
```
"""

from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import requests

from tests.support.peers import free_port, requires

_PATIENCE: Final = 20.0
_ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"
"""The name of a reference to an element (WebDriver, 12.1)."""
_ARGUMENTS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--host-resolver-rules=MAP *.test 127.0.0.1,MAP * ~NOTFOUND,EXCLUDE 127.0.0.1,EXCLUDE localhost",
)


class NoSuchElement(AssertionError):
    """The page does not show what was looked for."""


class Browser:
    """One person's browser: its own cookies, and nothing of any other's."""

    def __init__(self, folder: Path, language: str = "en") -> None:
        self._folder = folder
        self._port = free_port()
        self._language = language
        self._calls = requests.Session()
        self._driver: subprocess.Popen[bytes] | None = None
        self._session = ""

    def open(self, url: str) -> None:
        """Go to a page, and return when it is there."""
        self._call("POST", "/url", {"url": url})

    def refresh(self) -> None:
        """Load the page again."""
        self._call("POST", "/refresh", {})

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self._call("GET", "/url"))

    @property
    def title(self) -> str:
        """What the tab says."""
        return str(self._call("GET", "/title"))

    @property
    def source(self) -> str:
        """The page as HTML."""
        return str(self._call("GET", "/source"))

    @property
    def text(self) -> str:
        """What a person reads on the page."""
        return self.read("body")

    def has(self, css: str) -> bool:
        """Whether the page has such an element."""
        return bool(self._call("POST", "/elements", {"using": "css selector", "value": css}))

    def read(self, css: str) -> str:
        """The words that the first such element shows."""
        return str(self._call("GET", f"/element/{self._find(css)}/text"))

    def attribute(self, css: str, name: str) -> str:
        """An attribute of the first such element."""
        return str(self._call("GET", f"/element/{self._find(css)}/attribute/{name}"))

    def all(self, css: str) -> list[str]:
        """The words that each such element shows."""
        found = self._call("POST", "/elements", {"using": "css selector", "value": css})
        return [str(self._call("GET", f"/element/{one[_ELEMENT]}/text")) for one in found]

    def type(self, css: str, words: str) -> None:
        """Write into a field, instead of what is in it."""
        element = self._find(css)
        self._call("POST", f"/element/{element}/clear", {})
        self._call("POST", f"/element/{element}/value", {"text": words})

    def click(self, css: str) -> None:
        """Click on the first such element, which leads to another page; return when that is there."""
        self._click(self._find(css))

    def follow(self, words: str) -> None:
        """Click on the first link or button with these words; return when the next page is there."""
        quoted = f"normalize-space(.)={_quoted(words)}"
        found = self._call(
            "POST", "/elements", {"using": "xpath", "value": f"//a[{quoted}]|//button[{quoted}]"}
        )
        if not found:
            raise NoSuchElement(f"no link or button {words!r} at {self.url}:\n{self.text}")
        self._click(str(found[0][_ELEMENT]))

    def wait_for(self, css: str, words: str = "") -> None:
        """Return when the page shows such an element with these words."""
        self.wait(
            lambda: self.has(css) and (not words or any(words in one for one in self.all(css))),
            f"{words!r} in {css}",
        )

    def wait_at(self, prefix: str) -> None:
        """Return when it has come to a page whose address begins so."""
        self.wait(lambda: self.url.startswith(prefix), prefix)

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Return when it holds; if it never does, show the page."""
        until = time.monotonic() + _PATIENCE
        while True:
            with suppress(requests.HTTPError):  # the page is just changing
                if holds():
                    return
            if time.monotonic() > until:
                raise NoSuchElement(f"no {what} at {self.url}:\n{self.text}")
            time.sleep(0.05)

    def cookies(self) -> dict[str, dict[str, Any]]:
        """The cookies that the page may see or not, by name."""
        return {str(one["name"]): one for one in self._call("GET", "/cookie")}

    def forget(self) -> None:
        """Lose the cookies of all sites, as when somebody else sits down."""
        self._call("POST", "/goog/cdp/execute", {"cmd": "Network.clearBrowserCookies", "params": {}})

    def send(self, action: str, **fields: str) -> None:
        """Send a form to an address, as a page of whoever is open now would."""
        script = """
            const form = document.createElement("form");
            form.method = "post"; form.action = arguments[0];
            for (const [name, value] of Object.entries(arguments[1])) {
                const field = document.createElement("input");
                field.type = "hidden"; field.name = name; field.value = value; form.append(field);
            }
            document.body.append(form); form.submit();
        """
        self._call("POST", "/execute/sync", {"script": script, "args": [action, fields]})

    def picture(self, file: Path) -> Path:
        """What the window shows, as PNG."""
        file.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))
        return file

    def resize(self, width: int, height: int) -> None:
        """Make the window as wide and high as that."""
        self._call("POST", "/window/rect", {"width": width, "height": height})

    def start(self) -> Self:
        """Start the browser."""
        chromium = requires("chromium")
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "chromedriver.log").open("ab") as log:
            self._driver = subprocess.Popen(
                [requires("chromedriver"), f"--port={self._port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._calls.trust_env = False
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                self._calls.get(f"http://127.0.0.1:{self._port}/status", timeout=_PATIENCE)
                break
            except requests.ConnectionError:
                assert time.monotonic() < until, "chromedriver does not answer"
                time.sleep(0.02)
        self._session = str(self._call("POST", "", self._wishes(chromium))["sessionId"])
        return self

    def stop(self) -> None:
        """End the browser."""
        if self._driver is not None:
            with suppress(requests.RequestException):
                self._call("DELETE", "")
            self._driver.terminate()
            self._driver.wait()
        self._driver = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wishes(self, chromium: str) -> dict[str, Any]:
        options = {
            "binary": chromium,
            "args": [*_ARGUMENTS, f"--user-data-dir={self._folder / 'profile'}"],
            "prefs": {"intl.accept_languages": self._language},
        }
        return {
            "capabilities": {
                "alwaysMatch": {
                    "browserName": "chrome",
                    "acceptInsecureCerts": True,
                    "goog:chromeOptions": options,
                }
            }
        }

    def _click(self, element: str) -> None:
        page = self._find("html")
        self._call("POST", f"/element/{element}/click", {})

        def is_gone() -> bool:
            try:
                self._call("GET", f"/element/{page}/name")
            except requests.HTTPError:
                return True
            return False

        self.wait(is_gone, "other page after the click")

    def _find(self, css: str) -> str:
        found = self._call("POST", "/elements", {"using": "css selector", "value": css})
        if not found:
            raise NoSuchElement(f"no {css} at {self.url}:\n{self.text}")
        return str(found[0][_ELEMENT])

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One command (WebDriver, 6.1); its value."""
        session = f"/{self._session}" if self._session else ""
        answer = self._calls.request(
            method, f"http://127.0.0.1:{self._port}/session{session}{path}", json=body, timeout=60
        )
        if answer.status_code != requests.codes.ok:
            said = answer.json()["value"]
            raise requests.HTTPError(f"{said['error']}: {said['message'][:500]}", response=answer)
        return answer.json()["value"]


def _quoted(words: str) -> str:
    """A text as XPath writes it."""
    return f'"{words}"' if "'" in words else f"'{words}'"
