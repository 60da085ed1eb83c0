"""Who may ask what of the recovery of a site: members hint and look, programs of the site itself decide.

The doors are the real ones, as in `test_node_doors.py`; next to each refusal stands the call that is let in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from node.audit.record import Event
from node.audit.record import read as read_deed
from node.domain.errors import BrakeTripped, Forbidden, NoWholeCopy, Rejected, Unknown
from node.domain.finding import Finding, Trouble
from node.domain.ids import Digest
from node.domain.job import Task
from node.domain.member import Standing
from node.domain.principal import Kind, Principal
from node.domain.role import Role
from node.domain.rule import NOTHING
from node.recovery.brake import REPAIR
from services.run.care import check_of, make_again, repair_of
from services.run.peers import peers_of
from services.soap.recovering import DrillScenario, WorkState
from services.soap.recovery import Recovery
from tests.support import synthetic
from tests.support.doors import Door, Line, acquaint, discreet, opened, served

ID = "7605211234"
DECISIONS = {
    Recovery.start_scrub: {},
    Recovery.rebuild: {},
    Recovery.start_drill: {"scenario": DrillScenario.BIT_ROT},
    Recovery.drill_report: {"name": "bit-rot-1"},
}
"""What programs of the site itself may ask for."""


@dataclass(frozen=True, kw_only=True)
class Two:
    """Brno, served; Prague, a member that calls it; and what each may show."""

    brno: Door
    prague: Door
    digest: Digest

    @contextmanager
    def member(self) -> Iterator[Line]:
        """A line of Prague."""
        with Line(self.prague, self.brno) as line:
            yield line

    @contextmanager
    def program(self, kind: Kind = Kind.OPERATOR) -> Iterator[Line]:
        """A line of a program of Brno itself, which says who causes its calls."""
        who = Principal(kind=kind, name="technician", site=self.brno.name)
        with Line(self.brno, self.brno, principal=who) as line:
            yield line

    def flip(self) -> None:
        """Damage a copy at Brno."""
        path = self.brno.site.settings.store.path / self.digest[:2] / self.digest
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)


@pytest.fixture(autouse=True)
def no_patient_is_named():
    with discreet("Pacientka", ID) as heard:
        yield heard


@pytest.fixture
def two() -> Iterator[Two]:
    with served("brno") as brno, opened("prague") as prague:
        acquaint(brno, prague)
        digest = brno.admit(synthetic.instance(patient=ID, name="Tajná^Pacientka"))
        yield Two(brno=brno, prague=prague, digest=digest)


def jobs(door: Door, kind: Task) -> list[str]:
    return [key for (key,) in door.rows(f"SELECT key FROM job WHERE kind = '{kind}'")]


def report(door: Door, **values: object) -> Finding:
    """Open a finding."""
    found = Finding(kind=Trouble.CORRUPT, site=door.name, digest="", **values)  # type: ignore[arg-type]
    door.catalog.perform(lambda unit: unit.findings.report(found))
    return found


@pytest.mark.parametrize("method", DECISIONS, ids=lambda one: one.__name__)
def test_a_member_decides_nothing_and_a_program_of_the_site_does(two, method):
    with two.member() as member, pytest.raises(Forbidden, match="programs of the site itself"):
        member.call(method, **DECISIONS[method])
    with two.program(Kind.DEVICE) as portal, pytest.raises(Forbidden, match="operator or the node itself"):
        portal.call(method, **DECISIONS[method])
    for kind in (Kind.OPERATOR, Kind.NODE):
        with two.program(kind) as program:
            if method is Recovery.drill_report:
                with pytest.raises(Unknown):
                    program.call(method, **DECISIONS[method])
            else:
                program.call(method, **DECISIONS[method])


def test_a_member_sees_how_a_site_is(two):
    report(two.brno, instance="1.2.3")
    with two.member() as line:
        status = line.call(Recovery.status)
    assert (status.role.site, status.role.role) == ("brno", Role.ARCHIVE)
    assert [(one.kind, one.count) for one in status.finding] == [(Trouble.CORRUPT, 1)]
    assert (status.brake, status.work, status.scrub.late) == ((), (), False)


def test_a_member_reads_the_findings_that_concern_it_and_the_site_reads_all(two):
    two.flip()
    check_of(two.brno.site, wait=lambda _: None).run(verify=True)
    report(two.brno, instance="1.2.3")
    with two.member() as line:
        assert [one.digest for one in line.call(Recovery.findings)] == [two.digest]
    two.brno.consent(two.prague, export=NOTHING)
    with two.member() as line:
        assert line.call(Recovery.findings) == ()
    with two.program() as line:
        assert {one.uid for one in line.call(Recovery.findings)} >= {"1.2.3"}
        assert len(line.call(Recovery.findings, limit=1)) == 1


def test_a_hint_is_taken_for_what_the_terms_give_and_for_nothing_else(two):
    with two.member() as line:
        assert line.call(Recovery.repair_replica, digest=(two.digest, "0" * 64)) == (two.digest,)
    assert jobs(two.brno, Task.REPAIR) == [two.digest]
    two.brno.consent(two.prague, export=NOTHING)
    with two.member() as line:
        assert line.call(Recovery.repair_replica, digest=(two.digest,)) == ()
        assert line.call(Recovery.verify_replicas, digest=(two.digest,)) == ()


def test_a_copy_that_is_missing_is_told_as_gone_and_looked_at(two):
    two.brno.site.blobs.remove(two.digest)
    with two.member() as line:
        [told] = line.call(Recovery.verify_replicas, digest=(two.digest,))
    assert told.state == "gone"
    assert jobs(two.brno, Task.REPAIR) == [two.digest]


def test_only_the_site_itself_has_a_copy_mended_while_it_waits(two):
    with two.member() as line, pytest.raises(Forbidden):
        line.call(Recovery.repair_replica, digest=(two.digest,), at_once=True)
    with two.program() as line:
        asked = line.call(Recovery.repair_replica, digest=(two.digest,), at_once=True)
        assert asked == (two.digest,)
        two.flip()
        with pytest.raises(NoWholeCopy):
            line.call(Recovery.repair_replica, digest=(two.digest,), at_once=True)


def test_a_brake_that_has_tripped_stops_hints_and_rebuilds_until_somebody_releases_it(two):
    for number in range(30):
        report(two.brno, instance=f"1.2.{number}")
    for line_of, method, values in (
        (two.member, Recovery.repair_replica, {"digest": (two.digest,)}),
        (two.program, Recovery.rebuild, {}),
    ):
        with line_of() as line, pytest.raises(BrakeTripped, match="a person has to look"):
            line.call(method, **values)
    with two.member() as line:
        [brake] = line.call(Recovery.status).brake
        assert brake.name == REPAIR
    two.brno.site.brake.release(two.brno.operator, REPAIR, "the disk was replaced")
    with two.member() as line:
        assert line.call(Recovery.repair_replica, digest=(two.digest,)) == (two.digest,)


def test_long_work_is_owed_once_and_told_by_status(two):
    with two.program() as line:
        assert line.call(Recovery.rebuild).name == line.call(Recovery.rebuild).name
        drill = line.call(Recovery.start_drill, scenario=DrillScenario.LOSE_DISK, objects=5, seed=7)
        work = line.call(Recovery.status).work
        assert {(one.kind, one.state) for one in work} == {
            ("rebuild", WorkState.WAITING),
            ("drill", WorkState.WAITING),
        }
        assert line.call(Recovery.drill_report, name=drill.name).state == WorkState.WAITING
    assert jobs(two.brno, Task.DRILL) == [drill.name]
    [(payload,)] = two.brno.rows("SELECT payload FROM job WHERE kind = 'drill'")
    assert (json.loads(payload)["seed"], json.loads(payload)["by"]) == (7, "operator:technician@brno")


def test_a_rebuild_makes_rows_again_while_the_site_goes_on_working(two, monkeypatch):
    monkeypatch.setattr("node.recovery.check.WRITERS", 0.0)
    site = two.brno.site
    with two.brno.catalog.begin() as unit:
        unit._connection.exec_driver_sql("DELETE FROM instance")
    with two.program() as line:
        line.call(Recovery.rebuild)
        [job] = [one for one in site.archive.lease_jobs(8) if one.kind is Task.REBUILD]
        assert [one.state for one in line.call(Recovery.status).work] == [WorkState.RUNNING]
        make_again(site, repair_of(site, peers_of(site)), job)
        [work] = line.call(Recovery.status).work
        assert (work.found, work.state) == (0, WorkState.RUNNING)
    assert two.brno.rows("SELECT digest FROM instance") == [(two.digest,)]
    site.archive.job_done(job)
    with two.program() as line:
        assert line.call(Recovery.status).work == ()
        assert line.call(Recovery.findings) == ()


def test_what_was_asked_for_is_in_the_audit_record(two):
    with two.program() as line:
        line.call(Recovery.start_scrub)
        line.call(Recovery.rebuild)
    deeds = [read_deed(row[0]) for row in two.brno.rows("SELECT deed FROM audit ORDER BY seq")]
    assert {(one.event, one.who) for one in deeds[-2:]} == {(Event.CONFIGURED, "operator:technician@brno")}
    with two.member() as line, pytest.raises(Forbidden):
        line.call(Recovery.rebuild)


def test_a_member_gives_away_its_own_place_and_no_other(two):
    site = two.brno.site
    with two.member() as line:
        with pytest.raises(Forbidden):
            line.call(Recovery.promote, reason="because", in_place_of="olomouc")
        with pytest.raises(Rejected, match="has not named"):
            line.call(Recovery.promote, reason="because", in_place_of="prague")
        with pytest.raises(Forbidden):
            line.call(Recovery.demote, reason="because")
    site.roles.state(two.brno.operator, successors=[two.prague.name], reason="its backup")
    with two.member() as line:
        assert line.call(Recovery.demote, reason="maintenance").role is Role.BACKUP


def test_an_operator_demotes_the_site_and_a_device_does_not(two):
    with two.program(Kind.DEVICE) as line, pytest.raises(Forbidden):
        line.call(Recovery.demote, reason="because")
    with two.program() as line:
        assert line.call(Recovery.demote, reason="maintenance").role is Role.BACKUP
        with pytest.raises(Rejected, match="is a backup already"):
            line.call(Recovery.demote, reason="again")


def test_who_was_suspended_asks_nothing(two):
    with two.member() as line:
        line.call(Recovery.findings)
    two.brno.site.members.suspend(two.brno.operator, two.prague.name, "maintenance")
    assert two.brno.member(two.prague).standing is Standing.SUSPENDED
    with two.member() as line, pytest.raises(Exception, match="cut"):
        line.call(Recovery.findings)
