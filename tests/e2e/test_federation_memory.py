"""A 500 MB instance and a thousand small ones go to the other site; no process on either side grows by more
than 64 MiB.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import synthetic
from tests.support.caller import Caller
from tests.support.federated import in_step, is_at, joined, send
from tests.support.memory import in_little_memory
from tests.support.serving import eventually

SIZE = 500_000_000


@pytest.fixture(autouse=True)
def room(tmp_path: Path) -> Iterator[None]:
    """Leave nothing of this size behind."""
    yield
    shutil.rmtree(tmp_path)


def test_much_is_replicated_in_little_memory(tmp_path):
    loop = synthetic.enormous(SIZE)
    with joined(tmp_path, "brno", "prague") as (brno, prague), ExitStack() as watched:
        small = [send(node, synthetic.study(5, study=n)) for n, node in enumerate((brno, prague), 1)]
        eventually(lambda: in_step(brno, prague), "every process has done once what it does")
        for node in (brno, prague):
            watched.enter_context(in_little_memory(node))
        with Caller.open(brno.dicom_port, classes=[loop.offer.sop_class], called="BRNO") as caller:
            assert caller.store(loop.offer, loop.chunks()) == 0
        small.append(send(brno, synthetic.study(1000, study=3, series=4)))
        eventually(lambda: is_at([loop.offer.instance, *small[-1]], prague, brno), "Prague has proved it all")
        eventually(lambda: in_step(brno, prague), "both hold everything")
