"""The process of the portal: what it refuses to start with."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node.domain.errors import BadSetting
from node.settings import LoginSettings, WebSettings
from services.run.web import contexts, demand_apart
from tests.support.certificates import identity


def site(folder: Path, *, login: dict[str, Any] | None = None, **web: Any) -> Any:
    """A site of which nothing is known but its settings."""
    settings = SimpleNamespace(web=WebSettings(**web), login=LoginSettings(**login or {}))
    return SimpleNamespace(directory=folder, settings=settings, clock=lambda: time.time_ns() // 1000)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "images.hospital-brno.test", "::"])
def test_a_demonstration_listens_to_this_machine_alone(tmp_path: Path, host: str) -> None:
    with pytest.raises(BadSetting, match=r"web\.host"):
        demand_apart(site(tmp_path, host=host, login={"demonstration": True}))
    demand_apart(site(tmp_path, host="127.0.0.1", login={"demonstration": True}))
    demand_apart(site(tmp_path, host=host))


def test_a_certificate_and_its_key_are_set_together(tmp_path: Path) -> None:
    held = identity(tmp_path, "portal")
    with pytest.raises(BadSetting, match=r"web\.private_key"):
        contexts(site(tmp_path, certificate=held.certificate))
    with pytest.raises(BadSetting, match=r"web\.certificate"):
        contexts(site(tmp_path, private_key=held.private_key))
    assert contexts(site(tmp_path, certificate=held.certificate, private_key=held.private_key)).current()


def test_without_one_the_node_makes_its_own(tmp_path: Path) -> None:
    made = contexts(site(tmp_path, url="https://images.hospital-brno.test:8444"))
    assert made.current()
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {"web.crt", "web.key"}
