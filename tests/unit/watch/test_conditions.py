"""Each condition holds from its bound on, goes on until it is well past it, and says what to do."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from node.domain.alert import DAY, SECOND, Concern, Severity
from node.domain.finding import Trouble
from node.settings import AlertSettings
from node.watch.conditions import concerns
from node.watch.rhythm import Rhythm
from node.watch.seen import Disk, Feed, Flow, Neighbour, Seen
from tests.unit.watch.test_rhythm import at, working

GIB = 1 << 30
NOW = 1_700_000_000 * SECOND
MINUTE = 60 * SECOND
HOUR = 3600 * SECOND
LIMITS = AlertSettings()


def site(**what) -> Seen:
    return Seen(**{"directory": Path("/srv/brno"), "now": NOW, "awake": NOW - 30 * DAY, **what})


def judged(seen: Seen, *open_: str) -> dict[str, Concern]:
    found = concerns(seen, LIMITS, open_)
    assert len({one.key for one in found}) == len(found)
    for one in found:
        assert one.what.endswith("."), one
        assert one.todo.endswith("."), one
    return {one.key: one for one in found}


def prague(**what) -> Seen:
    return site(neighbours=[Neighbour(**{"site": "prague", "heard_at": NOW - MINUTE, **what})])


def test_a_site_without_anything_wrong_is_no_concern():
    assert judged(prague()) == {}


# disks


def disk(free: float, reserve: float = 1, days: float | None = None) -> Seen:
    """A disk with so many GiB free, that loses what fills it in so many days."""
    samples = []
    if days is not None:
        lost = (free - reserve) / days
        samples = [
            (NOW - hour * HOUR, int((free + lost * hour / 24) * GIB)) for hour in range(7 * 24, -1, -2)
        ]
    return site(disks=[Disk(name="store", free=int(free * GIB), reserve=int(reserve * GIB), samples=samples)])


def test_a_disk_below_its_reserve_is_full():
    found = judged(disk(0.9))["disk-full:store"]
    assert found.severity is Severity.CRITICAL
    assert "The disk is full" in found.what
    assert "disk-full:store" not in judged(disk(1.05))


def test_a_disk_stays_full_until_it_is_a_tenth_above_the_reserve():
    assert "disk-full:store" in judged(disk(1.05), "disk-full:store")
    assert "disk-full:store" not in judged(disk(1.11), "disk-full:store")


def test_a_disk_that_fills_is_told_with_the_days_that_are_left():
    found = judged(disk(100, 10, days=9))["disk-filling:store"]
    assert found.severity is Severity.WARNING
    assert "full in about 9 days at the pace of the last week" in found.what
    assert judged(disk(100, 10, days=15)) == {}


def test_a_forecast_near_its_bound_does_not_flap():
    assert "disk-filling:store" in judged(disk(100, 10, days=20), "disk-filling:store")
    assert "disk-filling:store" not in judged(disk(100, 10, days=22), "disk-filling:store")


def test_a_disk_with_less_than_twice_its_reserve_is_nearly_full_at_any_pace():
    assert "nearly full" in judged(disk(1.9))["disk-filling:store"].what
    assert judged(disk(2.1)) == {}


def test_a_disk_that_becomes_full_goes_on_filling_quietly():
    found = judged(disk(0.5))
    assert found["disk-filling:store"].quiet
    assert not found["disk-full:store"].quiet


# the store


def test_a_store_that_cannot_be_written_says_why():
    assert (
        "Input/output error"
        in judged(site(store_error="The store: Input/output error."))["store-failing"].what
    )


def test_damage_that_is_not_repaired_is_counted_by_kind():
    found = judged(site(damage={Trouble.CORRUPT: 2, Trouble.MISSING: 1}))["damage"]
    assert found.what.startswith("3 stored copies are damaged (2 corrupt, 1 missing)")
    assert "konzilium repair /srv/brno" in found.todo


def test_each_brake_that_has_tripped_is_a_concern_of_its_own():
    found = judged(site(brakes={"repair": "40 % of the copies are damaged.", "drop": "Too many."}))
    assert found["brake:repair"].severity is Severity.CRITICAL
    assert "brake:drop" in found


@pytest.mark.parametrize(
    ("days_ago", "period", "is_late"), [(32, 30, False), (34, 30, True), (400, 0, False), (None, 30, False)]
)
def test_reading_back_is_late_when_something_was_not_read_within_the_period(days_ago, period, is_late):
    proof = None if days_ago is None else NOW - days_ago * DAY
    assert ("scrub-late" in judged(site(oldest_proof_at=proof, scrub_days=period))) is is_late


# members


def test_a_member_that_is_silent_for_an_hour_is_told_with_the_reason():
    found = judged(prague(heard_at=NOW - 3 * HOUR, error="prague cannot be reached: no route."))
    assert (
        found["peer-silent:prague"].what
        == "prague has not been heard of for 3 hours (prague cannot be reached: no route)."
    )
    assert judged(prague(heard_at=NOW - 59 * MINUTE)) == {}


def test_a_site_that_was_asleep_itself_does_not_call_others_silent():
    member = [Neighbour(site="prague", heard_at=NOW - 5 * DAY)]
    assert judged(site(neighbours=member, awake=NOW - 10 * MINUTE)) == {}
    assert "peer-silent:prague" in judged(site(neighbours=member, awake=NOW - 61 * MINUTE))


def test_a_member_that_was_never_heard_of_is_silent_since_we_listen():
    member = [Neighbour(site="prague")]
    assert "2 hours" in judged(site(neighbours=member, awake=NOW - 2 * HOUR))["peer-silent:prague"].what


def test_copies_that_are_owed_for_a_day_are_late():
    def owed(hours: float) -> Flow:
        return Flow(objects=7, oldest_at=int(NOW - hours * HOUR))

    found = judged(prague(out=owed(25)))["copies-late:prague"]
    assert found.what == "prague owes 7 copies that the rules want there, the oldest for 1 day."
    assert "copies-late:prague" not in judged(prague(out=owed(23)))


def test_copies_that_a_member_has_lost_are_critical():
    assert judged(prague(lost=3))["copies-lost:prague"].severity is Severity.CRITICAL


def backlog(counts: list[int], oldest: list[int] | None = None) -> Flow:
    """What was owed in samples ten minutes apart, the last of them now."""
    moments = [NOW - (len(counts) - 1 - number) * 10 * MINUTE for number in range(len(counts))]
    since = [NOW - 5 * HOUR] * len(counts) if oldest is None else oldest
    return Flow(
        objects=counts[-1],
        oldest_at=since[-1],
        counts=list(zip(moments, counts, strict=True)),
        oldest=list(zip(moments, since, strict=True)),
    )


@pytest.mark.parametrize("counts", [[5, 5, 5, 5, 5], [5, 6, 8, 9, 20]])
def test_a_backlog_that_only_grows_older_is_told_in_its_direction(counts):
    assert "lag:to prague" in judged(prague(out=backlog(counts)))
    assert "lag:from prague" in judged(prague(coming=backlog(counts)))


@pytest.mark.parametrize(
    "flow",
    [
        backlog([900, 700, 500, 300, 200]),
        backlog([5, 5, 5]),
        backlog([5, 5, 5, 5], [NOW - 9 * HOUR, NOW - 9 * HOUR, NOW - 2 * HOUR, NOW - 2 * HOUR]),
        backlog([5, 5, 5, 5], [NOW - 10 * MINUTE] * 4),
        backlog([0, 5, 5, 5], [0, NOW - HOUR, NOW - HOUR, NOW - HOUR]),
        Flow(),
    ],
    ids=["worked off", "too few samples", "the oldest was done", "young", "just begun", "nothing"],
)
def test_a_backlog_that_moves_or_is_young_is_no_concern(flow):
    assert judged(prague(out=flow)) == {}


def test_a_backlog_to_a_silent_member_is_told_by_the_silence():
    found = judged(prague(heard_at=NOW - 3 * HOUR, out=backlog([5, 5, 5, 5])))
    assert found["lag:to prague"].quiet
    assert not found["peer-silent:prague"].quiet


@pytest.mark.parametrize(
    ("skew", "rtt", "words"),
    [
        (40, 0.1, "39 seconds ahead of"),
        (-90, 0.1, "1 minute behind"),
        (29, 0.1, None),
        (31, 4, None),
        (3600, 0, None),
    ],
)
def test_a_clock_is_wrong_only_by_what_the_call_cannot_explain(skew, rtt, words):
    found = judged(prague(skew=skew * SECOND, rtt=int(rtt * SECOND)))
    assert ("clock-skew:prague" in found) is (words is not None)
    if words:
        assert words in found["clock-skew:prague"].what


def test_a_clock_is_right_again_when_it_is_well_within_the_bound():
    key = "clock-skew:prague"
    assert key in judged(prague(skew=16 * SECOND, rtt=2), key)
    assert key not in judged(prague(skew=14 * SECOND, rtt=2), key)


def test_what_a_silent_member_told_of_its_clock_is_not_judged():
    assert "clock-skew:prague" not in judged(prague(heard_at=NOW - 2 * HOUR, skew=90 * SECOND, rtt=2))


def test_a_member_that_waits_is_for_somebody_to_confirm():
    assert "konzilium confirm /srv/brno plzen" in judged(site(waiting=["plzen"]))["member-waiting:plzen"].todo


# certificates


@pytest.mark.parametrize("name", ["dicom", "node"])
def test_a_certificate_is_a_warning_at_sixty_days_and_critical_at_a_week(name):
    assert judged(site(certificates={name: 60})) == {}
    found = judged(site(certificates={name: 59}))
    assert list(found) == [f"certificate:{name}"]
    assert "expires in 59 days" in found[f"certificate:{name}"].what
    found = judged(site(certificates={name: 6}))
    assert found[f"certificate-ends:{name}"].severity is Severity.CRITICAL
    assert found[f"certificate:{name}"].quiet
    assert "has expired" in judged(site(certificates={name: -1}))[f"certificate-ends:{name}"].what


def test_the_key_of_a_member_is_for_the_member_to_change():
    assert "There they say" in judged(prague(certificate_days=20))["certificate:member prague"].todo


# devices, jobs, what waits


def test_a_modality_that_is_silent_for_longer_than_usual_is_told_by_name():
    rhythm: Rhythm = working(4)
    later = at(4, 2, 12)
    found = judged(site(now=later, awake=later - 30 * DAY, rhythms={"CT1": rhythm}))["modality-silent:CT1"]
    assert "CT1 has sent nothing for 4 days" in found.what or "5 days" in found.what
    earlier = at(4, 2, 9)
    assert judged(site(now=earlier, awake=earlier - 30 * DAY, rhythms={"CT1": rhythm})) == {}


def test_jobs_that_stalled_or_wait_for_a_day_are_told():
    assert "jobs-stalled" in judged(site(stalled=1))
    assert "jobs-late" in judged(site(oldest_job_at=NOW - 25 * HOUR))
    assert judged(site(oldest_job_at=NOW - 23 * HOUR)) == {}


def test_a_sink_that_fails_for_a_quarter_of_an_hour_is_told_by_the_others():
    assert judged(site(mute={"mail": NOW - 14 * MINUTE})) == {}
    assert "--test" in judged(site(mute={"mail": NOW - 16 * MINUTE}))["sink-failing:mail"].todo


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("quarantined", "quarantine"),
        ("conflicts", "conflicts"),
        ("shared_studies", "shared-studies"),
        ("strangers", "strangers"),
    ],
)
def test_what_waits_for_a_person_is_for_leisure(what, kind):
    found = judged(site(**{what: 2}))
    assert list(found) == [kind]
    assert found[kind].severity is Severity.INFO


def test_the_use_of_the_sealed_account_is_a_question_at_once():
    found = judged(site(opened_at=NOW - HOUR))["seal-broken:administrator"]
    assert found.severity is Severity.CRITICAL
    assert "1 hour ago" in found.what
    assert "konzilium account seal /srv/brno" in found.todo


# logins


def feed(**what) -> Seen:
    return site(feeds=[Feed(**{"name": "eduid", "valid_until": NOW + 10 * DAY, **what})])


def test_metadata_that_cannot_be_refreshed_are_told_after_a_day():
    assert judged(feed(failed_at=NOW - 23 * HOUR)) == {}
    found = judged(feed(failed_at=NOW - 25 * HOUR, error="it answers 503"))["metadata-late:eduid"]
    assert found.severity is Severity.WARNING
    assert "for 1 day (it answers 503); the last good ones hold" in found.what
    assert "konzilium idp refresh /srv/brno eduid" in found.todo


def test_metadata_that_end_soon_and_cannot_be_refreshed_are_critical():
    found = judged(feed(failed_at=NOW - 8 * DAY, valid_until=NOW + 2 * DAY))
    assert found["logins-end:eduid"].severity is Severity.CRITICAL
    assert "end in 2 days" in found["logins-end:eduid"].what
    assert found["metadata-late:eduid"].quiet
    assert "have ended: nobody can log in" in judged(feed(valid_until=NOW))["logins-end:eduid"].what
    assert judged(feed(valid_until=NOW + 2 * DAY)) == {}
    assert judged(feed(valid_until=0)) == {}


@pytest.mark.parametrize(("days", "stages"), [(60, []), (59, [60]), (44, [45, 60]), (29, [30, 45, 60])])
def test_certificates_of_logins_are_told_sixty_fortyfive_and_thirty_days_before(days, stages):
    own = judged(site(login_days=days))
    theirs = judged(feed(certificate_days={"Brno Hospital": days, "Brno Clinic": 400}))
    for found, subject in ((own, "this site"), (theirs, "eduid")):
        assert sorted(found) == [f"login-certificate-{stage}:{subject}" for stage in stages]
        loud = [key for key, one in found.items() if not one.quiet]
        assert loud == [f"login-certificate-{stage}:{subject}" for stage in stages[:1]]
        for one in found.values():
            assert f"ends in {days} days." in one.what
            assert (one.severity is Severity.CRITICAL) == (one.kind == "login-certificate-30")


def test_everything_that_is_seen_is_judged():
    """What is looked at and no test here sets would be looked at for nothing."""
    text = Path(__file__).read_text("utf-8")
    assert [one.name for one in fields(Seen) if f"{one.name}" not in text] == []


# persons


def test_each_emergency_access_is_an_alert_until_somebody_has_reviewed_it():
    found = judged(site(emergencies={3: NOW - HOUR, 4: NOW - MINUTE}))
    assert found.keys() == {"emergency:3", "emergency:4"}
    assert {one.severity for one in found.values()} == {Severity.WARNING}


def test_an_emergency_access_that_nobody_reviews_for_days_is_critical():
    found = judged(site(emergencies={3: NOW - 4 * DAY}))
    assert found["emergency-late:3"].severity is Severity.CRITICAL


# audit records


def test_a_record_that_is_not_what_it_was_is_told_with_its_range():
    wrong = ["records 7 to 9 of prague: altered"]
    found = judged(site(audit_faults={"prague": wrong}))["audit-broken:prague"]
    assert found.severity is Severity.CRITICAL
    assert "records 7 to 9 of prague: altered" in found.what
    many = judged(site(audit_faults={"prague": wrong * 5}))["audit-broken:prague"]
    assert "and 2 more" in many.what


def test_a_member_that_does_not_show_its_record_is_told_after_a_day():
    assert "audit-unseen:prague" in judged(prague(unaudited=DAY + HOUR))
    assert judged(prague(unaudited=DAY - HOUR)) == {}
    assert "audit-unseen:prague" not in judged(prague(unaudited=DAY + HOUR, error="cannot be reached"))


def test_a_repository_that_gets_no_audit_messages_is_told_after_a_quarter_of_an_hour():
    def silent(span: int) -> Seen:
        return site(
            repository="audit.test:6514",
            repository_failed_at=NOW - span,
            repository_error="TLS: bad certificate.",
        )

    assert judged(silent(14 * MINUTE)) == {}
    found = judged(silent(16 * MINUTE))["audit-unsent:audit.test:6514"]
    assert found.severity is Severity.WARNING
    assert "for 16 minutes (TLS: bad certificate)" in found.what
    assert judged(silent(2 * DAY))["audit-unsent:audit.test:6514"].severity is Severity.CRITICAL
    assert judged(site(repository="", repository_failed_at=0)) == {}
