"""`python -m bench [FIGURE ...]`: each figure as one JSON object on a line of its own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from bench.figures import FIGURES, Figure
from bench.measures import Comparison
from bench.network import hosts
from bench.servers import discard_leftovers


def main(names: Sequence[str]) -> int:
    """Measure the named figures, or all of them; return 1 where one could not be measured."""
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        _say(f"There is no figure {', '.join(unknown)}. There are: {', '.join(FIGURES)}")
        return 2
    discard_leftovers()
    hosts.discard_leftovers()
    lines = [_line(FIGURES[name]) for name in names or FIGURES]
    return int(any("error" in line for line in lines))


def _line(figure: Figure) -> dict[str, object]:
    _say(f"{figure.name}: {figure.goal}")
    started = time.monotonic()
    line = _measured(figure)
    print(json.dumps(line), flush=True)
    _say(f"{figure.name}: {_in_words(line)}, {time.monotonic() - started:.0f} s\n")
    return line


def _measured(figure: Figure) -> dict[str, object]:
    try:
        found = figure.measure()
    except Exception as error:
        return {"name": figure.name, "goal": figure.goal, "met": False, "error": f"{error or type(error)}"}
    line = {
        "name": figure.name,
        "unit": figure.unit,
        "ours": _rounded(found.ours, 2),
        "peer": _rounded(found.peer, 2),
        "ratio": _rounded(_ratio(figure, found), 2),
        "cpu_ours": _rounded(found.cpu_ours, 1),
        "cpu_peer": _rounded(found.cpu_peer, 1),
        "goal": figure.goal,
        "met": figure.met(found),
    }
    return line | ({"note": found.note} if found.note else {})


def _ratio(figure: Figure, found: Comparison) -> float | None:
    if found.peer is None:
        return None
    return found.ours / found.peer if figure.more_is_better else found.peer / found.ours


def _rounded(number: float | None, digits: int) -> float | None:
    return None if number is None else round(number, digits)


def _in_words(line: dict[str, object]) -> str:
    if "error" in line:
        return f"could not be measured: {line['error']}"
    verdict = "met" if line["met"] else "missed"
    peer = "" if line["peer"] is None else f", peer {line['peer']} (ratio {line['ratio']})"
    return f"ours {line['ours']} {line['unit']}{peer}, goal {verdict}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main([name for name in sys.argv[1:] if name]))
