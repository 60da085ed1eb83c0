"""`python -m bench.inside TASK ...`: what a benchmark does on a host whose network is its own.

Each task writes its result as JSON.
"""

from __future__ import annotations

import json
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
from node.domain.ids import SiteId
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


TASKS: dict[str, Callable[..., object]] = {"store": store, "query": query, "compare": compare}


def main(words: Sequence[str]) -> None:
    """Do a task and write down what came of it."""
    print(json.dumps(TASKS[words[0]](*words[1:])))


if __name__ == "__main__":
    main(sys.argv[1:])
