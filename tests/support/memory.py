"""How much memory the processes of a node take at their worst."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.node_process import NodeProcess

ALLOWED = 64 << 20
"""Bytes by which a process may grow, whatever it carries."""


@contextmanager
def in_little_memory(node: NodeProcess) -> Iterator[None]:
    """Fail if the peak of any process of the node grows too much; pages of files count too."""
    before = {}
    for pid in node.processes():
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        before[pid] = peak(pid)
    yield
    for pid in node.processes():
        growth = peak(pid) - before.get(pid, 0)
        assert growth < ALLOWED, f"{command(pid)} grew by {growth >> 20} MiB: {pages(pid)}"


def peak(pid: int) -> int:
    """The largest resident size that a process ever had, in bytes (proc(5))."""
    return field(pid, "VmHWM")


def field(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"{name} is not in /proc/{pid}/status")


def pages(pid: int) -> dict[str, int]:
    """What is resident now, in MiB."""
    return {name: field(pid, name) >> 20 for name in ("RssAnon", "RssFile", "RssShmem")}


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
