"""Two sites and a third one, each a real node: what one receives is at the others, if both sides agree."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from node.domain.errors import NodeError, PeerUnreachable
from node.domain.ids import SiteId
from node.wiring import open_site
from services.run.peers import peers_of
from tests.support import synthetic
from tests.support.federated import (
    agree,
    books,
    in_step,
    is_at,
    join,
    joined,
    new_site,
    peers,
    running,
    send,
)
from tests.support.node_process import NodeProcess
from tests.support.serving import eventually

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NodeProcess]]:
    """Brno and Prague, joined; every test leaves them so."""
    with joined(tmp_path_factory.mktemp("pair"), "brno", "prague") as nodes:
        yield nodes


@pytest.fixture
def brno(sites: list[NodeProcess]) -> NodeProcess:
    return sites[0]


@pytest.fixture
def prague(sites: list[NodeProcess]) -> NodeProcess:
    return sites[1]


@pytest.fixture
def study() -> int:
    """The number of a study that nobody has sent yet."""
    return next(NUMBERS)


def test_a_study_sent_to_one_site_is_at_the_other_and_proved(brno, prague, study):
    sent = send(brno, synthetic.study(5, series=2, study=study))
    eventually(lambda: is_at(sent, prague, brno), "Prague has proved what Brno received")
    eventually(lambda: in_step(brno, prague), "nothing is owed")
    lag = peers(brno)["prague"]
    assert (lag["out_objects"], lag["in_objects"], lag["facts_behind"], lag["error"]) == (0, 0, 0, "")
    agree(brno, prague)


def test_both_sites_receive_at_the_same_time(brno, prague, study):
    at_brno = send(brno, synthetic.study(10, study=study, patient="P1"))
    at_prague = send(prague, synthetic.study(10, study=1000 + study, patient="P2"))
    the_same = [send(node, [synthetic.instance(study=2000 + study)]) for node in (brno, prague)]
    eventually(lambda: in_step(brno, prague), "both hold everything")
    agree(brno, prague, acknowledged={"brno": [*at_brno, *the_same[0]], "prague": [*at_prague, *the_same[1]]})


def test_two_contents_under_one_uid_are_kept_and_shown_at_both_sites(brno, prague, study):
    for node, salt in ((brno, 1), (prague, 2)):
        send(node, [synthetic.instance(study=study, salt=salt)])
    eventually(lambda: in_step(brno, prague), "both hold everything")
    agree(brno, prague)
    found = [
        books(node).ask(
            "SELECT digest FROM conflict WHERE instance = ?", str(synthetic.instance_uid(study, 1, 1))
        )
        for node in (brno, prague)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 1


def test_verify_proves_that_both_hold_the_same_from_either_side(brno, prague, study):
    send(brno, synthetic.study(3, study=study))
    eventually(lambda: in_step(brno, prague), "both hold everything")
    fingerprints = set()
    for here, there in ((brno, prague), (prague, brno)):
        proof = json.loads(here.command("verify", ..., "--peer", there.site, "--json").stdout)
        assert (proof["equal"], proof["differences"]) == (True, [])
        fingerprints.add((proof["count"], proof["fingerprint"]))
    assert len(fingerprints) == 1


@pytest.mark.parametrize("who", [0, 1], ids=["here", "there"])
def test_a_link_that_is_cut_carries_nothing_until_it_is_resumed_and_loses_nothing(sites, study, who):
    """Either side cuts it alone, by command, while both nodes run and receive."""
    brno, prague = sites
    cutter, other = sites[who], sites[1 - who]
    cutter.command("suspend", ..., other.site, "--reason", "maintenance")
    sent = {node.site: send(node, synthetic.study(3, study=study + 100 * n)) for n, node in enumerate(sites)}
    eventually(lambda: bool(books(other).error_of(cutter.site)), "the other side is told so")
    assert not set(books(prague).instances()) & set(sent["brno"])
    assert not set(books(brno).instances()) & set(sent["prague"])
    cutter.command("resume", ..., other.site)
    eventually(lambda: in_step(brno, prague), "both hold everything")
    agree(brno, prague, acknowledged=sent)


def test_a_third_site_joins_one_and_the_others_know_it_without_an_edit(tmp_path):
    with joined(tmp_path, "brno", "prague") as (brno, prague):
        before = send(brno, synthetic.study(2, study=1))
        olomouc = new_site(tmp_path, "olomouc")
        with running(olomouc):
            join(brno, olomouc)
            eventually(lambda: "olomouc" in peers(prague), "Prague knows Olomouc")
            assert (known := peers(prague)["olomouc"])["introduced_by"] == "brno"
            assert (known["standing"], known["agreed"], known["url"]) == ("active", False, olomouc.url)
            eventually(lambda: peers(olomouc).keys() == {"brno", "prague"}, "Olomouc knows both")
            sent = send(prague, synthetic.study(3, study=2))
            eventually(lambda: is_at(sent, brno, prague), "Brno has it")
            eventually(lambda: is_at(before, olomouc, brno), "Olomouc has what Brno had before")
            assert not set(books(olomouc).instances()) & set(sent), "nobody agreed to that yet"
            for here, there in ((prague, olomouc), (olomouc, prague)):
                here.command("consent", ..., there.site, "--export", "everything", "--accept", "everything")
            eventually(lambda: is_at(sent, olomouc, prague), "Olomouc has it, too")
            later = [*send(olomouc, synthetic.study(2, study=3)), *send(brno, synthetic.study(2, study=4))]
            eventually(lambda: in_step(brno, prague, olomouc), "all three hold everything")
            agree(brno, prague, olomouc, acknowledged={"all": [*before, *sent, *later]})
            olomouc.command("leave", ..., "--yes", "--reason", "closed")
            eventually(lambda: peers(brno)["olomouc"]["standing"] == "left", "Brno has heard the goodbye")
            eventually(lambda: peers(prague)["olomouc"]["standing"] == "left", "and so has Prague")
            stays = send(brno, synthetic.study(2, study=5))
            eventually(lambda: is_at(stays, prague, brno), "the others go on")
            assert not set(books(olomouc).instances()) & set(stays)


def test_a_site_that_nobody_can_call_joins_and_exchanges_both_ways(tmp_path):
    brno, ward = new_site(tmp_path, "brno"), new_site(tmp_path, "ward", url="none")
    with running(brno, ward):
        join(brno, ward)
        sent = {node.site: send(node, synthetic.study(20, study=n)) for n, node in enumerate((brno, ward), 1)}
        eventually(lambda: in_step(brno, ward), "both hold everything")
        agree(brno, ward, acknowledged=sent)
        assert peers(brno)["ward"]["url"] is None


def test_a_revoked_site_is_refused_at_once_also_where_it_is_connected_already(tmp_path):
    with joined(tmp_path, "brno", "prague") as (brno, prague):
        sent = send(brno, synthetic.study(2, study=1))
        eventually(lambda: is_at(sent, prague, brno), "they exchange")
        with calls(prague, brno) as call:
            call()
            brno.command("revoke", ..., "prague", "--yes", "--reason", "stolen")
            with pytest.raises(NodeError):
                call()
        with calls(prague, brno) as call, pytest.raises(PeerUnreachable):
            call()
        late = [*send(brno, synthetic.study(2, study=2)), *send(prague, synthetic.study(2, study=3))]
        eventually(lambda: bool(books(prague).error_of("brno")), "the couriers of Prague are refused")
        assert len({*books(prague).instances(), *books(brno).instances()} & {*late}) == 4
        assert not {*books(prague).instances()} & {*books(brno).instances()} & {*late}


@contextmanager
def calls(here: NodeProcess, there: NodeProcess) -> Iterator[Callable[[], object]]:
    """Calls of a node at the door of another, on a connection that stays open."""
    with open_site(here.folder) as site, peers_of(site)(SiteId(there.site)) as peer:
        with site.catalog.reading() as unit:
            news = site.service.news(unit, SiteId(there.site))
        yield lambda: peer.heartbeat(news)
