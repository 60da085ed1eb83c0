"""`python -m tests`: the whole suite in two halves at once, as one of them mostly waits for processes.

What the second half says is shown when both have ended. The exit code is that of the half that failed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT = Path(__file__).parents[1]
SITES: Final = ("tests/federation", "tests/e2e")
PARTS: Final = ("tests/contract", "tests/simulation", "tests/unit")


def main() -> int:
    """Run both halves; 0 where both passed."""
    with tempfile.TemporaryFile("w+b") as said:
        parts = subprocess.Popen(_command(PARTS), cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
        try:
            sites = subprocess.run(_command(SITES), cwd=ROOT, check=False).returncode
            code = parts.wait()
        finally:
            parts.kill()
            parts.wait()
        said.seek(0)
        sys.stdout.buffer.write(said.read())
        sys.stdout.buffer.flush()
    return sites or code


def _command(folders: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "pytest", *folders]


if __name__ == "__main__":
    sys.exit(main())
