"""dcmjs-dimse, a DICOM stack in JavaScript that shares no code with DCMTK or pynetdicom, uses the node."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from tests.support import synthetic
from tests.support.node_process import NodeProcess
from tests.support.peers import environment, free_port, missing, requires
from tests.support.serving import serving

pytestmark = pytest.mark.peer

HERE = Path(__file__).parent / "dcmjs"
INSTALLED = HERE / "node_modules" / "dcmjs-dimse" / "package.json"
PENDING, SUCCESS, FORBIDDEN = 0xFF00, 0x0000, 0x0124


@pytest.fixture(scope="session")
def dcmjs() -> Path:
    """Install what package.json names, exactly as package-lock.json says, and return the script."""
    requires("node")
    npm = requires("npm")
    if not is_installed():
        words = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save"]
        done = subprocess.run(words, cwd=HERE, capture_output=True, text=True, timeout=200, check=False)
        if not is_installed():
            missing(f"dcmjs-dimse from the npm registry (npm says: {done.stderr[-300:]})")
    return HERE / "dimse.js"


def is_installed() -> bool:
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]["dcmjs-dimse"]
    return INSTALLED.exists() and json.loads(INSTALLED.read_text())["version"] == wanted


@pytest.fixture(scope="module")
def port() -> int:
    """Where dcmjs-dimse listens when it is the destination of a C-MOVE."""
    return free_port()


@pytest.fixture(scope="module")
def node(tmp_path_factory, port, dcmjs) -> Iterator[NodeProcess]:
    with serving(
        tmp_path_factory.mktemp("node"),
        ("DCMJS", "127.0.0.1", port),
        ("STOREONLY", "127.0.0.1", 104, "--may", "store"),
    ) as node:
        yield node


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[Path]:
    return synthetic.write_study(tmp_path_factory.mktemp("in"), 6, series=2, study=3, patient="P-JS")


@pytest.fixture(scope="module")
def stored(node, dcmjs, paths) -> list[Path]:
    answer = perform(node, dcmjs, "store", files=[str(path) for path in paths])
    assert (answer["statuses"], answer["errors"]) == ([SUCCESS] * 6, [])
    return paths


def perform(node: NodeProcess, script: Path, operation: str, **wanted: Any) -> dict[str, Any]:
    """Let dcmjs-dimse do one thing and return what it says."""
    told = {
        "operation": operation,
        "port": node.dicom_port,
        "calling": "DCMJS",
        "called": node.ae_title,
    } | wanted
    done = subprocess.run(
        [requires("node"), str(script), json.dumps(told)],
        env=environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def assert_same(folder: Path, originals: list[Path]) -> None:
    """What dcmjs-dimse has decoded, and written again, is what was stored."""
    assert {path.name for path in folder.iterdir()} == {path.name for path in originals}
    for path in originals:
        got, sent = dcmread(folder / path.name), dcmread(path)
        assert got.PixelData == sent.PixelData
        assert {e.tag: str(e.value) for e in got if e.VR != "OW"} == {
            e.tag: str(e.value) for e in sent if e.VR != "OW"
        }


def test_it_gets_its_echo(node, dcmjs):
    answer = perform(node, dcmjs, "echo")
    assert (answer["statuses"], answer["errors"]) == ([SUCCESS], [])


def test_it_is_rejected_as_a_stranger(node, dcmjs):
    answer = perform(node, dcmjs, "echo", calling="STRANGER")
    assert (answer["statuses"], answer["errors"]) == ([], ["rejected 3"])


def test_it_stores_a_study(node, stored):
    status = node.status()
    assert (status["studies"], status["series"], status["instances"]) == (1, 2, 6)


@pytest.mark.parametrize(
    ("level", "keys", "expected"),
    [
        ("Study", {"PatientName": "novak*", "StudyInstanceUID": ""}, 1),
        ("Study", {"PatientName": "nobody*", "StudyInstanceUID": ""}, 0),
        ("Series", {"StudyInstanceUID": synthetic.study_uid(3), "SeriesInstanceUID": ""}, 2),
        (
            "Image",
            {
                "StudyInstanceUID": synthetic.study_uid(3),
                "SeriesInstanceUID": synthetic.series_uid(3, 1),
                "SOPInstanceUID": "",
            },
            3,
        ),
    ],
)
def test_it_finds_at_each_level(node, dcmjs, stored, level, keys, expected):
    answer = perform(node, dcmjs, "find", level=level, keys=keys)
    assert answer["statuses"] == [PENDING] * expected + [SUCCESS]
    assert [row["QueryRetrieveLevel"] for row in answer["rows"]] == [level.upper()] * expected
    if level == "Study":
        assert all("Nováková^Jana" in json.dumps(row, ensure_ascii=False) for row in answer["rows"])


def test_it_fetches_a_study_by_c_get(node, dcmjs, stored, tmp_path):
    answer = perform(node, dcmjs, "get", study=synthetic.study_uid(3), folder=str(tmp_path))
    assert (answer["statuses"][-1], answer["counts"], answer["errors"]) == (SUCCESS, [6, 0, 0], [])
    assert_same(tmp_path, stored)


def test_it_receives_a_study_by_c_move(node, dcmjs, stored, port, tmp_path):
    answer = perform(
        node,
        dcmjs,
        "move",
        study=synthetic.study_uid(3),
        destination="DCMJS",
        receive=port,
        folder=str(tmp_path),
    )
    assert (answer["statuses"][-1], answer["counts"], answer["errors"]) == (SUCCESS, [6, 0, 0], [])
    assert_same(tmp_path, stored)


def test_it_may_not_query_when_it_was_added_to_store_only(node, dcmjs, stored):
    answer = perform(node, dcmjs, "find", calling="STOREONLY", level="Study", keys={"StudyInstanceUID": ""})
    assert (answer["statuses"], answer["rows"]) == ([FORBIDDEN], [])
