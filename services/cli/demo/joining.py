"""The sites are made, and one invites the other."""

from __future__ import annotations

from services.cli.demo.running import HOST
from services.cli.demo.stage import At, Stage

NOWHERE = 11114
"""A port for devices that nobody calls back here."""
SLOW_LINE = {"KONZILIUM_REPLICATION__RATE_MBIT": 60, "KONZILIUM_REPLICATION__PACK_MB": 2}
"""A line on which a CT series takes seconds."""


def open_sites(stage: Stage) -> None:
    """Two sites are made and their nodes started; a scanner knocks."""
    stage.story.step("1. Brno and Prague each make a site, in one folder, and start its node.")
    for at in (stage.brno, stage.prague):
        node = at.node
        stage.story.typed(f"init {node.name} --site {node.name} --dicom-port {node.dicom_port} ...")
        stage.konzilium("device", "add", node.directory, "VIEWER", HOST, NOWHERE, "--may", "query,retrieve")
    stage.brno.node.start()
    stage.prague.node.start(**SLOW_LINE)
    for at in (stage.brno, stage.prague):
        at.node.is_open()
        node = at.node
        stage.story.say(
            f"   {node.name} is open: AE title {node.ae_title} on port {node.dicom_port}, "
            f"for other nodes port {node.node_port}"
        )
    _let_scanners_in(stage)


def _let_scanners_in(stage: Stage) -> None:
    refused = [not at.scanner.echo() for at in (stage.brno, stage.prague)]
    stage.story.claim(all(refused), "scanners call, about which nobody told the nodes: they are turned away")
    for at in (stage.brno, stage.prague):
        stage.story.typed(f"device accept {at.node.name} CT1")
        stage.konzilium("device", "accept", at.node.directory, "CT1")
    let_in = [at.scanner.echo() for at in (stage.brno, stage.prague)]
    stage.story.claim(all(let_in), "now each may send to its site")


def join(stage: Stage) -> None:
    """Brno invites Prague; each administrator confirms the key of the other site."""
    story, brno, prague = stage.story, stage.brno.node, stage.prague.node
    story.step("2. Brno invites Prague. Both administrators agree, on the phone.")
    shown = {at.node.name: _fingerprint(stage, at) for at in (stage.brno, stage.prague)}
    story.typed("invite brno --site prague")
    invited = stage.konzilium.json("invite", brno.directory, "--site", prague.name, "--no-wait")
    story.say(f"   a token goes by mail: {invited['token'][:24]}... ({len(invited['token'])} characters)")
    story.say(f"   a code is read over the phone: {invited['code']}")
    story.typed(f"join prague {invited['token'][:12]}... --code {invited['code']}")
    story.claim(
        invited["fingerprints"] == [shown[brno.name]],
        f"Prague compares: the token names the key that Brno shows, {_begin(shown[brno.name])}",
    )
    stage.konzilium("join", prague.directory, invited["token"], "--code", invited["code"], "--yes")
    _confirm(stage, shown[prague.name])
    members = [_peer(stage, at)["standing"] for at in (stage.brno, stage.prague)]
    story.claim(members == ["active", "active"], "each is a member for the other; nobody has edited a file")


def _confirm(stage: Stage, shown: str) -> None:
    """Brno lets Prague in, if it is the one with the key that Prague shows."""
    brno, prague = stage.brno.node, stage.prague.node
    stage.story.typed("confirm brno prague")
    waiting = _peer(stage, stage.brno)
    stage.story.claim(
        waiting["standing"] == "waiting" and waiting["fingerprints"] == [shown],
        f"Brno compares: who waits to be let in has the key that Prague shows, {_begin(shown)}",
    )
    stage.konzilium("confirm", brno.directory, prague.name, "--yes")


def _fingerprint(stage: Stage, at: At) -> str:
    return str(stage.konzilium.json("peers", at.node.directory)["fingerprint"])


def _peer(stage: Stage, at: At) -> dict[str, object]:
    """How a site sees the other one."""
    found: dict[str, object] = stage.konzilium.json("peers", at.node.directory)["peers"][0]
    return found


def _begin(fingerprint: str) -> str:
    return f"{fingerprint[:4]} {fingerprint[4:8]} ..."
