"""What the commands about the audit record share: moments, files, and how faults are said."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from node.audit.export import About, Entry, Format, write
from node.audit.heads import SignedHead
from node.audit.witness import AuditFault
from services.cli.output import moment, say

OUTPUT = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
"""A file to write; `-` is standard output."""
EVER = 1 << 62


class MomentType(click.ParamType[int]):
    """A day or a moment in the zone of this machine, as microseconds since 1970."""

    name = "moment"

    def __init__(self, *, end: bool = False) -> None:
        """A moment; a day counts from its beginning, or to its end."""
        self._end = end

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or say what form it must have."""
        if isinstance(value, int):
            return value
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a day (2026-01-31) nor a moment (2026-01-31T14:00).", param, ctx)
        if self._end and len(value) <= len("2026-01-31"):
            at += timedelta(days=1)
        return int(at.astimezone().timestamp() * 1_000_000)


since_option = click.option(
    "--since", type=MomentType(), metavar="DAY", default=0, help="Not before this day or moment."
)
until_option = click.option(
    "--until", type=MomentType(end=True), metavar="DAY", default=EVER, help="Up to this day, or this moment."
)


def write_file(path: Path, form: Format, entries: Iterable[Entry], end: Callable[[], About]) -> int:
    """Write records into a file that is whole or not there, and readable by its owner alone; how many."""
    if str(path) == "-":
        return write(sys.stdout, form, entries, end)
    part = path.with_name(f".{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as out:
            count = write(out, form, entries, end)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return count


def note(line: str) -> None:
    """Say to a person at a terminal how far it is."""
    if sys.stderr.isatty():
        click.echo(line, err=True)


def told_head(head: SignedHead | None) -> dict[str, str | int]:
    """A signed head, as files and `--json` tell it."""
    if head is None:
        return {}
    return {
        "site": head.site,
        "seq": head.seq,
        "hash": head.hash,
        "signed_at": head.at,
        "signature": head.signature,
        "certificate": head.certificate,
    }


def tell_faults(faults: Sequence[AuditFault], directory: Path) -> None:
    """Say to a person what is wrong, and what to do."""
    for one in faults:
        say(f"{one} ({one.what}), found {moment(one.found_at)}")
    if faults:
        say("Keep a copy of the site folder and of its backups before anything else: they are evidence.")
        say(f"Once it is looked into: `konzilium audit settle {directory} SITE --note TEXT`.")
