"""Proofs: fingerprints that both sites compute, bytes that come back, and nothing left to do."""

from __future__ import annotations

from services.cli.demo.corpus import Sent
from services.cli.demo.stage import At, Stage


def prove(stage: Stage) -> None:
    """Both sites hold the same, and it is what was sent."""
    story, brno, prague = stage.story, stage.brno, stage.prague
    story.step("9. The proof.")
    story.typed("verify brno --peer prague")
    found = stage.konzilium.json("verify", brno.node.directory, "--peer", prague.node.name)
    others = found["count"] - len(story.acknowledged)
    for one in found["differences"]:
        story.claim(False, f"{one['instance'] or one['digest']} is not at both: {one['where']} {one['note']}")
    if found["unproved"]:
        story.claim(False, f"{found['unproved']} copies at Prague are not proved")
    story.claim(
        found["equal"] and others >= 0,
        f"both have computed the same fingerprint of {found['count']} objects: {found['fingerprint']}",
    )
    story.say(f"        ({others} of them came under the UID of another one; both are kept)")
    for at in (brno, prague):
        compare_with_sent(stage, at, f"from {at.node.name}")
    for at in (brno, prague):
        _nothing_owed(stage, at)


def _nothing_owed(stage: Stage, at: At) -> None:
    peer = stage.konzilium.json("peers", at.node.directory)["peers"][0]
    owed = peer["out_objects"], peer["in_objects"], peer["facts_behind"]
    stage.story.claim(
        owed == (0, 0, 0),
        f"konzilium peers {at.node.name}: {owed[0]} to send, {owed[1]} to fetch, {owed[2]} entries to read",
    )


def compare_with_sent(stage: Stage, at: At, where: str) -> None:
    """Fetch everything from a site and compare it with what was sent, byte for byte."""
    acknowledged = stage.story.acknowledged
    fetched = _fetched(at, list(acknowledged.values()))
    same = sum(fetched.get(uid) == sent.dataset for uid, sent in acknowledged.items())
    stage.story.claim(
        same == len(acknowledged) == len(fetched),
        f"{same} of {len(acknowledged)} instances came back identical with what was sent: {where}",
    )


def _fetched(at: At, sent: list[Sent]) -> dict[str, bytes]:
    """All that a workstation finds and fetches."""
    pairs = {(one.offer.sop_class, one.offer.transfer_syntax) for one in sent}
    fetched: dict[str, bytes] = {}
    for match in at.viewer.find(StudyInstanceUID=""):
        fetched |= at.viewer.get(str(match.StudyInstanceUID), pairs)
    return fetched
