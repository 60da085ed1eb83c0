"""Who was turned away is recorded, and no flood of it."""

from __future__ import annotations

from node.audit.record import Deed, Event, read
from node.identity.refusals import KINDS, LONGEST, WINDOW, Refusals
from tests.support.sites import site


class Seconds:
    """Says which second it is."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def refused(refusals: Refusals, who: str = "CT9", what: str = "associate") -> None:
    refusals.note(who=who, address="10.0.0.9", what=what, reason="not on the list")


def deeds(brno) -> list[Deed]:
    with brno.catalog.reading() as unit:
        return [read(record.deed) for record in unit.audit.after()]


def test_the_first_time_is_recorded_at_once_with_who_where_and_why():
    with site() as brno:
        refused(Refusals(brno.catalog))
        assert deeds(brno) == [
            Deed(
                event=Event.REFUSED,
                who="unknown:CT9",
                address="10.0.0.9",
                what="associate",
                reason="not on the list",
                refused=True,
            )
        ]


def test_the_same_within_a_minute_is_counted_and_told_with_the_next():
    seconds = Seconds()
    with site() as brno:
        refusals = Refusals(brno.catalog, monotonic=seconds)
        for _ in range(5):
            refused(refusals)
        refused(refusals, what="get bytes")
        assert [deed.what for deed in deeds(brno)] == ["associate", "get bytes"]
        seconds.now += WINDOW
        refused(refusals)
        refused(refusals)
        assert [deed.what for deed in deeds(brno)][2:] == ["associate (4 times more before)"]


def test_a_stranger_with_ever_new_names_fills_no_record():
    seconds = Seconds()
    with site() as brno:
        refusals = Refusals(brno.catalog, monotonic=seconds)
        for number in range(3 * KINDS):
            refused(refusals, who=f"CT{number}")
        told = deeds(brno)
        assert len(told) == KINDS + 1
        assert told[-1].who == "unknown:others"
        seconds.now += WINDOW
        refused(refusals, who="LATER")
        assert deeds(brno)[KINDS + 1 :] == [
            Deed(
                event=Event.REFUSED,
                who="unknown:others",
                what=f"associate ({2 * KINDS - 1} times more before)",
                refused=True,
            ),
            Deed(
                event=Event.REFUSED,
                who="unknown:LATER",
                address="10.0.0.9",
                what="associate",
                reason="not on the list",
                refused=True,
            ),
        ]


def test_what_a_stranger_says_is_kept_up_to_a_length():
    with site() as brno:
        refused(Refusals(brno.catalog), who="x" * 10_000)
        assert deeds(brno)[0].who == "unknown:" + "x" * LONGEST
