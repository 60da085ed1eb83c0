"""What pynetdicom promises still holds with our receive path in it: its own tests say so."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pynetdicom
import pytest

ROOT = Path(__file__).parents[2]
TESTS = Path(pynetdicom.__file__).parent / "tests"

AT_ONCE = 6
"""Files whose tests run side by side where each can have a network of its own; mostly they sleep."""

ALONE = ("unshare", "--map-root-user", "--net")
"""Gives a process a network of its own: the tests choose ports that another may take before they listen."""

INTERRUPTIBLE = ("env", "--default-signal=INT")
"""Lets a process be interrupted, as one of the tests demands, also where this one runs in the background."""

OPTIONS = (
    *("-p", "tests.support.pump_plugin", "-p", "no:cacheprovider", "-q", "-rf", "--timeout=120"),
    *("-c", os.devnull, f"--rootdir={TESTS}"),
)
"""Our receive path, and none of our own settings of pytest."""

NO_ORDER = "the peer hangs up while a primitive waits, and which of the two is seen first is left to chance"
NOT_HERE = {
    "test_ae.py::TestAEGoodAssociation::test_association_timeouts": "looks up example.com",
    "test_ae.py::TestAEGoodAssociation::test_connection_timeout": "calls 8.8.8.8",
    "test_utils.py::TestSetUID::test_no_validation": "relies on what other files do to pydicom's settings",
    "test_fsm.py::TestState06::test_evt09": NO_ORDER,
    "test_fsm.py::TestState06::test_evt11": NO_ORDER,
}
"""Tests that fail here without our path too, with the reason."""


def isolating() -> tuple[str, ...]:
    """What to put before a command to give it a network of its own; nothing where that is not allowed."""
    if not shutil.which(ALONE[0]):
        return ()
    return ALONE if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0 else ()


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run some of pynetdicom's tests in a process of their own, on top of the receive path."""
    prefix = isolating()
    environment = (
        os.environ | {"PYTHONPATH": str(ROOT)} | ({"KONZILIUM_OWN_NETWORK": "yes"} if prefix else {})
    )
    return subprocess.run(
        [*INTERRUPTIBLE, *prefix, sys.executable, "-m", "pytest", *OPTIONS, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def failures(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The tests that failed, as pytest summarises them."""
    return re.findall(r"^(?:FAILED|ERROR) \S*?(test_\w+\.py::\S+)", result.stdout, re.MULTILINE)


def failed_in(folder: Path, file: Path) -> str:
    """What of a file fails, also when tried again: the tests measure time, which a busy machine lacks."""
    result = run(folder, str(file), *(f"--deselect={name}" for name in NOT_HERE))
    for _ in range(3):
        again = [str(TESTS / name) for name in failures(result)]
        if result.returncode == 0 or not again:
            break
        result = run(folder, *again)
    return "" if result.returncode == 0 else f"{file.name}: {result.stdout[-3000:]}{result.stderr[-1000:]}"


@pytest.mark.timeout(2400)
def test_pynetdicoms_own_tests_pass_with_our_receive_path(tmp_path):
    files = sorted(TESTS.glob("test_*.py"), key=lambda file: file.stat().st_size, reverse=True)
    assert len(files) > 20
    with ThreadPoolExecutor(AT_ONCE if isolating() else 1) as pool:
        failed = list(filter(None, pool.map(lambda file: failed_in(tmp_path, file), files)))
    assert not failed, "\n".join(failed)


def test_the_receive_path_is_installed_where_they_run():
    code = (
        "import tests.support.pump_plugin, pynetdicom.dul as d, services.dicom.pump as p;"
        "assert d.DULServiceProvider._read_pdu_data is p._read_pdu_data"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
