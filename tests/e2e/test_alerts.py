"""A node that runs notices by itself, and tells a real mail server and a real webhook, once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from node.wiring import open_site
from services.cli.output import Exit
from tests.support.node_process import PATIENCE
from tests.support.notices import hook, mail_server

KEY = "disk-full:store"


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def test_a_full_disk_is_mailed_and_posted_once_also_after_the_node_was_killed(make_node, tmp_path: Path):
    node = make_node()
    secret = tmp_path / "secret"
    secret.write_text("shared")
    secret.chmod(0o600)
    with mail_server() as mails, hook() as posts:
        for setting, value in {
            "store.reserve_mb": 1 << 30,
            "alerts.mail_host": "127.0.0.1",
            "alerts.mail_port": mails.port,
            "alerts.mail_security": "none",
            "alerts.mail_from": "pacs@brno.example",
            "alerts.mail_to": "technician@brno.example",
            "alerts.webhook_url": posts.url,
            "alerts.webhook_secret_file": secret,
        }.items():
            node.set(setting, value)
        node.start()
        until(lambda: bool(mails.messages and posts.posts), "nobody was told")
        said = node.command("alerts", ..., "--json", check=False)
        assert said.returncode == Exit.ATTENTION
        assert KEY in {one["key"] for one in json.loads(said.stdout)}
        until(lambda: known(node) == {"log", "mail", "webhook"}, "what was told was not noted")
        node.kill()
        looked = round_at(node)
        node.start()
        until(lambda: round_at(node) > looked, "the node does not look again")
        node.kill()
        full = [one for one in mails.messages if "The disk is full" in one["Subject"]]
        assert len(full) == 1
        posted = [json.loads(body) for _, _, body in posts.posts]
        assert [one["step"] for one in posted if one["alert"] == KEY] == ["raised"]


def known(node) -> set[str]:
    """The sinks that have told of the full disk."""
    rows = json.loads(node.command("alerts", ..., "--json", check=False).stdout)
    return {sink for one in rows if one["key"] == KEY for sink in one["told"]}


def round_at(node) -> int:
    """When the node looked last."""
    with open_site(node.folder) as site, site.catalog.reading() as unit:
        return unit.gauges.noted("round")
