"""`python -m bench.report FIGURES.jsonl`: the figures of a run as a Markdown table, as in `docs/BENCH.md`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

HEAD = (
    "| figure | unit | ours | peer | ratio | CPU ours, us | CPU peer, us | goal |",
    "|---|---|---:|---:|---:|---:|---:|---|",
)


def table(lines: Iterable[str]) -> Iterator[str]:
    """The rows of the table, its head included."""
    yield from HEAD
    for line in lines:
        yield _row(json.loads(line))


def _row(figure: dict[str, Any]) -> str:
    if "error" in figure:
        return f"| `{figure['name']}` | | | | | | | could not be measured |"
    numbers = [figure[name] for name in ("ours", "peer", "ratio", "cpu_ours", "cpu_peer")]
    written = ["" if number is None else str(number) for number in numbers]
    cells = [f"`{figure['name']}`", figure["unit"], *written, "met" if figure["met"] else "missed"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print("\n".join(table(Path(sys.argv[1]).read_text("utf-8").splitlines())))
