"""Drills pass where a site can recover, and fail, with the reason, where it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from node.audit.record import read
from node.domain.errors import BadSignature, StoreFull, TooBusy, Unavailable
from node.domain.ids import Digest
from node.domain.job import Task
from node.domain.member import Standing
from node.domain.query import Selection
from node.domain.rule import NOTHING
from node.identity import addresses
from node.identity.members import state_standing
from node.identity.statements import derive_members
from node.journal.entry import Fact
from node.recovery.check import Check, Checked
from node.recovery.drill import door, report, scratch
from node.recovery.drill.order import Bounds, Order, Scenario
from node.recovery.drill.scratch import POINTER
from node.recovery.repair import Repair, Repaired
from node.replication.effects import Effects
from tests.support.drills import drill, live_of, state
from tests.support.federation import FederatedSite, federation, settle
from tests.support.synthetic import instance, instance_uid, study_uid

MANY, PATIENTS = 36, 6
DESCRIPTION = 0x00081030


@pytest.fixture
def two() -> Iterator[list[FederatedSite]]:
    """Two sites that hold the same, with corrections, a merge, a conflict and a withdrawal."""
    with federation("brno", "prague") as (brno, prague):
        for number in range(MANY):
            brno_or_prague = (brno, prague)[number % 2]
            brno_or_prague.admit(of_patient(number))
        settle(brno, prague)
        brno.archive.correct(brno.operator, study_uid(1), {DESCRIPTION: "Corrected"}, "typing error")
        prague.archive.merge(prague.operator, ("", "P2"), ("", "P3"), "the same person")
        prague.admit(of_patient(6, salt=1))
        taken = Selection(instances=(instance_uid(5, 1, 5),))
        brno.archive.retract(brno.operator, taken, "another patient's")
        settle(brno, prague)
        yield [brno, prague]


def of_patient(number: int, salt: int = 0):
    patient = number % PATIENTS
    return instance(number=number, patient=f"P{patient}", study=patient, name=f"No^{patient}", salt=salt)


def shown(site: FederatedSite) -> list[Digest]:
    return [Digest(row[0]) for row in site.rows("SELECT digest FROM instance ORDER BY uid")]


def flip(site: FederatedSite, digest: Digest) -> None:
    content = bytearray(site.blobs.blobs[digest])
    content[-1] ^= 1
    site.blobs.blobs[digest] = bytes(content)


@pytest.mark.parametrize("scenario", Scenario)
def test_a_drill_passes_where_a_member_has_everything_and_changes_nothing(two, scenario):
    brno, prague = two
    before = state(brno)
    told = drill(live_of(brno, prague), scenario)
    assert told["reasons"] == []
    assert told["verdict"] == "passed"
    assert told["digests"]["checked"] == told["digests"]["equal"] >= MANY - 1
    assert told["loss"]["objects"] == told["loss"]["facts"] == 0
    assert all(one["seconds"] > 0 and one["how"] for one in told["durations"])
    assert len(told["durations"]) > 0
    assert state(brno) == before
    assert [path.name for path in brno.folder.glob("drills/scratch-*")] == []
    deeds = [read(deed).what for (deed,) in brno.rows("SELECT deed FROM audit ORDER BY seq DESC LIMIT 1")]
    assert deeds == [f"drill {told['name']} passed"]


def test_bit_rot_is_found_to_the_last_fault_and_mended(two):
    told = drill(live_of(*two), Scenario.BIT_ROT)
    planted, found = told["planted"], told["found"]
    assert planted == {kind: found[kind] for kind in planted}
    assert set(found) - set(planted) == {"stale"}
    assert told["repaired"] == sum(found.values())


def test_a_damaged_copy_at_the_only_member_fails_the_drills_that_need_it(two):
    brno, prague = two
    bad = shown(brno)[3]
    flip(prague, bad)
    for scenario in (Scenario.LOSE_DISK, Scenario.LOSE_SITE):
        told = drill(live_of(brno, prague), scenario)
        assert told["verdict"] == "failed"
        assert "1 object of the sample could not be had from any member" in told["reasons"]
        assert told["digests"]["named"] == [bad]


def test_damage_that_was_not_planted_is_told_apart(two):
    brno, prague = two
    flip(brno, shown(brno)[3])
    for scenario in (Scenario.BIT_ROT, Scenario.CORRUPT_CATALOG):
        told = drill(live_of(brno, prague), scenario)
        assert told["verdict"] == "failed"
        assert "1 object of the live site is missing or damaged now" in told["reasons"][0]


def test_a_member_that_gives_nothing_back_fails_the_drills_that_need_it(two):
    brno, prague = two
    prague.members.consent(prague.operator, brno.name, export=NOTHING)
    for scenario in (Scenario.BIT_ROT, Scenario.LOSE_DISK, Scenario.LOSE_SITE):
        told = drill(live_of(brno, prague), scenario)
        assert told["verdict"] == "failed"
        assert told["digests"]["missing"] + told["digests"]["different"] > 0
        assert any("could not be" in reason for reason in told["reasons"])


def test_a_site_without_members_says_that_nothing_could_be_repaired(two):
    brno, prague = two
    with brno.catalog.begin() as unit:
        state_standing(unit, brno.operator, prague.name, Standing.SUSPENDED)
        derive_members(unit)
    for scenario in (Scenario.BIT_ROT, Scenario.LOSE_SITE):
        told = drill(live_of(brno, prague), scenario)
        assert told["verdict"] == "failed"
        assert any("this site has no member that could give" in reason for reason in told["reasons"])


def test_a_blind_check_fails_the_drill(two, monkeypatch):
    monkeypatch.setattr(Check, "run", lambda *_, **__: Checked(objects=MANY, read=MANY))
    told = drill(live_of(*two), Scenario.BIT_ROT)
    assert told["verdict"] == "failed"
    assert any("the check has missed" in reason for reason in told["reasons"])
    assert len(told["missed"]) >= sum(told["planted"].values())
    assert told["digests"]["equal"] < told["digests"]["checked"]


def test_a_check_that_cries_wolf_fails_the_drill(two, monkeypatch):
    honest = Check.run

    def run(self, **options):
        checked = honest(self, **options)
        if checked.findings:
            checked.findings.append(replace(checked.findings[0], digest="0" * 64))
        return checked

    monkeypatch.setattr(Check, "run", run)
    told = drill(live_of(*two), Scenario.BIT_ROT)
    assert any("false alarm" in reason for reason in told["reasons"])


def test_a_repair_that_does_nothing_and_says_it_did_fails_the_drill(two, monkeypatch):
    monkeypatch.setattr(Repair, "run", lambda _, __, findings, **___: Repaired(repaired=list(findings)))
    for scenario in (Scenario.BIT_ROT, Scenario.LOSE_DISK):
        told = drill(live_of(*two), scenario)
        assert told["verdict"] == "failed"
        assert any("in the end" in reason for reason in told["reasons"])


def test_facts_that_no_member_has_are_the_recovery_point_and_old_ones_fail_the_drill(two):
    brno, prague = two
    brno.admit(of_patient(100))
    brno.clock.forward(60)
    told = drill(live_of(brno, prague), Scenario.LOSE_SITE)
    assert told["loss"]["facts"] == told["loss"]["objects"] == 1
    assert 59 < told["loss"]["seconds"] < 62
    assert told["reasons"] != []  # its bytes are in the sample, and nobody has them
    brno.clock.forward(7200)
    told = drill(live_of(brno, prague), Scenario.LOSE_SITE)
    assert any("older than 60 minutes" in reason for reason in told["reasons"])
    told = drill(live_of(brno, prague), Scenario.LOSE_DISK)
    assert any("came more than 60 minutes ago and no member has a copy" in why for why in told["reasons"])


def test_a_site_whose_members_stand_beside_its_keys_needs_no_invitation(two):
    brno, prague = two
    told = drill(live_of(brno, prague), Scenario.LOSE_SITE)
    assert any("the addresses of prague are not kept beside the keys" in note for note in told["notes"])
    addresses.save(brno.home.key_folder, brno.members.active())
    told = drill(live_of(brno, prague), Scenario.LOSE_SITE)
    assert told["verdict"] == "passed"
    assert not any("not kept beside the keys" in note for note in told["notes"])


def test_a_journal_that_is_shorter_at_the_member_is_noticed(two):
    brno, prague = two
    with prague.catalog.begin() as unit:
        unit._connection.exec_driver_sql("DELETE FROM journal WHERE origin = 'brno' AND kind = 'correct'")
    brno.clock.forward(7200)
    told = drill(live_of(brno, prague), Scenario.LOSE_SITE)
    assert told["verdict"] == "failed"
    assert told["loss"]["facts"] == 1
    assert any("1 fact older than" in reason for reason in told["reasons"])
    assert any("of the catalog did not come back" in reason for reason in told["reasons"])


def test_an_altered_journal_fails_the_drill(two):
    brno, prague = two
    with brno.catalog.begin() as unit:
        unit._connection.exec_driver_sql(
            "UPDATE journal SET at = at + 1 WHERE origin = 'brno' AND kind = 'correct'"
        )
    told = drill(live_of(brno, prague), Scenario.CORRUPT_CATALOG)
    assert any("does not follow" in reason for reason in told["reasons"])


def test_rows_that_are_not_what_the_facts_say_fail_the_drill(two):
    brno, prague = two
    with brno.catalog.begin() as unit:
        unit._connection.exec_driver_sql("UPDATE series SET description = 'other' WHERE id = 1")
    told = drill(live_of(brno, prague), Scenario.CORRUPT_CATALOG)
    assert told["verdict"] == "failed"
    assert any("did not come back as they were" in reason for reason in told["reasons"])
    assert any("answered otherwise" in reason for reason in told["reasons"])


@pytest.mark.parametrize("kind", [Fact.CORRECT, Fact.RETRACT])
def test_a_merge_that_forgets_decisions_of_the_other_side_fails_the_partition(two, monkeypatch, kind):
    honest = Effects.apply
    monkeypatch.setattr(
        Effects, "apply", lambda self, unit, entry: entry.kind is kind or honest(self, unit, entry)
    )
    told = drill(live_of(*two), Scenario.PARTITION)
    assert told["verdict"] == "failed"
    assert any("tell different things" in reason for reason in told["reasons"])


def test_a_report_that_was_changed_is_not_believed(two):
    brno, prague = two
    told = drill(live_of(brno, prague), Scenario.CORRUPT_CATALOG)
    path = brno.folder / "drills" / f"{told['name']}.json"
    assert report.load(path).report["verdict"] == "passed"
    text = path.read_text("utf-8")
    path.write_text(text.replace('"equal":', '"equal":1', 1), "utf-8")
    with pytest.raises(BadSignature, match="changed after it was signed"):
        report.load(path)
    assert door.last(brno.folder) is None
    path.write_text(text, "utf-8")
    assert door.last(brno.folder).name == told["name"]


def test_a_report_of_another_site_is_told_by_its_certificate(two):
    brno, prague = two
    drill(live_of(brno, prague), Scenario.CORRUPT_CATALOG)
    name = door.last(brno.folder).name
    signed = report.find(brno.folder / "drills", name)
    known = prague.members.find(brno.name).fingerprints
    assert report.verify(signed, known) == "brno"
    with pytest.raises(BadSignature, match="not known here"):
        report.verify(signed, prague.members.home.key().fingerprint)
    other = report.sign(signed.report, prague.home.key())
    with pytest.raises(BadSignature, match="prague has signed it"):
        report.verify(other)


def test_the_page_says_what_the_report_says_and_needs_nothing_else(two):
    brno, prague = two
    flip(prague, shown(brno)[3])
    told = drill(live_of(brno, prague), Scenario.LOSE_DISK)
    page = (brno.folder / "drills" / f"{told['name']}.html").read_text("utf-8")
    for words in (*told["reasons"], told["loss"]["told"], "Failed", str(told["seed"]), told["began"]):
        assert words in page
    assert "<script" not in page
    assert "http" not in page
    assert all(f"No^{number}" not in page + json.dumps(told) for number in range(PATIENTS))


def test_what_a_crash_left_is_removed_by_the_next_drill(two, monkeypatch):
    brno, prague = two
    live = live_of(brno, prague)

    def crash(*_):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(scratch, "_sweep", lambda _: None)
        patch.setattr(door, "_held", crash)
        with pytest.raises(SystemExit):
            drill(live, Scenario.CORRUPT_CATALOG)
    assert len(list(live.drills.glob("scratch-*"))) == 1
    assert drill(live, Scenario.CORRUPT_CATALOG)["verdict"] == "passed"
    assert list(live.drills.glob("scratch-*")) == []
    assert not (live.drills / POINTER).exists()


def test_a_drill_that_is_stopped_leaves_nothing_and_is_begun_anew(two):
    brno, prague = two
    live, order = live_of(brno, prague), Order(scenario=Scenario.CORRUPT_CATALOG, seed=1, bounds=Bounds())
    name = door.start(brno.catalog, brno.operator, brno.folder, order)
    (job,) = (job for job in brno.archive.lease_jobs() if job.kind is Task.DRILL)
    answers = iter([False, False, False, True, True, True])
    with pytest.raises(Unavailable, match="the node is stopping"):
        door.carry_out(live, brno.node, job, stop=lambda: next(answers))
    assert [path.name for path in live.drills.iterdir()] == ["lock"]
    door.carry_out(live, brno.node, job)
    assert door.find(brno.catalog, brno.folder, name).report["verdict"] == "passed"


def test_two_drills_are_not_held_at_once(two):
    live = live_of(*two)
    with scratch.area(live), pytest.raises(TooBusy, match="a drill is under way"):
        drill(live, Scenario.CORRUPT_CATALOG)


def test_a_drill_for_which_there_is_no_room_is_not_begun(two, monkeypatch):
    monkeypatch.setattr(scratch, "SPARE", 1 << 60)
    with pytest.raises(StoreFull, match="choose another place with --scratch"):
        drill(live_of(*two), Scenario.BIT_ROT)


def test_a_sample_keeps_within_its_bounds_and_follows_from_the_seed(two):
    live = live_of(*two)
    first = drill(live, Scenario.BIT_ROT, objects=9)
    again = drill(live, Scenario.BIT_ROT, objects=9)
    assert first["sample"]["objects"] == again["sample"]["objects"] == 9
    assert first["planted"] == again["planted"]
    some = drill(live, Scenario.CORRUPT_CATALOG, objects=12)
    assert some["verdict"] == "passed"
    assert 0 < some["sample"]["objects"] <= 12
    assert drill(live, Scenario.CORRUPT_CATALOG, objects=1)["sample"]["objects"] in (6, 7)


def test_the_worker_holds_a_drill_that_was_asked_for_once(two):
    brno, prague = two
    live, order = live_of(brno, prague), Order(scenario=Scenario.CORRUPT_CATALOG, seed=1, bounds=Bounds())
    name = door.start(brno.catalog, brno.operator, brno.folder, order)
    assert door.find(brno.catalog, brno.folder, name) is None
    (job,) = (job for job in brno.archive.lease_jobs() if job.kind is Task.DRILL)
    door.carry_out(live, brno.node, job)
    door.carry_out(live, brno.node, job)
    signed = door.find(brno.catalog, brno.folder, name)
    assert signed.report["verdict"] == "passed"
    assert signed.report["by"] == "operator:technician@brno"
    assert len(list(report.held(live.drills))) == 1
