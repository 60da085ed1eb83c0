"""Check, repair, scrub, findings, brake and proof on the command line: words and exit codes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.audit.record import read
from node.domain.errors import PeerUnreachable
from node.domain.finding import Finding, Trouble
from node.domain.ids import Digest, SiteId
from node.domain.job import SECOND
from node.domain.member import Member, Standing
from node.domain.replica import CopyState, Replica
from node.domain.rule import EVERYTHING
from node.wiring import open_site
from services.cli.care import check as check_command
from services.cli.care.words import DO, MEANS
from services.cli.main import main
from services.cli.output import Exit
from tests.support import synthetic
from tests.support.sites import fast_folder


def konzilium(*words: object, code: Exit = Exit.FINE) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def asked(*words: object, code: Exit = Exit.FINE):
    return json.loads(konzilium(*words, "--json", code=code).stdout)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A site with a study of four images."""
    with fast_folder() as folder:
        directory = Path(folder) / "brno"
        konzilium("init", directory, "--site", "brno")
        synthetic.write_study(tmp_path / "study", 4)
        konzilium("import", directory, tmp_path / "study")
        yield directory


def digests(site: Path) -> list[str]:
    with closing(sqlite3.connect(site / "catalog.db")) as catalog:
        return [row[0] for row in catalog.execute("SELECT digest FROM instance ORDER BY uid")]


def file_of(site: Path, digest: str) -> Path:
    return site / "blobs" / digest[:2] / digest


def flip(site: Path, digest: str) -> None:
    path = file_of(site, digest)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def forget(site: Path, digest: str) -> None:
    with closing(sqlite3.connect(site / "catalog.db")) as catalog, catalog:
        catalog.execute("DELETE FROM instance WHERE digest = ?", (digest,))


def damage_much(site: Path) -> None:
    """Note that 30 copies were found corrupt."""
    with open_site(site) as opened, opened.catalog.begin() as unit:
        for number in range(30):
            unit.findings.report(
                Finding(kind=Trouble.CORRUPT, digest=f"{number:064x}", site=unit.origin, size=1)
            )


def befriend(site: Path, name: str = "prague") -> None:
    member = Member(
        site=SiteId(name), descriptor="", certificates=(), fingerprints=(), version=1, url=None,
        ae_title="", standing=Standing.ACTIVE, introduced_by=SiteId("brno"), export=EVERYTHING,
    )  # fmt: skip
    with open_site(site) as opened:
        opened.catalog.perform(lambda unit: unit.members.put(member))


@pytest.mark.parametrize("kind", Trouble)
def test_every_kind_of_finding_has_a_meaning_and_something_to_do(kind):
    assert MEANS[kind]
    assert "konzilium" in DO[kind].format("/srv/brno")


# check


def test_a_check_of_a_site_in_order_says_so(site):
    said = konzilium("check", site, "--verify").stdout
    assert said.startswith("Checked 4 objects of brno, ")
    assert "every byte read back." in said
    assert said.endswith("Nothing is wrong.\n")
    assert "existence and size." in konzilium("check", site).stdout


def test_a_check_says_what_is_wrong_what_it_means_and_what_to_do(site):
    flipped, deleted, cut, dropped = digests(site)
    flip(site, flipped)
    file_of(site, deleted).unlink()
    file_of(site, cut).write_bytes(b"short")
    forget(site, dropped)
    said = konzilium("check", site, "--verify", code=Exit.DAMAGED).stdout
    for kind, digest in zip(("corrupt", "missing", "truncated", "unlisted"), digests(site), strict=False):
        assert f"1 {kind}: {MEANS[Trouble(kind)]}" in said, digest
    assert f"{flipped[:16]}  (read twice)" in said
    assert f"`konzilium repair {site}`" in said
    found = asked("check", site, "--verify", code=Exit.DAMAGED)
    assert found["counts"] == {"missing": 1, "corrupt": 1, "truncated": 1, "unlisted": 1, "stale": 1}
    assert {(one["kind"], one["digest"]) for one in found["findings"]} == {
        ("corrupt", flipped), ("missing", deleted), ("truncated", cut), ("unlisted", dropped), ("stale", ""),
    }  # fmt: skip


