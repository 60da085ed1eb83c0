"""`kill -9` of either side at random points under load: the copies are completed, nothing comes twice.

Parts of a node are killed one by one, supervisors without their parts, and whole nodes. `KILLS` says how
often; `make soak` kills a hundred times.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import permutations

import pytest

from tests.support import synthetic
from tests.support.federated import Modality, Sent, agree, books, in_step, joined, sending, small
from tests.support.node_process import NodeProcess
from tests.support.serving import eventually

SEED = 20260714
KILLS = int(os.environ.get("KILLS", "30"))
PARTS = ("dicom", "nodes", "worker")
MOST = 6
"""Parts of a node that are killed before the whole of it: the supervisor lets more and more time pass."""
LARGE = 12_000_000
SLOW = {"replication.rate_mbit": 64}
"""So that there is always something under way."""


@pytest.mark.timeout(300 + 10 * KILLS)
def test_kills_of_either_side_under_load_leave_no_gap_and_nothing_twice(tmp_path):
    chance = random.Random(SEED)
    with joined(tmp_path, "brno", "prague", settings=SLOW) as (brno, prague):
        modalities = [
            Modality(brno, small(1), pause=0.02),
            Modality(brno, large(600), classes=(ULTRASOUND,), pause=1.0),
            Modality(prague, small(1001), pause=0.1),
        ]
        with sending(*modalities):
            for victim in victims(brno, prague, chance):
                wait_for_a_pack(prague, chance)
                victim()
        for node in (brno, prague):
            node.kill()
            node.set("replication.rate_mbit", 0)
            node.start()
        eventually(lambda: in_step(brno, prague), "both hold everything")
        acknowledged = {
            "brno": [*modalities[0].acknowledged, *modalities[1].acknowledged],
            "prague": modalities[2].acknowledged,
        }
        assert all(len(modality.acknowledged) > 1 for modality in modalities)
        agree(brno, prague, acknowledged=acknowledged)
        assert swept(brno) + swept(prague) > 0, "no kill has struck while something was under way"
        for one, other in permutations((brno, prague)):
            assert proved_twice(one) == {}
            assert one.command("verify", ..., "--peer", other.site).returncode == 0
            assert list((one.folder / "blobs" / "incoming").iterdir()) == []


ULTRASOUND = str(synthetic.enormous(LARGE).offer.sop_class)


def large(number: int) -> Iterator[Sent]:
    """Loops without end, each a study of its own."""
    for study in itertools.count(number):
        loop = synthetic.enormous(LARGE, study=study, patient=f"P{study:04d}")
        yield loop.offer, list(loop.chunks())


def victims(brno: NodeProcess, prague: NodeProcess, chance: random.Random):
    """Who is to be killed next, as often as `KILLS` says."""
    spent = Counter()
    for _ in range(KILLS):
        node = chance.choice((brno, prague))
        if spent[node.site] < MOST and chance.random() < 0.9:
            spent[node.site] += 1
            yield lambda node=node: kill_part(node, chance.choice(PARTS))
        else:
            spent[node.site] = 0
            yield lambda node=node: kill_node(node, chance)


def wait_for_a_pack(receiver: NodeProcess, chance: random.Random) -> None:
    """Return a random moment after bytes began to come to a site, most times; else just after a while."""
    until = time.monotonic() + chance.choice((0, 3, 3))
    while time.monotonic() < until and not any((receiver.folder / "blobs" / "incoming").iterdir()):
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.4))


def swept(node: NodeProcess) -> int:
    """Unfinished files that a node has found when it started."""
    lines = map(json.loads, node.log.read_text().splitlines())
    return sum(line.get("files", 0) for line in lines if line["message"].startswith("leftovers"))


def kill_part(node: NodeProcess, name: str) -> None:
    """Kill one process of a node, or another one where that is dead already."""
    pid = node.part(name) or next(filter(None, map(node.part, PARTS)), None)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_node(node: NodeProcess, chance: random.Random) -> None:
    """Kill every process of a node, the supervisor some moments before the others or at once; serve again."""
    os.kill(node.pid, signal.SIGKILL)
    time.sleep(chance.choice((0, 0.05, 0.5)))
    node.kill()
    time.sleep(chance.choice((0, 0, 1.0)))
    node.start()


def proved_twice(node: NodeProcess) -> dict[str, int]:
    """Copies that a site told of more than once."""
    told = Counter(digest for (digest,) in books(node).ask(TOLD, node.site))
    return {digest: count for digest, count in told.items() if count > 1}


TOLD = """
    SELECT verified.value FROM journal, json_each(journal.payload, '$.verified') AS verified
     WHERE origin = ? AND kind = 'copies'
"""
