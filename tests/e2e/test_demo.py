"""The demonstration: what a newcomer sees first has to be true."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from services.cli.demo.devices import Peer
from services.cli.demo.visitor import Visitor

DEMO = (sys.executable, "-m", "services.cli", "demo")


def test_the_demonstration_holds_without_words_and_leaves_nothing(tmp_path: Path) -> None:
    done = demo(tmp_path, "--check")

    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert processes_on(tmp_path) == []


def test_both_sites_go_on_as_told_until_they_are_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "two"

    done = demo(tmp_path, "--keep", str(folder))
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "NOT" not in done.stdout
        assert "the same fingerprint" in done.stdout
        told = re.findall(r"AE title (\w+), 127\.0\.0\.1 port (\d+)", done.stdout)
        assert [title for title, _ in told] == ["BRNO", "PRAGUE"]
        studies = [
            {str(found.StudyInstanceUID) for found in viewer(title, port).find(StudyInstanceUID="")}
            for title, port in told
        ]
        assert studies[0] == studies[1] != set()
        portals = re.findall(r"(brno|prague) +(https://\S+)", done.stdout)
        assert [seen_by("steward", folder, url) for _, url in portals] == ["data steward"] * 2
    finally:
        stopped = demo(tmp_path, "--stop", str(folder))

    assert "Stopped: brno, prague, identity providers" in stopped.stdout
    assert ended(tmp_path)
    assert list(tmp_path.iterdir()) == [folder]


def test_ctrl_c_ends_the_demonstration_and_both_nodes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(tmp_path)
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "prague is open" in line:
            break
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate()

    assert process.returncode == 130
    assert "interrupted" in complaint
    assert list(tmp_path.iterdir()) == []
    assert processes_on(tmp_path) == []


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")

    done = demo(tmp_path, "--keep", str(tmp_path))

    assert done.returncode == 4
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def demo(temporary: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the demonstration to its end."""
    return subprocess.run(
        [*DEMO, *words],
        capture_output=True,
        text=True,
        env=environment(temporary),
        timeout=400,
        check=False,
    )


def environment(temporary: Path) -> dict[str, str]:
    """What a newcomer's shell has."""
    return {"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary)}


def seen_by(person: str, folder: Path, portal: str) -> str:
    """The role that a portal says one of the four people has, once logged in with a browser."""
    visitor = Visitor(list(folder.glob("*/keys/web.crt")))
    visitor.open(portal)
    assert visitor.has("Demonstration. Nobody is proved to be who they say.")
    visitor.follow("Demonstration hospital Brno")
    assert visitor.has("DEMONSTRATION. This is no hospital")
    visitor.send("/login", person=person)
    visitor.send("/saml/acs")
    (role,) = visitor.page.xpath("//ul[@class='tags']/li")
    return str(role.text_content())


def viewer(title: str, port: str) -> Peer:
    """The workstation that the demonstration has put on the list of a site."""
    return Peer(ae_title="VIEWER", node=title, port=int(port))


def ended(folder: Path) -> bool:
    """Whether no process names a folder any more, soon after its nodes have let go of it."""
    for _ in range(100):
        if not processes_on(folder):
            return True
        time.sleep(0.1)
    return False


def processes_on(folder: Path) -> list[str]:
    """Command lines of all processes that name a folder."""
    lines = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                line = (process / "cmdline").read_text()
            except OSError:
                continue
            lines += [line] if str(folder) in line else []
    return lines