def test_what_is_wrong_but_no_damage_has_another_exit_code(site):
    forget(site, digests(site)[0])
    konzilium("check", site, code=Exit.ATTENTION)


def test_a_person_is_shown_some_and_a_program_all(site, tmp_path):
    synthetic.write_study(tmp_path / "more", 30, study=2)
    konzilium("import", site, tmp_path / "more")
    for digest in digests(site):
        file_of(site, digest).unlink()
    said = konzilium("check", site, code=Exit.DAMAGED).stdout
    assert "34 missing" in said
    assert "and 14 more; --json names all" in said
    assert len(asked("check", site, code=Exit.DAMAGED)["findings"]) == 34


def test_a_check_with_a_site_that_nobody_knows_fails(site):
    said = konzilium("check", site, "--peer", "nowhere", code=Exit.FAILED).stderr
    assert "No site called nowhere is a member here" in said


def test_a_member_that_cannot_be_asked_is_said_and_the_rest_is_checked(site, monkeypatch):
    @contextmanager
    def silent(name, *, timeout=None):
        raise PeerUnreachable(name, "no route")
        yield

    befriend(site)
    monkeypatch.setattr(check_command, "peers_of", lambda _site: silent)
    result = konzilium("check", site, "--peer", "prague", code=Exit.LATER)
    assert "prague could not be asked: prague cannot be reached: no route" in result.stderr
    file_of(site, digests(site)[0]).unlink()
    told = asked("check", site, "--peer", "prague", code=Exit.DAMAGED)
    assert list(told["silent"]) == ["prague"]


# repair and findings


def test_without_findings_there_is_nothing_to_repair(site):
    assert "Nothing is to be repaired" in konzilium("repair", site).stdout
    assert konzilium("findings", site).stdout == "Nothing is to be dealt with.\n"


def test_rows_that_were_lost_are_made_again_and_findings_tell_it(site):
    before = digests(site)
    forget(site, before[0])
    konzilium("check", site, code=Exit.ATTENTION)
    assert "unlisted" in konzilium("findings", site).stdout
    said = konzilium("repair", site).stdout
    assert f"{before[0][:16]}: catalogued again from the journal" in said
    assert said.endswith("2 repaired, 0 in order when looked at again, 0 left.\n")
    assert digests(site) == before
    assert asked("findings", site) == []
    assert {one["state"] for one in asked("findings", site, "--all")} == {"repaired"}
    konzilium("check", site, "--verify")


def test_what_no_member_can_mend_is_left_with_its_reason(site):
    flip(site, digests(site)[0])
    konzilium("check", site, "--verify", code=Exit.DAMAGED)
    assert "no member has proved a copy of it" in konzilium("repair", site, code=Exit.DAMAGED).stdout
    assert asked("repair", site, code=Exit.DAMAGED)["left"][0]["state"] == "lost"


def test_what_is_in_order_when_looked_at_again_is_settled(site):
    digest = digests(site)[0]
    flip(site, digest)
    konzilium("check", site, "--verify", code=Exit.DAMAGED)
    flip(site, digest)
    assert [one["digest"] for one in asked("repair", site)["settled"]] == [digest]


def test_only_the_findings_that_were_named_are_dealt_with(site):
    first, second, *_ = digests(site)
    for digest in (first, second):
        forget(site, digest)
    konzilium("check", site, code=Exit.ATTENTION)
    assert len(asked("repair", site, "--finding", first[:12])["repaired"]) == 1
    assert {one["kind"] for one in asked("findings", site)} == {"unlisted", "stale"}
    asked("repair", site, "--finding", "unlisted")
    assert (
        "Nothing is known here by the name"
        in konzilium("repair", site, "--finding", "1.2.3", code=Exit.FAILED).stderr
    )
    konzilium("repair", site, "--finding", "no digest", code=Exit.FAILED)


# brake


def test_a_brake_at_rest_says_what_would_trip_it(site):
    said = konzilium("brake", site).stdout
    assert "repair: at rest." in said
    assert "more than 20 % and 20 copies within a day trip it" in said


