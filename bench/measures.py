"""How each kind of figure is measured: both servers, turn about, and the medians of the repetitions."""

from __future__ import annotations

import mmap
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from statistics import mean, median

from bench import blaster, corpus, million, servers
from bench.blaster import Node, Received
from bench.corpus import Identity, Template
from bench.servers import Server
from bench.wire import RefusedError
from node.wiring import open_site

REPETITIONS = 5
SETTLE_SECONDS = 0.3
"""After each repetition, before processor time is read: what a server puts off counts, too."""
REQUESTS = 4
"""In one repetition where one alone says too little: processor time is counted in hundredths of a second."""
PEER_STUDIES = 5_000
FRESH_MEMORY = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One repetition: instances per second or milliseconds per query, and microseconds of CPU per unit."""

    value: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The medians of both sides; of processor time, which is counted coarsely, the means."""

    ours: float
    peer: float | None
    """None where there is nothing to compare with."""
    cpu_ours: float
    cpu_peer: float | None
    note: str = ""


def store_rate(template: Callable[[], Template], associations: int, instances: int) -> Comparison:
    """C-STORE: instances per second over so many associations, each sending a series of its own."""
    studies = count(1_000_000)

    def measure(server: Server) -> Sample:
        streams = _streams(studies, associations, instances)
        with _cpu_per(server, associations * instances) as sample:
            seconds = blaster.store(server.node, template(), streams)
        return sample(associations * instances / seconds)

    with _both() as (ours, peer):
        return _compare(measure, ours, measure, peer)


def retrieve_rate(by: str, slices: int) -> Comparison:
    """C-GET or C-MOVE of a CT study: slices per second."""
    study = [corpus.identity(2_000_000, number=number) for number in range(1, slices + 1)]
    keys = blaster.identifier({0x00080052: ("CS", "STUDY"), 0x0020000D: ("UI", study[0].study)})

    def measure(server: Server) -> Sample:
        with _cpu_per(server, slices * REQUESTS) as sample:
            answers = [retrieve(server.node) for _ in range(REQUESTS)]
        for received in answers:
            if received.count != slices or received.size < 0.98 * slices * len(corpus.ct().data):
                raise RefusedError(f"{received.count} instances of {received.size} bytes, not {slices}")
        return sample(slices / median(received.seconds for received in answers))

    with blaster.listening_sink() as sink, _both(sink.port) as (ours, peer):
        for server in (ours, peer):
            blaster.store(server.node, corpus.ct(), [study])

        def retrieve(node: Node) -> Received:
            if by == "move":
                return blaster.move(node, sink, keys)
            return blaster.get(node, corpus.ct(), keys)

        return _compare(measure, ours, measure, peer)


def query_time(queries: Sequence[bytes], peer_queries: Sequence[bytes]) -> Comparison:
    """C-FIND in an archive of a million instances: milliseconds of a query at the median; CPU per query."""
    with _large_and_small() as (ours, peer):
        found = _compare(_timer(queries), ours, _timer(peer_queries), peer)
    return replace(found, note=f"peer holds {PEER_STUDIES} studies of one instance")


def row_cost(query: bytes) -> Comparison:
    """C-FIND with many rows in an archive of a million instances: microseconds of CPU per row."""

    def measure(server: Server) -> Sample:
        finder = blaster.Finder(server.node)
        before = server.cpu()
        found = [finder.find(query).count for _ in range(REQUESTS)]
        time.sleep(SETTLE_SECONDS)
        cost = (server.cpu() - before) / max(sum(found), 1)
        finder.close()
        rows[server.process.pid] = found[0]
        return Sample(value=cost, cpu=cost)

    rows: dict[int, int] = {}
    with _large_and_small() as (ours, peer):
        found = _compare(measure, ours, measure, peer)
        note = f"{rows[ours.process.pid]} rows, peer {rows[peer.process.pid]} of {PEER_STUDIES} studies"
    return replace(found, note=note)


