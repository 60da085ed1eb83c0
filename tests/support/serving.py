"""A node that serves a whole module of tests: `init`, `device add`, `serve`, and in order to the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.node_process import NodeProcess

PATIENCE = 60.0
"""Seconds that something may take which the node does by itself."""

Device = Sequence[object]
"""AE title, host, port, options: as `konzilium device add` takes them; all but the first may be left out."""


@contextmanager
def serving(folder: Path, *devices: Device, **options: str) -> Iterator[NodeProcess]:
    """Serve a new site that knows these devices; its end is a test of its own.

    The processes that serve at the end have to be those that served at the beginning: a crash that the
    supervisor healed is a crash. Nothing the node wrote may be an error that it did not expect.
    """
    node = NodeProcess.make(folder / "site", logs=folder, **options)
    try:
        for device in devices:
            node.add_device(*device)  # type: ignore[arg-type]
        node.start()
        born = node.processes()
        yield node
        assert node.processes() == born, f"processes of the node have died:\n{node.last_words()}"
        assert node.stop() == 0
        assert surprises(node) == []
    finally:
        node.kill()


def eventually(done: Callable[[], bool], what: str) -> None:
    """Return when something that the node does by itself is done."""
    until = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < until, f"it never came to this: {what}"
        time.sleep(0.1)


def surprises(node: NodeProcess) -> list[str]:
    """The lines of the node's log that tell of an error nobody expected, or that are no log lines."""
    return [line for line in node.log.read_text(errors="replace").splitlines() if _is_surprise(line)]


def _is_surprise(line: str) -> bool:
    try:
        return json.loads(line)["level"] not in {"debug", "info", "warning"}
    except (ValueError, KeyError, TypeError):
        return True
