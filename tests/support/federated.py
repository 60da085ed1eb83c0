"""Sites in processes of their own that are joined as people join them: one command on each side.

```
with joined(tmp_path, "brno", "prague") as (brno, prague):
    send(brno, synthetic.study(5))
    eventually(lambda: in_step(brno, prague), "both hold the same")
    agree(brno, prague)
```

What the sites hold is read from the outside: plain SQL, plain files. `peers` is what `konzilium peers` says.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

from node.domain.instance import Offer
from tests.support import synthetic
from tests.support.caller import Caller, Refused
from tests.support.evidence import Evidence
from tests.support.ingest import instances
from tests.support.node_process import NodeProcess
from tests.support.serving import surprises

Sent = tuple[Offer, Iterable[bytes]]
"""An instance as it is sent: what is said of it, and its chunks."""

LIVELY = {"replication.heartbeat": 1}
"""Settings under which a test does not wait long for sites to call each other."""
RESTARTS = "process ended; it will be started again"
"""The one error that the log of a node may hold whose processes a test has killed."""


@contextmanager
def joined(
    folder: Path, *names: str, settings: dict[str, object] | None = None
) -> Iterator[list[NodeProcess]]:
    """Serve new sites that know a device SENDER; all others have joined the first.

    Their end is a test of its own: they stop in order, and wrote of no error that nobody expected.
    """
    with served(folder, *names, settings=settings) as nodes:
        for other in nodes[1:]:
            join(nodes[0], other)
        yield nodes


@contextmanager
def served(
    folder: Path, *names: str, settings: dict[str, object] | None = None
) -> Iterator[list[NodeProcess]]:
    """Serve new sites that do not know each other yet."""
    nodes = [new_site(folder, name) for name in names]
    with running(*nodes, settings=settings):
        yield nodes


@contextmanager
def running(*nodes: NodeProcess, settings: dict[str, object] | None = None) -> Iterator[None]:
    """Serve these sites; see to it that they stop in order."""
    for node in nodes:
        for setting, value in (LIVELY | (settings or {})).items():
            node.set(setting, value)
    try:
        with ThreadPoolExecutor() as starters:
            list(starters.map(NodeProcess.start, nodes))
        yield
        for node in nodes:
            assert node.stop() == 0
            assert not (lines := unexpected(node)), lines
    finally:
        for node in nodes:
            node.kill()


def new_site(folder: Path, name: str, *, url: str | None = None) -> NodeProcess:
    """Make a site that knows a device SENDER.

    Args:
        folder: where its folder and its log go.
        name: of the site; its AE title is the same in capitals.
        url: where others are told to call it, see `NodeProcess.make`.
    """
    node = NodeProcess.make(folder / name, site=name, ae_title=name.upper(), url=url, logs=folder)
    node.add_device("SENDER")
    return node


def join(inviter: NodeProcess, joiner: NodeProcess) -> None:
    """Let a site join on an invitation that is confirmed in advance."""
    made = inviter.command("invite", ..., "--site", joiner.site, "--yes", "--json").stdout
    invitation = json.loads(made)
    joiner.command("join", ..., invitation["token"], "--code", invitation["code"], "--yes", "--json")


def unexpected(node: NodeProcess) -> list[str]:
    """The errors in a node's log, other than that a process of it was killed."""
    return [line for line in surprises(node) if RESTARTS not in line]


def peers(node: NodeProcess) -> dict[str, dict[str, Any]]:
    """What `konzilium peers` says of each other site."""
    answer = json.loads(node.command("peers", ..., "--json", check=False).stdout)
    return {one["site"]: one for one in answer["peers"]}


def send(node: NodeProcess, offered: Iterable[tuple[Offer, bytes]]) -> list[str]:
    """Send instances to a site in one association, see each acknowledged, and return their UIDs."""
    sent = []
    with Caller.open(
        node.dicom_port, classes=[synthetic.dataset().SOPClassUID], called=node.ae_title
    ) as caller:
        for offer, data in offered:
            assert caller.store(offer, [data]) == 0
            sent.append(str(offer.instance))
    return sent


@dataclass(frozen=True, slots=True)
class Books:
    """What the catalog of a site says, asked by plain SQL."""

    folder: Path

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows that answer a question."""
        with closing(sqlite3.connect(self.folder / "catalog.db", timeout=30)) as catalog:
            return catalog.execute(sql, values).fetchall()

    def instances(self) -> dict[str, str]:
        """Digests by SOP Instance UID."""
        return dict(self.ask("SELECT uid, digest FROM instance"))

    def proved_at(self, site: str) -> set[str]:
        """The digests of copies that another site says it has read back."""
        return {digest for (digest,) in self.ask(PROVED, site)}

    def received_by(self, site: str) -> set[str]:
        """The digests that a site received from somebody else than a site."""
        return {digest for (digest,) in self.ask(RECEIVED, site)}

    def journal_of(self, origin: str) -> list[tuple[int, int, str]]:
        """Epoch, number and hash of the entries of an origin that are here."""
        return self.ask("SELECT epoch, seq, hash FROM journal WHERE origin = ? ORDER BY epoch, seq", origin)

    def owes(self, site: str) -> int:
        """What is still to be done: copies that another site owes, and bytes wanted of it."""
        return int(self.ask(OWED, site, site)[0][0])

    def cursor(self, origin: str) -> dict[int, int]:
        """How far the journal of another site was read, by epoch."""
        return dict(self.ask("SELECT epoch, seq FROM cursor WHERE origin = ?", origin))

    def head(self, origin: str) -> dict[int, int]:
        """The end of this site's own journal, by epoch."""
        return dict(self.ask("SELECT epoch, max(seq) FROM journal WHERE origin = ? GROUP BY epoch", origin))

    def deeds(self) -> list[list[str]]:
        """The audit: event, who, address, study, what."""
        return [json.loads(deed) for (deed,) in self.ask("SELECT deed FROM audit ORDER BY seq")]

    def error_of(self, site: str) -> str:
        """Why the last call to a site failed."""
        return str(self.ask("SELECT error FROM contact WHERE site = ?", site)[0][0])


