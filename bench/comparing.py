"""How fast two sites find out in what they differ, and what a signed SOAP call costs."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import mean, median

import node
from bench import servers
from bench.measures import REPETITIONS, Comparison, make_ready
from bench.network.hosts import Host, hosts
from bench.pair import BRNO, PRAGUE, Pair, Running, at_rest, inside, joined, said, serving
from bench.wire import RefusedError

MILLION = 1_000_000
DIFFERENCES = 200
"""Half of them at either site only."""
_CALLS = 100
"""In one repetition; a member may make so many at once."""
_PAUSE = 3
"""Seconds until it may again."""
_INSTANCES = 1_000


def comparison() -> Comparison:
    """Compare a million objects over signed SOAP: seconds until every difference is known, at the median."""
    with servers.run_folder() as folder, _both(_million_each().copy(folder)) as (host, brno, prague):
        told = json.loads(inside(host, "compare", brno, prague.process.pid, REPETITIONS + 1))
    for seconds, differences, count in told["runs"]:
        if differences != DIFFERENCES or count != MILLION:
            raise RefusedError(f"{differences} differences of {count} in {seconds:.1f} s, not {DIFFERENCES}")
    first, *others = (seconds for seconds, _differences, _count in told["runs"])
    return Comparison(
        ours=median(others),
        peer=None,
        cpu_ours=told["cpu"],
        cpu_peer=None,
        note=f"{DIFFERENCES} differences; the first comparison, with nothing in memory, took {first:.2f} s",
    )


def signed_call() -> Comparison:
    """Signed queries for one object: milliseconds of CPU of a call, both ends together."""
    found = _queried(1, _CALLS)
    cpu = mean(cost for _seconds, cost in found)
    seconds = median(seconds for seconds, _cost in found)
    note = f"queryMappings, answered after {1000 * seconds:.1f} ms at the median"
    return Comparison(ours=cpu / 1000, peer=None, cpu_ours=cpu, cpu_peer=None, note=note)


def bulk_query() -> Comparison:
    """Signed queries for a thousand objects: milliseconds until the answer is read, at the median."""
    found = _queried(_INSTANCES, 20)
    return Comparison(
        ours=1000 * median(seconds for seconds, _cost in found),
        peer=None,
        cpu_ours=mean(cost for _seconds, cost in found),
        cpu_peer=None,
        note="bulkQueryMappings; CPU of both ends",
    )


def _queried(instances: int, calls: int) -> list[tuple[float, float]]:
    """Seconds of a call at the median, and microseconds of CPU of both ends, for each repetition."""
    with servers.run_folder() as folder:
        pair = joined(folder, instances=_INSTANCES)
        with hosts(None) as (one, other), serving(other, pair.prague), serving(one, pair.brno) as brno:
            said(other, "resume", pair.prague, BRNO)
            at_rest(brno)
            return [_repetition(other, pair, brno, instances, calls) for _ in range(REPETITIONS + 1)][1:]


def _repetition(asking: Host, pair: Pair, brno: Running, instances: int, calls: int) -> tuple[float, float]:
    """Let Prague ask Brno, in a process of its own that has nothing else to do."""
    time.sleep(_PAUSE)
    make_ready()
    told = json.loads(inside(asking, "query", pair.prague, BRNO, brno.process.pid, instances, calls))
    return told["seconds"], told["cpu"]


@contextmanager
def _both(pair: Pair) -> Iterator[tuple[Host, Path, Running]]:
    """Prague served, and the host from which Brno calls it."""
    with hosts(None) as (one, other), serving(other, pair.prague) as prague:
        at_rest(prague)
        make_ready()
        yield one, pair.brno, prague


def _million_each() -> Pair:
    """Two sites with a million objects each, all but a few the same; kept for later runs."""
    kept = servers.CACHE / f"compare-{_fingerprint()}"
    if not kept.exists():
        for outdated in servers.CACHE.glob("compare-*"):
            shutil.rmtree(outdated)
        with servers.run_folder() as folder:
            (folder / "sites").mkdir()
            pair = joined(folder / "sites")
            with hosts(None) as (_, other):
                said(other, "resume", pair.prague, BRNO)
            print(
                "filling two catalogs with a million objects; this is done once", file=sys.stderr, flush=True
            )
            alone = DIFFERENCES // 2
            digests = sorted(hashlib.sha256(b"%d" % n).hexdigest() for n in range(MILLION + alone))
            step = len(digests) // alone
            _fill(pair.brno, PRAGUE, [d for n, d in enumerate(digests) if n % step or n // step >= alone])
            _fill(
                pair.prague, BRNO, [d for n, d in enumerate(digests) if n % step != 1 or n // step >= alone]
            )
            (folder / "sites").rename(kept)
    return Pair(brno=kept / BRNO, prague=kept / PRAGUE)


def _fill(site: Path, other: str, digests: Sequence[str]) -> None:
    """List objects as if they were here, and verified at the other site; their bytes are not made."""
    with closing(sqlite3.connect(site / "catalog.db")) as catalog, catalog:
        catalog.execute("PRAGMA synchronous = OFF")
        catalog.execute("PRAGMA cache_size = -262144")
        catalog.execute("INSERT INTO patient (id) VALUES (1)")
        study = "INSERT INTO study (id, uid, patient, arrived_at, instance_count) VALUES (1, '1.2', 1, 0, ?)"
        catalog.execute(study, (len(digests),))
        catalog.execute(
            "INSERT INTO series (id, uid, study, instance_count) VALUES (1, '1.3', 1, ?)", (len(digests),)
        )
        catalog.executemany(
            "INSERT INTO instance (uid, series, sop_class, transfer_syntax, digest, size, arrived_at)"
            " VALUES (?, 1, '', '', ?, 1, 0)",
            ((f"1.4.{int(digest[:15], 16)}", digest) for digest in digests),
        )
        catalog.executemany(
            "INSERT INTO replica (digest, site, instance, size, state, at)"
            " VALUES (?, ?, ?, 1, 'verified', 0)",
            ((digest, other, f"1.4.{int(digest[:15], 16)}") for digest in digests),
        )


def _fingerprint() -> str:
    """Changes with everything that decides what the catalogs hold."""
    root = Path(node.__file__).parent
    sources = [Path(__file__), *sorted(root.rglob("*.sql"))]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
