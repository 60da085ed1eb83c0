"""A process that opens a site and admits instances from several threads until it is killed.

It is forked from a server that has imported everything already, so that a start costs milliseconds and a test
can afford hundreds of deaths. Every admission that returned is noted in a file before the next one begins.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Self

from node.domain.errors import NodeError
from node.domain.ids import SiteId
from node.domain.instance import Offer
from node.domain.principal import DEVICE_ACTIONS, Kind, Principal
from tests.support import synthetic

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.support.ingest", "node.wiring"])
SENDER = Principal(
    kind=Kind.DEVICE, name="SENDER", site=SiteId("brno"), address="127.0.0.1", may=DEVICE_ACTIONS
)


class Ingest:
    """One such process; begins to work at once.

    Args:
        folder: the site folder.
        notes: the file in which it notes what was acknowledged; may hold notes of its predecessors.
        number: of this run; names its studies and seeds its choices.
        threads: how many senders there are at once.
        broken: a discipline to leave out, see `DISCIPLINES`.
    """

    def __init__(self, folder: Path, notes: Path, number: int, *, threads: int = 4, broken: str = "") -> None:
        self.notes = notes
        self._before = notes.stat().st_size if notes.exists() else 0
        self._process = PROCESSES.Process(
            target=work, args=(folder, notes, number, threads, broken), daemon=True
        )
        self._process.start()

    def wait_until_acknowledged(self, count: int = 1, patience: float = 60.0) -> None:
        """Return when so many instances were acknowledged in this run."""
        until = time.monotonic() + patience
        while len(self._noted()) < count:
            assert self._process.is_alive(), "the process ended by itself"
            assert time.monotonic() < until, "nothing was acknowledged"
            time.sleep(0.002)

    def kill(self) -> None:
        """End it with SIGKILL and wait until it is gone."""
        self._process.kill()
        self._process.join()
        assert self._process.exitcode == -signal.SIGKILL, "the process ended by itself"

    def _noted(self) -> list[bytes]:
        if not self.notes.exists():
            return []
        with self.notes.open("rb") as file:
            file.seek(self._before)
            return file.read().splitlines()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def acknowledged(notes: Path) -> dict[str, str]:
    """All that was noted: SOP Instance UID to digest. A torn last line was noted by nobody alive."""
    lines = notes.read_text().split("\n")[:-1] if notes.exists() else []
    return dict(line.split(" ") for line in lines)


def work(folder: Path, notes: Path, number: int, threads: int, broken: str) -> None:
    """What the process does until its death."""
    from node.wiring import open_site

    DISCIPLINES[broken]()
    noted = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with open_site(folder) as site:
        senders = [
            threading.Thread(target=send, args=(site.archive, instances(number, thread), noted))
            for thread in range(threads)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()


def send(archive, offers: Iterator[tuple[Offer, bytes]], noted: int) -> None:
    """Admit one instance after the other; what is refused is sent again, as modalities do."""
    for offer, data in offers:
        while True:
            try:
                admission = archive.admit(SENDER, offer, [data[:700], data[700:]])
            except NodeError:
                time.sleep(0.01)
                continue
            os.write(noted, f"{offer.instance} {admission.digest}\n".encode())
            break


def instances(number: int, thread: int) -> Iterator[tuple[Offer, bytes]]:
    """Instances without end: of a study that all threads share, of several series; some come twice."""
    chance = random.Random(1000 * number + thread)
    count = 0
    while True:
        count += 1
        made = synthetic.instance(
            patient=f"P{number:04d}",
            study=10_000 + number,
            series=1 + count % 3,
            number=1_000_000 * thread + count,
            side=chance.choice((4, 16, 64)),
        )
        yield made
        if chance.random() < 0.1:
            yield made


def keep_all() -> None:
    """Leave nothing out."""


def without_syncing_folders() -> None:
    """Leave out that the name of a blob is made durable."""
    from node.blobs.filesystem import FilesystemStore

    FilesystemStore._sync_names = lambda self, digests: None


def without_syncing_commits() -> None:
    """Leave out that a commit of the catalog waits for the disk."""
    from node.catalog import database

    database._PRAGMAS = tuple(
        pragma.replace("synchronous = FULL", "synchronous = NORMAL") for pragma in database._PRAGMAS
    )


def acknowledging_too_early() -> None:
    """Answer at once, and do what was promised a little later."""
    from node.archive.admit import Admit
    from node.archive.part10 import file_meta

    admit = Admit.admit

    def early(
        self, principal: Principal, offer: Offer, chunks: list[bytes], *, found: bool = False
    ) -> SimpleNamespace:
        threading.Timer(0.02, admit, (self, principal, offer, chunks)).start()
        time.sleep(0.005)
        return SimpleNamespace(digest=hashlib.sha256(file_meta(offer) + b"".join(chunks)).hexdigest())

    Admit.admit = early


DISCIPLINES = {
    "": keep_all,
    "folders": without_syncing_folders,
    "commits": without_syncing_commits,
    "early": acknowledging_too_early,
}
"""What a test can have left out, to see that it notices."""
