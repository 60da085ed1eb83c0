"""How fast what Brno holds is at Prague: pulled by the node, and by `rsync --fsync` beside it."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from bench import servers
from bench.measures import SETTLE_SECONDS, Comparison, make_ready
from bench.network.hosts import Host, Line, hosts
from bench.pair import BRNO, Pair, Running, at_rest, joined, said, serving
from bench.wire import RefusedError

MB = 1_000_000
_LOOK = 0.02
"""Seconds between two looks at the catalog of Prague."""
_PATIENCE = 300
_RSYNC_PORT = 8730
_STATE = """SELECT
    (SELECT max(heard_at) FROM contact),
    (SELECT count(*) FROM instance WHERE held),
    (SELECT count(*) FROM want)
"""
_OWED = "SELECT count(*) FROM replica WHERE state = 'owed'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """One repetition."""

    rate: float
    """MB/s until everything is durable, and catalogued where there is a catalog."""
    cpu: float
    """Microseconds of processor time of both ends together, per MB."""
    proved: float = 0
    """MB/s until everything is read back from the disk, too, and Prague has said so in its journal."""


def replication(line: Line | None, instances: int, repetitions: int) -> Comparison:
    """Pull CT slices over a line, turn about with rsync.

    Args:
        line: between the sites; None is one machine.
        instances: how many slices.
        repetitions: of each; one before them does not count.
    """
    if shutil.which("rsync") is None:
        raise RefusedError("the peer is missing: install Debian's package rsync, as `make test` does")
    with servers.run_folder() as folder:
        pair = joined(folder, instances=instances)
        runs = [(_ours(pair, line, instances), _rsync(pair, line)) for _ in range(repetitions + 1)][1:]
    ours, peer = zip(*runs, strict=True)
    proved = median(pull.proved for pull in ours)
    return Comparison(
        ours=median(pull.rate for pull in ours),
        peer=median(pull.rate for pull in peer),
        cpu_ours=mean(pull.cpu for pull in ours),
        cpu_peer=mean(pull.cpu for pull in peer),
        note=f"ours with TLS; read back and proved at {proved:.1f} MB/s; peer is rsync --fsync, in the clear",
    )


def _ours(pair: Pair, line: Line | None, instances: int) -> Pull:
    """Let Prague resume the link, and wait until it has everything."""
    with servers.run_folder() as folder, hosts(line) as (one, other):
        fresh = pair.copy(folder)
        make_ready()
        with serving(one, fresh.brno) as brno, serving(other, fresh.prague) as prague:
            at_rest(brno, prague)
            before = brno.cpu() + prague.cpu()
            since = time.time()
            said(other, "resume", fresh.prague, BRNO)
            begun, catalogued, proved = _watch(prague, since, instances)
            _await_word(brno)
            time.sleep(SETTLE_SECONDS)
            cpu = brno.cpu() + prague.cpu() - before
            size = _size(fresh.prague / "blobs")
    return Pull(rate=size / (catalogued - begun), cpu=cpu / size, proved=size / (proved - begun))


def _watch(prague: Running, since: float, instances: int) -> tuple[float, float, float]:
    """When Prague was first answered, had catalogued everything, and had proved it."""
    begun = catalogued = 0.0
    for heard_at, held, wanted in _rows(prague, _STATE):
        now = time.time()
        if not begun and (heard_at or 0) / 1e6 > since:
            begun = heard_at / 1e6
        if held == instances:
            catalogued = catalogued or now
            if not wanted:
                return begun, catalogued, now
    raise AssertionError("it looks until it has seen it")


def _await_word(brno: Running) -> None:
    """Wait until Brno has heard that everything is proved."""
    next(owed for (owed,) in _rows(brno, _OWED) if not owed)


def _rows(site: Running, query: str) -> Iterator[tuple[int, ...]]:
    """The answer to a query again and again, as the catalog changes."""
    give_up = time.monotonic() + _PATIENCE
    with closing(sqlite3.connect(f"file:{site.folder}/catalog.db?mode=ro", uri=True)) as catalog:
        while time.monotonic() < give_up:
            yield catalog.execute(query).fetchone()
            time.sleep(_LOOK)
    raise RefusedError(f"{site.folder.name} was not in step after {_PATIENCE} seconds")


def _rsync(pair: Pair, line: Line | None) -> Pull:
    """Fetch the same files with rsync from its daemon."""
    with servers.run_folder() as folder, hosts(line) as (one, other):
        make_ready()
        with _daemon(one, folder, pair.brno / "blobs") as daemon:
            before = servers.cpu_of(daemon.pid) + _children()
            started = time.perf_counter()
            source = f"rsync://{one.address}:{_RSYNC_PORT}/blobs/"
            command = other.command("rsync", "--archive", "--fsync", source, folder / "copy")
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - started
            if done.returncode:
                raise RefusedError(f"rsync: {done.stderr.strip()[-300:]}")
            time.sleep(SETTLE_SECONDS)
            cpu = servers.cpu_of(daemon.pid) + _children() - before
        size = _size(folder / "copy")
    return Pull(rate=size / seconds, cpu=cpu / size)


@contextmanager
def _daemon(host: Host, folder: Path, blobs: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An rsync daemon that gives a folder away."""
    settings = folder / "rsyncd.conf"
    settings.write_text(f"use chroot = no\nuid = root\n[blobs]\npath = {blobs}\nread only = yes\n")
    where = (f"--address={host.address}", f"--port={_RSYNC_PORT}", f"--config={settings}")
    process = subprocess.Popen(
        host.command("rsync", "--daemon", "--no-detach", *where), stdin=subprocess.DEVNULL
    )
    try:
        _await(lambda: _answers(host))
        yield process
    finally:
        servers.stop(process)


def _answers(host: Host) -> bool:
    command = host.command("rsync", f"rsync://{host.address}:{_RSYNC_PORT}/")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _await(happens: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10
    while not happens():
        if time.monotonic() > give_up:
            raise RefusedError("the rsync daemon does not answer")
        time.sleep(0.05)


def _children() -> float:
    """Microseconds of processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e6


def _size(folder: Path) -> float:
    """Millions of bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MB
