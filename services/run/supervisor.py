"""The supervisor: starts the processes of a node, restarts what crashes, stops all in order.

Each child gets a pipe as standard input that nobody writes to: when the supervisor dies, even by
SIGKILL, the pipe ends and the children stop. Each holds the site's lock with its life, so a new
node never works beside what is left of an old one.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from node.domain.errors import Misconfigured, NodeError
from services.run.child import GRACE, failure
from services.run.doors import Door

log = logging.getLogger(__name__)

FIRST_DELAY, LONGEST_DELAY, STEADY = 0.5, 60.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process of the node: its name, and what to start."""

    name: str
    command: tuple[str, ...]
    grace: float = GRACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before the next start: longer after each crash, forgotten after a steady run."""

    crashes: int = 0

    def crashed(self, ran: float) -> Backoff:
        """The state after a crash that came `ran` seconds after the start."""
        return replace(self, crashes=1 if ran >= STEADY else self.crashes + 1)

    @property
    def delay(self) -> float:
        """Seconds to wait now."""
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (self.crashes - 1)) if self.crashes else 0.0


@dataclass(slots=True, kw_only=True)
class Child:
    """A part while it runs, or while it waits to be started again."""

    part: Part
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    backoff: Backoff = field(default_factory=Backoff)
    doors: tuple[Door, ...] | None = None
    refusal: NodeError | None = None
    heard: bytes = b""


def parts(directory: Path, *, web: bool) -> list[Part]:
    """The processes of a node, in the order in which they are stopped: first who lets work in.

    Args:
        directory: the site folder.
        web: whether there is a portal.
    """
    return [
        Part(name=name, command=(sys.executable, "-P", "-m", "services.run", name, str(directory)))
        for name in (*(("web",) if web else ()), "dicom", "nodes", "worker")
    ]


class Supervisor:
    """Watches over the processes of one node until it is told to stop."""

    def __init__(
        self,
        wanted: Sequence[Part],
        *,
        inherit: Sequence[int] = (),
        clock: Callable[[], float] = time.monotonic,
        announce: Callable[[list[Door]], None],
    ) -> None:
        self._children = [Child(part=part) for part in wanted]
        self._inherit = tuple(inherit)
        self._clock = clock
        self._announce = announce
        self._announced = False
        self._signals = 0
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Start everything, say when all doors are open, and return after a signal when all have stopped.

        Raises:
            NodeError: a part could not start the first time.
        """
        with self._listening_to_signals():
            try:
                for child in self._children:
                    self._start(child)
                while not self._signals:
                    self._turn()
            finally:
                self._stop()

    @contextmanager
    def _listening_to_signals(self) -> Iterator[None]:
        """Count SIGTERM, SIGINT and SIGHUP, and wake the loop for them."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._selector.register(reader, selectors.EVENT_READ)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, self._count) for number in numbers}
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            reader.close()
            writer.close()

    def _count(self, *_: object) -> None:
        self._signals += 1

    def _start(self, child: Child) -> None:
        process = subprocess.Popen(
            child.part.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=self._inherit,
        )
        assert process.stdout is not None
        child.process, child.doors, child.refusal, child.heard = process, None, None, b""
        child.started_at = self._clock()
        self._selector.register(process.stdout, selectors.EVENT_READ, child)
        log.info("process started", extra={"part": child.part.name, "pid": process.pid})

    def _turn(self) -> None:
        """Hear what the children say, and start those whose time has come."""
        for key, _ in self._selector.select(self._patience()):
            if isinstance(key.data, Child):
                self._hear(key.data)
        for child in self._children:
            if child.process is None and child.due_at <= self._clock() and not self._signals:
                self._start(child)

    def _patience(self) -> float | None:
        waiting = [child.due_at for child in self._children if child.process is None]
        return max(0.0, min(waiting) - self._clock()) if waiting else None

    def _hear(self, child: Child) -> None:
        assert child.process is not None
        assert child.process.stdout is not None
        data = os.read(child.process.stdout.fileno(), 65536)
        if not data:
            self._ended(child)
            return
        *lines, child.heard = (child.heard + data).split(b"\n")
        for line in lines:
            self._understand(child, line)

    def _understand(self, child: Child, line: bytes) -> None:
        message = json.loads(line)
        if "failed" in message:
            child.refusal = failure(message)
            return
        child.doors = tuple(Door(**door) for door in message["doors"])
        if not self._announced and all(child.doors is not None for child in self._children):
            self._announced = True
            self._announce([door for child in self._children for door in child.doors or ()])

    def _ended(self, child: Child) -> None:
        """A child is gone: give up if it never was ready, start it again after a while if it was."""
        code = self._reap(child)
        if not self._announced:
            raise child.refusal or Misconfigured(
                f"its {child.part.name} process ended with exit code {code} before it was ready; see the log"
            )
        child.backoff = child.backoff.crashed(self._clock() - child.started_at)
        child.due_at = self._clock() + child.backoff.delay
        log.error(
            "process ended; it will be started again",
            extra={"part": child.part.name, "code": code, "delay": child.backoff.delay, "why": child.refusal},
        )

    def _reap(self, child: Child, timeout: float | None = None) -> int:
        assert child.process is not None
        assert child.process.stdout is not None
        assert child.process.stdin is not None
        code = child.process.wait(timeout)
        self._selector.unregister(child.process.stdout)
        child.process.stdout.close()
        with suppress(BrokenPipeError):
            child.process.stdin.close()
        child.process = None
        return code

    def _stop(self) -> None:
        """Stop the children one after the other; a second signal means at once."""
        for child in self._children:
            if child.process is not None:
                child.process.terminate()
                self._await_end(child, self._clock() + child.part.grace)
                log.info("process stopped", extra={"part": child.part.name})

    def _await_end(self, child: Child, deadline: float) -> None:
        while child.process is not None:
            if self._clock() > deadline or self._signals > 1:
                child.process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._reap(child, timeout=0.1)
