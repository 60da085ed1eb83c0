"""What breaks in a machine room, one thing after the other, beneath two sites that go on receiving.

Brno and Prague run on machines of their own (`tests.support.chaos`). After each fault both come to rest by
themselves: each acknowledged instance is at both, whole and proved; no finding is left that is not explained;
and nobody ever got a byte that was damaged. `CHAOS` says how often all of it comes; `make soak` repeats it,
and lets sites stand still for longer than any time-out.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.support.caller import Refused
from tests.support.chaos import (
    MB,
    OPEN,
    Housed,
    Pair,
    Reader,
    calling,
    chaos,
    digests_of,
    flip,
    got,
    got_by,
    images,
    look,
    moved_away,
    proved,
    read_all_back,
    replaced,
    rested,
    settled,
    stopped,
    stored,
    surprises_of,
    under_load,
    unmounted,
)
from tests.support.disks import fill
from tests.support.federated import books
from tests.support.serving import eventually

ROUNDS = int(os.environ.get("CHAOS", "0"))
SEED = 20260714
REFUSED = range(0xA700, 0xA800)
"""Out of resources (PS3.4 B.2.3)."""
WITH_FAILURES = 0xB000
"""Sub-operations complete, one or more failures (PS3.4 Table C.4-3)."""
SETTINGS = {
    "replication.heartbeat": 1,
    "store.reserve_mb": 1,
    "recovery.scrub_mb": 2,
    "recovery.brake_least": 100,
}
"""All tests together damage less than makes the brake trip; the one about it loses everything."""
PARTS = ("dicom", "nodes", "worker")
STORE_MB = 64
CHANCE = random.Random(SEED)
STUDIES = itertools.count(1)

pytestmark = pytest.mark.parametrize("again", range(max(1, ROUNDS)))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two sites that exchange everything; every test leaves them so, and in the end they prove it."""
    with chaos(tmp_path_factory.mktemp("chaos"), SETTINGS, store_mb=STORE_MB) as made:
        yield made
        settled(made)
        proved(made)
        for node in made.both:
            assert [line for line in surprises_of(node) if "Traceback" in line] == []


@pytest.fixture(autouse=True)
def mended(pair: Pair) -> Iterator[None]:
    """Whatever became of a test, the next one finds the line, the clocks and the nodes whole."""
    yield
    pair.line.heal()
    for node in pair.both:
        node.faults.clock(0)
        node.faults.unreadable()
        stopped(node, signal.SIGCONT)
        if not node.running:
            node.start()


@pytest.fixture
def study() -> int:
    """The number of a study that nobody has sent yet."""
    return next(STUDIES)


# processes


def test_processes_that_are_killed_one_after_the_other_and_all_at_once_leave_no_gap(pair, study, again):
    with under_load(*pair.both, study=study) as told:
        for part in PARTS:
            for node in pair.both:
                node.kill_part(part)
            time.sleep(0.5)
        before = [told.count(node) for node in pair.both]
        with ThreadPoolExecutor() as hands:
            list(hands.map(killed_and_served, pair.both))
        for node, count in zip(pair.both, before, strict=True):
            eventually(lambda node=node, count=count: told.count(node) > count, "it stores again")
    settled(pair, told)


def test_a_worker_that_is_killed_in_the_middle_of_repairs_mends_everything_when_it_is_back(
    pair, study, again
):
    """It is killed while it reads back, and while it repairs; each job is begun again at once."""
    sent = stored(pair.prague, study, 40)
    settled(pair)
    hurt = CHANCE.sample(digests_of(pair.prague, sent), 12)
    for digest in hurt:
        flip(pair.prague.path_of(digest))
    read_all_back(pair.prague)
    pair.prague.kill_part("worker")
    eventually(lambda: found(pair.prague, hurt) > 0, "it reads back and finds damage")
    killed_again(pair.prague)
    eventually(lambda: found(pair.prague, hurt) > 3, "it finds more")
    killed_again(pair.prague)
    eventually(lambda: repaired(pair.prague) >= set(hurt), "all of it is found and repaired")
    settled(pair)
    assert told_from(pair.prague, "brno") >= set(hurt)
    assert got(pair.prague, study).digests == sent


def test_processes_that_stand_still_for_longer_than_others_wait_go_on(pair, study, again):
    with under_load(pair.prague, study=study) as told:
        stopped(pair.brno, signal.SIGSTOP)
        time.sleep(4)
        if ROUNDS:
            eventually(
                lambda: "too long" in books(pair.prague).error_of("brno"), "Prague has given up waiting"
            )
        stopped(pair.brno, signal.SIGCONT)
    settled(pair, told)


# the line


@pytest.mark.parametrize("senders", ["brno", "prague", "both"])
def test_a_line_that_is_cut_holds_up_nobody_who_stores_and_loses_nothing(pair, study, again, senders):
    cut = pair.both if senders == "both" else [node for node in pair.both if node.site == senders]
    with under_load(*pair.both, study=study) as told:
        pair.line.cut(*cut)
        before = [told.count(node) for node in pair.both]
        time.sleep(4)
        assert all(told.count(node) > count + 10 for node, count in zip(pair.both, before, strict=True)), (
            "a site waits for the other one before it acknowledges"
        )
        pair.line.heal()
    settled(pair, told)


