"""A real Orthanc as a partner: it holds the copies when our node is dead, and it is moved from as a whole."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.support import synthetic
from tests.support.node_process import KONZILIUM, NodeProcess
from tests.support.orthanc import AE_TITLE, Orthanc, orthanc
from tests.support.part10 import File, archived, files
from tests.support.peers import free_port
from tests.support.serving import eventually, serving

pytestmark = pytest.mark.peer

STUDIES = 1000
"""Of the archive that is moved from; each of one instance."""


def introduce(server: Orthanc, node: NodeProcess) -> None:
    """Let Orthanc know our node."""
    about = {"AET": node.ae_title, "Host": node.host, "Port": node.dicom_port}
    server.put("modalities/konzilium", about | {"AllowStorageCommitment": True})


def rows(node: NodeProcess, question: str) -> list[tuple[Any, ...]]:
    """What the catalog of our node says, read from outside."""
    catalog = next(node.folder.rglob("catalog.db"))
    with closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(question).fetchall()


def instances(node: NodeProcess) -> int:
    """How many instances our node has."""
    return int(rows(node, "SELECT count(*) FROM instance")[0][0])


def archived_uids(node: NodeProcess) -> set[str]:
    """The instances that our node has."""
    return {uid for (uid,) in rows(node, "SELECT uid FROM instance")}


def committed(node: NodeProcess) -> int:
    """For how many instances Orthanc has taken the responsibility."""
    return int(rows(node, "SELECT count(*) FROM partner_copy WHERE state = 'committed'")[0][0])


def load(node: NodeProcess, folder: Path, study: int, size: int) -> dict[str, File]:
    """Import a study into our node."""
    synthetic.write_study(folder, size, series=2, study=study, patient=f"P-{study}", side=64)
    node.command("import", ..., folder)
    return files(folder)


def test_orthanc_is_a_backup_that_holds_everything_when_our_node_is_dead(tmp_path):
    """What was here before goes by hand, what comes then by itself; Orthanc calls back to commit itself."""
    with orthanc(tmp_path / "orthanc") as server:
        node = NodeProcess.make(tmp_path / "site")
        node.add_device(AE_TITLE, "127.0.0.1", server.dicom_port)
        introduce(server, node)
        with node:
            sent = load(node, tmp_path / "before", 1, 12)
            node.command("partner", "add", ..., AE_TITLE, "--backup")
            said = json.loads(node.command("partner", "sync", ..., AE_TITLE, "--json").stdout)["backup"]
            assert (said["ought"], said["committed"], said["whole"]) == (12, 12, True)
            assert server.files() == sent
            sent |= load(node, tmp_path / "after", 2, 8)
            eventually(lambda: committed(node) == 20, "what has arrived is committed there")
            lost, told = lose_and_withdraw(server, node, sent)
            assert [one["instance"] for one in told["problems"]] == [lost]
            assert {one["study"] for one in told["left_behind"]} == {synthetic.study_uid(2)}
            assert node.command("partner", "sync", ..., AE_TITLE, check=False).returncode == 3
            node.kill()
            assert server.files() == sent


def lose_and_withdraw(
    server: Orthanc, node: NodeProcess, sent: dict[str, File]
) -> tuple[str, dict[str, Any]]:
    """Lose an instance there and withdraw a study here; the former, and what the report says then."""
    lost = next(uid for uid in sent if uid.startswith(f"{synthetic.ROOT}.3.1."))
    (named,) = server.post("tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": lost}})
    server.delete(f"instances/{named}")
    node.command("retract", ..., "--study", synthetic.study_uid(2), "--reason", "wrong patient", "--yes")
    said = node.command("partner", "report", ..., AE_TITLE, "--verify", "--json", check=False)
    assert said.returncode == 5, said.stdout + said.stderr
    return lost, dict(json.loads(said.stdout)["backup"])


def test_what_orthanc_holds_is_brought_byte_by_byte_by_c_get_and_by_c_move(tmp_path):
    with (
        orthanc(tmp_path / "orthanc") as server,
        serving(tmp_path / "node", (AE_TITLE, "127.0.0.1", server.dicom_port)) as node,
    ):
        introduce(server, node)
        for study, how in enumerate(("get", "move"), 21):
            folder = tmp_path / how
            for path in synthetic.write_study(folder, 6, series=3, study=study, patient=how, side=64):
                server.upload(path)
            node.command("partner", "add", ..., AE_TITLE, "--source", "--fetch", how, "--replace")
            said = json.loads(node.command("migrate", ..., AE_TITLE, "--json").stdout)
            assert (said["moved"]["fetched"], said["differences"], said["whole"]) == (
                6 * (study - 20),
                [],
                True,
            )
            assert {uid: archived(node, uid) for uid in files(folder)} == files(folder)


def test_a_thousand_studies_are_moved_from_orthanc_through_two_interruptions(tmp_path):
    """First the migration is killed, then Orthanc is restarted: nothing is missing, nothing came twice."""
    known = {"konzilium": ["KONZILIUM", "127.0.0.1", 11112]}
    same = {"dicom_port": free_port(), "http_port": free_port(), "DicomModalities": known}
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        server = first.enter_context(orthanc(tmp_path / "orthanc", **same))
        fill(server)
        node = stack.enter_context(serving(tmp_path / "node", (AE_TITLE, "127.0.0.1", server.dicom_port)))
        node.command("partner", "add", ..., AE_TITLE, "--source")
        survey = json.loads(node.command("migrate", ..., AE_TITLE, "--dry-run", "--json").stdout)
        assert (survey["studies"], survey["instances"], survey["studies_here"]) == (STUDIES, STUDIES, 0)
        running = migrating(node)
        eventually(lambda: instances(node) >= STUDIES // 4, "a quarter is here")
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
        assert instances(node) < STUDIES
        running = migrating(node)
        eventually(lambda: instances(node) >= STUDIES // 2, "half is here")
        first.close()
        time.sleep(1.0)
        assert running.poll() is None
        assert instances(node) < STUDIES
        stack.enter_context(orthanc(tmp_path / "orthanc", **same))
        out, err = running.communicate(timeout=120)
        assert running.returncode == 0, err
        said = json.loads(out)
        assert (said["moved"]["studies_here"], said["moved"]["here"], said["differences"]) == (
            STUDIES, STUDIES, [],
        )  # fmt: skip
        assert said["whole"] and instances(node) == STUDIES
        assert said["moved"]["fetched"] <= STUDIES
        assert archived_uids(node) == {synthetic.instance_uid(study, 1, 1) for study in range(1, STUDIES + 1)}


def fill(server: Orthanc) -> None:
    """Load the archive over REST: studies of many days, some of them without a date."""

    for study in range(1, STUDIES + 1):
        made = synthetic.dataset(study=study, patient=f"P-{study}", side=2)
        made.StudyDate = (
            "" if study % 50 == 0 else f"{2015 + study % 10}{1 + study % 12:02}{1 + study % 28:02}"
        )
        made.StudyTime = f"{study % 24:02}{study % 60:02}00"
        server.post("instances", synthetic.part10(made))


def migrating(node: NodeProcess) -> subprocess.Popen[str]:
    """The migration in a process of its own."""
    return subprocess.Popen(
        [str(KONZILIUM), "migrate", str(node.folder), AE_TITLE, "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
