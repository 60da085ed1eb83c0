"""What was acknowledged is there: after kill -9, after a power cut, on a full disk and on a failing one.

Acknowledged means that `archive.admit` returned, or that the sender has read 0x0000 from its socket.
After every disaster the same four things must hold: all that was acknowledged is in the catalog and on
disk with the right digest, every row of the catalog has its bytes, the numbers of every level add up,
and the site opens again without anybody's help.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from node.domain.errors import NodeError, Unavailable
from node.recovery.rebuild import rebuild
from node.wiring import open_site
from tests.support import synthetic
from tests.support.caller import Caller, Refused
from tests.support.disks import PowerCutDisk, enlarge, fill, small_disk
from tests.support.evidence import Evidence, digests_on_disk, lost
from tests.support.ingest import PROCESSES, SENDER, Ingest, acknowledged, instances
from tests.support.node_process import NodeProcess
from tests.support.peers import requires

SEED = 20260131
KILLS = 200
KILLS_OF_THE_NODE = 20
REFUSED = range(0xA700, 0xA800)
"""Out of resources (PS3.4 B.2.3)."""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """The file in which senders note what was acknowledged."""
    return tmp_path / "acknowledged"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[PowerCutDisk]:
    with PowerCutDisk(tmp_path / "disk") as mounted:
        yield mounted


# kill -9


def test_two_hundred_kills_lose_nothing_that_was_acknowledged(make_node, notes):
    node = make_node()
    folder, evidence, chance = node.folder, Evidence(node.folder), random.Random(SEED)
    for number in range(KILLS):
        with Ingest(folder, notes, number) as ingest:
            ingest.wait_until_acknowledged(chance.choice((0, 1, 1, 5)))
            time.sleep(chance.uniform(0, 0.1))
            ingest.kill()
        evidence.check(acknowledged(notes))
    assert len(acknowledged(notes)) > KILLS
    evidence.all_again(acknowledged(notes))
    with node:
        assert list((folder / "blobs" / "incoming").iterdir()) == [], "unfinished blobs were left behind"


def test_a_node_that_answers_too_early_is_caught_by_a_kill(make_node, notes):
    folder = make_node().folder
    for number in range(10):
        with Ingest(folder, notes, number, broken="early") as ingest:
            ingest.wait_until_acknowledged(5)
            ingest.kill()
        if lost(folder, acknowledged(notes)):
            return
    raise AssertionError("the test cannot see a loss")


def test_kills_of_the_whole_node_lose_nothing_that_was_acknowledged(make_node):
    """Over the network: all processes die at once, or the one that speaks DICOM, or the one that watches."""
    node = make_node()
    node.add_device("SENDER")
    evidence, chance = Evidence(node.folder), random.Random(SEED)
    senders = Senders(node)
    node.start()
    for number in range(KILLS_OF_THE_NODE):
        senders.start(number)
        senders.wait_until_acknowledged()
        time.sleep(chance.uniform(0, 0.3))
        KILLED[number % len(KILLED)](node)
        senders.stop()
        evidence.check(uids(senders.acknowledged, evidence))
        node.wait_for_door(node.dicom_port)
        with Caller.open(node.dicom_port) as caller:
            assert caller.echo() == 0
    assert node.stop() == 0
    evidence.all_again(uids(senders.acknowledged, evidence))


def test_a_node_that_is_told_to_stop_under_load_keeps_what_it_acknowledged(make_node):
    node = make_node()
    node.add_device("SENDER")
    evidence, senders = Evidence(node.folder), Senders(node)
    node.start()
    senders.start(1)
    senders.wait_until_acknowledged(20)
    threading.Timer(1.0, senders.stop).start()
    assert node.stop() == 0
    senders.stop()
    evidence.all_again(uids(senders.acknowledged, evidence))


def test_kills_in_the_middle_of_a_rebuild_leave_the_catalog_as_it_was(make_node):
    folder = make_node().folder
    with open_site(folder) as site:
        kept = {
            offer.instance: site.archive.admit(SENDER, offer, [data]).digest
            for number in range(10)
            for offer, data in synthetic.study(30, series=3, study=number, patient=f"P{number // 2}")
        }
    evidence, chance = Evidence(folder), random.Random(SEED)
    for _ in range(15):
        process = PROCESSES.Process(target=rebuild_for_ever, args=(folder,), daemon=True)
        process.start()
        time.sleep(chance.uniform(0, 0.4))
        process.kill()
        process.join()
        evidence.check(kept)
    evidence.all_again(kept)
    assert evidence.count("instance") == len(kept)


def rebuild_for_ever(folder: Path) -> None:
    """Make the catalog anew until the process is killed."""
    with open_site(folder) as site:
        while True:
            rebuild(site.archive, site.blobs, site.catalog, site.operator(), lambda *_: None)


class Senders:
    """Four modalities that send to a node over the network until they are stopped."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        self.acknowledged: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._number = 0

    def start(self, number: int) -> None:
        """Send the studies of a run."""
        self._stop.clear()
        self._number = number
        self._before = len(self.acknowledged)
        self._threads = [threading.Thread(target=self._send, args=(thread,)) for thread in range(4)]
        for thread in self._threads:
            thread.start()

    def wait_until_acknowledged(self, count: int = 1) -> None:
        """Return when so many instances were acknowledged in this run."""
        until = time.monotonic() + 60
        while len(self.acknowledged) < self._before + count:
            assert time.monotonic() < until, f"nothing was acknowledged:\n{self.node.last_words()}"
            time.sleep(0.002)

    def stop(self) -> None:
        """Return when all of them have stopped."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, thread: int) -> None:
        """Send on one association until it breaks or the senders are stopped."""
        with suppress(OSError, Refused):
            caller = Caller.open(self.node.dicom_port, classes=[synthetic.dataset().SOPClassUID], timeout=30)
            for offer, data in instances(self._number, thread):
                if self._stop.is_set():
                    break
                if caller.store(offer, [data]) == 0:
                    self.acknowledged.add(offer.instance)
            caller.close()


def uids(acknowledged: set[str], evidence: Evidence) -> dict[str, str]:
    """Acknowledged UIDs with the digests that the catalog names; an empty one where it names none."""
    held = evidence.instances()
    return {uid: held.get(uid, "") for uid in acknowledged}


def kill_all(node: NodeProcess) -> None:
    """Kill every process of the node, and serve the site again."""
    node.kill()
    node.start()


def kill_supervisor(node: NodeProcess) -> None:
    """Kill the process that watches; the others must notice and end, so that the site can be served again."""
    os.kill(node.pid, signal.SIGKILL)
    until = time.monotonic() + 60
    while len(node.processes()) > 0:
        assert time.monotonic() < until, f"processes outlive their supervisor: {node.processes()}"
        time.sleep(0.02)
    kill_all(node)


def kill_listener(node: NodeProcess) -> None:
    """Kill the process that speaks DICOM; the supervisor must start another one."""
    victim = next(pid for pid in node.processes() if pid != node.pid and listens(pid, node.dicom_port))
    before = set(node.processes())
    os.kill(victim, signal.SIGKILL)
    until = time.monotonic() + 60
    while not any(listens(pid, node.dicom_port) for pid in set(node.processes()) - before):
        assert node.running, f"the supervisor gave up:\n{node.last_words()}"
        assert time.monotonic() < until, f"no new process listens:\n{node.last_words()}"
        time.sleep(0.02)


KILLED = (kill_all, kill_listener, kill_supervisor)


def listens(pid: int, port: int) -> bool:
    """Whether a process holds a listening socket on the port (proc(5): state 0A)."""
    listening = {
        fields[9]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port
    }
    with suppress(OSError):
        return any(f"socket:[{inode}]" in _links(pid) for inode in listening)
    return False


def _links(pid: int) -> set[str]:
    links = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            links.add(str(descriptor.readlink()))
    return links


# power cuts


def ingest_until_the_cut(
    disk: PowerCutDisk, folder: Path, notes: Path, number: int, mode: str, broken: str = ""
) -> None:
    """Admit until the power fails at a random moment; put what is left in the place of the disk.

    A process that was killed before has left its last steps unsynced; its successor is sent the same again.
    """
    chance = random.Random(SEED + number)
    with Ingest(folder, notes, number, broken=broken) as ingest:
        ingest.wait_until_acknowledged()
        ingest.kill()
    with Ingest(folder, notes, number, broken=broken) as ingest:
        ingest.wait_until_acknowledged(5)
        time.sleep(chance.uniform(0, 0.5))
        disk.cut(mode, seed=number)
        time.sleep(0.05)
        ingest.kill()
    disk.replace()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mode", ["drop", "torn"])
def test_a_power_cut_loses_nothing_that_was_acknowledged(make_node, tmp_path, notes, mode, seed):
    """Three cuts, one after the other, on the same site."""
    folder = make_node(folder=tmp_path / "before" / "brno").folder
    for cut in range(3):
        with PowerCutDisk(tmp_path / f"disk-{cut}", source=folder.parent) as disk:
            folder = disk.folder / "brno"
            ingest_until_the_cut(disk, folder, notes, number=10 * seed + cut, mode=mode)
            Evidence(folder).all_again(acknowledged(notes))
            with open_site(folder) as site:
                site.archive.admit(SENDER, *_offered(synthetic.instance(study=1 + cut)))
            Evidence(folder).all_again(acknowledged(notes))


@pytest.mark.parametrize("broken", ["folders", "commits"])
def test_a_node_that_syncs_too_little_is_caught_by_a_power_cut(make_node, disk, notes, broken):
    folder = make_node(folder=disk.folder / "brno").folder
    disk.sync()
    ingest_until_the_cut(disk, folder, notes, number=1, mode="drop", broken=broken)
    assert lost(folder, acknowledged(notes))


@pytest.mark.parametrize("mode", ["drop", "torn"])
def test_a_whole_node_starts_again_after_a_power_cut(make_node, disk, mode):
    node = make_node(folder=disk.folder / "brno")
    node.add_device("SENDER")
    senders = Senders(node)
    node.start()
    senders.start(1)
    senders.wait_until_acknowledged(50)
    disk.cut(mode, seed=SEED)
    time.sleep(0.05)
    node.kill()
    senders.stop()
    disk.replace()
    evidence = Evidence(node.folder)
    evidence.all_again(uids(senders.acknowledged, evidence))
    node.start()
    senders.start(2)
    senders.wait_until_acknowledged(5)
    senders.stop()
    assert node.stop() == 0
    evidence.all_again(uids(senders.acknowledged, evidence))


def test_a_site_that_was_made_before_a_power_cut_is_a_site_after_it(make_node, disk):
    folder = make_node(folder=disk.folder / "brno").folder
    disk.cut("drop")
    disk.replace()
    with open_site(folder) as site:
        site.archive.admit(SENDER, *_offered(synthetic.instance()))


# a full disk


def test_a_disk_that_is_full_at_any_step_refuses_and_forgets_nothing(make_node, tmp_path, monkeypatch):
    """However much room is left when an instance arrives, it is kept whole or refused whole."""
    monkeypatch.setenv("KONZILIUM_STORE__RESERVE_MB", "0")
    made = make_node()
    with small_disk(tmp_path / "small", 64 << 20) as mount:
        folder = mount / "brno"
        shutil.copytree(made.folder, folder)
        evidence, kept, refused = Evidence(folder), {}, 0
        with open_site(folder) as site:
            for number, leave in enumerate(itertools.chain(range(0, 400_000, 8192), [600_000, 1_000_000])):
                ballast = fill(mount, leave)
                for count in range(2):
                    offer, data = synthetic.instance(study=number + 1, number=count, side=256)
                    try:
                        kept[offer.instance] = site.archive.admit(SENDER, offer, [data]).digest
                    except Unavailable:
                        refused += 1
                ballast.unlink()
                evidence.check(kept)
                offer, data = synthetic.instance(study=number + 1, number=9)
                kept[offer.instance] = site.archive.admit(SENDER, offer, [data]).digest
        assert refused > 10
        assert len(kept) > 60
        evidence.all_again(kept)
        assert list((folder / "blobs" / "incoming").iterdir()) == []


def test_a_sender_is_told_a700_before_the_disk_is_full_and_is_served_when_there_is_room(make_node, tmp_path):
    with small_disk(tmp_path / "small", 96 << 20) as mount:
        node = make_node(folder=mount / "brno")
        node.add_device("SENDER")
        node.set("store.reserve_mb", 64)
        node.start()
        evidence, kept = Evidence(node.folder), set()
        with Caller.open(node.dicom_port, classes=[synthetic.dataset().SOPClassUID]) as caller:
            for number in range(1, 200):
                offer, data = synthetic.instance(number=number, side=512)
                status = caller.store(offer, [data])
                if status:
                    break
                kept.add(offer.instance)
            assert status in REFUSED
            assert len(kept) > 5
            assert shutil.disk_usage(mount).free > 60 << 20, "the reserve was used up"
            assert caller.store(offer, [data]) in REFUSED
            evidence.check(uids(kept, evidence))
            enlarge(mount, 192 << 20)
            assert caller.store(offer, [data]) == 0
        kept.add(offer.instance)
        assert node.stop() == 0
        evidence.all_again(uids(kept, evidence))


# a failing disk


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "short"])
def test_any_call_may_fail_once_and_nothing_is_acknowledged_falsely(make_node, disk, tmp_path, error):
    """The n-th change of the disk fails, for every n; the sender sends again; then the power fails."""
    folder = make_node(folder=disk.folder / "brno").folder
    disk.sync()
    kept: dict[str, str] = {}
    with open_site(folder) as site:
        for after in range(200):
            offer, data = synthetic.instance(study=after, patient=f"P{after}", side=64)
            disk.arm(error, after=after)
            with suppress(NodeError):
                kept[offer.instance] = site.archive.admit(SENDER, offer, [data]).digest
            struck = disk.disarm()
            kept[offer.instance] = site.archive.admit(SENDER, offer, [data]).digest
            if after % 8 == 0 or not struck:
                image = disk.glance(tmp_path / f"image-{after}")
                Evidence(image / "brno").all_again(kept)
            if not struck:
                break
        else:
            raise AssertionError("admitting an instance has more steps than were tried")
    disk.cut("drop")
    disk.replace()
    Evidence(folder).all_again(kept)


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_commit_that_fails_is_not_acknowledged_and_leaves_no_rows(make_node, disk, call):
    """The disk fails for good when the bytes are kept and the catalog is about to commit."""
    folder = make_node(folder=disk.folder / "brno").folder
    disk.sync()
    with open_site(folder) as site, closing(sqlite3.connect(folder / "catalog.db")) as another:
        first = site.archive.admit(SENDER, *_offered(synthetic.instance(study=1)))
        another.execute("SELECT count(*) FROM instance").fetchone()
        offer, chunks = _offered(synthetic.instance(study=2))
        for after in range(40):
            disk.arm("EIO", after=after, calls=(call,), once=False)
            with pytest.raises(NodeError):
                site.archive.admit(SENDER, offer, chunks)
            assert disk.disarm()
            if len(digests_on_disk(folder)) > 1:
                break
        assert Evidence(folder).instances() == {synthetic.instance_uid(1, 1, 1): first.digest}
        again = site.archive.admit(SENDER, offer, chunks)
    disk.cut("drop")
    disk.replace()
    Evidence(folder).all_again({offer.instance: again.digest, synthetic.instance_uid(1, 1, 1): first.digest})


@pytest.mark.parametrize(
    "injected", ["fdatasync:error=EIO:when=3+7", "fsync:error=EIO:when=6+5", "rename:error=ENOSPC:when=2+4"]
)
def test_a_real_node_on_a_failing_disk_tells_its_senders(make_node, injected):
    requires("strace")
    node = make_node()
    node.add_device("SENDER")
    call = injected.partition(":")[0]
    node.start("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={injected}")
    kept, told = set(), 0
    with Caller.open(node.dicom_port, classes=[synthetic.dataset().SOPClassUID]) as caller:
        for number in range(60):
            offer, data = synthetic.instance(number=number, study=1 + number // 10)
            for _ in range(50):
                status = caller.store(offer, [data])
                if status == 0:
                    break
                assert status in REFUSED
                told += 1
            assert status == 0, f"never served again:\n{node.last_words()}"
            kept.add(offer.instance)
    node.kill()
    evidence = Evidence(node.folder)
    evidence.all_again(uids(kept, evidence))
    assert told > 0, "the fault was never met"
    node.start()
    with Caller.open(node.dicom_port) as caller:
        assert caller.echo() == 0


def _offered(made: tuple[synthetic.Offer, bytes]) -> tuple[synthetic.Offer, list[bytes]]:
    """An instance as `admit` takes it."""
    offer, data = made
    return offer, [data]
