"""Sixteen associations at once with a real node: no duplicate, no loss, no deadlock."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from node.domain.instance import Offer
from tests.support import synthetic
from tests.support.caller import STUDY_ROOT_FIND, Caller
from tests.support.evidence import Evidence
from tests.support.node_process import NodeProcess

ASSOCIATIONS = 16
PATIENCE = 120
LEVELS = ("patient", "study", "series", "instance", "conflict")

Batch = list[tuple[Offer, bytes]]


def send_at_once(node: NodeProcess, batch: Callable[[int], Batch]) -> list[int]:
    """Open all associations, send a batch on each, started at the same moment; return the statuses."""
    barrier = Barrier(ASSOCIATIONS)

    def run(number: int) -> list[int]:
        wanted = batch(number)
        with Caller.open(node.dicom_port, classes=[CTImageStorage], timeout=PATIENCE) as caller:
            barrier.wait(PATIENCE)
            return [caller.store(offer, [data]) for offer, data in wanted]

    with ThreadPoolExecutor(ASSOCIATIONS) as pool:
        answers = [pool.submit(run, number) for number in range(ASSOCIATIONS)]
        return [status for answer in answers for status in answer.result(PATIENCE)]


def levels(node: NodeProcess) -> dict[str, int]:
    evidence = Evidence(node.folder)
    evidence.all_again({})
    return {table: evidence.count(table) for table in LEVELS}


def test_sixteen_associations_that_send_the_same_study_make_it_once(node):
    study = synthetic.study(50, series=5, side=64)
    statuses = send_at_once(node, lambda number: random.Random(number).sample(study, len(study)))
    assert set(statuses) == {0}
    assert levels(node) == {"patient": 1, "study": 1, "series": 5, "instance": 50, "conflict": 0}
    assert node.stop() == 0


def test_sixteen_associations_that_send_overlapping_studies_lose_nothing(node):
    """Each study is sent by three of them, in another order; patients have four studies each."""
    studies = [
        synthetic.study(10, series=2, study=number, patient=f"P{number // 4}", side=64)
        for number in range(ASSOCIATIONS)
    ]

    def batch(number: int) -> Batch:
        wanted = [one for step in range(3) for one in studies[(number + step) % ASSOCIATIONS]]
        random.Random(number).shuffle(wanted)
        return wanted

    assert set(send_at_once(node, batch)) == {0}
    assert levels(node) == {"patient": 4, "study": 16, "series": 32, "instance": 160, "conflict": 0}
    sent = {offer.instance for study in studies for offer, _ in study}
    assert sent == set(Evidence(node.folder).instances())


def test_queries_are_answered_while_sixteen_associations_send(node):
    """The reader gets whole answers of studies that are growing, and nobody waits for the other."""
    node.add_device("READER")
    done = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(query_until, node, done)
        try:
            statuses = send_at_once(
                node, lambda number: synthetic.study(30, series=3, study=number, patient=f"P{number}")
            )
        finally:
            done.set()
        seen = reader.result(PATIENCE)
    assert set(statuses) == {0}
    assert seen, "no query was answered"
    assert seen == sorted(seen), "studies that were shown have disappeared again"
    assert levels(node) == {"patient": 16, "study": 16, "series": 48, "instance": 480, "conflict": 0}


def query_until(node: NodeProcess, done: threading.Event) -> list[int]:
    """Ask for all studies again and again; return how many there were each time."""
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    asked.StudyInstanceUID = ""
    asked.NumberOfStudyRelatedInstances = ""
    seen = []
    with Caller.open(node.dicom_port, classes=[STUDY_ROOT_FIND], calling="READER") as caller:
        while not done.is_set():
            final, rows = caller.find(synthetic.encoded(asked))
            assert final[0x0900] == 0
            assert all(int(synthetic.decoded(row).NumberOfStudyRelatedInstances) > 0 for row in rows)
            seen.append(len(rows))
    return seen
