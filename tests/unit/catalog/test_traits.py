"""What rules can ask about instances, from their rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from node.catalog import traits
from node.domain.ids import InstanceUID
from node.domain.query import Selection
from node.domain.rule import Traits
from tests.support import synthetic
from tests.support.sites import CT1, OPERATOR, TestSite, device, site

UID = synthetic.instance_uid(1, 1, 1)
TAKEN = int(datetime(2026, 1, 14, tzinfo=UTC).timestamp()) * 1_000_000
EXPECTED = Traits(study=synthetic.study_uid(1), modality="CT", ae_title="CT1", taken_at=TAKEN)


@pytest.fixture
def brno() -> Iterator[TestSite]:
    with site() as made:
        yield made


def of(brno: TestSite, *uids: InstanceUID) -> dict:
    with brno.catalog.reading() as unit:
        return traits.of(unit, uids)


def test_traits_are_study_modality_device_body_part_and_study_date(brno):
    data = synthetic.dataset()
    data.BodyPartExamined = "HEAD"
    brno.admit((synthetic.offer_of(data), synthetic.encoded(data)))
    [found] = of(brno, UID, InstanceUID("9.9")).values()
    assert found == Traits(
        study=EXPECTED.study, modality="CT", ae_title="CT1", body_part="HEAD", taken_at=TAKEN
    )


@pytest.mark.parametrize("name", ["CT1", "CT@2", "A B"])
def test_a_device_is_known_by_its_whole_ae_title(brno, name):
    brno.admit(synthetic.instance(), device(name))
    assert of(brno, UID)[UID].ae_title == name


def test_what_did_not_come_from_a_device_has_no_ae_title(brno):
    brno.admit(synthetic.instance(), OPERATOR)
    assert of(brno, UID)[UID].ae_title == ""


@pytest.mark.parametrize("date", ["", "2026", "20261301"])
def test_a_study_without_a_date_is_as_old_as_its_arrival(brno, date):
    data = synthetic.dataset()
    data.StudyDate = ""
    data.add_new(0x00080020, "LO", date)
    brno.admit((synthetic.offer_of(data), synthetic.encoded(data)))
    [[arrived]] = brno.rows("SELECT arrived_at FROM instance")
    assert of(brno, UID)[UID].taken_at == arrived


def test_what_is_withdrawn_keeps_its_traits(brno):
    brno.admit(synthetic.instance(), CT1)
    brno.archive.retract(OPERATOR, Selection(instances=(UID,)), "test")
    assert of(brno, UID) == {UID: EXPECTED}


def test_the_instances_of_a_study_are_told_series_by_series(brno):
    for offered in synthetic.study(4, series=2):
        brno.admit(offered)
    with brno.catalog.reading() as unit:
        known = traits.of_study(unit, synthetic.study_uid(1))
    assert [one.series for one in known] == [synthetic.series_uid(1, series) for series in (1, 1, 2, 2)]
    assert {(one.origin, one.traits) for one in known} == {("brno", EXPECTED)}


def test_traits_are_read_as_they_were_written():
    assert traits.read(traits.written(EXPECTED)) == EXPECTED