def test_a_line_that_comes_and_goes_carries_everything_in_the_end(pair, study, again):
    with under_load(*pair.both, study=study) as told:
        for _ in range(8):
            pair.line.cut()
            time.sleep(CHANCE.uniform(0.1, 0.4))
            pair.line.heal()
            time.sleep(CHANCE.uniform(0.1, 0.4))
    settled(pair, told)


# clocks


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_is_wrong_for_a_while_is_told_and_nothing_waits_for_it_afterwards(
    pair, study, again, seconds
):
    with under_load(*pair.both, study=study) as told:
        pair.brno.faults.clock(seconds)
        eventually(lambda: "clocks" in books(pair.prague).error_of("brno"), "Prague names the clocks")
        eventually(lambda: "clocks" in books(pair.brno).error_of("prague"), "Brno names the clocks")
        pair.brno.faults.clock(0)
    settled(pair, told)


# disks that are full


def test_a_store_that_is_full_refuses_what_comes_and_takes_it_when_there_is_room(pair, study, again):
    """From the modality, from Brno, and in the middle of a repair."""
    sent = stored(pair.brno, study, 10)
    settled(pair)
    ballast = fill(pair.prague.store, leave=0)
    hurt = digests_of(pair.prague, sent)[:3]
    for digest in hurt:
        flip(pair.prague.path_of(digest))
    with under_load(pair.brno, study=study + 500) as told:
        eventually(lambda: told.count(pair.brno) > 20, "Brno stores")
        with calling(pair.prague) as caller:
            offer, chunks = next(images(study + 700, {}))
            assert caller.store(offer, chunks) in REFUSED
        came = got(pair.prague, study)
        assert came.counts == (len(sent) - len(hurt), len(hurt))
        assert came.digests.items() <= sent.items()
        ballast.unlink()
    settled(pair, told)
    assert got(pair.prague, study).digests == sent
    assert pair.prague.findings(OPEN) == []


def test_a_catalog_whose_disk_is_full_refuses_and_forgets_nothing(pair, study, again):
    ballast = fill(pair.prague.folder, leave=0)
    with under_load(pair.brno, study=study) as told:
        eventually(lambda: told.count(pair.brno) > 20, "Brno stores")
        with suppress(OSError, Refused), calling(pair.prague) as caller:
            for number, (offer, chunks) in enumerate(images(study + 500, {})):
                if caller.store(offer, chunks) in REFUSED:
                    break
                assert number < 500, "it stores although there is no room for the catalog"
        ballast.unlink()
    settled(pair, told)
    assert stored(pair.prague, study + 600, 2)
    settled(pair)


# disks that fail


def test_sectors_that_cannot_be_read_are_mended_from_the_other_site_while_somebody_reads(pair, study, again):
    sent = stored(pair.brno, study, 10)
    settled(pair)
    bad = digests_of(pair.prague, sent)[:4]
    pair.prague.faults.unreadable(*(pair.prague.path_of(digest) for digest in bad))
    assert got(pair.prague, study).digests == sent
    assert repaired(pair.prague) >= set(bad)
    settled(pair)


def test_damaged_bytes_are_never_given_out_and_are_mended_within_the_same_association(pair, study, again):
    """Bits are turned over while a reader retrieves the study again and again."""
    sent = stored(pair.brno, study, 12)
    settled(pair)
    digests = digests_of(pair.prague, sent)
    with calling(pair.prague) as caller, Reader(pair.prague, study, sent) as reader:
        assert got_by(caller, study).digests == sent
        for digest in digests[:8]:
            flip(pair.prague.path_of(digest))
            assert got_by(caller, study).digests == sent
    assert reader.rounds > 0
    assert (reader.damaged, reader.failed) == ([], [])
    mended_here = {one["digest"]: one for one in pair.prague.findings("state = 'repaired'")}
    for digest in digests[:8]:
        assert mended_here[digest]["kind"] == "corrupt"
        assert mended_here[digest]["outcome"] == "from the copy at brno"
    assert told_from(pair.prague, "brno") >= set(digests[:8])
    settled(pair)


def test_an_object_that_is_damaged_at_both_sites_is_given_to_nobody_and_harms_nothing_else(
    pair, study, again
):
    sent = stored(pair.brno, study, 10)
    settled(pair)
    uid = sorted(sent)[0]
    digest = digests_of(pair.prague, [uid])[0]
    paths = [node.path_of(digest) for node in pair.both]
    whole = paths[0].read_bytes()
    for path in paths:
        flip(path)
    for node in pair.both:
        came = got(node, study)
        assert (came.status, came.counts) == (WITH_FAILURES, (9, 1))
        assert came.digests == {one: sha for one, sha in sent.items() if one != uid}
    with under_load(*pair.both, study=study + 500) as told:
        eventually(lambda: all(told.count(node) > 5 for node in pair.both), "both go on")
    rested(pair, left=[digest])
    for node in pair.both:
        assert {one["state"] for one in node.findings(OPEN)} == {"lost"}
    paths[1].write_bytes(whole)
    assert got(pair.prague, study).digests == sent, "it is whole again at Prague"
    eventually(lambda: got(pair.brno, study).digests == sent, "and Brno has it from there")
    settled(pair, told)


