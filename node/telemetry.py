"""Logs: what the node did, as JSON lines, bound to an association, job or command.

Three guards keep patients out of them. An extra that is named like an attribute of a patient or a
visit is withheld, and its name is told so that somebody mends the call. An exception that the node
does not expect is told by its class and place, because its text may quote a data set. Libraries
that quote what they read (pydicom, pynetdicom) are told by their place alone.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

from node.domain.errors import NodeError

_bound: ContextVar[MappingProxyType[str, object]] = ContextVar("bound", default=MappingProxyType({}))

QUOTING = ("pydicom", "pynetdicom", "py.warnings")
"""Loggers whose messages may quote a data set."""

WITHHELD = (
    "patient",
    "person",
    "birth",
    "accession",
    "physician",
    "studydescription",
    "seriesdescription",
    "studydate",
    "studyid",
    "telephone",
    "ethnic",
    "occupation",
    "institution",
    "identifierdataset",
    "dataset",
)
"""What a name must not contain, in lower case without underscores, to be logged."""

HANDLER = "konzilium"
"""The name of the handler that `configure` sets and replaces."""

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextmanager
def bound(**what: object) -> Iterator[None]:
    """Add `association`, `job` or `command` to every line logged inside of the block, in this thread."""
    token = _bound.set(MappingProxyType({**_bound.get(), **what}))
    try:
        yield
    finally:
        _bound.reset(token)


def configure(level: str = "info", *, file: Path | None = None, stream: TextIO | None = None) -> None:
    """Send every log line of this process to `file`, or to `stream` (standard error).

    A terminal gets lines for people, everything else JSON.
    """
    handler = logging.FileHandler(file, encoding="utf-8") if file else ErrorStream(stream)
    human = file is None and (stream or sys.stderr).isatty()
    handler.setFormatter(PlainFormatter() if human else JsonFormatter())
    handler.addFilter(unquoted)
    handler.name = HANDLER
    root = logging.getLogger()
    for old in [old for old in root.handlers if old.name == HANDLER]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for name in QUOTING:
        logging.getLogger(name).setLevel(logging.ERROR)


class ErrorStream(logging.StreamHandler[TextIO]):
    """Writes to the given stream, or to whatever standard error is at that moment."""

    def __init__(self, stream: TextIO | None) -> None:
        self._given = stream
        super().__init__(stream)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        self.stream = self._given or sys.stderr
        super().emit(record)


def unquoted(record: logging.LogRecord) -> bool:
    """Let a record pass; one of a library that quotes data sets loses its words and keeps its place."""
    if record.name.partition(".")[0] in QUOTING or record.name in QUOTING:
        record.msg, record.args = "a library reported a problem", ()
        record.place = f"{Path(record.pathname).name}:{record.lineno}"
    return True


def facts(record: logging.LogRecord) -> dict[str, object]:
    """The bound values and the extras of a record, without those that name a patient."""
    extras = {name: value for name, value in vars(record).items() if name not in _OWN}
    told = {**_bound.get(), **extras}
    withheld = sorted(name for name in told if is_private(name))
    kept = {name: value for name, value in told.items() if name not in withheld}
    return {**kept, "withheld": withheld} if withheld else kept


def is_private(name: str) -> bool:
    """Whether an extra of that name would carry an attribute of a patient or a visit."""
    plain = name.replace("_", "").lower()
    return any(word in plain for word in WITHHELD)


def describe(error: BaseException) -> dict[str, object]:
    """An exception by class and place; its text only if it is the node's own, which quotes nobody."""
    frames = traceback.extract_tb(error.__traceback__)
    told: dict[str, object] = {
        "class": type(error).__name__,
        "frames": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(error, NodeError):
        told["text"] = str(error)
    elif isinstance(error, OSError):
        told["text"] = error.strerror
    return told


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then what is bound and the extras."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in facts(record).items() if name not in line}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = describe(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


class PlainFormatter(logging.Formatter):
    """One line for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as time, level, message and `name=value` pairs."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        pairs = "".join(f" {name}={value}" for name, value in facts(record).items())
        line = f"{time} {record.levelname.lower():7} {record.getMessage()}{pairs}"
        if record.exc_info and record.exc_info[1] is not None:
            told = describe(record.exc_info[1])
            line += f"\n         {told['class']}: {told.get('text', '')} at {told['frames']}"
        return line
