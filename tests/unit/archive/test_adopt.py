"""Bytes that are in the store already are archived without being written again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.archive.part10 import file_meta
from node.domain.errors import DigestMismatch, Forbidden, Malformed, Withdrawn
from node.domain.ids import Digest
from node.domain.query import Selection
from tests.support.sites import CT1, OPERATOR, TestSite, device, site
from tests.support.synthetic import instance


@pytest.fixture
def brno() -> Iterator[TestSite]:
    with site() as opened:
        yield opened


def put(brno: TestSite, number: int) -> Digest:
    offer, data = instance(number=number)
    return brno.blobs.put([file_meta(offer), data])


def test_what_is_adopted_is_found_and_its_bytes_are_not_touched(brno, monkeypatch):
    digests = [put(brno, number) for number in range(3)]
    monkeypatch.setattr(brno.blobs, "writer", None)
    assert brno.archive.adopt(OPERATOR, digests).archived == digests
    assert brno.archive.counts().instances == 3


def test_what_is_archived_already_is_adopted_once(brno):
    digest = put(brno, 1)
    brno.archive.adopt(OPERATOR, [digest])
    assert brno.archive.adopt(OPERATOR, [digest]).archived == [digest]
    assert brno.archive.counts().instances == 1


def test_damaged_bytes_are_refused_and_the_others_are_not(brno):
    good, bad = put(brno, 1), put(brno, 2)
    brno.blobs.blobs[bad] = brno.blobs.blobs[bad][:-1] + b"x"
    outcome = brno.archive.adopt(OPERATOR, [bad, good])
    assert outcome.archived == [good]
    assert [(digest, type(error)) for digest, error in outcome.refused] == [(bad, DigestMismatch)]


def test_a_file_that_another_program_wrote_is_refused(brno):
    offer, data = instance(number=1)
    meta = file_meta(offer).replace(b"KONZILIUM_1", b"SOMETHING_1")
    digest = brno.blobs.put([meta, data])
    assert [type(error) for _, error in brno.archive.adopt(OPERATOR, [digest]).refused] == [Malformed]


def test_a_withdrawn_instance_does_not_come_back_by_being_adopted(brno):
    digest = put(brno, 1)
    brno.archive.adopt(OPERATOR, [digest])
    offer, _ = instance(number=1)
    brno.archive.retract(OPERATOR, Selection(instances=(offer.instance,)), "wrong patient")
    assert [type(error) for _, error in brno.archive.adopt(OPERATOR, [digest]).refused] == [Withdrawn]
    assert brno.archive.counts().instances == 0


def test_who_may_not_store_may_not_adopt(brno):
    with pytest.raises(Forbidden):
        brno.archive.adopt(device(may=()), [put(brno, 1)])
    assert brno.archive.adopt(CT1, [put(brno, 1)]).archived
