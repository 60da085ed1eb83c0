"""`konzilium import`: media, folders and zip files into the archive."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import click

from node.domain.errors import NodeError, ReadOnly, Unavailable, Unidentified
from node.domain.instance import Admission, Chunk, Offer
from node.wiring import open_site
from services.cli import types
from services.cli.commands import Command
from services.cli.media.part10 import NotDicomError, UnreadableError, read
from services.cli.media.sources import Found, Media, Refusal, Source
from services.cli.output import Exit, as_json, complain, exit_code, finish, progress_bar, say

WORKERS = 4
"""Files admitted at the same time; they share the commits of the catalog."""
SHOWN = 20
"""Refusals told on the terminal; a report file holds them all."""

Admit = Callable[[Offer, Iterable[Chunk]], Admission]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one file; `what` is a word of the summary."""

    name: str
    what: str
    reason: str = ""


@dataclass(slots=True)
class Tally:
    """The sum of an import."""

    counts: Counter[str] = field(default_factory=Counter)
    told: list[Result] = field(default_factory=list)
    halted: Unavailable | ReadOnly | None = None

    def add(self, result: Result) -> None:
        """Count a result, and keep it if somebody should read about it."""
        self.counts[result.what] += 1
        if result.reason:
            self.told.append(result)


@click.command(
    "import",
    cls=Command,
    short_help="Take files, folders, media and zip files into the archive.",
    examples=(
        "konzilium import /srv/brno /media/cdrom",
        "konzilium import /srv/brno old-pacs/ more.zip --report refused.jsonl",
    ),
)
@types.site_argument
@click.argument("paths", metavar="PATH...", type=types.EXISTING, nargs=-1, required=True)
@click.option(
    "--report",
    type=types.NEW_PATH,
    help="Write what was refused, in quarantine or in conflict there, as JSON lines.",
)
@types.json_option
def import_(directory: Path, *, paths: tuple[Path, ...], report: Path | None, json_: bool) -> None:
    """Take everything DICOM below each PATH into the archive: folders, media, zip files, files.

    It may be repeated: what is there already is counted as known. It may run beside the node. A file
    that cannot be taken is told with the reason and does not stop the others; the exit code is 3 then.
    Files that are not DICOM are counted and left alone.
    """
    with open_site(directory) as site, Media() as media:
        operator = site.operator()
        found = list(media.files(paths))
        tally = take(found, lambda offer, chunks: site.archive.admit(operator, offer, chunks))
    if report:
        write_report(report, tally.told)
    tell(tally, json_=json_)
    finish(code_of(tally))


def take(found: list[Found], admit: Admit) -> Tally:
    """Admit every file, several at a time, and add up what became of them."""
    tally = Tally()
    bar = progress_bar(len(found), "Importing")
    with bar, ThreadPoolExecutor(WORKERS) as pool:
        for result in _results(found, admit, pool, tally):
            tally.add(result)
            bar.update(1)
    return tally


def _results(found: list[Found], admit: Admit, pool: ThreadPoolExecutor, tally: Tally) -> Iterator[Result]:
    """The results in the order of the files; ends early when nothing more can be stored."""
    files = iter(found)
    waiting: list[Future[Result]] = []
    while True:
        waiting.extend(pool.submit(one, file, admit) for file in islice(files, 2 * WORKERS - len(waiting)))
        if not waiting:
            return
        try:
            yield waiting.pop(0).result()
        except (Unavailable, ReadOnly) as error:
            tally.halted = error
            for future in waiting:
                future.cancel()
            return


def one(found: Found, admit: Admit) -> Result:
    """Admit one file and tell what became of it.

    Raises:
        Unavailable, ReadOnly: there is no room, or this site takes nothing, so that it is no use to go on.
    """
    if isinstance(found, Refusal):
        return Result(name=found.name, what="refused", reason=found.reason)
    try:
        return _admitted(found, admit)
    except NotDicomError:
        return Result(name=found.name, what="not DICOM")
    except Unidentified as error:
        return Result(name=found.name, what="quarantined", reason=str(error))
    except (Unavailable, ReadOnly):
        raise
    except Exception as error:  # zipfile, zlib and pydicom raise many kinds; one bad file stops no other
        return Result(name=found.name, what="refused", reason=reason_of(error))


def reason_of(error: Exception) -> str:
    """Why a file was refused, without a word of its content."""
    if isinstance(error, NodeError | UnreadableError):
        return str(error)
    if isinstance(error, OSError):
        return f"it cannot be read ({error.strerror or 'input or output error'})"
    return f"it cannot be read ({type(error).__name__})"


def _admitted(source: Source, admit: Admit) -> Result:
    with source.open() as stream:
        reading = read(stream)
        outcome = admit(reading.offer, reading.chunks).outcome
    return Result(name=source.name, what=outcome.value, reason=REASONS.get(outcome.value, ""))


REASONS = {"conflict": "the instance is archived with other content; both are kept"}


def write_report(path: Path, told: Iterable[Result]) -> None:
    """Write one JSON object a line for each file that somebody should read about."""
    with path.open("w", encoding="utf-8") as file:
        for result in told:
            line = {"file": result.name, "result": result.what, "reason": result.reason}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


WORDS = ("kept", "known", "conflict", "quarantined", "refused", "not DICOM")


def tell(tally: Tally, *, json_: bool) -> None:
    """Say the sum, and the first of what was refused and why."""
    if json_:
        as_json({word.lower().replace(" ", "_"): tally.counts[word] for word in WORDS})
    else:
        say(", ".join(f"{tally.counts[word]} {word}" for word in WORDS) + ".")
    for result in tally.told[:SHOWN]:
        complain(f"{result.what}: {result.name}: {result.reason}")
    if len(tally.told) > SHOWN:
        complain(f"and {len(tally.told) - SHOWN} more; --report FILE names them all")
    if tally.halted:
        is_full = isinstance(tally.halted, Unavailable)
        complain(f"{tally.halted} The import stopped there{'; repeat it when there is room' * is_full}.")


def code_of(tally: Tally) -> Exit:
    """The exit code that tells the whole import."""
    if tally.halted:
        return exit_code(tally.halted)
    return Exit.PARTLY if tally.counts["refused"] or tally.counts["quarantined"] else Exit.FINE
