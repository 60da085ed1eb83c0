"""Hospitals with all that people need to log in: a site with its portal, and an identity provider beside it.

```
with hospitals(folder, "brno", "prague") as (brno, prague):
    brno.grant(prague.idp, "radiologist", "radiologist")
    enter(browser, brno, prague, "radiologist")
```

Every portal knows every identity provider, and the sites have joined each other.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from node.audit.record import Deed, read
from services.cli.demo.commands import Commands
from services.cli.main import main
from tests.support.chromium import Browser
from tests.support.federated import books, join, running
from tests.support.node_process import NodeProcess
from tests.support.peers import free_port
from tests.support.simplesaml import PASSWORD, Account, IdentityProvider

_COMMANDS = Commands(main)
PEOPLE = (
    Account("radiologist"),
    Account("surgeon", second_factor=True),
    Account("nameless", without=frozenset({"eduPersonPrincipalName"})),
    Account("impostor", foreign="hospital-elsewhere.test"),
)
"""Who has an account at each hospital."""


@dataclass(frozen=True, slots=True)
class Hospital:
    """A site, its portal and its identity provider."""

    node: NodeProcess
    idp: IdentityProvider
    web_port: int

    @property
    def portal(self) -> str:
        """Where browsers find the portal."""
        return f"https://images.{self.idp.scope}:{self.web_port}"

    def knows(self, *providers: IdentityProvider) -> None:
        """Have the site believe these identity providers, as they describe themselves now."""
        for idp in providers:
            self.believes(idp, idp.described())

    def believes(self, idp: IdentityProvider, metadata: Path) -> None:
        """Have the site believe what a file says of an identity provider, as one that has been compared."""
        pins = [word for one in idp.fingerprints() for word in ("--fingerprint", one)]
        konzilium("idp", "add", self.node.folder, idp.scope, "--file", metadata, "--replace", *pins)

    def metadata(self) -> str:
        """What the portal tells of itself."""
        place = self.node.folder / "metadata.xml"
        place.unlink(missing_ok=True)
        konzilium("login", "metadata", self.node.folder, "--output", place)
        return place.read_text()

    def rotate(self, *step: str) -> None:
        """Take the next step to another key for the login."""
        konzilium("login", "rotate", self.node.folder, *step)

    def grant(self, idp: IdentityProvider, name: str, role: str, *options: object) -> int:
        """Give somebody of an identity provider a role here; returns the number of the grant."""
        said = konzilium(
            "grant", "add", self.node.folder, f"{name}@{idp.scope}", role, "--issuer", idp.entity, *options
        )
        return int(re.findall(r"Grant (\d+)", said)[0])

    def deeds(self) -> list[Deed]:
        """The audit record of the site, oldest first."""
        return [read(deed) for (deed,) in books(self.node).ask("SELECT deed FROM audit ORDER BY seq")]


@contextmanager
def hospitals(folder: Path, *names: str) -> Iterator[Sequence[Hospital]]:
    """Serve the sites and identity providers of these hospitals."""
    made = [_made(folder, name) for name in names]
    with ExitStack() as open_:
        for one in made:
            open_.enter_context(one.idp)
        open_.enter_context(running(*[one.node for one in made]))
        for one in made:
            one.knows(*[other.idp for other in made])
        told = [one.metadata() for one in made]
        for one in made:
            one.idp.trust(*told)
        for one in made[1:]:
            join(made[0].node, one.node)
        yield made


def _made(folder: Path, name: str) -> Hospital:
    scope = f"hospital-{name}.test"
    idp = IdentityProvider(
        folder / f"idp-{name}",
        scope=scope,
        people=PEOPLE,
        names={"en": f"Hospital {name.title()}", "cs": f"Nemocnice {name.title()}"},
    )
    node = NodeProcess(
        folder / name, site=name, ae_title=name.upper(),
        dicom_port=free_port(), tls_port=free_port(), node_port=free_port(),
    )  # fmt: skip
    hospital = Hospital(node, idp, free_port())
    konzilium(
        "init", node.folder, "--site", name, "--dicom-port", node.dicom_port, "--dicom-tls-port", 0,
        "--node-port", node.node_port, "--node-url", node.url, "--web-port", hospital.web_port,
    )  # fmt: skip
    settings = node.folder / "site.toml"
    text = settings.read_text().replace('#scopes = ""', f'scopes = "{scope}"')
    before, web, after = text.partition("[web]")
    settings.write_text(before + web + after.replace('#url = ""', f'url = "{hospital.portal}"', 1))
    konzilium("device", "add", node.folder, "SENDER", "127.0.0.1", 11112)
    return hospital


def konzilium(*words: object) -> str:
    """Carry out the command of an administrator in this process, which saves the time to start another."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        return _COMMANDS(*words)
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def log_in(browser: Browser, idp: IdentityProvider, name: str) -> None:
    """Type a name and the password at an identity provider, where the browser has come to."""
    browser.wait_at(idp.url)
    browser.type("#username", name)
    browser.type("#password", PASSWORD)
    browser.follow("Login")


def enter(browser: Browser, at: Hospital, of: Hospital, name: str) -> None:
    """Log somebody of a hospital in at a portal, from its first page on."""
    browser.open(f"{at.portal}/")
    choose(browser, of)
    log_in(browser, of.idp, name)
    browser.wait(lambda: browser.url == f"{at.portal}/", "first page of the portal")


def choose(browser: Browser, of: Hospital) -> None:
    """Choose a hospital where a portal offers all of them."""
    browser.click(f'.choices a[href*="{quote(of.idp.entity, safe="")}"]')