# what people do


def test_a_folder_of_the_store_that_is_removed_is_made_again_and_filled_from_the_other_site(
    pair, study, again
):
    sent = stored(pair.brno, study, 10)
    settled(pair)
    digests = digests_of(pair.prague, sent)
    folder = pair.prague.path_of(digests[0]).parent
    lost = {digest for digest in books(pair.prague).instances().values() if digest.startswith(folder.name)}
    shutil.rmtree(folder)
    assert got(pair.prague, study).digests == sent
    assert pair.prague.path_of(digests[0]).exists()
    look(pair.prague)
    pair.prague.command("repair", ..., "--json")
    assert repaired(pair.prague) >= lost
    settled(pair)


def test_a_store_that_is_moved_away_is_no_empty_store(pair, study, again):
    sent = stored(pair.brno, study, 10)
    settled(pair)
    with under_load(pair.prague, study=study + 500) as told:
        with moved_away(pair.brno.store):
            eventually(lambda: told.count(pair.prague) > 10, "Prague stores")
            refuses(pair.brno, study)
        assert got(pair.brno, study).digests == sent
    settled(pair, told)
    assert found(pair.brno, digests_of(pair.brno, sent)) == 0


def test_a_store_whose_disk_is_unmounted_is_refused_until_it_is_back(pair, study, again):
    """Beneath the running node; then it is started again and may not take the mount point for its store."""
    sent = stored(pair.brno, study, 10)
    settled(pair)
    with under_load(pair.brno, study=study + 500) as told:
        with unmounted(pair.prague.store):
            eventually(lambda: told.count(pair.brno) > 10, "Brno stores")
            refuses(pair.prague, study)
            pair.prague.kill()
            with pytest.raises(AssertionError, match="is not the store of prague"):
                pair.prague.start()
            assert list(pair.prague.store.glob("??/*")) == [], "something was stored beneath the mount point"
        pair.prague.start()
    settled(pair, told)
    assert found(pair.prague, digests_of(pair.prague, sent)) == 0
    assert got(pair.prague, study).digests == sent


def test_a_new_disk_is_filled_from_the_other_site_when_a_person_has_said_so_twice(pair, study, again):
    """By the mark that calls the empty disk the store, and by releasing the brake, which trips at once."""
    sent = stored(pair.prague, study, 110)
    settled(pair)
    pair.prague.kill()
    replaced(pair.prague.store, STORE_MB * MB)
    (pair.prague.store / "store").write_text("prague\n")
    pair.prague.start()
    look(pair.prague)
    lost = digests_of(pair.prague, sent)
    eventually(lambda: braked(pair.prague), "the brake trips")
    eventually(lambda: found(pair.prague, lost) == len(lost), "every copy is called missing")
    assert not any(pair.prague.path_of(digest).exists() for digest in lost)
    pair.prague.command("brake", ..., "--release", "repair", "--reason", "the disk was replaced")
    pair.prague.command("repair", ..., "--json")
    assert {one["digest"] for one in pair.prague.findings("state IN ('open', 'lost')")} & set(lost) == set()
    assert told_from(pair.prague, "brno") >= set(lost)
    settled(pair)
    assert got(pair.prague, study).digests == sent


def killed_and_served(node: Housed) -> None:
    """Kill every process of a node at once, and serve the site again."""
    node.kill()
    node.start()


def braked(node: Housed) -> bool:
    """Whether a brake of a node has tripped."""
    return bool(books(node).ask("SELECT name FROM brake WHERE tripped_at > 0"))


def refuses(node: Housed, study: int) -> None:
    """See that nothing is taken, and nothing given out as if there were nothing."""
    with calling(node) as caller:
        offer, chunks = next(images(study + 700, {}))
        assert caller.store(offer, chunks) in REFUSED
        came = got_by(caller, study)
    assert came.digests == {}
    assert came.status != 0


def found(node: Housed, digests: list[str]) -> int:
    """How many of these copies were found damaged."""
    return len({one["digest"] for one in node.findings()} & set(digests))


def repaired(node: Housed) -> set[str]:
    """The copies that were repaired."""
    return {one["digest"] for one in node.findings("state = 'repaired'")}


def told_from(node: Housed, site: str) -> set[str]:
    """The copies of which the audit says that they were repaired from another site."""
    marks = [
        deed[4].split() for deed in books(node).deeds() if f"repaired from the copy at {site}" in deed[4]
    ]
    return {words[2] for words in marks}


def killed_again(node: Housed) -> None:
    """Kill the worker as soon as there is one."""
    eventually(lambda: node.part("worker") is not None, "there is a worker again")
    node.kill_part("worker")
