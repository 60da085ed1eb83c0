"""An episode begins, goes on, eases and ends; each sink is owed a notice of its beginning and its end."""

from __future__ import annotations

from node.domain.alert import (
    CALM,
    DAY,
    REWORD,
    SECOND,
    Alert,
    AlertState,
    Concern,
    Severity,
    Step,
)
from node.domain.ids import SiteId

BRNO = SiteId("brno")
T0 = 1_700_000_000 * SECOND
ALL = {"mail": Severity.INFO}


def concern(severity: Severity = Severity.CRITICAL, what: str = "It is so.", **more) -> Concern:
    return Concern(kind="disk-full", subject="store", severity=severity, what=what, todo="Mend it.", **more)


def begun(severity: Severity = Severity.CRITICAL, sinks=ALL) -> Alert:
    return Alert.raised(concern(severity), T0).owed_to(sinks)


def told(alert: Alert, now: int, sink: str = "mail") -> Alert:
    notice = alert.due(sink, BRNO, now)
    assert notice is not None
    return alert.heard(sink, notice)


def ended(alert: Alert, at: int) -> Alert:
    return alert.missed(at).missed(at + CALM)


def test_a_state_that_is_away_for_a_moment_is_one_episode():
    alert = begun().missed(T0 + 10)
    assert alert.state is AlertState.EASING
    alert = alert.missed(T0 + CALM)
    assert alert.state is AlertState.EASING
    alert = alert.seen(concern(), T0 + CALM + 1)
    assert (alert.state, alert.eased_at, alert.since_at) == (AlertState.OPEN, 0, T0)


def test_an_episode_ends_when_it_was_last_away_not_when_that_was_certain():
    alert = ended(begun(), T0 + 60 * SECOND)
    assert alert.is_over
    assert alert.over_at == T0 + 60 * SECOND


def test_words_are_kept_until_they_are_old_and_different():
    alert = begun()
    assert alert.seen(concern(what="Other words."), T0 + REWORD - 1) is alert
    assert alert.seen(concern(), T0 + REWORD) is alert
    assert alert.seen(concern(what="Other words."), T0 + REWORD).what == "Other words."


def test_a_quiet_concern_keeps_an_episode_and_its_words():
    quiet = concern(what="Other words.", quiet=True)
    assert begun().seen(quiet, T0 + REWORD).what == "It is so."
    back = begun().missed(T0 + 1).seen(quiet, T0 + 2)
    assert (back.state, back.what) == (AlertState.OPEN, "It is so.")


def test_a_sink_is_told_of_the_beginning_then_of_the_end_then_of_nothing():
    alert = begun()
    assert alert.due("mail", BRNO, T0).step is Step.RAISED
    alert = told(alert, T0)
    assert alert.due("mail", BRNO, T0 + 1) is None
    alert = ended(alert, T0 + 1)
    assert alert.due("mail", BRNO, T0 + CALM).step is Step.OVER
    assert not alert.is_settled
    alert = told(alert, T0 + CALM)
    assert alert.due("mail", BRNO, T0 + 9 * DAY) is None
    assert alert.is_settled


def test_what_was_over_before_a_sink_could_be_told_is_told_in_order():
    alert = ended(begun(), T0 + 1)
    assert alert.due("mail", BRNO, T0 + DAY).step is Step.RAISED
    assert told(alert, T0 + DAY).due("mail", BRNO, T0 + DAY).step is Step.OVER


def test_a_notice_that_is_sent_again_has_the_same_id_and_no_other_notice_has_it():
    alert = begun()
    first, again = alert.due("mail", BRNO, T0), alert.due("mail", BRNO, T0 + DAY)
    assert first.id == again.id
    over = told(ended(alert, T0 + 1), T0 + 2).due("mail", BRNO, T0 + 3)
    later = Alert.raised(concern(), T0 + DAY).owed_to(ALL).due("mail", BRNO, T0 + DAY)
    assert len({first.id, over.id, later.id}) == 3


def test_a_critical_alert_that_nobody_acknowledged_is_told_again_each_day():
    alert = told(begun(), T0)
    assert alert.due("mail", BRNO, T0 + DAY - 1) is None
    reminder = alert.due("mail", BRNO, T0 + DAY)
    assert reminder.step is Step.REMINDER
    alert = alert.heard("mail", reminder)
    assert alert.due("mail", BRNO, T0 + 2 * DAY - 1) is None
    assert alert.due("mail", BRNO, T0 + 2 * DAY).step is Step.REMINDER


def test_a_sink_that_hears_late_is_not_reminded_at_once():
    alert = told(begun(), T0 + 3 * DAY)
    assert alert.due("mail", BRNO, T0 + 3 * DAY + 1) is None
    assert alert.due("mail", BRNO, T0 + 4 * DAY).step is Step.REMINDER


def test_nobody_is_reminded_of_what_is_acknowledged_or_less_than_critical_or_easing():
    for alert in (
        told(begun(), T0).acknowledged("operator:jana@brno", T0 + 1),
        told(begun(Severity.WARNING), T0),
        told(begun(), T0).missed(T0 + 1),
    ):
        assert alert.due("mail", BRNO, T0 + 5 * DAY) is None


def test_a_sink_hears_only_what_matters_enough_to_it():
    sinks = {"log": Severity.INFO, "mail": Severity.WARNING, "pager": Severity.CRITICAL}
    assert set(begun(Severity.WARNING, sinks).told) == {"log", "mail"}


def test_a_sink_that_is_new_hears_what_is_open_and_nothing_that_is_over():
    both = {**ALL, "webhook": Severity.INFO}
    alert = told(begun(), T0)
    assert alert.owed_to(both).due("webhook", BRNO, T0).step is Step.RAISED
    assert ended(alert, T0 + 1).owed_to(both).due("webhook", BRNO, T0 + DAY) is None


def test_a_sink_that_is_not_there_any_more_keeps_what_it_was_owed_and_no_other_waits_for_it():
    alert = told(ended(begun(sinks={"mail": Severity.INFO, "log": Severity.INFO}), T0 + 1), T0 + 1, "log")
    assert told(alert, T0 + 2, "log").due("log", BRNO, T0 + 3) is None
