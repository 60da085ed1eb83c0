"""One whole site: what goes in is found and comes out as it was, and nothing happens unrecorded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.archive.commitment import requested
from node.audit import record as ledger
from node.audit.record import Deed, Event, read
from node.catalog.audit import AuditLedger
from node.domain.commitment import Reason, Wanted
from node.domain.errors import (
    BlobMissing,
    Damaged,
    Forbidden,
    MalformedInstance,
    MalformedQuery,
    MismatchedInstance,
    StoreFull,
    Unavailable,
    Unidentified,
    Unknown,
)
from node.domain.ids import UID, Digest, InstanceUID, SOPClassUID
from node.domain.instance import Instance, Outcome
from node.domain.job import Task
from node.domain.principal import Action
from node.domain.query import Key, Level, Query, Selection
from node.journal.entry import verify
from tests.support import synthetic
from tests.support.sites import CT1, OPERATOR, TestSite, device, site

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
STUDY = Selection(studies=(synthetic.study_uid(1),))
BY_NAME = Query(
    level=Level.STUDY,
    keys=(Key(tag=0x00100010, vr="PN", value="novak*"), Key(tag=0x0020000D, vr="UI")),
)


@pytest.fixture
def brno() -> Iterator[TestSite]:
    with site() as made:
        yield made


def only(brno: TestSite, selection: Selection = STUDY) -> Instance:
    [instance] = brno.archive.select(CT1, selection)
    return instance


def deeds(brno: TestSite) -> list[Deed]:
    """What the audit ledger holds; it has to hold together."""
    with brno.catalog.reading() as unit:
        records = list(unit.audit.after())
    ledger.verify(records)
    return [read(record.deed) for record in records]


def facts(brno: TestSite) -> int:
    with brno.catalog.reading() as unit:
        return verify(unit.journal.after(0)).seq


# ---- in and out


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
def test_an_instance_comes_out_as_it_went_in(brno, syntax):
    offer, data = synthetic.instance(transfer_syntax=syntax)
    admission = brno.admit((offer, data))
    assert admission.outcome is Outcome.KEPT
    assert [row[1] for row in brno.archive.search(CT1, BY_NAME).rows] == [synthetic.study_uid(1)]
    found = only(brno)
    assert (found.uid, found.digest, found.transfer_syntax) == (offer.instance, admission.digest, syntax)
    assert brno.read(found) == data


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 1500), max_size=5), st.sampled_from([IMPLICIT, EXPLICIT, DEFLATED]))
def test_an_instance_is_the_same_in_however_many_chunks_it_comes(cuts, syntax):
    offer, data = synthetic.instance(transfer_syntax=syntax)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    chunks = [data[start:end] for start, end in pairwise(places)]
    with site() as brno, site() as other:
        admission = brno.archive.admit(CT1, offer, reused(chunks))
        assert admission == other.admit((offer, data))
        assert brno.read(only(brno)) == data
        derived = "SELECT * FROM study JOIN series JOIN instance"
        assert [row[:-9] for row in brno.rows(derived)] == [row[:-9] for row in other.rows(derived)]


def reused(chunks: list[bytes]) -> Iterator[memoryview]:
    """Chunks in one buffer that is overwritten when the next is asked for, as the receiving face does."""
    buffer = bytearray(1 << 20)
    for chunk in chunks:
        buffer[: len(chunk)] = chunk
        yield memoryview(buffer)[: len(chunk)]
        buffer[:] = b"\xff" * len(buffer)


def test_the_same_bytes_twice_are_one_instance(brno):
    first, second = brno.admit(synthetic.instance()), brno.admit(synthetic.instance())
    assert (first.outcome, second.outcome) == (Outcome.KEPT, Outcome.KNOWN)
    assert first.digest == second.digest
    assert (brno.archive.counts().instances, facts(brno), len(deeds(brno))) == (1, 1, 2)


def test_the_same_data_set_has_the_same_name_at_every_site(brno):
    with site() as prague:
        assert brno.admit(synthetic.instance()).digest == prague.admit(synthetic.instance()).digest


def test_other_bytes_under_one_uid_are_both_kept_and_shown(brno):
    kept = brno.admit(synthetic.instance())
    other = brno.admit(synthetic.instance(salt=1))
    assert other.outcome is Outcome.CONFLICT
    assert brno.admit(synthetic.instance(salt=1)).outcome is Outcome.KNOWN
    [conflict] = brno.archive.conflicts()
    assert (conflict.kept, conflict.other, conflict.state) == (kept.digest, other.digest, "open")
    assert {kept.digest, other.digest} <= brno.blobs.blobs.keys()
    assert only(brno).digest == kept.digest
    assert (brno.archive.counts().conflicts, brno.archive.counts().instances) == (1, 1)


def settle(brno: TestSite) -> list[bool]:
    """Carry out the comparisons that are owed, as the worker does."""
    settled = []
    for job in brno.archive.lease_jobs():
        assert job.kind is Task.COMPARE
        instance, digest = job.key.split(" ")
        settled.append(brno.archive.compare(InstanceUID(instance), Digest(digest)))
        brno.archive.job_done(job)
    return settled


def test_the_same_content_in_another_transfer_syntax_is_folded_into_one(brno):
    kept = brno.admit(synthetic.instance())
    other = brno.admit(synthetic.instance(transfer_syntax=IMPLICIT))
    assert settle(brno) == [True]
    assert brno.archive.conflicts() == []
    assert list(brno.blobs.digests()) == [kept.digest]
    assert brno.admit(synthetic.instance(transfer_syntax=IMPLICIT)).outcome is Outcome.KNOWN
    assert brno.archive.conflicts() == []
    assert settle(brno) == [True]
    assert other.digest not in brno.blobs.blobs
    assert brno.archive.counts().jobs == 0


def test_other_content_stays_and_is_shown_as_different(brno):
    brno.admit(synthetic.instance())
    brno.admit(synthetic.instance(salt=1))
    assert settle(brno) == [False]
    assert [conflict.state for conflict in brno.archive.conflicts()] == ["different"]
    assert len(list(brno.blobs.digests())) == 2


def test_a_comparison_may_be_made_again_after_a_crash_at_any_moment(brno):
    instance = brno.admit(synthetic.instance()) and only(brno).uid
    other = brno.admit(synthetic.instance(transfer_syntax=IMPLICIT)).digest
    remove, brno.blobs.remove = brno.blobs.remove, _crash
    with pytest.raises(Crash):
        brno.archive.compare(instance, other)
    brno.blobs.remove = remove
    brno.crash()
    assert brno.archive.compare(instance, other)
    assert other not in brno.blobs.blobs
    assert brno.archive.compare(instance, other)
    assert brno.archive.conflicts() == []


class Crash(Exception):
    """The process is gone."""


def _crash(*_: object) -> None:
    raise Crash


def test_nothing_is_folded_into_bytes_that_have_rotten(brno):
    kept = brno.admit(synthetic.instance())
    other = brno.admit(synthetic.instance(transfer_syntax=IMPLICIT))
    brno.blobs.blobs[kept.digest] = brno.blobs.blobs[kept.digest][:-1] + b"?"
    with pytest.raises(Damaged):
        settle(brno)
    assert other.digest in brno.blobs.blobs
    assert [conflict.state for conflict in brno.archive.conflicts()] == ["open"]


def test_nobody_is_asked_to_compare_what_never_conflicted(brno):
    admission = brno.admit(synthetic.instance())
    assert not brno.archive.compare(only(brno).uid, admission.digest)
    assert not brno.archive.compare(InstanceUID("1.2"), admission.digest)
    assert list(brno.blobs.digests()) == [admission.digest]


# ---- who may, and who did


DOORS: dict[Action, list[Callable[[TestSite, object], object]]] = {
    Action.STORE: [
        lambda brno, who: brno.admit(synthetic.instance(number=2), who),
        lambda brno, who: brno.archive.request_commitment(who, UID("1.2"), []),
    ],
    Action.QUERY: [lambda brno, who: brno.archive.search(who, BY_NAME)],
    Action.RETRIEVE: [lambda brno, who: brno.archive.select(who, STUDY)],
    Action.AMEND: [
        lambda brno, who: brno.archive.release(who, held(brno), "P1"),
        lambda brno, who: brno.archive.discard(who, held(brno)),
    ],
}


def held(brno: TestSite) -> Digest:
    return brno.archive.quarantined()[0].digest


def unidentified(**changes) -> tuple:
    data = synthetic.dataset(**changes)
    del data.PatientID
    return synthetic.offer_of(data), synthetic.encoded(data)


@pytest.mark.parametrize("action", DOORS)
def test_a_device_without_an_action_is_refused_and_nothing_happens(brno, action):
    brno.admit(synthetic.instance())
    with pytest.raises(Unidentified):
        brno.admit(unidentified(number=9))
    before = state(brno)
    who = device("CT9", may=set(Action) - {action})
    for door in DOORS[action]:
        with pytest.raises(Forbidden, match=f"CT9@brno may not {action}"):
            door(brno, who)
    assert state(brno) == before
    refused = [deed for deed in deeds(brno) if deed.event is Event.REFUSED]
    assert [(deed.who, deed.what) for deed in refused] == [(str(who), action)] * len(DOORS[action])


def state(brno: TestSite) -> tuple:
    """Everything that a door could have changed, the audit ledger aside."""
    return brno.archive.counts(), facts(brno), sorted(brno.blobs.blobs), brno.archive.quarantined()


@pytest.mark.parametrize("action", DOORS)
def test_a_deed_that_cannot_be_recorded_is_not_done(brno, action, monkeypatch):
    brno.admit(synthetic.instance())
    with pytest.raises(Unidentified):
        brno.admit(unidentified(number=9))
    before = brno.archive.counts(), facts(brno), brno.archive.quarantined()
    monkeypatch.setattr(AuditLedger, "append", _crash)
    door = DOORS[action][0]
    with pytest.raises(Crash):
        door(brno, OPERATOR)
    assert (brno.archive.counts(), facts(brno), brno.archive.quarantined()) == before


def test_every_door_writes_down_who_did_what_to_which_study(brno):
    brno.admit(synthetic.instance())
    list(brno.archive.search(CT1, BY_NAME).rows)
    brno.archive.select(CT1, STUDY, destination="WS2")
    brno.archive.select(CT1, Selection(studies=(synthetic.study_uid(77),)))
    brno.archive.select(OPERATOR, STUDY, event=Event.EXPORT)
    with pytest.raises(Unidentified):
        brno.admit(unidentified(number=9))
    digest = held(brno)
    brno.archive.release(OPERATOR, digest, "P1")
    with pytest.raises(Unidentified):
        brno.admit(unidentified(number=9))
    brno.archive.discard(OPERATOR, digest)
    study, who = synthetic.study_uid(1), str(CT1)
    done = [(deed.event, deed.who, deed.study) for deed in deeds(brno)]
    assert done == [
        (Event.STORED, who, study), (Event.QUERY, who, ""), (Event.SENT, who, study), (Event.SENT, who, ""),
        (Event.EXPORT, str(OPERATOR), study), (Event.STORED, who, ""), (Event.SETTLED, str(OPERATOR), ""),
        (Event.IMPORT, str(OPERATOR), study), (Event.SETTLED, str(OPERATOR), ""), (Event.STORED, who, ""),
        (Event.SETTLED, str(OPERATOR), ""),
    ]  # fmt: skip
    words = [deed.what for deed in deeds(brno)]
    assert "novak*" in words[1]
    assert words[2] == "1 instances WS2"
    assert words[3].startswith("0 instances")
    assert {deed.address for deed in deeds(brno) if deed.who == who} == {CT1.address}


# ---- whose


def test_the_same_patient_id_at_two_issuers_is_two_patients(brno):
    for number, issuer in ((1, "BRNO"), (2, "PRAHA")):
        data = synthetic.dataset(study=number, number=number)
        data.IssuerOfPatientID = issuer
        brno.admit((synthetic.offer_of(data), synthetic.encoded(data)))
    assert brno.archive.counts().patients == 2
    with pytest.raises(MalformedQuery, match="Issuer"):
        brno.archive.select(CT1, Selection(patient_id="P0001"))
    for number, issuer in ((1, "BRNO"), (2, "PRAHA")):
        found = only(brno, Selection(patient_id="P0001", issuer=issuer))
        assert found.study == synthetic.study_uid(number)
    assert only(brno, Selection(patient_id="P0001", studies=(synthetic.study_uid(2),)))


def test_a_study_that_came_for_two_patients_is_filed_under_each_and_shown(brno):
    brno.admit(synthetic.instance(number=1, patient="P1"))
    brno.admit(synthetic.instance(number=2, patient="P2"))
    brno.admit(synthetic.instance(number=3, patient="P2"))
    for patient, expected in (("P1", [1]), ("P2", [2, 3])):
        found = brno.archive.select(CT1, Selection(patient_id=patient))
        assert [instance.uid for instance in found] == [synthetic.instance_uid(1, 1, n) for n in expected]
    counts = brno.archive.counts()
    assert (counts.patients, counts.studies, counts.series, counts.instances) == (2, 2, 2, 3)
    assert counts.shared_studies == 1
    assert brno.archive.shared_studies() == [synthetic.study_uid(1)]


def test_a_settled_conflict_is_written_down(brno):
    brno.admit(synthetic.instance())
    other = brno.admit(synthetic.instance(salt=1))
    brno.archive.compare(synthetic.instance_uid(1, 1, 1), other.digest)
    [deed] = [deed for deed in deeds(brno) if deed.event is Event.SETTLED]
    assert (deed.who, deed.study) == ("node:brno", synthetic.study_uid(1))
    assert deed.what.endswith("different")


def test_forms_that_no_decoder_can_read_wait_until_there_is_one(brno, monkeypatch):
    brno.admit(synthetic.instance())
    other = brno.admit(synthetic.instance(transfer_syntax=BIG))
    monkeypatch.setitem(sys.modules, "pydicom.pixels.decoders.base", None)
    with pytest.raises(Unavailable, match="codecs"):
        brno.archive.compare(synthetic.instance_uid(1, 1, 1), other.digest)
    [conflict] = brno.archive.conflicts()
    assert conflict.state == "open"


def test_a_retrieval_of_nothing_is_refused_and_of_an_unknown_study_is_empty(brno):
    with pytest.raises(MalformedQuery):
        brno.archive.select(CT1, Selection())
    assert brno.archive.select(CT1, Selection(studies=(synthetic.study_uid(7),))) == []


def test_an_instance_whose_bytes_are_gone_is_not_opened(brno):
    brno.admit(synthetic.instance())
    brno.blobs.remove(only(brno).digest)
    with pytest.raises(BlobMissing):
        brno.archive.open(only(brno))


# ---- quarantine


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_an_object_without_identity_waits_in_quarantine(brno, keyword):
    data = synthetic.dataset()
    delattr(data, keyword)
    encoded = synthetic.encoded(data)
    with pytest.raises(Unidentified, match=r"in quarantine as [0-9a-f]{64}"):
        brno.admit((synthetic.offer_of(data), encoded))
    [waiting] = brno.archive.quarantined()
    assert waiting.source == str(CT1)
    assert waiting.reason.startswith("no ")
    with brno.archive.open_quarantined(OPERATOR, waiting.digest) as stored:
        stored.file.seek(stored.offset)
        assert stored.file.read() == encoded
    counts = brno.archive.counts()
    assert (counts.instances, counts.patients, counts.quarantined) == (0, 0, 1)


def test_a_data_set_that_is_not_the_announced_one_waits_in_quarantine(brno):
    offer, _ = synthetic.instance(number=1)
    _, data = synthetic.instance(number=2)
    with pytest.raises(MismatchedInstance):
        brno.admit((offer, data))
    with pytest.raises(MalformedInstance):
        brno.admit((offer, data[:-5]))
    assert len(brno.archive.quarantined()) == 2


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, DEFLATED])
def test_a_released_object_is_archived_under_the_identity_given_and_the_original_stays(brno, syntax):
    data = synthetic.dataset()
    del data.PatientID
    with pytest.raises(Unidentified):
        brno.admit((synthetic.offer_of(data, syntax), synthetic.encoded(data, syntax)))
    digest = held(brno)
    admission = brno.archive.release(OPERATOR, digest, "P0042", issuer="BRNO")
    assert admission.outcome is Outcome.KEPT
    assert only(brno, Selection(patient_id="P0042", issuer="BRNO")).transfer_syntax == syntax
    assert {digest, admission.digest} == brno.blobs.blobs.keys()
    assert brno.archive.quarantined() == []
    with pytest.raises(Unknown):
        brno.archive.release(OPERATOR, digest, "P0042")


def test_an_object_that_lacks_more_than_the_patient_cannot_be_released_and_waits_on(brno):
    data = synthetic.dataset()
    del data.PatientID, data.StudyInstanceUID
    with pytest.raises(Unidentified):
        brno.admit((synthetic.offer_of(data), synthetic.encoded(data)))
    digest = held(brno)
    for _ in range(2):
        with pytest.raises(Unidentified, match=digest):
            brno.archive.release(OPERATOR, digest, "P0042")
    assert [waiting.digest for waiting in brno.archive.quarantined()] == [digest]


def test_a_patient_id_that_cannot_be_written_is_not_written_differently(brno):
    data = synthetic.dataset(name="Novak^Jan")
    del data.PatientID, data.SpecificCharacterSet, data.ReferringPhysicianName
    with pytest.raises(Unidentified):
        brno.admit((synthetic.offer_of(data), synthetic.encoded(data)))
    with pytest.raises(MalformedInstance):
        brno.archive.release(OPERATOR, held(brno), "Žluťoučký")
    assert brno.archive.counts().patients == 0


def test_a_discarded_object_is_gone_and_can_come_again(brno):
    with pytest.raises(Unidentified):
        brno.admit(unidentified())
    digest = held(brno)
    brno.archive.discard(OPERATOR, digest)
    assert brno.archive.quarantined() == []
    assert not brno.blobs.blobs
    with pytest.raises(Unknown):
        brno.archive.discard(OPERATOR, digest)
    with pytest.raises(Unidentified):
        brno.admit(unidentified())
    assert held(brno) == digest in brno.blobs.blobs


def test_a_full_quarantine_takes_nothing_more_and_the_archive_goes_on():
    with site(quarantine_limit=3000) as brno:
        with pytest.raises(Unidentified):
            brno.admit(unidentified())
        with pytest.raises(StoreFull, match="quarantine"):
            for number in range(2, 9):
                with pytest.raises(Unidentified):
                    brno.admit(unidentified(number=number))
        kept = len(brno.archive.quarantined())
        assert kept == len(brno.blobs.blobs)
        assert brno.admit(synthetic.instance()).outcome is Outcome.KEPT


# ---- storage commitment


def wanted(number: int = 1, sop_class: str = "1.2.840.10008.5.1.4.1.1.2") -> Wanted:
    return Wanted(sop_class=SOPClassUID(sop_class), instance=synthetic.instance_uid(1, 1, number))


def test_a_commitment_is_owed_once_until_the_device_has_the_answer(brno):
    transaction = UID("1.2.3")
    for _ in range(2):
        brno.archive.request_commitment(CT1, transaction, [wanted(1), wanted(2)])
    assert brno.archive.lease_jobs() == ()
    brno.crash()
    brno.clock.forward(60)
    [job] = brno.archive.lease_jobs()
    request = requested(job)
    assert (request.device, request.transaction) == ("CT1", transaction)
    assert request.wanted == (wanted(1), wanted(2))
    brno.archive.commitment_done(transaction, "CT1")
    brno.clock.forward(10_000)
    assert brno.archive.lease_jobs() == ()
    assert brno.archive.counts().jobs == 0


def test_the_same_transaction_of_two_devices_is_two_requests(brno):
    for name in ("CT1", "MR7"):
        brno.archive.request_commitment(device(name), UID("1.2.3"), [wanted()])
    brno.archive.commitment_done(UID("1.2.3"), "CT1")
    brno.clock.forward(60)
    assert [requested(job).device for job in brno.archive.lease_jobs()] == ["MR7"]


def test_only_what_is_here_in_full_is_vouched_for(brno):
    for number in (1, 2, 3):
        brno.admit(synthetic.instance(number=number))
    instances = {instance.uid: instance for instance in brno.archive.select(CT1, STUDY)}
    brno.blobs.remove(instances[wanted(2).instance].digest)
    torn = instances[wanted(3).instance].digest
    brno.blobs.blobs[torn] = brno.blobs.blobs[torn][:-1]
    asked = [wanted(1), wanted(2), wanted(3), wanted(4), wanted(1, "1.9")]
    vouched = brno.archive.vouch(asked)
    assert vouched.held == (wanted(1),)
    assert vouched.failed == (
        (wanted(2), Reason.PROCESSING_FAILURE),
        (wanted(3), Reason.PROCESSING_FAILURE),
        (wanted(4), Reason.NO_SUCH_INSTANCE),
        (wanted(1, "1.9"), Reason.CLASS_CONFLICT),
    )
