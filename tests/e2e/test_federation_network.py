"""Bad networks between two real nodes: the couriers go on when the line heals, and keep nothing damaged."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from threading import Lock
from typing import ClassVar

import pytest

from node.domain.ids import Digest, SiteId
from node.replication.courier import Courier
from node.wiring import open_site
from services.run.peers import peers_of
from services.transfer.pace import GRAIN
from tests.support import synthetic
from tests.support.badline import BadLine
from tests.support.caller import Caller
from tests.support.federated import agree, books, in_step, join, new_site, running, send
from tests.support.node_process import NodeProcess
from tests.support.serving import eventually

SIDE = 512
"""Of images: half a megabyte each."""
SEED = 20260714

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeProcess, NodeProcess, BadLine]]:
    """Brno, which is called over a bad line, and Prague, which calls; every test leaves the line whole."""
    folder = tmp_path_factory.mktemp("network")
    with BadLine() as line:
        brno, prague = new_site(folder, "brno", url=line.url), new_site(folder, "prague")
        line.lead_to(brno.node_port)
        with running(brno, prague, settings={"replication.pack_mb": 4}):
            join(brno, prague)
            yield brno, prague, line


@pytest.fixture(autouse=True)
def whole_line(network: tuple[NodeProcess, NodeProcess, BadLine]) -> Iterator[None]:
    """Whatever became of a test, the next one finds the line whole."""
    yield
    brno, _, line = network
    line.lead_to(brno.node_port)
    line.heal()


@pytest.fixture
def study() -> int:
    """The number of a study that nobody has sent yet."""
    return next(NUMBERS)


def images(study: int, count: int) -> list[tuple[synthetic.Offer, bytes]]:
    return synthetic.study(count, study=study, side=SIDE)


def test_connections_that_break_in_the_middle_of_packs_cost_no_more_than_their_last_piece(network, study):
    brno, prague, line = network
    chance, harmed, before = random.Random(SEED), line.harmed, line.carried
    line.cut_after(chance.randrange(500_000, 3_000_000))
    sent = send(brno, images(study, 60))
    for count in range(1, 6):
        eventually(
            lambda count=count: line.harmed >= harmed + count or holds(prague, sent), "it breaks again"
        )
        line.cut_after(chance.randrange(500_000, 3_000_000))
    line.heal()
    settled(network, sent)
    assert line.harmed > harmed
    assert line.carried - before < 60 * 2 * SIDE * SIDE * 2.5, "whole objects were fetched again and again"


def test_a_large_object_goes_on_where_it_broke_off(network, study):
    brno, prague, line = network
    before = line.carried
    line.cut_after(12_000_000)
    loop = synthetic.enormous(40_000_000, study=500 + study)
    with Caller.open(brno.dicom_port, classes=[loop.offer.sop_class], called="BRNO") as caller:
        assert caller.store(loop.offer, loop.chunks()) == 0
    eventually(
        lambda: holds(prague, [loop.offer.instance]), "Prague has it although no connection carries it"
    )
    line.heal()
    settled(network, [loop.offer.instance])
    assert line.carried - before < 60_000_000


def test_bytes_that_were_garbled_on_the_way_are_not_kept(network, study):
    brno, _, line = network
    harmed = line.harmed
    line.garble_after(700_000)
    sent = send(brno, images(study, 10))
    eventually(lambda: line.harmed > harmed, "a bit was turned over")
    line.heal()
    settled(network, sent)


def test_noise_in_the_place_of_a_node_is_told_and_outlived(network, study):
    brno, prague, line = network
    harmed = line.harmed
    line.babble()
    line.hang_up()
    sent = send(brno, images(study, 2))
    eventually(
        lambda: line.harmed > harmed + 1 and told(prague) != "", "Prague says that it cannot reach Brno"
    )
    line.heal()
    settled(network, sent)


def test_another_node_at_the_address_is_not_spoken_to(network, study):
    brno, prague, line = network
    line.lead_to(prague.node_port)
    line.hang_up()
    sent = send(brno, images(study, 2))
    eventually(lambda: "another certificate" in told(prague), "Prague notices that this is not Brno")
    assert not holds(prague, sent)
    line.lead_to(brno.node_port)
    settled(network, sent)


def test_a_line_that_falls_silent_holds_nobody_up_for_ever(network, study):
    """The silence outlives every time-out of the couriers; what it had swallowed never comes."""
    brno, prague, line = network
    line.fall_silent()
    sent = send(brno, images(study, 4))
    back = send(prague, images(1000 + study, 4))
    eventually(lambda: holds(brno, back), "the other direction does not use that line")
    eventually(lambda: "takes too long" in told(prague), "Prague gives up")
    line.heal()
    settled(network, [*sent, *back])


def test_a_cap_on_the_line_counts_every_byte_that_couriers_fetch(network, study, monkeypatch):
    """Prague is stopped and its courier is run here, where the cap is a counter."""
    brno, prague, _ = network
    prague.stop()
    sent = send(brno, images(study, 4))
    monkeypatch.setattr("services.run.peers.Pace", Counter)
    monkeypatch.setenv("KONZILIUM_REPLICATION__RATE_MBIT", "80")
    with open_site(prague.folder) as site:
        courier = Courier(
            SiteId("brno"), catalog=site.catalog, blobs=site.blobs, intake=site.intake,
            service=site.service, peers=peers_of(site),
        )  # fmt: skip
        while courier.round():
            pass
        courier.close()
        fetched = sum(site.blobs.size(Digest(books(prague).instances()[uid])) for uid in sent)
    (counter,) = Counter.made
    assert counter.rate() == 10_000_000
    assert counter.count == fetched
    assert counter.largest <= counter.grain
    prague.start()
    settled(network, sent)


class Counter:
    """Stands where a cap would, and lets everything pass."""

    grain = GRAIN
    made: ClassVar[list[Counter]] = []

    def __init__(self, rate: Callable[[], float]) -> None:
        self.rate = rate
        self.count = self.largest = 0
        self._lock = Lock()
        self.made.append(self)

    def take(self, count: int) -> None:
        with self._lock:
            self.count += count
            self.largest = max(self.largest, count)


def told(node: NodeProcess) -> str:
    """Why Brno could not be reached last."""
    return books(node).error_of("brno")


def holds(node: NodeProcess, uids: list[str]) -> bool:
    return set(map(str, uids)) <= set(books(node).instances())


def settled(network: tuple[NodeProcess, NodeProcess, BadLine], sent: list[str]) -> None:
    """See that both sites hold the same, whole."""
    brno, prague, _ = network
    eventually(lambda: in_step(brno, prague), "both hold everything")
    agree(brno, prague, acknowledged={"all": list(map(str, sent))})
