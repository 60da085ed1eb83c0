"""Many callers at once, in one process and in two: nothing twice, nothing lost, nobody waits for ever."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from node.domain.instance import Admission, Outcome
from node.domain.principal import Principal
from node.domain.query import Selection
from node.wiring import Site, open_site
from tests.support import synthetic
from tests.support.evidence import Evidence, digests_on_disk
from tests.support.ingest import SENDER, Ingest, acknowledged

CALLERS = 16
PATIENCE = 120


@pytest.fixture
def site(make_node: Callable) -> Iterator[Site]:
    with open_site(make_node().folder) as opened:
        yield opened


def at_once(task: Callable[[int], list[Admission]]) -> list[Admission]:
    """Let all callers do their task, started at the same moment; return what they were answered."""
    barrier = Barrier(CALLERS)

    def run(caller: int) -> list[Admission]:
        barrier.wait(PATIENCE)
        return task(caller)

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = [pool.submit(run, caller) for caller in range(CALLERS)]
        return [admission for answer in answers for admission in answer.result(PATIENCE)]


def test_sixteen_callers_of_the_same_study_make_it_once(site):
    study = synthetic.study(60, series=4)

    def send(caller: int) -> list[Admission]:
        order = random.Random(caller).sample(study, len(study))
        return [site.archive.admit(SENDER, offer, [data]) for offer, data in order]

    admissions = at_once(send)
    outcomes = Counter(admission.outcome for admission in admissions)
    assert outcomes == {Outcome.KEPT: 60, Outcome.KNOWN: 60 * (CALLERS - 1)}
    evidence = Evidence(site.settings.directory)
    evidence.all_again({offer.instance: evidence.instances()[offer.instance] for offer, _ in study})
    levels = {
        table: evidence.count(table) for table in ("patient", "study", "series", "instance", "conflict")
    }
    assert levels == {"patient": 1, "study": 1, "series": 4, "instance": 60, "conflict": 0}


def test_sixteen_callers_of_overlapping_studies_lose_nothing(site):
    """Study n is sent by callers n, n-1 and n-2: first objects of patients, studies and series collide."""
    studies = {
        number: synthetic.study(12, series=3, study=number, patient=f"P{number // 4}")
        for number in range(CALLERS)
    }

    def send(caller: int) -> list[Admission]:
        wanted = [one for step in range(3) for one in studies[(caller + step) % CALLERS]]
        random.Random(caller).shuffle(wanted)
        return [site.archive.admit(SENDER, offer, [data]) for offer, data in wanted]

    admissions = at_once(send)
    assert len(admissions) == CALLERS * 36
    evidence = Evidence(site.settings.directory)
    evidence.all_again(
        {
            offer.instance: evidence.instances()[offer.instance]
            for study in studies.values()
            for offer, _ in study
        }
    )
    levels = {
        table: evidence.count(table) for table in ("patient", "study", "series", "instance", "conflict")
    }
    assert levels == {"patient": 4, "study": 16, "series": 48, "instance": 192, "conflict": 0}


def test_sixteen_contents_under_one_uid_are_all_kept(site):
    def send(caller: int) -> list[Admission]:
        offer, data = synthetic.instance(salt=1000 * caller)
        return [site.archive.admit(SENDER, offer, [data]) for _ in range(3)]

    admissions = at_once(send)
    digests = {admission.digest for admission in admissions}
    assert len(digests) == CALLERS
    assert digests <= digests_on_disk(site.settings.directory)
    evidence = Evidence(site.settings.directory)
    evidence.all_again({})
    assert (evidence.count("instance"), evidence.count("conflict")) == (1, CALLERS - 1)
    assert sum(admission.outcome is Outcome.KEPT for admission in admissions) == 1


def test_who_reads_while_others_write_sees_whole_studies_only(site):
    """Selecting a study while it grows never shows an instance that cannot be opened."""

    def task(caller: int) -> list[Admission]:
        if caller % 4:
            study = synthetic.study(20, series=2, study=caller)
            return [site.archive.admit(SENDER, offer, [data]) for offer, data in study]
        for number in range(1, CALLERS):
            read(site, SENDER, number)
        return []

    admissions = at_once(task)
    assert len(admissions) == 12 * 20
    assert sum(read(site, SENDER, number) for number in range(CALLERS)) == 240


def read(site: Site, principal: Principal, study: int) -> int:
    """Open every instance of a study; return how many there are."""
    wanted = Selection(studies=(synthetic.study_uid(study),))
    found = site.archive.select(principal, wanted)
    for instance in found:
        with site.archive.open(instance) as stored:
            assert stored.size == instance.size
    return len(found)


def test_two_processes_admit_into_one_site_at_once(make_node, tmp_path):
    folder = make_node().folder
    notes = [tmp_path / "first", tmp_path / "second"]
    with Ingest(folder, notes[0], 1, threads=8) as first, Ingest(folder, notes[1], 2, threads=8) as second:
        first.wait_until_acknowledged(200)
        second.wait_until_acknowledged(200)
        first.kill()
        second.kill()
    Evidence(folder).all_again(acknowledged(notes[0]) | acknowledged(notes[1]))
