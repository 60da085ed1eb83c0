"""How the command line speaks: results on standard output, failures in one line on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import click

from node.domain import words
from node.domain.errors import Damaged, Misconfigured, NodeError, Unavailable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from click._termui_impl import ProgressBar

size, span = words.size, words.span
"""How numbers of bytes and durations are said."""


class Exit(IntEnum):
    """What the exit code of `konzilium` means."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    PARTLY = 3
    MISCONFIGURED = 4
    ATTENTION = 5
    LATER = 6
    DAMAGED = 7
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.FINE: "Done, and everything is well.",
    Exit.FAILED: "Refused or failed; the line on standard error says why.",
    Exit.USAGE: "The command was not understood; see `--help`.",
    Exit.PARTLY: "Partly done: some files were refused and are listed; everything else was done.",
    Exit.MISCONFIGURED: "Not a site folder, a wrong setting, a port in use, or a node already running.",
    Exit.ATTENTION: "The site works, but something needs attention; each line says what to do.",
    Exit.LATER: "Not possible now (store full, catalog busy); the same command may succeed later.",
    Exit.DAMAGED: "Stored bytes are missing or damaged.",
    Exit.INTERRUPTED: "Interrupted with Ctrl-C; what was done before stays done.",
}

VOICE: tuple[tuple[type[NodeError], Exit], ...] = (
    (Misconfigured, Exit.MISCONFIGURED),
    (Unavailable, Exit.LATER),
    (Damaged, Exit.DAMAGED),
    (NodeError, Exit.FAILED),
)
"""Exit codes by class of the failure; the first that fits."""


def exit_code(error: NodeError) -> Exit:
    """The exit code that tells this failure."""
    return next(code for cls, code in VOICE if isinstance(error, cls))


def say(line: str = "") -> None:
    """Write a line of the result."""
    click.echo(line)


def complain(line: object) -> None:
    """Write a line about a failure."""
    click.echo(f"konzilium: {line}", err=True)


def progress_bar(length: int, label: str) -> ProgressBar[int]:
    """A bar on standard error, for a person at a terminal only."""
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())


def as_json(value: Any) -> None:
    """Write one JSON object or list on a line of its own."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def columns(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with aligned columns."""
    lines = [list(heads), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def moment(at: float) -> str:
    """A time (microseconds since 1970) as a person reads it, in this machine's zone."""
    return _utc(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def fields(value: DataclassInstance) -> dict[str, Any]:
    """A value as JSON tells it: times, whose names end in `_at`, as ISO 8601."""
    return {
        name: _utc(content).isoformat(timespec="seconds") if name.endswith("_at") and content else content
        for name, content in asdict(value).items()
    }


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at / 1_000_000, UTC)


def finish(code: Exit) -> None:
    """End the command with that exit code."""
    click.get_current_context().exit(code)
