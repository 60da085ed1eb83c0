"""`konzilium verify` says the proof, or each difference with its reason, and never who the patient is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from node.domain.ids import Digest, SiteId
from node.domain.replica import Whereabouts
from node.replication.reconcile import Difference
from services.cli import verify
from tests.support.federation import LocalPeer, federation, settle
from tests.support.synthetic import instance, instance_uid, study

BRNO, PRAGUE = SiteId("brno"), SiteId("prague")


def compare(one, other, limit=1000):
    site = SimpleNamespace(catalog=one.catalog)
    return verify.compare(site, lambda name: LocalPeer(one, one.network.sites[name]), other.name, limit)


def test_the_proof_names_the_number_the_moment_and_the_fingerprint(capsys):
    with federation("brno", "prague") as (brno, prague):
        for offer in study(3):
            brno.admit(offer)
        settle(brno, prague)
        found = compare(brno, prague)
        verify.tell(found)
        said = capsys.readouterr().out
        assert said.startswith("brno and prague hold the same 3 objects, on 20")
        assert found.fingerprint in said
        assert len(said.splitlines()) == 2


def test_each_difference_is_a_line_with_its_reason(capsys):
    with federation("brno", "prague") as (brno, prague):
        brno.admit(instance(study=1))
        settle(brno, prague)
        brno.network.sever("brno", "prague")
        brno.admit(instance(study=2))
        prague.admit(instance(study=3))
        brno.network.heal()
        found = compare(brno, prague)
        verify.tell(found)
        head, *lines = capsys.readouterr().out.splitlines()
        assert head == "brno and prague differ in 2 objects:"
        uid = instance_uid(2, 1, 1)
        assert f"  {uid}: at brno, not at prague; nobody there has heard of it yet" in lines
        assert any("at prague, not at brno" in line for line in lines)
        assert "Nov" not in "".join(lines)


def test_more_than_the_limit_is_said_to_be_more(capsys):
    with federation("brno", "prague") as (brno, prague):
        for offer in study(5):
            brno.admit(offer)
        verify.tell(compare(brno, prague, limit=2))
        assert "differ in at least 2 objects:" in capsys.readouterr().out


def test_what_is_not_proved_yet_is_said(capsys):
    with federation("brno", "prague") as (brno, prague):
        brno.admit(instance())
        settle(prague)
        verify.tell(compare(brno, prague))
        assert "1 object came to prague and prague has not said yet" in capsys.readouterr().out


@pytest.mark.parametrize("where", Whereabouts)
def test_every_reason_has_words(where):
    difference = Difference(
        digest=Digest("0" * 64), instance=None, here=True, where=where, note="no route", proved_at=1
    )
    said = verify.described(difference, BRNO, PRAGUE)
    assert said.startswith("0" * 64 + ": at brno, not at prague; ")
    assert "the last attempt failed: no route; proved there on " in said
