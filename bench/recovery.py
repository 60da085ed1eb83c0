"""What it takes to look after copies and to get them back: a catalog, a disk, one flipped byte."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median

from bench import blaster, corpus, servers
from bench.measures import SETTLE_SECONDS, Comparison, make_ready
from bench.network.hosts import hosts
from bench.pair import BRNO, at_rest, inside, joined, said, serving
from bench.servers import Server
from bench.wire import RefusedError
from node.archive.part10 import file_meta
from node.domain.ids import InstanceUID, SOPClassUID, TransferSyntaxUID
from node.domain.instance import Offer
from node.recovery.scrub import Schedule, Scrub
from node.wiring import open_site

MB = 1_000_000
REPETITIONS = 3
SLICES = 2_000
_FIRST = 7_000_000
_PER_SERIES = 5
_PATIENCE = 7200
_SAVED = ("site.toml", "keys")
"""What people are told to save of a site."""


def lost_catalog(instances: int) -> Comparison:
    """Make the catalog of so many small instances again from their bytes alone: instances per second."""
    with servers.run_folder() as folder:
        site = folder / "site"
        servers.make_site(site)
        _fill(site / "blobs", instances)
        for part in site.glob("catalog.db*"):
            part.unlink()
        make_ready()
        before, started = _children(), time.perf_counter()
        told = _konzilium("rebuild", site, "--json")
        seconds = time.perf_counter() - started
        cpu = (_children() - before) / instances
    admitted = json.loads(told)["admitted"]
    if admitted != instances:
        raise RefusedError(f"{admitted} instances of {instances} came back")
    note = f"{instances} instances of 6 kB back in {seconds:.0f} s, journal and audit lost with the catalog"
    return Comparison(ours=instances / seconds, peer=None, cpu_ours=cpu, cpu_peer=None, note=note)


def lost_site(instances: int) -> Comparison:
    """Lose a site but for its settings and keys, and bring it back from the other one: seconds."""
    with servers.run_folder() as folder:
        pair = joined(folder, instances=instances)
        with hosts(None) as (one, other), serving(other, pair.prague) as prague:
            with serving(one, pair.brno):
                inside(other, "resume", pair.prague, BRNO, instances, seconds=_PATIENCE)
            for lost in pair.brno.iterdir():
                if lost.name not in _SAVED:
                    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
            make_ready()
            before = prague.cpu() + _children()
            told = json.loads(said(one, "rebuild", pair.brno, "--from-peers", "--json", seconds=_PATIENCE))
            cpu = prague.cpu() + _children() - before
    if not told["whole"] or told["objects"] != instances:
        raise RefusedError(f"{told['objects']} of {instances} slices came back")
    seconds = told["seconds"]
    size = told["bytes"] / MB
    note = (
        f"{size / 1000:.1f} GB; open after {seconds['opened']:.1f} s, all studies found and retrieved "
        f"through the other site after {seconds['answers']:.1f} s; every copy read back, fingerprints equal"
    )
    return Comparison(ours=seconds["whole"], peer=None, cpu_ours=cpu / size, cpu_peer=None, note=note)


def reading_back() -> Comparison:
    """Read back and compare every byte of CT slices, beside `sha256sum` of the same files: MB/s."""
    with servers.run_folder() as folder:
        site = _stored(folder, SLICES)
        size = _size(site / "blobs")
        runs = [(_check(site, size), _sha256sum(site, size)) for _ in range(REPETITIONS + 1)][1:]
    ours, peer = zip(*runs, strict=True)
    return Comparison(
        ours=median(rate for rate, _ in ours),
        peer=median(rate for rate, _ in peer),
        cpu_ours=mean(cpu for _, cpu in ours),
        cpu_peer=mean(cpu for _, cpu in peer),
        note="konzilium check --verify, catalog compared too; peer is sha256sum alone",
    )


def ingest_beside_scrub(associations: int, instances: int) -> Comparison:
    """CT slices per second while the scrub reads at its usual rate, and while it reads nothing."""
    with servers.run_folder() as folder:
        busy = _stored(folder / "busy", SLICES)
        idle = shutil.copytree(busy, folder / "idle")
        numbers = iter(range(8_000_000, 9_000_000))

        def measure(server: Server) -> tuple[float, float]:
            streams = [
                [corpus.identity(study, number=number) for number in range(1, instances + 1)]
                for study in (next(numbers) for _ in range(associations))
            ]
            make_ready()
            before = server.cpu()
            seconds = blaster.store(server.node, corpus.ct(), streams)
            time.sleep(SETTLE_SECONDS)
            count = associations * instances
            return count / seconds, (server.cpu() - before) / count

        _let_all_be_due(busy)
        with servers.konzilium(busy) as ours, servers.konzilium(idle, scrub_mb=0) as peer:
            runs = [(measure(ours), measure(peer)) for _ in range(REPETITIONS + 1)][1:]
        read = _read_back(busy)
    own, other = zip(*runs, strict=True)
    return Comparison(
        ours=median(rate for rate, _ in own),
        peer=median(rate for rate, _ in other),
        cpu_ours=mean(cpu for _, cpu in own),
        cpu_peer=mean(cpu for _, cpu in other),
        note=f"peer is our own node with the scrub off; {read} of {SLICES} slices were read back meanwhile",
    )


def healed_on_read(times: int) -> Comparison:
    """C-GET of a slice with a flipped byte that another site has whole, and of one in order: milliseconds."""
    with servers.run_folder() as folder:
        pair = joined(folder, instances=times * 2)
        with (
            hosts(None) as (one, other),
            serving(one, pair.brno) as brno,
            serving(other, pair.prague) as prague,
        ):
            at_rest(brno, prague)
            inside(other, "resume", pair.prague, BRNO, times * 2)
            found = json.loads(inside(one, "heal", pair.brno, brno.process.pid, times))
    return Comparison(
        ours=1000 * found["damaged"],
        peer=1000 * found["whole"],
        cpu_ours=found["cpu_damaged"],
        cpu_peer=found["cpu_whole"],
        note="peer is a slice in order; both until the last byte is here and the answer is final",
    )


def _fill(blobs: Path, instances: int) -> None:
    """Write the files of small instances as the store names them; nobody waits for the disk."""
    for number in range(256):
        (blobs / f"{number:02x}").mkdir(parents=True, exist_ok=True)
    for content in _files(instances):
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest[:2] / digest).write_bytes(content)


def _files(instances: int) -> Iterator[bytes]:
    """Stored files of instances of which no two are alike."""
    template = corpus.small()
    data = bytearray(template.data)
    for number in range(instances):
        study, place = divmod(number, 2 * _PER_SERIES)
        series, slice_number = divmod(place, _PER_SERIES)
        identity = corpus.identity(study, series=series, number=slice_number + 1)
        for name, value in identity.fields().items():
            data[template.fields[name] : template.fields[name] + len(value)] = value
        offer = Offer(
            sop_class=SOPClassUID.trusted(template.sop_class),
            instance=InstanceUID.trusted(identity.instance),
            transfer_syntax=TransferSyntaxUID.trusted(corpus.TRANSFER_SYNTAX),
        )
        yield file_meta(offer) + data


def _stored(folder: Path, slices: int) -> Path:
    """A site that has received CT slices and does not run."""
    folder.mkdir(exist_ok=True)
    site = folder / "site"
    with servers.konzilium(site) as server:
        identities = [
            corpus.identity(_FIRST + number // 200, number=number % 200 + 1) for number in range(slices)
        ]
        blaster.store(server.node, corpus.ct(), [identities[first::4] for first in range(4)])
    return site


def _let_all_be_due(site: Path) -> None:
    """Let the scrub know every copy, and have all of them to read."""
    with open_site(site) as opened:
        scrub = Scrub(opened.catalog, opened.blobs, Schedule())
        scrub.look()
        scrub.again()


def _read_back(site: Path) -> int:
    with open_site(site) as opened, opened.catalog.reading() as unit:
        return unit.proofs.coverage(1).recent_objects


def _check(site: Path, size: float) -> tuple[float, float]:
    make_ready()
    before, started = _children(), time.perf_counter()
    _konzilium("check", site, "--verify", "--json")
    seconds = time.perf_counter() - started
    return size / seconds, (_children() - before) / size


def _sha256sum(site: Path, size: float) -> tuple[float, float]:
    make_ready()
    before, started = _children(), time.perf_counter()
    words = ["find", str(site / "blobs"), "-type", "f", "-exec", "sha256sum", "{}", "+"]
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - started
    return size / seconds, (_children() - before) / size


def _konzilium(*words: object) -> str:
    command = [str(servers.KONZILIUM), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    if done.returncode not in (0, 5):
        raise RefusedError(f"konzilium {words[0]}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def _children() -> float:
    """Microseconds of processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e6


def _size(folder: Path) -> float:
    """Millions of bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MB
