"""`konzilium serve` as an administrator meets it: doors, signals, crashes, a second node."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support.node_process import KONZILIUM, PATIENCE, konzilium

STOPPED_IN_ORDER = 0


def served(node, *options: str) -> subprocess.Popen[str]:
    """Serve the site with its output in our hands."""
    return subprocess.Popen(
        [str(KONZILIUM), "serve", str(node.folder), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    """The processes that this one has started and that live."""
    found = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, listing.read_text().split())
    return found


def part(supervisor: int, name: str) -> int | None:
    """The process of that part, if it lives."""
    for pid in children_of(supervisor):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if name.encode() in words:
            return pid
    return None


def test_doors_are_told_when_they_are_open_and_closed_after_a_signal(make_node):
    node = make_node()
    process = served(node, "--json")
    told = json.loads(process.stdout.readline())
    assert (told["site"], told["ae_title"], told["pid"]) == ("brno", "KONZILIUM", process.pid)
    ports = [door["port"] for door in told["doors"]]
    assert ports == [node.dicom_port, node.tls_port, node.node_port]
    assert all(map(is_open, ports))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == STOPPED_IN_ORDER
    assert not any(map(is_open, ports))


def test_a_person_is_told_each_door_on_a_line(make_node):
    node = make_node()
    process = served(node)
    lines = [process.stdout.readline() for _ in range(3)]
    process.terminate()
    _, log = process.communicate(timeout=PATIENCE)
    assert lines[0].startswith("Site brno is open")
    assert f"port {node.dicom_port}" in lines[1]
    assert f"port {node.tls_port}" in lines[2]
    assert all(json.loads(line)["level"] for line in log.splitlines())


def test_status_knows_that_it_runs_and_a_second_node_is_refused(node):
    status = node.status()
    assert (status["running"], status["pid"]) == (True, node.pid)
    second = konzilium("serve", node.folder, check=False)
    assert second.returncode == 4
    assert f"process {node.pid}" in second.stderr
    assert node.running
    assert node.stop() == STOPPED_IN_ORDER
    assert node.status()["running"] is False


def test_a_crashed_face_comes_back(node):
    first = part(node.pid, "dicom")
    os.kill(first, signal.SIGKILL)
    until(lambda: part(node.pid, "dicom") not in (None, first))
    node.wait_for_door(node.dicom_port)
    assert node.stop() == STOPPED_IN_ORDER


def test_a_killed_supervisor_takes_its_children_along_and_a_new_one_starts_at_once(node):
    children = children_of(node.pid)
    assert len(children) == 3
    os.kill(node.pid, signal.SIGKILL)
    until(lambda: not node.running)
    node.start()
    until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in children))
    assert node.stop() == STOPPED_IN_ORDER


def test_a_node_stops_while_it_is_still_starting(make_node):
    process = served(make_node())
    until(lambda: children_of(process.pid) or process.poll() is not None)
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == STOPPED_IN_ORDER


def test_devices_may_be_changed_while_the_node_serves(node):
    node.command("device", "add", ..., "LATER", "127.0.0.1", 104)
    said = node.command("device", "list", ..., "--json").stdout
    assert {device["ae_title"] for device in json.loads(said)} == {"SENDER", "LATER"}
