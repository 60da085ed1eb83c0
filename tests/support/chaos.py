"""Two sites on two machines of their own, whose processes, line, disks and clocks break as they are told.

```
with chaos(folder) as pair:
    with under_load(pair) as told:
        pair.line.cut(pair.brno, pair.prague)       # what Brno sends to Prague is lost; not the other way
        ...
        pair.line.heal()
    settled(pair, told)
```

Each machine is a network namespace; the line between them is a pair of virtual Ethernet devices, and a
direction of it is cut by sending to an address that nobody has. The folder of Prague is a disk of its own,
and so is its store. Clocks and unreadable sectors are faked beneath the processes of the nodes (`faulty.c`).
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from node.wiring import open_site
from services.run.care import scrub_of
from tests.support import synthetic
from tests.support.caller import STUDY_ROOT_GET, Caller, Command
from tests.support.disks import small_disk
from tests.support.federated import Modality, Sent, agree, books, in_step, join, unexpected
from tests.support.node_process import KONZILIUM, PATIENCE, NodeProcess
from tests.support.peers import missing, requires, requires_root

ADDRESSES = {"brno": "192.0.2.1", "prague": "192.0.2.2"}
"""Addresses for documentation (RFC 5737): nobody else's."""
_DEVICE = "line0"
_NOBODY = "02:00:00:00:de:ad"
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_MOST = 254
"""Files that cannot be read, at the most."""
MB = 1 << 20


class Machine:
    """A network namespace with the end of a line."""

    def __init__(self, name: str, address: str) -> None:
        self.namespace = f"konzilium-chaos-{os.getpid()}-{name}"
        self.address = address
        self.hardware = f"02:00:00:00:00:{address.rpartition('.')[2].zfill(2)}"

    def command(self, *words: object) -> list[str]:
        """The words of a command as they run there."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *map(str, words)]

    def enter(self) -> None:
        """Let this thread be there from now on."""
        _enter(Path("/run/netns", self.namespace))

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread be there for a while: what it connects, it connects from there."""
        with open("/proc/thread-self/ns/net") as before:
            self.enter()
            try:
                yield
            finally:
                _setns(before.fileno())

    def knows(self, other: Machine, hardware: str) -> None:
        """Send to another machine at this hardware address."""
        _ip("-n", self.namespace, "neigh", "replace", other.address, "lladdr", hardware,
            "dev", _DEVICE, "nud", "permanent")  # fmt: skip


class Line:
    """What lies between two machines."""

    def __init__(self, one: Machine, other: Machine) -> None:
        self._ends = one, other

    def cut(self, *senders: Housed) -> None:
        """Lose all that these send; without any, all that anybody sends."""
        one, other = self._ends
        cut = {node.machine for node in senders} or {one, other}
        for here, there in ((one, other), (other, one)):
            if here in cut:
                here.knows(there, _NOBODY)

    def heal(self) -> None:
        """Carry everything again."""
        one, other = self._ends
        one.knows(other, other.hardware)
        other.knows(one, one.hardware)


