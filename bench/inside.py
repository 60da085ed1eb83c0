"""`python -m bench.inside TASK ...`: what a benchmark does on a host whose network is its own.

Each task writes its result as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench import blaster, corpus, servers
from bench.blaster import Node
from bench.measures import SETTLE_SECONDS
from bench.pair import BRNO, DICOM_PORT, PRAGUE
from node.catalog.selection import chosen
from node.domain.ids import SiteId, StudyUID
from node.domain.query import Selection
from node.replication.reconcile import reconcile
from node.wiring import open_site
from services.run.peers import peers_of
from services.soap.catalog import COLUMNS, ReplicaCatalog
from services.soap.framework.rows import read_rows
from services.soap.peer import SoapPeer

SLICES = 200
"""In a study."""
_FIRST = 5_000_000


def store(count: str) -> float:
    """Send CT slices to Brno by DICOM over four associations; how long it took."""
    identities = [instance(number) for number in range(int(count))]
    node = Node(ae_title=BRNO.upper(), address=("127.0.0.1", DICOM_PORT))
    return blaster.store(node, corpus.ct(), [identities[first::4] for first in range(4)])


def instance(number: int) -> corpus.Identity:
    """One of the slices that Brno holds."""
    study, slice_number = divmod(number, SLICES)
    return corpus.identity(_FIRST + study, number=slice_number + 1)


def query(folder: str, name: str, leader: str, instances: str, calls: str) -> dict[str, float]:
    """Ask another site for the copies of so many instances, so often.

    Args:
        folder: of the site that asks.
        name: of the other one.
        leader: the process that leads the other one.
        instances: in each call.
        calls: how often.

    Returns:
        Seconds of a call at the median, and microseconds of processor time of both ends on average.
    """
    uids = tuple(instance(number).instance for number in range(int(instances)))
    with _peer(Path(folder), name) as (_, peer):
        session = peer._session(ReplicaCatalog)

        def ask() -> None:
            if len(uids) == 1:
                session.call(ReplicaCatalog.query_mappings, instance=uids[0])
            else:
                with session.element(ReplicaCatalog.bulk_query_mappings, instance=uids) as answer:
                    rows = sum(1 for _ in read_rows(answer, COLUMNS))
                if rows < len(uids):
                    raise ValueError(f"{rows} mappings of {len(uids)} instances")

        return _timed(ask, int(calls), int(leader))


def compare(folder: str, leader: str, repetitions: str) -> dict[str, Any]:
    """Compare Brno's catalog with Prague's, so often.

    Args:
        folder: of Brno.
        leader: the process that leads Prague.
        repetitions: how often.

    Returns:
        Seconds, differences and objects each time; and processor time as for `query`.
    """
    with _peer(Path(folder), PRAGUE) as (catalog, peer):
        runs = []
        before = _cpu(int(leader))
        for _ in range(int(repetitions)):
            started = time.perf_counter()
            found = reconcile(catalog, peer)
            runs.append((time.perf_counter() - started, len(found.differences), found.count))
        time.sleep(SETTLE_SECONDS)
        return {"runs": runs, "cpu": (_cpu(int(leader)) - before) / len(runs)}


def resume(folder: str, peer: str, instances: str) -> int:
    """Let a site take everything that another one has for it; how many objects it holds then."""
    said = [str(servers.KONZILIUM), "resume", folder, peer]
    subprocess.run(said, check=True, capture_output=True)
    with open_site(Path(folder)) as site:
        give_up = time.monotonic() + 600
        while time.monotonic() < give_up:
            with site.catalog.reading() as unit:
                held, lag = unit.proofs.coverage(0).objects, unit.wants.lag(SiteId(peer)).objects
                held = max(held, site.archive.counts().instances)
            if held >= int(instances) and not lag:
                return held
            time.sleep(0.2)
    raise TimeoutError("the sites were not in step")


def heal(folder: str, leader: str, times: str) -> dict[str, float]:
    """Flip a byte of so many slices, and fetch each by C-GET; as many that are in order, too."""
    node = Node(ae_title=BRNO.upper(), address=("127.0.0.1", DICOM_PORT))
    with open_site(Path(folder)) as site, site.catalog.reading() as unit:
        held = [
            (one.uid, Path(folder, "blobs", one.digest[:2], one.digest))
            for one in chosen(unit, Selection(studies=(StudyUID(instance(0).study),)))
        ][: 2 * int(times)]
    damaged, whole = held[: int(times)], held[int(times) :]
    _got(node, whole[0][0])
    cost_whole, seconds_whole = _all_got(node, [uid for uid, _ in whole], int(leader))
    for _, path in damaged:
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 1]))
    cost_damaged, seconds_damaged = _all_got(node, [uid for uid, _ in damaged], int(leader))
    return {
        "damaged": seconds_damaged,
        "whole": seconds_whole,
        "cpu_damaged": cost_damaged,
        "cpu_whole": cost_whole,
    }


def _all_got(node: Node, uids: Sequence[str], leader: int) -> tuple[float, float]:
    before = servers.cpu_of(leader)
    seconds = median(_got(node, uid) for uid in uids)
    time.sleep(SETTLE_SECONDS)
    return (servers.cpu_of(leader) - before) / len(uids), seconds


def _got(node: Node, uid: str) -> float:
    """Seconds until a slice has come by C-GET, whole."""
    keys = blaster.identifier({0x00080052: ("CS", "IMAGE"), 0x00080018: ("UI", uid)})
    received = blaster.get(node, corpus.ct(), keys)
    if received.count != 1 or received.size < 0.98 * len(corpus.ct().data):
        raise ValueError(f"{received.count} slices of {received.size} bytes")
    return received.seconds


def _timed(ask: Callable[[], None], calls: int, leader: int) -> dict[str, float]:
    ask()
    seconds: list[float] = []
    before = _cpu(leader)
    for _ in range(calls):
        started = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - started)
    time.sleep(SETTLE_SECONDS)
    return {"seconds": median(seconds), "cpu": (_cpu(leader) - before) / calls}


def _cpu(leader: int) -> float:
    """Microseconds of processor time of this process, and of the one that leads the other site."""
    return time.process_time() * 1e6 + servers.cpu_of(leader)


@contextmanager
def _peer(folder: Path, name: str) -> Iterator[tuple[Any, SoapPeer]]:
    """The catalog of a site, and another site as it calls it."""
    with open_site(folder) as site, peers_of(site)(SiteId(name)) as peer:
        assert isinstance(peer, SoapPeer)
        yield site.catalog, peer


TASKS: dict[str, Callable[..., object]] = {
    "store": store,
    "query": query,
    "compare": compare,
    "resume": resume,
    "heal": heal,
}


def main(words: Sequence[str]) -> None:
    """Do a task and write down what came of it."""
    print(json.dumps(TASKS[words[0]](*words[1:])))


if __name__ == "__main__":
    main(sys.argv[1:])