PROVED = "SELECT digest FROM replica WHERE site = ? AND state = 'verified'"
RECEIVED = "SELECT json_extract(payload, '$.digest') FROM journal WHERE origin = ? AND kind = 'instance'"
OWED = """
    SELECT (SELECT count(*) FROM replica WHERE site = ? AND state = 'owed')
         + (SELECT count(*) FROM want WHERE holder = ?)
"""


def books(node: NodeProcess) -> Books:
    """The books of a site."""
    return Books(node.folder)


def is_at(uids: Iterable[str], holder: NodeProcess, other: NodeProcess) -> bool:
    """Whether a site holds these instances, proved, as another one was told."""
    proved, held = books(other).proved_at(holder.site), books(holder).instances()
    return all(held.get(uid) in proved for uid in uids)


def in_step(*nodes: NodeProcess) -> bool:
    """Whether each site has read the journals of the others to their ends and owes nothing."""
    return all(_in_step(one, other) for one, other in permutations(nodes, 2))


def _in_step(one: NodeProcess, other: NodeProcess) -> bool:
    ours = books(one)
    return ours.owes(other.site) == 0 and ours.cursor(other.site) == books(other).head(other.site)


def agree(*nodes: NodeProcess, acknowledged: dict[str, Iterable[str]] | None = None) -> None:
    """Fail unless all sites are whole, hold the same, and the journals of each are the same everywhere.

    Args:
        *nodes: sites that exchange everything, and are in step.
        acknowledged: by site, the SOP Instance UIDs that it has acknowledged.
    """
    first = books(nodes[0]).instances()
    wanted = {uid for uids in (acknowledged or {}).values() for uid in uids}
    assert wanted <= set(first), (
        f"{len(wanted - set(first))} acknowledged instances are not at {nodes[0].site}"
    )
    for node in nodes:
        assert books(node).instances() == first, f"{node.site} does not hold the same as {nodes[0].site}"
        Evidence(node.folder).all_again({uid: first[uid] for uid in wanted})
    for one, other in permutations(nodes, 2):
        told_alike(one, other)
        unproved = set(first.values()) - books(one).proved_at(other.site) - books(one).received_by(other.site)
        assert not unproved, f"{other.site} has not told {one.site} that it proved {len(unproved)} copies"


def told_alike(teller: NodeProcess, reader: NodeProcess) -> None:
    """Fail unless a site has every entry of another's journal once, but those that were withheld from it."""
    told, read = books(teller).journal_of(teller.site), books(reader).journal_of(teller.site)
    gaps = books(reader).ask("SELECT epoch, first, last FROM gap WHERE origin = ?", teller.site)
    withheld = [
        entry
        for entry in told
        if any(epoch == entry[0] and first <= entry[1] <= last for epoch, first, last in gaps)
    ]
    missing = set(told) - set(read)
    assert missing <= set(withheld), f"{reader.site} misses entries of {teller.site}: {sorted(missing)[:5]}"
    assert set(read) <= set(told), f"{reader.site} has entries that {teller.site} never wrote"
    for epoch in {epoch for epoch, _, _ in told}:
        numbers = [seq for of, seq, _ in told if of == epoch]
        assert numbers == list(range(1, len(numbers) + 1)), f"the journal of {teller.site} has gaps"


@dataclass
class Modality:
    """Sends to a site in a thread of its own until it is told to stop, over whatever happens to the site.

    An instance that was not acknowledged is sent again, as modalities do.
    """

    node: NodeProcess
    instances: Iterator[Sent]
    classes: Sequence[str] = (str(synthetic.dataset().SOPClassUID),)
    pause: float = 0.0
    """Seconds between two instances."""
    acknowledged: set[str] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send."""
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more after this one."""
        self._stop.set()

    def join(self) -> None:
        """Return when nothing is sent any more."""
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        left: list[Sent] = []
        while not self._stop.is_set():
            with suppress(OSError, Refused):
                self._send(left)
            self._stop.wait(0.1)

    def _send(self, left: list[Sent]) -> None:
        """Send on one association until it breaks; what is under way then stays in `left`."""
        caller = Caller.open(
            self.node.dicom_port, classes=self.classes, called=self.node.ae_title, timeout=30
        )
        with closing(caller):
            while not self._stop.is_set():
                if not left:
                    left.append(next(self.instances))
                offer, chunks = left[0]
                if caller.store(offer, chunks) == 0:
                    self.acknowledged.add(str(offer.instance))
                    left.clear()
                self._stop.wait(self.pause)


@contextmanager
def sending(*modalities: Modality) -> Iterator[None]:
    """Let modalities send at the same time."""
    for modality in modalities:
        modality.start()
    try:
        yield
    finally:
        for modality in modalities:
            modality.stop()
        for modality in modalities:
            modality.join()


def small(number: int) -> Iterator[Sent]:
    """Instances of one study without end, of three sizes; some come twice."""
    return ((offer, [data]) for offer, data in instances(number, 0))
