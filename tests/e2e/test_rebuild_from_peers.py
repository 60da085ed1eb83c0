"""A site whose folder is gone comes back from its peer with one command, on another disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import synthetic
from tests.support.federated import agree, books, in_step, joined, peers, send
from tests.support.node_process import NodeProcess, konzilium
from tests.support.serving import eventually

SAVED = ("site.toml", "keys")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeProcess, NodeProcess, list[str]]]:
    """Brno and Prague with a study of each, both at both; Brno is not running, nor after any test."""
    with joined(tmp_path_factory.mktemp("pair"), "brno", "prague") as (brno, prague):
        sent = send(brno, synthetic.study(6, study=1)) + send(prague, synthetic.study(6, study=2))
        eventually(lambda: in_step(brno, prague), "both hold everything")
        assert brno.stop() == 0
        yield brno, prague, sent
        goes_on(brno, prague, sent)


def back(said: str, brno: NodeProcess, sent: list[str]) -> None:
    """The command has reported that everything is back, and it is."""
    report: dict[str, Any] = json.loads(said.splitlines()[-1])
    assert (report["whole"], report["missing"]) == (True, [])
    assert report["objects"] == len(sent)
    assert report["own"]["epoch"] >= 2
    assert report["own"]["last_at"]
    assert [one["peer"] for one in report["compared"] if one["equal"]] == ["prague"]
    seconds = report["seconds"]
    assert 0 < seconds["opened"] <= seconds["answers"] <= seconds["whole"]
    assert set(books(brno).instances()) == set(sent)


def goes_on(brno: NodeProcess, prague: NodeProcess, sent: list[str]) -> None:
    """Both run, exchange what is new, and hold the same, every byte of it."""
    brno.add_device("SENDER")
    brno.start()
    later = send(brno, synthetic.study(2, study=3)) + send(prague, synthetic.study(2, study=4))
    eventually(lambda: in_step(brno, prague), "both hold everything")
    agree(brno, prague, acknowledged={"all": [*sent, *later]})
    proof = json.loads(prague.command("verify", ..., "--peer", "brno", "--json").stdout)
    assert (proof["equal"], proof["count"]) == (True, len(sent) + len(later))


def test_a_site_whose_settings_and_keys_were_saved_comes_back(pair, tmp_path):
    brno, _, sent = pair
    saved = tmp_path / "saved"
    shutil.copytree(brno.folder, saved, ignore=lambda at, names: apart_from_saved(brno, at, names))
    shutil.rmtree(brno.folder)
    shutil.copytree(saved, brno.folder)
    assert sorted(path.name for path in brno.folder.iterdir()) == sorted(SAVED)
    back(konzilium("rebuild", brno.folder, "--from-peers", "--json").stdout, brno, sent)


def test_a_site_of_which_nothing_was_saved_comes_back_with_a_new_key(pair):
    brno, prague, sent = pair
    before = peers(prague)["brno"]["fingerprints"]
    shutil.rmtree(brno.folder)
    refused = konzilium("rebuild", brno.folder, "--from-peers", check=False)
    assert refused.returncode == 4, "nobody has said which site it is to be"
    said = prague.command("invite", ..., "--site", "brno", "--returning", "--yes", "--json").stdout
    invitation = json.loads(said)
    again = konzilium(
        "rebuild", brno.folder, "--from-peers", "--site", "brno", "--json",
        "--invitation", invitation["token"], "--code", invitation["code"],
        "--dicom-port", brno.dicom_port, "--dicom-tls-port", brno.tls_port,
        "--node-port", brno.node_port, "--node-url", brno.url,
    )  # fmt: skip
    back(again.stdout, brno, sent)
    assert not set(before) & set(peers(prague)["brno"]["fingerprints"]), "the old key is not trusted any more"


def apart_from_saved(site: NodeProcess, at: str, names: list[str]) -> list[str]:
    """What people who back up settings and keys leave out."""
    return [name for name in names if name not in SAVED] if Path(at) == site.folder else []
