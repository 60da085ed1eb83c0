"""`python -m tests`: the whole suite in two halves at once, as processes are mostly waited for.

What the second half says is shown when both have ended. The exit code is that of the half that failed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT = Path(__file__).parents[1]
E2E: Final = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "e2e").glob("test_*.py"))
MIDDLE: Final = "tests/e2e/test_m"
"""The file names of tests with processes before which the first half ends."""
FIRST: Final = ("tests/federation", *(name for name in E2E if name < MIDDLE))
SECOND: Final = (
    "tests/contract",
    "tests/simulation",
    "tests/unit",
    *(name for name in E2E if name >= MIDDLE),
)


def main() -> int:
    """Run both halves; 0 where both passed."""
    with tempfile.TemporaryFile("w+b") as said:
        second = subprocess.Popen(_command(SECOND), cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
        try:
            first = subprocess.run(_command(FIRST), cwd=ROOT, check=False).returncode
            code = second.wait()
        finally:
            second.kill()
            second.wait()
        said.seek(0)
        sys.stdout.buffer.write(said.read())
        sys.stdout.buffer.flush()
    return first or code


def _command(what: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "pytest", *what]


if __name__ == "__main__":
    sys.exit(main())
