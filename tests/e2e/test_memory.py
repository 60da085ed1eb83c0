"""A 500 MB instance goes in and out, and no process of the node grows by more than 64 MiB."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.support import synthetic
from tests.support.caller import STUDY_ROOT_GET, Caller
from tests.support.memory import ALLOWED, in_little_memory
from tests.support.node_process import KONZILIUM, NodeProcess
from tests.support.peers import run
from tests.support.sinks import storescp

SIZE = 500_000_000


@pytest.fixture(autouse=True)
def room(tmp_path: Path) -> Iterator[None]:
    """Leave nothing of this size behind."""
    yield
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="module")
def loop() -> synthetic.Enormous:
    return synthetic.enormous(SIZE)


def store(node: NodeProcess, loop: synthetic.Enormous) -> None:
    """Send the loop and see it acknowledged."""
    with Caller.open(node.dicom_port, classes=[loop.offer.sop_class]) as caller:
        assert caller.store(loop.offer, loop.chunks()) == 0


def test_the_measure_sees_a_process_that_holds_too_much():
    class Hoarder:
        """Looks like a node of one process that reads a hundred mebibytes when it is told."""

        def __init__(self) -> None:
            program = "print(flush=True); input(); x = bytearray(100 << 20); print(flush=True); input()"
            self.process = subprocess.Popen(
                [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self.process.stdout.readline()

        def processes(self) -> list[int]:
            return [self.process.pid]

        def read(self) -> None:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            self.process.stdout.readline()

    hoarder = Hoarder()
    with hoarder.process, pytest.raises(AssertionError, match="grew by 1"), in_little_memory(hoarder):
        hoarder.read()


def test_an_enormous_instance_comes_in_and_goes_out_by_c_get_in_little_memory(node, loop):
    store_a_small_one(node)
    with in_little_memory(node):
        store(node, loop)
    with in_little_memory(node):
        fetched = fetch(node, loop)
    assert fetched == loop.digest()
    assert node.stop() == 0


def store_a_small_one(node: NodeProcess) -> None:
    """Let the node load what every association needs."""
    offer, data = synthetic.instance()
    with Caller.open(node.dicom_port, classes=[offer.sop_class]) as caller:
        assert caller.store(offer, [data]) == 0


def fetch(node: NodeProcess, loop: synthetic.Enormous) -> str:
    """C-GET the study of the loop; return the SHA-256 of the data set as it arrived."""
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "STUDY"
    wanted.StudyInstanceUID = synthetic.study_uid(500)
    seen = hashlib.sha256()

    def keep(_: str, fragments: Iterator[bytes]) -> int:
        for fragment in fragments:
            seen.update(fragment)
        return 0

    with Caller.open(
        node.dicom_port, classes=[STUDY_ROOT_GET], receives=[str(loop.offer.sop_class)]
    ) as caller:
        answer = caller.get(synthetic.encoded(wanted), keep)
    assert (answer[0x0900], answer[0x1021]) == (0, 1)
    return seen.hexdigest()


@pytest.mark.peer
def test_an_enormous_instance_goes_out_by_c_move_in_little_memory(node, loop, tmp_path):
    folder = tmp_path / "received"
    folder.mkdir()
    store_a_small_one(node)
    store(node, loop)
    with storescp(folder) as port:
        node.add_device("SINK", "127.0.0.1", port)
        with in_little_memory(node):
            run(
                "movescu", "-S", "-aet", "SENDER", "-aec", node.ae_title, "-aem", "SINK",
                "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={synthetic.study_uid(500)}",
                "127.0.0.1", node.dicom_port,
            )  # fmt: skip
    (received,) = folder.iterdir()
    assert sha256_of_the_end(received, loop.size) == loop.digest()


@pytest.mark.peer
def test_an_enormous_file_sent_by_storescu_comes_in_in_little_memory(node, loop, tmp_path):
    store_a_small_one(node)
    path = write(loop, tmp_path / "loop.dcm")
    with in_little_memory(node):
        run(
            "storescu", "-xe", "-aet", "SENDER", "-aec", node.ae_title, "--max-pdu", 131072,
            "127.0.0.1", node.dicom_port, path,
        )  # fmt: skip
    assert fetch(node, loop) == loop.digest()


def test_an_enormous_file_is_imported_and_exported_in_little_memory(make_node, loop, tmp_path):
    """The command line is a process of the node too: its peak is compared with that for a small file."""
    node = make_node()
    (small,) = synthetic.write_study(tmp_path / "small", 1)
    ordinary = peak_of("import", node.folder, small)
    path = write(loop, tmp_path / "loop.dcm")
    assert peak_of("import", node.folder, path) - ordinary < ALLOWED
    out = tmp_path / "out"
    wanted = ("--study", synthetic.study_uid(500), "--to", out)
    assert peak_of("export", node.folder, *wanted) - ordinary < ALLOWED
    (written,) = (path for path in out.rglob("*") if path.is_file())
    assert sha256_of_the_end(written, loop.size) == loop.digest()


def sha256_of_the_end(path: Path, length: int) -> str:
    """SHA-256 of the last bytes of a file: of its data set."""
    with path.open("rb") as file:
        file.seek(-length, 2)
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(loop: synthetic.Enormous, path: Path) -> Path:
    """Write the loop as a DICOM file."""
    with path.open("wb") as file:
        file.write(synthetic.meta(loop.offer))
        file.writelines(loop.chunks())
    return path


def peak_of(*words: object) -> int:
    """Run a command of `konzilium` to its end; return the largest resident size it had, in bytes."""
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", program, str(KONZILIUM), *map(str, words)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout) << 10
