"""Two real sites of 2,000 objects: everything that is wrong with one is named, and mended from the other."""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from node.audit.record import Event
from services.cli.output import Exit
from tests.support import synthetic
from tests.support.caller import Caller
from tests.support.federated import LIVELY, agree, books, in_step, join, new_site, send
from tests.support.node_process import NodeProcess
from tests.support.serving import eventually
from tests.support.sites import fast_folder

MANY = 2000
QUIET = {"recovery.scrub_mb": 0, "recovery.look_hours": 720, "recovery.repair": "false"}
"""Settings under which nothing is found or mended but by the commands of the test."""
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Brno, where everything goes wrong, Prague, and what both held before."""

    brno: NodeProcess
    prague: NodeProcess
    held: dict[str, str]
    """Digests by SOP Instance UID."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with fast_folder() as folder, two(Path(folder)) as (brno, prague):
        sent = [
            (node, synthetic.study(MANY // 4, study=study, side=8))
            for study, node in enumerate((brno, brno, prague, prague), start=1)
        ]
        with ThreadPoolExecutor() as senders:
            list(senders.map(lambda each: send(*each), sent))
        eventually(lambda: in_step(brno, prague), "both hold everything, proved")
        held = books(brno).instances()
        assert len(held) == MANY
        yield Pair(brno=brno, prague=prague, held=held)


@contextmanager
def two(folder: Path) -> Iterator[tuple[NodeProcess, NodeProcess]]:
    """Two joined sites whose logs may tell of damage; they stop in order."""
    brno, prague = (new_site(folder, name) for name in ("brno", "prague"))
    try:
        for node in (brno, prague):
            for setting, value in (LIVELY | QUIET).items():
                node.set(setting, value)
            node.start()
        join(brno, prague)
        yield brno, prague
        assert [node.stop() for node in (brno, prague)] == [0, 0]
    finally:
        for node in (brno, prague):
            node.kill()


def test_everything_that_is_wrong_is_named_and_nothing_else_and_all_of_it_is_mended(pair):
    brno, prague = pair.brno, pair.prague
    assert asked(brno, "check", "--verify", code=Exit.FINE)["findings"] == []
    expected = wrong(brno, random.Random(4), flipped=100, deleted=50, cut=20, dropped=30)

    found = asked(brno, "check", "--verify", code=Exit.DAMAGED)
    assert {(one["kind"], one["digest"]) for one in found["findings"] if one["digest"]} == expected
    assert {one["kind"] for one in found["findings"] if not one["digest"]} == {"stale"}
    assert found["counts"] == {"corrupt": 100, "missing": 50, "truncated": 20, "unlisted": 30, "stale": 4}

    mended = asked(brno, "repair", code=Exit.FINE)
    assert mended["left"] == []
    assert asked(brno, "check", "--verify", code=Exit.FINE)["findings"] == []
    assert asked(brno, "findings", code=Exit.FINE) == []
    assert books(brno).instances() == pair.held
    eventually(lambda: in_step(brno, prague), "Prague has heard what was proved again")
    agree(brno, prague)

    told = [(who, what) for event, who, _, _, what, *_ in books(brno).deeds() if event == str(Event.REPAIRED)]
    damaged = {digest for kind, digest in expected if kind != "unlisted"}
    assert all(who.startswith("operator:") and "from the copy at prague" in what for who, what in told)
    assert {digest for digest in damaged if any(digest in what for _, what in told)} == damaged
    evidence = {path.name[:64] for path in (brno.folder / "blobs" / "evidence").iterdir()}
    assert evidence == {digest for kind, digest in expected if kind in ("corrupt", "truncated")}


def test_another_site_is_compared_and_asked_to_read_its_copies_back(pair):
    brno, prague = pair.brno, pair.prague
    assert asked(brno, "check", "--peer", "prague", code=Exit.FINE)["peers"][0]["objects"] == MANY
    [hurt] = random.Random(5).sample(sorted(pair.held.values()), 1)
    flip(prague, hurt)
    found = asked(brno, "check", "--verify", "--peer", "prague", code=Exit.ATTENTION)
    assert [(one["kind"], one["digest"], one["site"]) for one in found["findings"]] == [
        ("stale", hurt, "prague")
    ]
    asked(prague, "check", "--verify", code=Exit.DAMAGED)
    asked(prague, "repair", code=Exit.FINE)
    assert asked(brno, "repair", code=Exit.FINE)["repaired"][0]["outcome"].startswith("prague has proved it")


def test_a_reader_is_answered_whole_in_the_same_association(pair):
    uid, digest = min(pair.held.items())
    flip(pair.brno, digest)
    assert fetched(pair.brno, uid) == [uid]
    assert hashlib.sha256(file_of(pair.brno, digest).read_bytes()).hexdigest() == digest
    [told] = [one for one in asked(pair.brno, "findings", "--all") if one["digest"] == digest][:1]
    assert (told["state"], told["outcome"]) == ("repaired", "from the copy at prague")


def test_damage_of_two_fifths_trips_the_brake_and_reads_are_still_answered_whole(pair):
    brno = pair.brno
    hurt = random.Random(6).sample(sorted(pair.held.items()), MANY * 2 // 5)
    for _, digest in hurt:
        flip(brno, digest)
    found = asked(brno, "check", "--verify", code=Exit.DAMAGED)
    assert found["counts"] == {"corrupt": len(hurt)}
    stopped = brno.command("repair", ..., check=False)
    assert stopped.returncode == Exit.LATER
    assert "Repair is held up, and a person has to look" in stopped.stderr
    [repair, _] = asked(brno, "brake", code=Exit.ATTENTION)
    assert f"of {MANY} copies that were read are corrupt" in repair["reason"]
    assert not any(is_whole(brno, digest) for _, digest in hurt)
    uid, digest = hurt[0]
    assert fetched(brno, uid) == [uid]
    assert is_whole(brno, digest)
    asked(brno, "brake", "--release", "repair", "--reason", "the disk was replaced", code=Exit.FINE)
    _, digest = hurt[1]
    asked(brno, "repair", "--finding", digest, code=Exit.FINE)
    assert is_whole(brno, digest)


def asked(node: NodeProcess, command: str, *words: object, code: Exit | None = None) -> Any:
    """What a command says as JSON; its exit code is this one."""
    done = node.command(command, ..., *words, "--json", check=False)
    assert code is None or done.returncode == code, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return json.loads(done.stdout)


def wrong(
    node: NodeProcess, chance: random.Random, *, flipped: int, deleted: int, cut: int, dropped: int
) -> set[tuple[str, str]]:
    """Do damage to a site; what a check has to name: kinds and digests."""
    plan: Sequence[tuple[str, int, Callable[[NodeProcess, str], None]]] = (
        ("corrupt", flipped, flip),
        ("missing", deleted, lambda node, digest: file_of(node, digest).unlink()),
        ("truncated", cut, truncate),
        ("unlisted", dropped, forget),
    )
    left = sorted(books(node).instances().values())
    chance.shuffle(left)
    done: set[tuple[str, str]] = set()
    for kind, count, harm in plan:
        for digest in left[:count]:
            harm(node, digest)
            done.add((kind, digest))
        del left[:count]
    return done


def file_of(node: NodeProcess, digest: str) -> Path:
    return node.folder / "blobs" / digest[:2] / digest


def is_whole(node: NodeProcess, digest: str) -> bool:
    return hashlib.sha256(file_of(node, digest).read_bytes()).hexdigest() == digest


def flip(node: NodeProcess, digest: str) -> None:
    """Flip one bit in the middle, as a rotting disk does."""
    path = file_of(node, digest)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(node: NodeProcess, digest: str) -> None:
    path = file_of(node, digest)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 7)


def forget(node: NodeProcess, digest: str) -> None:
    """Drop the row of an instance, as a broken catalog does."""
    with closing(sqlite3.connect(node.folder / "catalog.db", timeout=30)) as catalog, catalog:
        catalog.execute("DELETE FROM instance WHERE digest = ?", (digest,))


def fetched(node: NodeProcess, uid: str) -> list[str]:
    """The instances that a C-GET for one brings."""
    *_, study, series, _number = (int(part) for part in uid.split("."))
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "IMAGE"
    wanted.StudyInstanceUID = synthetic.study_uid(study)
    wanted.SeriesInstanceUID = synthetic.series_uid(study, series)
    wanted.SOPInstanceUID = uid
    came: list[str] = []

    def keep(instance: str, chunks: Iterator[bytes]) -> int:
        assert sum(map(len, chunks)) > 0
        came.append(instance)
        return 0

    with Caller.open(
        node.dicom_port,
        classes=[STUDY_ROOT_GET],
        receives=[str(synthetic.dataset().SOPClassUID)],
        called=node.ae_title,
    ) as caller:
        assert caller.get(synthetic.encoded(wanted), keep)[0x0900] == 0
    return came
