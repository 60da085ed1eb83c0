"""What follows from what ought to be at a partner, what is known of it, and what it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.ids import Digest, InstanceUID, StudyUID
from node.domain.partner import THERE, CopyThere, PartnerCopy
from node.partners.difference import SETTLING, compare, settled

STUDY = StudyUID("1.2.3")
UIDS = [InstanceUID(f"1.2.3.{number}") for number in range(6)]
DIGESTS = [Digest(letter * 64) for letter in "ab"]
NOW = 10 * SETTLING

some_uids = st.sets(st.sampled_from(UIDS))
some_copies = st.dictionaries(
    st.sampled_from(UIDS),
    st.tuples(st.sampled_from(list(CopyThere)), st.sampled_from([None, *DIGESTS]), st.sampled_from([0, NOW])),
)
some_digests = st.dictionaries(st.sampled_from(UIDS), st.sampled_from(DIGESTS))


def copy_of(
    uid: InstanceUID, state: CopyThere, digest: Digest | None = DIGESTS[0], at: int = 0
) -> PartnerCopy:
    return PartnerCopy(instance=uid, study=STUDY, state=state, digest=digest, at=at)


def written(copies: dict, steps) -> dict:
    """The copies after what was written."""
    after = copies | {copy.instance: copy for copy in steps.saved}
    return {uid: copy for uid, copy in after.items() if uid not in steps.dropped}


@given(some_digests, some_uids, some_copies, some_uids, st.booleans())
def test_what_is_there_is_never_sent_again_and_what_is_missing_is_never_forgotten(
    ought, held, known, there, retry
):
    copies = {uid: copy_of(uid, *told) for uid, told in known.items()}
    steps = compare(STUDY, ought, held, copies, there, now=NOW, retry=retry)
    after = written(copies, steps)
    for uid in steps.missing:
        other = copies[uid].digest not in (ought[uid], None) if uid in copies else False
        assert uid in ought and uid in held and (uid not in there or other)
    for uid in set(ought) & held:
        assert uid in after, "an instance that ought to be there is known of"
        good = after[uid].state in (CopyThere.FOUND, CopyThere.COMMITTED)
        assert good == (uid in there and after[uid].digest in (ought[uid], None))
    for uid, copy in after.items():
        if copy.state is CopyThere.COMMITTED:
            assert copies[uid].state is CopyThere.COMMITTED and uid in there
    assert all(copy.state in THERE or uid in ought for uid, copy in after.items())


@given(some_digests, some_uids, some_copies, some_uids)
def test_to_compare_again_changes_nothing(ought, held, known, there):
    copies = {uid: copy_of(uid, *told) for uid, told in known.items()}
    after = written(copies, compare(STUDY, ought, held, copies, there, now=NOW))
    again = compare(STUDY, ought, held, after, there, now=NOW)
    assert (again.saved, again.dropped) == ((), ())


@given(some_digests, some_copies, some_uids)
def test_a_study_that_is_settled_has_nothing_to_send_where_the_partner_told_the_truth(ought, known, there):
    copies = {uid: copy_of(uid, *told) for uid, told in known.items()}
    there = there | {uid for uid, copy in copies.items() if copy.state in THERE}
    if settled(ought, set(ought), copies, len(there)):
        assert compare(STUDY, ought, set(ought), copies, there, now=NOW).missing == ()


@pytest.mark.parametrize("state", [CopyThere.FOUND, CopyThere.COMMITTED])
def test_what_was_there_and_is_gone_is_owed_with_the_reason(state):
    copies = {UIDS[0]: copy_of(UIDS[0], state)}
    (lost,) = compare(STUDY, {UIDS[0]: DIGESTS[0]}, UIDS, copies, (), now=NOW).saved
    assert (lost.state, lost.why) == (CopyThere.OWED, f"it was {state} and is not there any more")


def test_what_was_taken_and_is_not_listed_is_refused_after_a_while_and_sent_again_when_it_is_retried():
    ought = {UIDS[0]: DIGESTS[0]}
    fresh = {UIDS[0]: copy_of(UIDS[0], CopyThere.SENT, at=NOW - 1)}
    assert compare(STUDY, ought, UIDS, fresh, (), now=NOW).saved == ()
    stale = {UIDS[0]: copy_of(UIDS[0], CopyThere.SENT, at=NOW - SETTLING)}
    (refused,) = compare(STUDY, ought, UIDS, stale, (), now=NOW).saved
    assert (refused.state, refused.why) == (CopyThere.REFUSED, "it was taken and is not listed there")
    copies = {UIDS[0]: refused}
    assert compare(STUDY, ought, UIDS, copies, (), now=NOW).missing == ()
    assert compare(STUDY, ought, UIDS, copies, (), now=NOW, retry=True).missing == (UIDS[0],)


def test_other_content_under_a_uid_that_is_there_is_sent_again():
    copies = {UIDS[0]: copy_of(UIDS[0], CopyThere.COMMITTED, DIGESTS[0])}
    steps = compare(STUDY, {UIDS[0]: DIGESTS[1]}, UIDS, copies, UIDS[:1], now=NOW)
    assert steps.missing == (UIDS[0],)


def test_what_is_only_at_other_sites_is_not_sent_from_here():
    steps = compare(STUDY, {UIDS[0]: DIGESTS[0]}, (), {}, (), now=NOW)
    assert (steps.saved, steps.missing) == ((), ())


@pytest.mark.parametrize("told", [None, 0, 2])
def test_a_study_is_looked_at_where_the_numbers_differ_or_are_not_told(told):
    copies = {UIDS[0]: copy_of(UIDS[0], CopyThere.FOUND)}
    assert not settled({UIDS[0]: DIGESTS[0]}, UIDS, copies, told)
    assert settled({UIDS[0]: DIGESTS[0]}, UIDS, copies, 1)
