"""A drill of losing a whole site, between real processes that go on working meanwhile."""

from __future__ import annotations

import json

from node.recovery.drill import door
from node.recovery.drill.order import Bounds, Order, Scenario
from node.wiring import open_site
from tests.support.federated import books, in_step, joined, send
from tests.support.ingest import instances
from tests.support.serving import eventually

MANY = 30


def test_losing_a_site_is_drilled_while_it_works_and_fails_when_the_other_gives_nothing(tmp_path):
    with joined(tmp_path, "brno", "prague") as (brno, prague):
        send(brno, (one for one, _ in zip(instances(1, 0), range(MANY), strict=False)))
        send(prague, (one for one, _ in zip(instances(1001, 0), range(MANY), strict=False)))
        eventually(lambda: in_step(brno, prague), "both hold everything")
        before, journal = books(brno).instances(), books(brno).journal_of("brno")
        told = json.loads(brno.command("drill", ..., "--scenario", "lose-site", "--json").stdout)
        assert (told["verdict"], told["reasons"]) == ("passed", [])
        assert told["digests"]["equal"] == len(before) == told["sample"]["objects"]
        assert {one["what"] for one in told["durations"]} == {
            "have the journals back",
            "answer the first searches",
            "have all bytes back",
        }
        assert (books(brno).instances(), books(brno).journal_of("brno")) == (before, journal)
        asked_of_the_worker(brno)
        prague.command("consent", ..., "brno", "--export", "nothing")
        failed = brno.command("drill", ..., "--scenario", "lose-site", "--json", check=False)
        assert failed.returncode == 5
        reasons = json.loads(failed.stdout)["reasons"]
        assert any("could not be had from any member" in reason for reason in reasons)


def asked_of_the_worker(node) -> None:
    """Have the worker of a node hold a drill, and see its report."""
    order = Order(scenario=Scenario.PARTITION, seed=1, bounds=Bounds())
    with open_site(node.folder) as site:
        name = door.start(site.catalog, site.operator(), node.folder, order)
        eventually(lambda: door.find(site.catalog, node.folder, name) is not None, "the drill was held")
        assert door.last(node.folder).has_passed
