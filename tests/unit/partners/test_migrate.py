"""A migration brings everything that is there, once, whatever interrupts it, and tells what it could not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from node.domain.errors import ForeignRefused, PeerUnreachable
from node.domain.ids import AETitle, StudyUID
from node.domain.partner import Partner, Role, Unlike
from node.domain.principal import Device
from node.domain.query import Selection
from node.domain.rule import Match
from node.partners.book import PartnerBook
from node.partners.listing import survey
from node.partners.migrate import Manners, Migration
from node.partners.report import of_migration
from tests.support import synthetic
from tests.support.foreign import Away, FakeForeign
from tests.support.sites import OPERATOR, TestSite, device, fast_folder, site

PACS = AETitle("PACS")
TODAY = date(2026, 3, 1)


class Setup:
    """A site, a foreign archive, and the migration from one to the other."""

    def __init__(self, here: TestSite, **options: object) -> None:
        self.here = here
        self.foreign = FakeForeign(admit=lambda content: here.admit(content, device(PACS)))
        here.devices.add(OPERATOR, Device(ae_title=PACS, host="10.0.0.9", port=104))
        new = Partner(ae_title=PACS, roles=frozenset({Role.SOURCE}), **options)  # type: ignore[arg-type]
        PartnerBook(here.catalog).add(OPERATOR, new)
        self.waited: list[float] = []
        self.goes_on: Callable[[], bool] = lambda: True

    @property
    def partner(self) -> Partner:
        return PartnerBook(self.here.catalog).find(PACS)

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.here.clock.forward(seconds)

    def run(self, *, since: date | None = None, verify: bool = False, patience: float = 0.0) -> bool:
        manners = Manners(today=TODAY, wait=self.wait, goes_on=self.goes_on, patience=patience)
        migration = Migration(self.here.catalog, self.partner, self.foreign, manners, since=since)
        return migration.run(verify=verify)

    def report(self):
        return of_migration(self.here.catalog, self.partner)

    def archived(self) -> set[str]:
        return {row[0] for row in self.here.rows("SELECT uid FROM instance")}


@pytest.fixture
def setup() -> Iterator[Setup]:
    with site() as here:
        yield Setup(here)


def test_everything_that_is_there_comes_once_and_is_compared(setup):
    held = {setup.foreign.hold(study, series=series, number=3 * study + series)
            for study in (1, 2, 3) for series in (1, 2)}  # fmt: skip
    assert setup.run()
    told = setup.report()
    assert setup.archived() == held
    assert (told.moved.studies_here, told.moved.series, told.moved.instances, told.moved.here) == (3, 6, 6, 6)
    assert (told.moved.fetched, told.differences, told.is_whole) == (6, (), True)
    assert told.moved.bytes == setup.here.rows("SELECT sum(size) FROM instance")[0][0]


def test_what_comes_in_is_of_the_partner_and_in_the_audit(setup):
    setup.foreign.hold(1)
    setup.run()
    assert setup.here.rows("SELECT source FROM instance") == [("device:PACS@brno",)]
    assert setup.here.rows("SELECT count(*) FROM audit WHERE deed LIKE '%: stored%PACS%'") == [(1,)]


def test_a_second_run_fetches_nothing_but_what_came_since(setup):
    setup.foreign.hold(1)
    setup.run()
    setup.foreign.hold(2)
    setup.foreign.hold(1, number=2)
    setup.run()
    assert len(setup.foreign.fetched) == len(set(setup.foreign.fetched)) == 3
    setup.foreign.calls.clear()
    assert setup.run()
    assert set(setup.foreign.calls) == {"studies"}


def test_to_verify_compares_everything_again_and_brings_what_was_lost(setup):
    setup.foreign.hold(1)
    setup.foreign.hold(2)
    setup.run()
    setup.here.rows("SELECT 1")
    setup.foreign.calls.clear()
    assert setup.run(verify=True)
    assert setup.foreign.calls.count("instances") == 2
    assert len(setup.foreign.fetched) == 2


def test_what_is_here_already_is_not_fetched(setup):
    setup.here.admit(synthetic.instance(study=1, number=1))
    setup.foreign.hold(1, number=1)
    setup.foreign.hold(1, number=2)
    setup.run()
    assert setup.foreign.fetched == [synthetic.instance_uid(1, 1, 2)]
    assert setup.report().moved.fetched == 1


@pytest.mark.parametrize("silently", [False, True], ids=["says so", "silently"])
def test_a_partner_that_cuts_its_answers_off_is_asked_for_smaller_windows(setup, silently):
    setup.foreign.limit, setup.foreign.silently = 100 if silently else 2, silently
    days = ["20240101", "20240102", "20240630", "20251231", "20260215", "19990909"]
    for study in range(1, 25 if not silently else 131):
        setup.foreign.hold(study, date=days[study % len(days)], time=f"{study % 24:02}{study % 60:02}00")
    setup.run()
    assert setup.archived() == set(setup.foreign.kept)
    assert setup.report().waiting == 0


def test_studies_without_a_date_come_too(setup):
    setup.foreign.hold(1, date="")
    setup.foreign.hold(2, date="20250101", time="")
    setup.run()
    assert setup.archived() == set(setup.foreign.kept)
    assert setup.report().is_whole


def test_what_a_partner_never_tells_is_told_as_such(setup):
    """Two studies of one minute, one of which it never tells: nobody can know which."""
    setup.foreign.limit = 1
    for study in (1, 2):
        setup.foreign.hold(study, date="20250101", time="101010", patient="_")
    setup.run()
    told = setup.report()
    assert "20250101 101000-101059.999999" in told.cut
    assert not told.is_whole


def test_studies_of_some_dates_and_series_of_some_modalities_only():
    with site() as here:
        setup = Setup(here, match=Match(modalities=("MR",), younger_than=365))
        kept = setup.foreign.hold(1, series=1, modality="MR")
        setup.foreign.hold(1, series=2, number=2, modality="CT")
        setup.foreign.hold(2, date="20200101", modality="MR")
        setup.run()
        assert setup.archived() == {kept}
        assert setup.report().is_whole


def test_since_a_date_only(setup):
    setup.foreign.hold(1, date="20250704")
    young = setup.foreign.hold(2, date="20250705")
    setup.foreign.hold(3, date="")
    setup.run(since=date(2025, 7, 5))
    assert setup.archived() == {young}


def test_what_does_not_come_is_tried_again_with_pauses_that_double_and_then_told_by_uid(setup):
    lost = setup.foreign.hold(1, number=1)
    setup.foreign.hold(1, number=2)
    setup.foreign.hold(2)
    setup.foreign.keeps_back.add(lost)
    assert setup.run()
    told = setup.report()
    assert [(one.instance, one.kind) for one in told.differences] == [(lost, Unlike.MISSING)]
    assert (told.moved.studies_differ, told.moved.studies_here, told.is_whole) == (1, 1, False)
    assert [round(pause) for pause in setup.waited] == [2, 4, 8, 16]
    setup.foreign.keeps_back.clear()
    assert setup.run()
    assert setup.report().is_whole
    assert len(setup.foreign.fetched) == 3


def test_what_this_archive_refuses_is_told_with_the_reason(setup):
    uid = setup.foreign.hold(1, patient="")
    made = synthetic.instance(study=1, patient="")
    setup.foreign.kept[uid] = setup.foreign.kept[uid].__class__(
        study=synthetic.study_uid(1), series=synthetic.series_uid(1, 1), content=made
    )
    setup.run()
    (one,) = setup.report().differences
    assert one.instance == uid
    assert "quarantine" in one.why


def test_what_was_withdrawn_here_is_not_taken_again_and_told(setup):
    setup.foreign.hold(1)
    setup.run()
    setup.here.archive.retract(OPERATOR, Selection(studies=(StudyUID(synthetic.study_uid(1)),)), "wrong")
    setup.run(verify=True)
    told = setup.report()
    assert [one.kind for one in told.differences] == [Unlike.WITHDRAWN]
    assert told.is_whole and len(setup.foreign.fetched) == 1


def test_what_came_in_another_transfer_syntax_than_it_is_stored_in_there_is_told(setup):
    setup.foreign.hold(1)
    setup.foreign.syntax = "1.2.840.10008.1.2.4.70"
    setup.run()
    (one,) = setup.report().differences
    assert one.kind is Unlike.CONVERTED and "1.2.840.10008.1.2.4.70" in one.why


def test_a_partner_that_goes_away_is_waited_for_within_patience(setup):
    for study in range(1, 4):
        setup.foreign.hold(study)
    setup.foreign.trouble = Away(5, 6, 40, 45)
    assert setup.run(patience=60.0)
    assert setup.archived() == set(setup.foreign.kept)
    assert setup.foreign.closed == 4


def test_a_partner_that_stays_away_ends_the_run_and_the_next_one_goes_on(setup):
    setup.foreign.hold(1)
    setup.foreign.trouble = Away(*range(10, 100))
    with pytest.raises(PeerUnreachable):
        setup.run(patience=5.0)
    assert setup.partner.error
    setup.foreign.trouble = lambda call: None
    assert setup.run()
    assert not setup.partner.error
    assert setup.report().is_whole


def test_a_series_that_the_partner_refuses_holds_up_no_other(setup):
    setup.foreign.hold(1)
    setup.foreign.hold(2)
    failed = []

    def refuse(call: str) -> None:
        if call == "instances" and len(failed) < 1:
            failed.append(call)
            raise ForeignRefused(PACS, "a query, status C000")

    setup.foreign.trouble = refuse
    assert setup.run()
    assert setup.report().is_whole


def test_a_survey_counts_and_brings_nothing(setup):
    setup.foreign.hold(1)
    setup.foreign.hold(2)
    setup.here.admit(synthetic.instance(study=2))
    told = survey(setup.foreign, setup.here.catalog, Match(), TODAY)
    assert (told.studies, told.instances, told.studies_here, told.cut) == (2, 2, 1, ())
    assert setup.foreign.fetched == []
    assert setup.here.rows("SELECT count(*) FROM moving_study") == [(0,)]


class MigrationMachine(RuleBasedStateMachine):
    """Whatever is interrupted, in the end all is here once, and nothing was fetched that was here."""

    @initialize(counts=st.booleans(), limit=st.sampled_from([None, 1, 3]))
    def begin(self, counts: bool, limit: int | None) -> None:
        self.folder = fast_folder()
        from pathlib import Path

        self.setup = Setup(TestSite(Path(self.folder.name)))
        self.setup.foreign.counts = counts
        self.setup.foreign.limit = limit
        self.number = 0

    @rule(study=st.integers(1, 4), series=st.integers(1, 2), dated=st.booleans())
    def something_comes_there(self, study: int, series: int, dated: bool) -> None:
        self.number += 1
        day = f"202501{study:02}" if dated or self.setup.foreign.limit else ""
        self.setup.foreign.hold(study, series=series, number=self.number, date=day, time=f"{study:02}0000")

    @rule(study=st.integers(1, 4))
    def something_of_it_comes_here_otherwise(self, study: int) -> None:
        held = [one for one in self.setup.foreign.kept.values() if one.study == synthetic.study_uid(study)]
        if held:
            self.setup.here.admit(held[0].content)

    @rule(at=st.integers(1, 60))
    def it_runs_and_is_interrupted(self, at: int) -> None:
        self.setup.foreign.trouble = Away(at)
        try:
            self.setup.run()
        except PeerUnreachable:
            self.setup.here.crash()
        finally:
            self.setup.foreign.trouble = lambda call: None

    @rule(steps=st.integers(1, 30))
    def somebody_stops_it(self, steps: int) -> None:
        left = iter(range(steps))
        self.setup.goes_on = lambda: next(left, None) is not None
        self.setup.run()
        self.setup.goes_on = lambda: True

    @precondition(lambda self: self.setup.foreign.kept)
    @rule()
    def it_runs_to_its_end(self) -> None:
        while not self.ended():
            pass
        assert self.setup.archived() >= set(self.setup.foreign.kept)
        told = self.setup.report()
        assert (told.waiting, told.differences, told.moved.studies_differ) == (0, (), 0)
        assert told.moved.here == told.moved.instances == len(self.setup.foreign.kept)

    def ended(self) -> bool:
        """Run it; an unfinished run goes on with its own windows, so a second one sees what came since."""
        return self.setup.run() and self.setup.run()

    def teardown(self) -> None:
        if not hasattr(self, "setup"):
            return
        fetched = self.setup.foreign.fetched
        assert len(fetched) == len(set(fetched)), "something was fetched that was here"
        self.setup.here.catalog.close()
        self.folder.cleanup()


TestMigrations = MigrationMachine.TestCase
TestMigrations.settings = settings(
    max_examples=25, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)
