"""The catalog is worked out again from journal and blobs, and is the same as before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.domain.errors import BlobMissing, Damaged, Unidentified, Withdrawn
from node.domain.ids import Digest, InstanceUID
from node.domain.instance import Outcome
from node.domain.query import Selection
from node.recovery.rebuild import Rebuilt, rebuild
from tests.support import synthetic
from tests.support.sites import CT1, OPERATOR, TestSite, site

IMPLICIT, EXPLICIT, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
DERIVED = ("patient", "study", "study_modality", "series", "instance", "conflict", "quarantine")


@pytest.fixture
def brno() -> Iterator[TestSite]:
    with site() as made:
        yield made


def again(brno: TestSite) -> Rebuilt:
    return rebuild(brno.archive, brno.blobs, brno.catalog, OPERATOR, lambda done, total: None)


def derived(brno: TestSite) -> dict[str, list[tuple]]:
    """Every row that a rebuild makes."""
    return {table: sorted(brno.rows(f"SELECT * FROM {table}"), key=str) for table in DERIVED}


def settle(brno: TestSite) -> None:
    for job in brno.archive.lease_jobs(100):
        instance, digest = job.key.split(" ")
        brno.archive.compare(InstanceUID(instance), Digest(digest))
        brno.archive.job_done(job)


def send(brno: TestSite, *, identified: bool = True, **attributes) -> None:
    """Admit what is described; what has no Patient ID goes to quarantine."""
    syntax = attributes.pop("transfer_syntax", EXPLICIT)
    data = synthetic.dataset(**attributes)
    if not identified:
        del data.PatientID
    try:
        brno.admit((synthetic.offer_of(data, syntax), synthetic.encoded(data, syntax)))
    except Unidentified:
        assert not identified


def decide(brno: TestSite, *, release: bool) -> None:
    """Release or discard the object that has waited longest."""
    for waiting in brno.archive.quarantined()[:1]:
        if release:
            brno.archive.release(OPERATOR, waiting.digest, "P0042")
        else:
            brno.archive.discard(OPERATOR, waiting.digest)


sendings = st.fixed_dictionaries(
    {
        "patient": st.sampled_from(["P1", "P2"]),
        "study": st.integers(1, 2),
        "series": st.integers(1, 2),
        "number": st.integers(1, 2),
        "salt": st.integers(0, 1),
        "modality": st.sampled_from(["CT", "SR"]),
        "identified": st.sampled_from([True, True, True, False]),
        "transfer_syntax": st.sampled_from([IMPLICIT, EXPLICIT, DEFLATED]),
    }
)
steps = (
    sendings.map(lambda said: lambda brno: send(brno, **said))
    | st.just(settle)
    | st.booleans().map(lambda release: lambda brno: decide(brno, release=release))
)
histories = st.lists(steps, max_size=25)


@settings(max_examples=30, deadline=None)
@given(histories)
def test_a_rebuilt_catalog_equals_the_old_one(history):
    with site() as brno:
        for step in history:
            step(brno)
        before, counts = derived(brno), brno.archive.counts()
        outcome = again(brno)
        assert derived(brno) == before
        assert brno.archive.counts() == counts
        assert (outcome.admitted, outcome.lost, outcome.unreadable) == (0, [], [])
        settle(brno)
        now = derived(brno)
        again(brno)
        assert derived(brno) == now


@settings(max_examples=30, deadline=None)
@given(histories)
def test_when_the_catalog_is_lost_everything_is_admitted_anew_from_the_bytes(history):
    with site() as brno:
        for step in history:
            step(brno)
        held = {row[0] for row in brno.rows("SELECT digest FROM instance UNION SELECT digest FROM conflict")}
        held &= brno.blobs.blobs.keys()
        uids = set(brno.rows("SELECT uid FROM instance"))
        waiting = {one.digest for one in brno.archive.quarantined()}
        brno.lose_catalog()
        outcome = again(brno)
        assert set(brno.rows("SELECT uid FROM instance")) == uids
        assert {
            row[0] for row in brno.rows("SELECT digest FROM instance UNION SELECT digest FROM conflict")
        } == held
        assert outcome.admitted == len(held)
        assert waiting <= {one.digest for one in brno.archive.quarantined()}
        before = derived(brno)
        again(brno)
        assert derived(brno) == before


def test_bytes_that_came_before_a_crash_and_have_no_fact_are_admitted(brno):
    from node.archive.part10 import file_meta

    offer, data = synthetic.instance()
    digest = brno.blobs.put([file_meta(offer), data])
    brno.crash()
    assert again(brno).admitted == 1
    [found] = brno.archive.select(CT1, Selection(studies=(synthetic.study_uid(1),)))
    assert found.digest == digest
    assert again(brno).admitted == 0


def test_what_is_lost_is_named_and_the_rest_is_there(brno):
    for number in (1, 2, 3):
        send(brno, number=number)
    first, second, third = (synthetic.instance_uid(1, 1, number) for number in (1, 2, 3))
    digests = dict(brno.rows("SELECT uid, digest FROM instance"))
    brno.blobs.remove(digests[first])
    brno.blobs.blobs[digests[second]] = b"rotten"
    outcome = again(brno)
    assert sorted(outcome.lost) == [first, second]
    assert brno.rows("SELECT uid FROM instance") == [(third,)]


def test_what_was_lost_and_sent_again_is_one_instance_after_the_next_rebuild(brno):
    send(brno, number=1)
    [(digest,)] = brno.rows("SELECT digest FROM instance")
    brno.blobs.remove(digest)
    assert len(again(brno).lost) == 1
    assert brno.admit(synthetic.instance(number=1)).outcome is Outcome.KEPT
    again(brno)
    assert brno.rows("SELECT digest FROM instance") == [(digest,)]
    assert brno.archive.conflicts() == []


def test_bytes_of_a_withdrawn_instance_that_were_refused_are_left_out(brno):
    send(brno)
    brno.archive.retract(OPERATOR, Selection(studies=(synthetic.study_uid(1),)), "wrong patient")
    with pytest.raises(Withdrawn):
        send(brno, salt=1)
    assert again(brno).admitted == 0
    assert brno.rows("SELECT uid FROM instance") == []


def test_a_blob_that_is_no_instance_stays_and_is_named(brno):
    noise = brno.blobs.put([b"no instance"])
    send(brno)
    brno.lose_catalog()
    assert again(brno).unreadable == [noise]
    assert noise in brno.blobs.blobs


def test_a_journal_that_does_not_hold_together_rebuilds_nothing(brno):
    for number in (1, 2, 3):
        send(brno, number=number)
    before = derived(brno)
    with brno.catalog.begin() as unit:
        unit._connection.exec_driver_sql("UPDATE journal SET at = at + 1 WHERE seq = 2")
    with pytest.raises(Damaged, match="brno/1/2"):
        again(brno)
    assert derived(brno) == before


def test_a_rebuild_that_breaks_off_leaves_the_catalog_as_it_was(brno):
    send(brno)
    before = derived(brno)

    def breaks_off(done: int, total: int) -> None:
        raise BlobMissing("progress")

    with pytest.raises(BlobMissing):
        rebuild(brno.archive, brno.blobs, brno.catalog, OPERATOR, breaks_off)
    assert derived(brno) == before


def test_progress_is_told_up_to_the_end(brno):
    for number in (1, 2, 3):
        send(brno, number=number)
    told: list[tuple[int, int]] = []
    rebuild(brno.archive, brno.blobs, brno.catalog, OPERATOR, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