class Faults:
    """What is wrong beneath the processes of one node (`faulty.c`)."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(bytes(16 + 16 * _MOST))
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), 0)

    def clock(self, seconds: int) -> None:
        """Let the clock be wrong by so many seconds."""
        self._shared[:8] = struct.pack("<q", seconds)

    def unreadable(self, *paths: Path) -> None:
        """Let these files, and no others, fail with EIO wherever they are read."""
        found = [path.stat() for path in paths]
        self._shared[8:16] = struct.pack("<Q", 0)
        for number, one in enumerate(found):
            self._shared[16 + 16 * number : 32 + 16 * number] = struct.pack("<QQ", one.st_dev, one.st_ino)
        self._shared[8:16] = struct.pack("<Q", len(found))


class Housed(NodeProcess):
    """A node on a machine of its own."""

    machine: Machine
    faults: Faults

    def command(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `konzilium` there (see `NodeProcess.command`)."""
        place = words.index(...)
        said = [*words[:place], self.folder, *words[place + 1 :]]
        done = subprocess.run(
            self.machine.command(KONZILIUM, *said), env=os.environ | self.settings(),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE * 2, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"konzilium {said}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def settings(self) -> dict[str, str]:
        """What was set of the node, and nothing of what is faked beneath it."""
        return {name: value for name, value in self.environment.items() if name.startswith("KONZILIUM")}

    def start(self, *before: str) -> NodeProcess:
        """Serve the site there."""
        return super().start(*self.machine.command(), *before)

    def wait_for_door(self, port: int) -> None:
        """Return when somebody listens there."""
        with self.machine.inside():
            super().wait_for_door(port)

    def kill_part(self, name: str) -> int:
        """Kill a process of the node, and return which."""
        pid = self.part(name)
        assert pid is not None, f"there is no process for {name}"
        os.kill(pid, 9)
        return pid

    @property
    def store(self) -> Path:
        """Where the objects are."""
        return self.folder / "blobs"

    def path_of(self, digest: str) -> Path:
        """The file of an object."""
        return self.store / digest[:2] / digest

    def findings(self, where: str = "1") -> list[dict[str, Any]]:
        """What the node has found wrong."""
        names = ("kind", "digest", "state", "outcome", "evidence")
        rows = books(self).ask(f"SELECT {', '.join(names)} FROM finding WHERE {where} ORDER BY found_at")
        return [dict(zip(names, row, strict=True)) for row in rows]


@dataclass(frozen=True, slots=True)
class Pair:
    """Brno and Prague, joined."""

    brno: Housed
    prague: Housed
    line: Line

    @property
    def both(self) -> tuple[Housed, Housed]:
        """Both of them."""
        return self.brno, self.prague

    def other(self, node: Housed) -> Housed:
        """The one that this is not."""
        return self.prague if node is self.brno else self.brno


@contextmanager
def chaos(
    folder: Path, settings: dict[str, object], *, catalog_mb: int = 64, store_mb: int = 64
) -> Iterator[Pair]:
    """Serve two sites that exchange everything; Prague's catalog and store are small disks.

    Args:
        folder: where everything goes.
        settings: of both.
        catalog_mb: the size of the disk of Prague's folder.
        store_mb: the size of the disk of its store.
    """
    requires_root("to make network namespaces")
    requires("ip")
    requires("nsenter")
    with ExitStack() as stack:
        machines = {name: stack.enter_context(_machine(name)) for name in ADDRESSES}
        line = _connected(*machines.values())
        stack.enter_context(small_disk(folder / "prague", catalog_mb * MB))
        shim = _shim(folder)
        with ThreadPoolExecutor() as hands:
            made = hands.map(lambda name: _node(folder, name, machines[name], shim, settings), ADDRESSES)
            brno, prague = made
            stack.enter_context(small_disk(prague.store, store_mb * MB))
            for node in (brno, prague):
                stack.callback(node.kill)
            list(hands.map(Housed.start, (brno, prague)))
        join(brno, prague)
        yield Pair(brno, prague, line)
        for node in (brno, prague):
            assert node.stop() == 0


def _node(folder: Path, name: str, machine: Machine, shim: Path, settings: dict[str, object]) -> Housed:
    node = Housed.make(folder / name, site=name, ae_title=name.upper(), logs=folder)
    node.machine = machine
    node.set("node.url", f"https://{machine.address}:{node.node_port}")
    for setting, value in settings.items():
        node.set(setting, value)
    control = folder / f"{name}.faults"
    node.faults = Faults(control)
    node.environment |= {"FAULTY": str(control), "LD_PRELOAD": str(shim)}
    node.add_device("SENDER")
    return node


@contextmanager
def _machine(name: str) -> Iterator[Machine]:
    machine = Machine(name, ADDRESSES[name])
    _ip("netns", "add", machine.namespace)
    try:
        _ip("-n", machine.namespace, "link", "set", "lo", "up")
        yield machine
    finally:
        _ip("netns", "del", machine.namespace)


def _connected(one: Machine, other: Machine) -> Line:
    ends = [("netns", machine.namespace, "address", machine.hardware) for machine in (one, other)]
    _ip("link", "add", "name", _DEVICE, *ends[0], "type", "veth", "peer", "name", _DEVICE, *ends[1])
    for machine in (one, other):
        _ip("-n", machine.namespace, "addr", "add", f"{machine.address}/24", "dev", _DEVICE)
        _ip("-n", machine.namespace, "link", "set", _DEVICE, "up")
    line = Line(one, other)
    line.heal()
    return line


def _shim(folder: Path) -> Path:
    made = folder / "faulty.so"
    source = Path(__file__).with_name("faulty.c")
    done = subprocess.run(
        [requires("cc"), "-O2", "-shared", "-fPIC", "-o", str(made), str(source), "-ldl"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return made


def _ip(*words: object) -> None:
    done = subprocess.run(["ip", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        missing(f"ip {' '.join(map(str, words))}: {done.stderr.strip()}")


def _enter(namespace: Path) -> None:
    with namespace.open() as file:
        _setns(file.fileno())


def _setns(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@dataclass
class Scanner(Modality):
    """A modality beside a node, on its machine; remembers what it has sent."""

    sent: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of each data set that was begun to be sent."""

    def _work(self) -> None:
        assert isinstance(self.node, Housed)
        self.node.machine.enter()
        super()._work()


@dataclass(frozen=True, slots=True)
class Told:
    """What modalities have sent while something broke."""

    scanners: tuple[Scanner, ...]

    @property
    def acknowledged(self) -> dict[str, set[str]]:
        """The SOP Instance UIDs that each site has acknowledged."""
        return {one.node.site: set(one.acknowledged) for one in self.scanners}

    def count(self, node: Housed) -> int:
        """How many a site has acknowledged so far."""
        return sum(len(one.acknowledged) for one in self.scanners if one.node is node)


def images(study: int, sent: dict[str, str], *, side: int = 64) -> Iterator[Sent]:
    """Images of one study without end."""
    number = 0
    while True:
        number += 1
        offer, data = synthetic.instance(study=study, number=number, side=side, patient=f"P{study:04d}")
        sent[str(offer.instance)] = hashlib.sha256(data).hexdigest()
        yield offer, [data]


@contextmanager
def under_load(*nodes: Housed, study: int, pause: float = 0.05, side: int = 64) -> Iterator[Told]:
    """Let a modality at each of these nodes send one small image after the other."""
    scanners = []
    for number, node in enumerate(nodes):
        sent: dict[str, str] = {}
        scanners.append(Scanner(node, images(study + 1000 * number, sent, side=side), pause=pause, sent=sent))
    for scanner in scanners:
        scanner.start()
    try:
        yield Told(tuple(scanners))
    finally:
        for scanner in scanners:
            scanner.stop()
        for scanner in scanners:
            scanner.join()


def stored(node: Housed, study: int, count: int, *, side: int = 64) -> dict[str, str]:
    """Send so many images of a study to a node; digests of the data sets by SOP Instance UID."""
    sent: dict[str, str] = {}
    with calling(node) as caller:
        for _, (offer, chunks) in zip(range(count), images(study, sent, side=side), strict=False):
            assert caller.store(offer, chunks) == 0
    return sent


@contextmanager
def calling(node: Housed, *, timeout: float = 60) -> Iterator[Caller]:
    """An association with a node, from its own machine."""
    with node.machine.inside():
        caller = Caller.open(
            node.dicom_port, classes=[CTImageStorage, STUDY_ROOT_GET], receives=[CTImageStorage],
            called=node.ae_title, timeout=timeout,
        )  # fmt: skip
    with closing(caller):
        yield caller


@dataclass(slots=True)
class Got:
    """What came of a retrieval."""

    status: int
    digests: dict[str, str]
    """The SHA-256 of each data set that came, by SOP Instance UID."""
    counts: tuple[int, int]
    """Sub-operations that were completed, and that failed (PS3.7 C.4.3)."""


def got(node: Housed, study: int) -> Got:
    """Retrieve a study from a node in one association, by C-GET."""
    with calling(node) as caller:
        return got_by(caller, study)


def got_by(caller: Caller, study: int) -> Got:
    """Retrieve a study on an association that is open."""
    digests: dict[str, str] = {}

    def keep(uid: str, fragments: Iterator[bytes]) -> int:
        seen = hashlib.sha256()
        for piece in fragments:
            seen.update(piece)
        digests[uid] = seen.hexdigest()
        return 0

    wanted = Dataset()
    wanted.QueryRetrieveLevel = "STUDY"
    wanted.StudyInstanceUID = synthetic.study_uid(study)
    answer = caller.get(synthetic.encoded(wanted), keep)
    return Got(int(answer[0x0900]), digests, (_count(answer, 0x1021), _count(answer, 0x1022)))


def _count(answer: Command, element: int) -> int:
    return int(answer.get(element, 0))


class Reader:
    """Retrieves a study from a node again and again, and notes what came damaged or not at all."""

    def __init__(self, node: Housed, study: int, whole: dict[str, str]) -> None:
        self._node = node
        self._study = study
        self._whole = whole
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.rounds = 0
        self.damaged: list[str] = []
        """SOP Instance UIDs that came with other bytes than were sent."""
        self.failed: list[str] = []
        """Retrievals of which something did not come, or that broke."""

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                came = got(self._node, self._study)
            except OSError as error:
                self.failed.append(type(error).__name__)
                continue
            self.damaged += [uid for uid, digest in came.digests.items() if self._whole[uid] != digest]
            if len(came.digests) != len(self._whole):
                self.failed.append(f"{came.status:04X} {came.counts}")
            self.rounds += 1


def digests_of(node: Housed, uids: Iterable[str]) -> list[str]:
    """The digests of instances of a node, in the order of their UIDs."""
    held = books(node).instances()
    return [held[uid] for uid in sorted(uids)]


def flip(path: Path) -> None:
    """Turn over one bit in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
        file.flush()
        os.fsync(file.fileno())


OWED = "SELECT kind, key, state, error FROM job WHERE kind NOT IN ('reconsider')"
WANTED = "SELECT digest, holder, state, attempts, error FROM want"
OPEN = "state IN ('open', 'lost')"


def unrest(pair: Pair, left: Sequence[str] = ()) -> str:
    """What keeps the sites from being at rest; empty when they are.

    Args:
        pair: the sites.
        left: digests whose findings and jobs may stay.
    """
    said = []
    for node in pair.both:
        wants = books(node).ask(WANTED)
        jobs = [row for row in books(node).ask(OWED) if row[1] not in left]
        findings = [one for one in node.findings(OPEN) if one["digest"] not in left]
        said += [f"{node.site} {what}" for what in (wants, jobs, findings) if what]
    if not said and not in_step(*pair.both):
        said = [
            f"{one.site}: {books(one).cursor(other.site)} of {books(other).head(other.site)}, "
            f"owes {books(one).owes(other.site)}, says {books(one).ask('SELECT site, error FROM contact')}"
            for one, other in (pair.both, pair.both[::-1])
        ]
    return "\n".join(said)


def rested(pair: Pair, *, left: Sequence[str] = (), patience: float = 60.0) -> None:
    """Return when both sites hold everything and nothing is owed, wanted or wrong any more."""
    until = time.monotonic() + patience
    while said := unrest(pair, left):
        assert time.monotonic() < until, f"they never came to rest:\n{said}"
        time.sleep(0.1)


def settled(pair: Pair, told: Told | None = None, *, patience: float = 60.0) -> None:
    """See that both sites come to rest, hold the same, whole, and all that was acknowledged; both say so."""
    rested(pair, patience=patience)
    acknowledged = told.acknowledged if told else {}
    agree(*pair.both, acknowledged=acknowledged)
    for scanner in told.scanners if told else ():
        assert scanner.acknowledged, f"{scanner.node.site} acknowledged nothing"


def proved(pair: Pair) -> None:
    """See that a site can prove that both hold the same, and that each finds nothing wrong with any byte."""
    proof = json.loads(pair.brno.command("verify", ..., "--peer", "prague", "--json").stdout)
    assert (proof["equal"], proof["differences"]) == (True, [])
    for node in pair.both:
        node.command("check", ..., "--verify", "--json")


def look(node: Housed) -> None:
    """Let a running node see now whether every copy is there, and mend those that are not."""
    with open_site(node.folder) as site:
        scrub_of(site, threading.Event()).look()


def read_all_back(node: Housed) -> None:
    """Let a running node read every copy back when it comes to it."""
    with open_site(node.folder) as site:
        scrub_of(site, threading.Event()).again()


def surprises_of(node: Housed, *expected: str) -> list[str]:
    """The errors in the log of a node that are none of those expected."""
    return [line for line in unexpected(node) if not any(one in line for one in expected)]


def stopped(node: Housed, signal_number: int) -> None:
    """Send a signal to every process of a node."""
    for pid in node.processes():
        os.kill(pid, signal_number)


@contextmanager
def moved_away(folder: Path) -> Iterator[None]:
    """Let a folder be somewhere else for a while."""
    aside = folder.with_name(f"{folder.name}.away")
    folder.rename(aside)
    try:
        yield
    finally:
        aside.rename(folder)


@contextmanager
def unmounted(folder: Path) -> Iterator[None]:
    """Let the disk of a folder be mounted somewhere else for a while."""
    shelf = folder.with_name(f"{folder.name}.shelf")
    shelf.mkdir()
    _mount("mount", "--bind", folder, shelf)
    _mount("umount", "-l", folder)
    try:
        yield
    finally:
        _mount("mount", "--bind", shelf, folder)
        _mount("umount", "-l", shelf)
        shelf.rmdir()


def replaced(folder: Path, size: int) -> None:
    """Put a new disk in the place of the one of a folder."""
    _mount("umount", "-l", folder)
    _mount("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)


def _mount(*words: object) -> None:
    subprocess.run([*map(str, words)], check=True)