def test_a_brake_that_has_tripped_stops_repair_until_it_is_released_with_a_reason(site):
    damage_much(site)
    said = konzilium("repair", site, code=Exit.LATER).stderr
    assert "a person has to look" in said
    told = konzilium("brake", site, code=Exit.ATTENTION).stdout
    assert "repair: TRIPPED on 20" in told
    assert f"konzilium brake {site} --release repair" in told
    konzilium("brake", site, "--release", "repair", code=Exit.USAGE)
    konzilium("brake", site, "--reason", "because", code=Exit.USAGE)
    rows = asked("brake", site, "--release", "repair", "--reason", "a cable")
    assert [(row["name"], row["tripped_at"]) for row in rows] == [("repair", 0), ("deletion", 0)]
    konzilium("repair", site, code=Exit.DAMAGED)
    with open_site(site) as opened, opened.catalog.reading() as unit:
        deeds = [read(row[0]).what for row in unit._connection.exec_driver_sql("SELECT deed FROM audit")]
    assert any(what.endswith(": a cable") for what in deeds)


def test_a_repair_despite_the_brake_is_a_release(site):
    damage_much(site)
    konzilium("repair", site, code=Exit.LATER)
    konzilium("repair", site, "--despite-brake", "a cable", code=Exit.DAMAGED)
    konzilium("brake", site)


# scrub


def test_a_scrub_in_the_foreground_reads_everything_and_says_so(site):
    konzilium("scrub", site)
    done = asked("scrub", site, "--now", "--wait")
    assert (done["objects"], done["read_objects"], done["due"], done["late"]) == (4, 4, 0, False)
    said = konzilium("scrub", site).stdout
    assert "Read back       4 objects within 30 days, 100 % of the bytes" in said
    assert " a second\n" in said


def test_a_scrub_that_finds_damage_says_so(site):
    flip(site, digests(site)[0])
    result = konzilium("scrub", site, "--now", "--wait", code=Exit.DAMAGED)
    assert "1 object damaged; see `konzilium findings" in result.stderr
    assert [one["kind"] for one in asked("findings", site)] == ["corrupt"]


def test_a_scrub_for_the_node_waits_until_it_runs(site):
    konzilium("scrub", site, "--now", "--wait")
    result = konzilium("scrub", site, "--now")
    assert "the node does not run" in result.stderr
    assert "Due now         4 objects" in result.stdout
    konzilium("scrub", site, "--wait", code=Exit.USAGE)


# proof


def test_a_proof_names_every_copy_with_its_moment_and_its_fact(site):
    uid, digest = synthetic.instance_uid(1, 1, 1), Digest(digests(site)[0])
    konzilium("scrub", site, "--now", "--wait")
    copy = Replica(
        instance=uid, digest=digest, site=SiteId("prague"), state=CopyState.VERIFIED, size=7, at=SECOND
    )
    with open_site(site) as opened:
        opened.catalog.perform(lambda unit: unit.replicas.put(copy))
    here, there = asked("proof", site, uid)
    assert (here["site"], here["digest"], here["state"], here["epoch"]) == ("brno", digest, "verified", 1)
    assert here["proved_at"].startswith("20")
    assert here["entry"] > 0
    assert (there["site"], there["state"], there["proved_at"]) == (
        "prague", "verified", "1970-01-01T00:00:01+00:00",
    )  # fmt: skip
    assert f"{digest[:16]}" in konzilium("proof", site, uid).stdout


def test_a_damaged_copy_is_no_proof(site):
    flip(site, digests(site)[0])
    konzilium("check", site, "--verify", code=Exit.DAMAGED)
    [here] = asked("proof", site, synthetic.instance_uid(1, 1, 1))
    assert (here["state"], here["proved_at"]) == ("damaged", 0)


def test_an_instance_that_nobody_knows_has_no_proof(site):
    assert (
        "Instance 1.2.3 is not in this archive" in konzilium("proof", site, "1.2.3", code=Exit.FAILED).stderr
    )
