"""A site changes its key while studies flow: nobody is cut off, and the old key opens no door afterwards."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from node.domain.clock import system_clock
from node.domain.errors import PeerUnreachable
from node.domain.principal import Kind, Principal
from node.identity.rotation import OVERLAP, Rotation, Step
from node.wiring import open_site
from services.https.client import Connection, Destination
from services.https.tls import client_context, fingerprint_of
from tests.support.federated import Modality, agree, books, in_step, joined, sending, small
from tests.support.node_process import NodeProcess
from tests.support.serving import eventually


def test_a_key_is_changed_under_load_and_the_old_one_is_refused_afterwards(tmp_path):
    with joined(tmp_path, "brno", "prague") as (brno, prague):
        old = key_of(brno, tmp_path / "old")
        at_brno, at_prague = Modality(brno, small(1), pause=0.05), Modality(prague, small(1001), pause=0.05)
        with sending(at_brno, at_prague):
            brno.command("rotate", ...)
            eventually(lambda: finished(brno), "Prague has read the announcement, and the next key is in use")
            new = key_of(brno, tmp_path / "new")
            more(at_brno, at_prague)
            assert fingerprint(old) != fingerprint(new)
            assert knock(prague, old) == knock(prague, new) == NO_TICKET
            retire(brno)
            eventually(
                lambda: fingerprint(old) not in listed(prague), "Prague has read that the old key is no good"
            )
            more(at_brno, at_prague)
        with pytest.raises(PeerUnreachable):
            knock(prague, old)
        assert knock(prague, new) == NO_TICKET
        eventually(lambda: in_step(brno, prague), "both hold everything")
        agree(brno, prague, acknowledged={"brno": at_brno.acknowledged, "prague": at_prague.acknowledged})


NO_TICKET = 401
"""How the door for bytes answers a member that shows no ticket."""


def key_of(node: NodeProcess, folder: Path) -> Path:
    """A copy of the key and the certificate that a site uses now."""
    folder.mkdir()
    for name in ("node.key", "node.crt"):
        shutil.copy(node.folder / "keys" / name, folder)
    return folder


def fingerprint(key: Path) -> str:
    """The name of a certificate among members."""
    return fingerprint_of((key / "node.crt").read_text())


def finished(node: NodeProcess) -> bool:
    """Put the next key to use, if every member has heard of it."""
    return node.command("rotate", ..., "--finish", check=False).returncode == 0


def retire(node: NodeProcess) -> None:
    """Do what the running node does by itself some minutes later: list the old key no more."""
    with open_site(node.folder, clock=lambda: system_clock() + OVERLAP) as site:
        upkeep = Principal(kind=Kind.NODE, name=node.site, site=site.home.site)
        assert Rotation(site.catalog, site.home).tend(upkeep).step is Step.SETTLED


def listed(node: NodeProcess) -> set[str]:
    """The fingerprints by which a site recognises others."""
    return {found for (found,) in books(node).ask("SELECT fingerprint FROM member_certificate")}


def more(one: Modality, other: Modality) -> None:
    """See that what is sent from now on still gets to the other site."""
    seen = len(one.acknowledged), len(other.acknowledged)
    eventually(lambda: len(one.acknowledged) > seen[0] and len(other.acknowledged) > seen[1], "more is sent")
    for there, sent in ((other.node, set(one.acknowledged)), (one.node, set(other.acknowledged))):
        eventually(partial(holds, there, sent), f"{there.site} has what the other site received")


def holds(node: NodeProcess, uids: set[str]) -> bool:
    return uids <= set(books(node).instances())


def knock(node: NodeProcess, key: Path) -> int:
    """Show a key at the door for other nodes; how a request without a ticket is answered."""
    door = Destination(
        name=node.site,
        host=node.host,
        port=node.node_port,
        fingerprints=frozenset({fingerprint(node.folder / "keys")}),
    )
    with Connection(door, client_context(key / "node.crt", key / "node.key")) as connection:
        return connection.request("GET", f"/transfer/blob/{'0' * 64}").status
