"""The demonstration: what a newcomer sees first has to be true."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_demonstration_holds_and_leaves_nothing_running(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "demo"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=200,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT" not in done.stdout
    assert "came back identical" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert processes_on(tmp_path) == []


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
