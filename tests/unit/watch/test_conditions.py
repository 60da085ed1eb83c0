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
from node.watch.seen import Disk, Flow, Neighbour, Seen
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


def test_everything_that_is_seen_is_judged():
    """What is looked at and no test here sets would be looked at for nothing."""
    text = Path(__file__).read_text("utf-8")
    assert [one.name for one in fields(Seen) if f"{one.name}" not in text] == []
