"""Two hosts for two sites, apart from everything else that runs on this machine.

Both are network namespaces: one and the same with a loopback device, or two with a line between them that
delays, limits and loses packets (`line.c`). The kernel's own emulation (netem) is not everywhere.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from bench.servers import CACHE
from bench.wire import RefusedError

ADDRESSES = ("192.0.2.1", "192.0.2.2")
"""Addresses for documentation (RFC 5737): nobody else's."""
_DEVICE = "line0"
_PREFIX = "konzilium-bench"
_NAMESPACES = Path("/run/netns")
_BUFFERS = {"tcp_rmem": "4096 262144 67108864", "tcp_wmem": "4096 262144 67108864"}
"""Enough for a gigabit over 30 ms, for whoever sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line between two hosts."""

    delay_ms: float
    """One way."""
    mbit: float
    loss: float = 0
    """Per cent of the packets, each way."""
    queue_ms: float = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine of its own, as far as the network goes."""

    namespace: str
    address: str

    def command(self, *words: object) -> list[str]:
        """The words of a command as they run it there."""
        return ["ip", "netns", "exec", self.namespace, *map(str, words)]


@contextmanager
def hosts(line: Line | None) -> Iterator[tuple[Host, Host]]:
    """Two hosts: on one machine, or with a line between them.

    Raises:
        RefusedError: they cannot be made here.
    """
    if os.geteuid() != 0:
        raise RefusedError("network namespaces want root")
    with ExitStack() as stack:
        yield stack.enter_context(_one_machine() if line is None else _two_machines(line))


def discard_leftovers() -> None:
    """Remove the namespaces of runs whose process is gone."""
    for found in _NAMESPACES.glob(f"{_PREFIX}-*") if _NAMESPACES.exists() else ():
        if not Path("/proc", found.name.split("-")[2]).exists():
            with suppress(RefusedError):
                _run("ip", "netns", "del", found.name)


@contextmanager
def _one_machine() -> Iterator[tuple[Host, Host]]:
    with _namespace("both") as name:
        for address in ADDRESSES:
            _run("ip", "-n", name, "addr", "add", f"{address}/32", "dev", "lo")
        one, other = (Host(namespace=name, address=address) for address in ADDRESSES)
        yield one, other


@contextmanager
def _two_machines(line: Line) -> Iterator[tuple[Host, Host]]:
    with _namespace("one") as one, _namespace("other") as other, _carried(line, one, other):
        made = []
        for name, address in zip((one, other), ADDRESSES, strict=True):
            _run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", _DEVICE)
            _run("ip", "-n", name, "link", "set", _DEVICE, "up", "txqueuelen", "20000")
            made.append(Host(namespace=name, address=address))
        yield made[0], made[1]


@contextmanager
def _namespace(what: str) -> Iterator[str]:
    name = f"{_PREFIX}-{os.getpid()}-{what}"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "-n", name, "link", "set", "lo", "up")
        for setting, value in _BUFFERS.items():
            _run("ip", "netns", "exec", name, "sh", "-c", f"echo {value} >/proc/sys/net/ipv4/{setting}")
        yield name
    finally:
        _run("ip", "netns", "del", name)


@contextmanager
def _carried(line: Line, one: str, other: str) -> Iterator[None]:
    """Carry packets between two namespaces meanwhile."""
    quality = (line.delay_ms, line.mbit, line.loss, line.queue_ms)
    process = subprocess.Popen(
        [str(_program()), one, other, _DEVICE, *map(str, quality)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin and process.stdout and process.stderr
    try:
        if process.stdout.readline() != b"ready\n":
            raise RefusedError(f"no line: {process.stderr.read().decode(errors='replace').strip()}")
        yield
    finally:
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()


def _program() -> Path:
    """The compiled program that carries packets; kept for later."""
    source = Path(__file__).with_name("line.c")
    program = CACHE / f"line-{sha256(source.read_bytes()).hexdigest()[:12]}"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        made = program.with_suffix(f".{os.getpid()}")
        _run("cc", "-O2", "-pthread", "-o", made, source)
        made.rename(program)
    return program


def _run(*words: object) -> None:
    try:
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RefusedError(f"the program {words[0]} is missing") from None
    if done.returncode != 0:
        raise RefusedError(f"{' '.join(map(str, words))}: {done.stderr.strip()[-300:]}")
