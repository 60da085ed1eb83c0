"""What the processes of a node have in common: when to stop, and how to tell the supervisor.

A child stops on SIGTERM, and when its standard input ends, which is how it notices that the
supervisor is dead. It tells what it opened, or why it could not, as JSON lines on its standard
output; whatever else writes there is sent to standard error.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeAlias

from node import telemetry
from node.domain import errors
from node.domain.errors import Misconfigured, NodeError
from node.settings import load
from services.run.doors import Door

log = logging.getLogger(__name__)

GRACE = 20.0
"""Seconds that a child has to finish when it is told to stop."""

FAILED, CANNOT_START = 1, 4


Report: TypeAlias = Callable[[Sequence[Door]], None]
"""Tell the supervisor that everything is open, and where."""


class Work(Protocol):
    """What a child does between start and stop."""

    def __call__(self, directory: Path, stop: threading.Event, ready: Report) -> None:
        """Open what there is to open, say so, and return soon after `stop` is set."""


def main(name: str, work: Work, directory: str) -> int:
    """Run the work of a child process and return its exit code."""
    tell, stop = _channel(), threading.Event()
    _stop_on_signals(stop)
    _stop_without_parent(stop)
    try:
        settings = load(Path(directory), os.environ)
        telemetry.configure(settings.log.level, file=settings.log.file)
        with telemetry.bound(part=name):
            work(Path(directory), stop, lambda doors: tell(opened(doors)))
    except NodeError as error:
        tell(failed(error))
        return CANNOT_START if isinstance(error, Misconfigured) else FAILED
    except Exception:
        log.exception("the process ended unexpectedly", extra={"part": name})
        return FAILED
    return 0


def opened(doors: Sequence[Door]) -> dict[str, object]:
    """The message that says which doors are open."""
    return {"doors": [{"name": door.name, "host": door.host, "port": door.port} for door in doors]}


def failed(error: NodeError) -> dict[str, object]:
    """The message that says why a child cannot go on."""
    return {"failed": type(error).__name__, "arguments": [str(argument) for argument in error.args]}


def failure(message: dict[str, list[str]]) -> NodeError:
    """The error that such a message tells of."""
    cls = getattr(errors, str(message["failed"]), Misconfigured)
    error: NodeError = cls(*message["arguments"])
    return error


def _channel() -> Callable[[dict[str, object]], None]:
    """Keep standard output for messages and send all that others print there to standard error."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(message: dict[str, object]) -> None:
        with suppress(BrokenPipeError):
            print(json.dumps(message), file=channel, flush=True)

    return tell


def _stop_on_signals(stop: threading.Event) -> None:
    """Stop on SIGTERM. What a terminal sends to the whole group is for the supervisor to act on."""
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _stop_without_parent(stop: threading.Event) -> None:
    """Stop when standard input ends; if stopping in order takes too long then, end at once."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        stop.set()
        threading.Event().wait(GRACE)
        os._exit(FAILED)

    threading.Thread(target=watch, name="parent", daemon=True).start()