def ingest_at_scale(associations: int, instances: int) -> Comparison:
    """Small instances per second with a million instances in the catalog, and with none."""
    studies = count(3_000_000, 10_000)

    def measure(server: Server) -> Sample:
        first = next(studies)
        streams = [
            [corpus.identity(first + 1_000 * stream + n // 10, number=n % 10 + 1) for n in range(instances)]
            for stream in range(associations)
        ]
        with _cpu_per(server, associations * instances) as sample:
            seconds = blaster.store(server.node, corpus.small(), streams)
        return sample(associations * instances / seconds)

    with servers.run_folder() as folder, ExitStack() as stack:
        shutil.copytree(million.site(), folder / "million")
        large = stack.enter_context(servers.konzilium(folder / "million"))
        empty = stack.enter_context(servers.konzilium(folder / "empty"))
        found = _compare(measure, large, measure, empty)
    return replace(found, note="peer is our own empty archive")


def audit_overhead(associations: int, instances: int) -> Comparison:
    """Small instances per second of our node as it is, and of one that leaves the audit record out."""
    studies = count(4_000_000)

    def measure(server: Server) -> Sample:
        streams = _streams(studies, associations, instances)
        with _cpu_per(server, associations * instances) as sample:
            seconds = blaster.store(server.node, corpus.small(), streams)
        return sample(associations * instances / seconds)

    with (
        servers.run_folder() as folder,
        servers.konzilium(folder / "audited") as ours,
        servers.konzilium(folder / "unaudited", audited=False) as peer,
    ):
        found = _compare(measure, ours, measure, peer)
        written = _records(folder / "audited"), _records(folder / "unaudited")
    note = f"peer is our own node without the record; {written[0]} records, peer {written[1]}"
    return replace(found, note=note)


def _records(site: Path) -> int:
    """How many deeds a site has recorded."""
    with open_site(site) as opened, opened.catalog.reading() as unit:
        return unit.audit.head().seq


def exact_queries(studies: int, number: int) -> list[bytes]:
    """Queries for one value of a key: accession number, patient or study, in turn."""
    chooser = random.Random(number)
    queries = []
    for turn in range(number):
        wanted = corpus.identity(chooser.randrange(studies))
        key = (
            {0x00080050: ("SH", wanted.accession)},
            {0x00100020: ("LO", wanted.patient_id)},
            {0x0020000D: ("UI", wanted.study)},
        )[turn % 3]
        queries.append(study_query(key))
    return queries


def study_query(keys: dict[int, tuple[str, str]]) -> bytes:
    """A study level identifier with the return keys of a worklist on a workstation."""
    returned = {
        0x00080005: ("CS", "ISO_IR 192"),
        0x00080020: ("DA", ""),
        0x00080030: ("TM", ""),
        0x00080050: ("SH", ""),
        0x00080052: ("CS", "STUDY"),
        0x00081030: ("LO", ""),
        0x00100010: ("PN", ""),
        0x00100020: ("LO", ""),
        0x00100030: ("DA", ""),
        0x0020000D: ("UI", ""),
    }
    return blaster.identifier(returned | keys)


def _timer(queries: Sequence[bytes]) -> Callable[[Server], Sample]:
    def measure(server: Server) -> Sample:
        finder = blaster.Finder(server.node)
        with _cpu_per(server, len(queries)) as sample:
            received = [finder.find(query) for query in queries]
        finder.close()
        if not all(answer.count for answer in received):
            raise RefusedError("a query for something that is there found nothing")
        return sample(1000 * median(answer.seconds for answer in received))

    return measure


def _streams(studies: Iterator[int], associations: int, instances: int) -> list[list[Identity]]:
    return [
        [corpus.identity(study, number=number) for number in range(1, instances + 1)]
        for study in (next(studies) for _ in range(associations))
    ]


def _compare(
    measure: Callable[[Server], Sample],
    ours: Server,
    measure_peer: Callable[[Server], Sample],
    peer: Server,
) -> Comparison:
    """Warm both up, then measure turn about."""
    samples: list[tuple[Sample, Sample]] = []
    for _ in range(REPETITIONS + 1):
        make_ready()
        own = measure(ours)
        make_ready()
        samples.append((own, measure_peer(peer)))
    own_samples, peer_samples = zip(*samples[1:], strict=True)
    return Comparison(
        ours=median(sample.value for sample in own_samples),
        peer=median(sample.value for sample in peer_samples),
        cpu_ours=mean(sample.cpu for sample in own_samples),
        cpu_peer=mean(sample.cpu for sample in peer_samples),
    )


def make_ready() -> None:
    """Leave nothing to the next repetition that an earlier one has put off.

    Dirty pages are written. On a virtual machine the first use of a page of memory is served by the host and
    costs ten times as much as any later one, so some pages are used and given back: otherwise that cost falls
    on whichever server happens to write first.
    """
    os.sync()
    with mmap.mmap(-1, FRESH_MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for offset in range(0, FRESH_MEMORY, mmap.PAGESIZE):
            memory[offset] = 1


@contextmanager
def _cpu_per(server: Server, units: int) -> Iterator[Callable[[float], Sample]]:
    """Count the server's processor time of what happens inside; yield what makes a sample of it."""
    used = 0.0
    before = server.cpu()
    yield lambda value: Sample(value=value, cpu=used)
    time.sleep(SETTLE_SECONDS)
    used = (server.cpu() - before) / units


@contextmanager
def _both(sink_port: int = 104) -> Iterator[tuple[Server, Server]]:
    """Both servers with empty archives."""
    with (
        servers.run_folder() as folder,
        servers.konzilium(folder / "konzilium", sink_port) as ours,
        servers.orthanc(folder / "orthanc", sink_port) as peer,
    ):
        yield ours, peer


@contextmanager
def _large_and_small() -> Iterator[tuple[Server, Server]]:
    """Our node with a million instances, Orthanc with some thousand."""
    with servers.run_folder() as folder:
        shutil.copytree(million.site(), folder / "million")
        shutil.copytree(_orthanc_archive(), folder / "orthanc")
        with servers.konzilium(folder / "million") as ours, servers.orthanc(folder / "orthanc") as peer:
            yield ours, peer


def _orthanc_archive() -> Path:
    """Orthanc's folder with the first studies of the large archive, one instance each; kept for later."""
    kept = servers.CACHE / f"orthanc-{PEER_STUDIES}"
    if not kept.exists():
        with servers.run_folder() as folder:
            with servers.orthanc(folder / "orthanc") as server:
                studies = [corpus.identity(study) for study in range(PEER_STUDIES)]
                blaster.store(server.node, corpus.small(), [studies[start::4] for start in range(4)])
            (folder / "orthanc").rename(kept)
    return kept
