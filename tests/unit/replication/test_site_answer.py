"""What is said of sites that were asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain import errors
from node.domain.ids import SiteId
from node.replication.site_answer import LONGEST, Answer, SiteAnswer, failure, summary

PRAGUE = SiteId("prague")
ANSWERS = st.builds(
    SiteAnswer,
    site=st.from_regex(SiteId.form, fullmatch=True).map(SiteId),
    state=st.sampled_from(Answer),
    complete=st.booleans(),
    as_of=st.integers(0, 1 << 50),
)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (errors.PeerUnreachable("prague", "no"), Answer.UNREACHABLE),
        (TimeoutError(), Answer.TIMED_OUT),
        (errors.Forbidden("a", "b", "c"), Answer.REFUSED),
        (errors.LinkSuspended("a", "b"), Answer.REFUSED),
        (errors.Unauthenticated("a"), Answer.REFUSED),
        (errors.TooBusy("a"), Answer.REFUSED),
        (errors.MalformedMessage("a"), Answer.UNREACHABLE),
        (ConnectionError(), Answer.UNREACHABLE),
    ],
)
def test_every_failure_is_one_of_the_answers(error, state):
    assert failure(PRAGUE, error, 1.0).state is state


def test_an_unexpected_failure_is_told_by_its_class_alone():
    assert failure(PRAGUE, ValueError("NOVAK^JAN"), 1.0).why == "ValueError"


@given(st.lists(ANSWERS, max_size=8))
def test_the_summary_fits_into_an_error_comment_and_is_empty_where_all_answered(answers):
    line = summary(answers)
    assert len(line) <= LONGEST
    assert bool(line) is any(not answer.is_whole for answer in answers)


def test_the_summary_names_each_site_that_did_not_answer():
    answers = [
        SiteAnswer(site=PRAGUE, state=Answer.TIMED_OUT),
        SiteAnswer(site=SiteId("brno"), state=Answer.ANSWERED),
        SiteAnswer(site=SiteId("wien"), state=Answer.STALE, as_of=1_700_000_000_000_000),
    ]
    assert summary(answers) == "prague timed out; wien stale (11-14 22:13)"
    many = [SiteAnswer(site=SiteId(f"site-{number}"), state=Answer.REFUSED) for number in range(5)]
    assert summary(many) == "5 sites did not answer: site-0, site-1, site-2, site-3, site-4"
