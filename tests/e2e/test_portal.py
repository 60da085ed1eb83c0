"""The portal of a node as a person runs it: `konzilium serve`, and a browser at its door."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.node_process import NodeProcess, konzilium
from tests.support.peers import free_port

HOST = "127.0.0.1"


class Served(NodeProcess):
    """A node with a portal."""

    web_port = 0

    def _init(self) -> None:
        self.web_port = free_port()
        konzilium(
            "init", self.folder, "--site", self.site, "--dicom-port", self.dicom_port, "--dicom-tls-port", 0,
            "--node-port", self.node_port, "--node-url", "none", "--web-port", self.web_port,
        )  # fmt: skip
        self.set("web.host", HOST)
        self.set("web.url", self.portal)

    @property
    def portal(self) -> str:
        return f"https://{HOST}:{self.web_port}"

    def get(self, path: str, **options: object) -> requests.Response:
        """Ask for a page as a browser that was told to trust the certificate of this portal."""
        with requests.Session() as session:
            session.trust_env = False
            trusted = str(self.folder / "keys" / "web.crt")
            return session.get(self.portal + path, verify=trusted, timeout=30, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served.make(tmp_path_factory.mktemp("portal") / "brno") as made:
        yield made


def test_the_portal_answers_by_https_with_a_certificate_of_its_own(node: Served) -> None:
    page = node.get("/studies")
    assert page.status_code == 200
    assert page.url == f"{node.portal}/login?next=/studies"
    assert "Find your institution" in page.text
    assert node.get("/static/portal.css").headers["Content-Type"].startswith("text/css")


def test_its_metadata_name_the_address_that_browsers_use(node: Served) -> None:
    page = node.get("/saml/metadata")
    assert page.headers["Content-Type"] == "application/samlmetadata+xml"
    assert f'entityID="{node.portal}/saml/metadata"' in page.text
    assert f'Location="{node.portal}/saml/acs"' in page.text


def test_many_browsers_at_once_are_all_answered(node: Served) -> None:
    answers: list[int] = []

    def visit() -> None:
        answers.append(node.get("/login").status_code)

    visitors = [threading.Thread(target=visit) for _ in range(20)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert answers == [200] * 20


def test_a_demonstration_that_others_could_reach_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Served.make(tmp_path / "brno")
    node.set("login.demonstration", "true")
    node.set("web.host", "0.0.0.0")
    for name, value in node.environment.items():
        monkeypatch.setenv(name, value)
    said = konzilium("serve", node.folder, check=False)
    assert said.returncode != 0
    assert "web.host" in said.stderr
    assert "demonstration" in said.stderr
