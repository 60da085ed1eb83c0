"""The power fails at a site while it fetches from another: what it has told to be proved is there afterwards.

The receiving side is the real one: packs made durable together, then their rows, then the proof. The other
site is in the same process, on a disk that nothing happens to.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from node.blobs.filesystem import FilesystemStore
from node.domain.clock import system_clock
from node.domain.ids import Digest, SiteId
from node.replication.courier import Courier
from node.replication.habits import Habits
from node.replication.peer import TicketGrant
from services.transfer.intake import Intake
from tests.support import synthetic
from tests.support.disks import PowerCutDisk
from tests.support.evidence import Evidence, digests_on_disk
from tests.support.federated import Books
from tests.support.federation import FederatedSite, LocalPeer, Network, acquaint
from tests.support.ingest import DISCIPLINES, PROCESSES

SEED = 20260714
STUDIES, IMAGES = 20, 16


class PackPeer(LocalPeer):
    """Hands out bytes in packs, which are taken in as those that come by HTTPS are."""

    def fetch(self, grant: TicketGrant, digests: Sequence[Digest]) -> Iterator[Digest]:
        with Intake(self._caller.blobs) as intake:
            for digest in digests:
                with self._called.blobs.open(digest) as file:
                    assert intake.take(digest, self._called.blobs.size(digest), file.readinto)
                if intake.is_full:
                    yield from intake.keep()
            yield from intake.keep()


@contextmanager
def both(source: Path, folder: Path) -> Iterator[tuple[FederatedSite, FederatedSite]]:
    """Brno, which has everything, and Prague, which fetches it."""
    network = Network()
    brno, prague = (
        FederatedSite(
            name=SiteId(name),
            folder=place,
            network=network,
            clock=system_clock,
            blobs=FilesystemStore(place / "blobs"),
        )
        for name, place in (("brno", source), ("prague", folder))
    )
    try:
        yield brno, prague
    finally:
        brno.catalog.close()
        prague.catalog.close()


def exchange(brno: FederatedSite, prague: FederatedSite) -> bool:
    """Let Prague fetch a batch and prove it; whether there was anything to do."""
    courier = Courier(
        SiteId("brno"),
        catalog=prague.catalog,
        blobs=prague.blobs,
        intake=prague.intake,
        service=prague.service,
        peers=lambda to, timeout=None: PackPeer(prague, brno),
        habits=Habits(streams=1, batch=IMAGES),
    )
    return bool(courier.round()) | bool(prague.intake.prove(IMAGES))


def fetch_for_ever(source: Path, folder: Path, notes: Path, broken: str) -> None:
    """What the process does until its death: fetch, prove, and note what others were told."""
    DISCIPLINES[broken]()
    noted = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with both(source, folder) as (brno, prague):
        while True:
            exchange(brno, prague)
            told = Books(folder).ask(TOLD)
            os.write(noted, "".join(f"{digest}\n" for (digest,) in told).encode())


TOLD = """
    SELECT told.value FROM journal, json_each(journal.payload, '$.verified') AS told
     WHERE origin = 'prague' AND kind = 'copies'
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder of Brno, full of studies; beside it `before/prague`, which knows Brno and has nothing."""
    folder = tmp_path / "brno"
    for name in (folder, tmp_path / "before" / "prague"):
        name.mkdir(parents=True)
    with both(folder, tmp_path / "before" / "prague") as (brno, prague):
        acquaint(brno, prague)
        for study in range(STUDIES):
            for made in synthetic.study(IMAGES, study=study, patient=f"P{study}", side=64):
                brno.admit(made)
    return folder


def fetch_until_the_cut(
    disk: PowerCutDisk, source: Path, notes: Path, mode: str, seed: int, broken: str = ""
) -> None:
    """Fetch until the power fails at a random moment; put what is left in the place of the disk."""
    before = notes.stat().st_size if notes.exists() else 0
    process = PROCESSES.Process(
        target=fetch_for_ever, args=(source, disk.folder / "prague", notes, broken), daemon=True
    )
    process.start()
    try:
        await_notes(process, notes, before)
        time.sleep(random.Random(seed).uniform(0, 0.3))
        disk.cut(mode, seed=seed)
        time.sleep(0.05)
    finally:
        process.kill()
        process.join()
    disk.replace()


def await_notes(process: BaseProcess, notes: Path, before: int) -> None:
    """Return when something was told in this run."""
    until = time.monotonic() + 60
    while not notes.exists() or notes.stat().st_size <= before:
        assert process.is_alive(), "the process ended by itself"
        assert time.monotonic() < until, "nothing was fetched"
        time.sleep(0.002)


def told_before(notes: Path) -> set[str]:
    """The copies that others were told of. A torn last line was noted by nobody alive."""
    return set(notes.read_text().split("\n")[:-1])


@pytest.mark.parametrize("mode", ["drop", "torn"])
def test_a_power_cut_while_fetching_takes_back_nothing_that_was_told(tmp_path, source, mode):
    """Three cuts, one after the other; then Prague goes on and gets the rest."""
    folder, notes = tmp_path / "before" / "prague", tmp_path / "told"
    for cut in range(3):
        with PowerCutDisk(tmp_path / f"disk-{cut}", source=folder.parent) as disk:
            folder = disk.folder / "prague"
            fetch_until_the_cut(disk, source, notes, mode, SEED + cut)
        Evidence(folder).all_again({})
        told = {digest for (digest,) in Books(folder).ask(TOLD)}
        assert told_before(notes) <= told <= digests_on_disk(folder)
        assert told <= set(Books(folder).instances().values())
    with both(source, folder) as (brno, prague):
        while exchange(brno, prague):
            pass
    assert Books(folder).instances() == Books(source).instances()
    assert len(Books(folder).instances()) == STUDIES * IMAGES
    Evidence(folder).all_again(Books(source).instances())


@pytest.mark.parametrize("broken", ["folders", "commits"])
def test_a_site_that_syncs_too_little_is_caught_by_a_cut_while_it_fetches(tmp_path, source, broken):
    notes = tmp_path / "told"
    with PowerCutDisk(tmp_path / "disk", source=tmp_path / "before") as disk:
        folder = disk.folder / "prague"
        fetch_until_the_cut(disk, source, notes, "drop", SEED, broken)
    told = {digest for (digest,) in Books(folder).ask(TOLD)}
    assert not told_before(notes) <= told & digests_on_disk(folder)
