"""`konzilium rebuild --from-peers`: the node is opened as soon as the facts are here; bytes follow."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from node.domain.errors import NotASite, PeerUnreachable
from node.identity.handshake import Token
from node.recovery.rebuild import blobs_remain
from node.replication.reconcile import Reconciled
from node.settings import FILE, Settings, load
from node.settings.kinds import Raw
from node.wiring import open_site
from services.cli.bringing import Facts, Outcome, Times, bytes_back, come_back, journals
from services.cli.output import Exit, as_json, complain, fields, finish, moment, say, size, span
from services.cli.serve import check_ports
from services.cli.site import make
from services.run.lock import hold, running
from services.run.supervisor import Supervisor, parts

NAMED = 20
"""Missing instances that are named to a person; JSON names more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class From:
    """What was said on the command line."""

    token: Token | None = None
    code: str | None = field(default=None, repr=False)
    chosen: dict[str, Raw] = field(default_factory=dict)
    """Settings of a folder that has to be made."""
    patience: float = 120.0
    stay: bool = False
    json: bool = False


def rebuild_from_peers(directory: Path, said: From) -> None:
    """Bring the site in a folder back, and say what came of it.

    Raises:
        NotASite: there is no folder, and nobody said which site it is to be.
        PeerUnreachable: no other site answers.
    """
    if not (directory / FILE).is_file():
        if said.token is None:
            raise NotASite(directory)
        make(directory, said.chosen)
    os.environ.setdefault("KONZILIUM_LOG__LEVEL", "warning")
    settings = load(directory, os.environ)
    times = Times.of(directory)
    times.reached(directory, "started")
    if running(directory) is None:
        outcome = _opened(settings, said, times)
    else:
        outcome = _beside(directory, said, times)
    if outcome is None:
        raise KeyboardInterrupt
    (directory / "rebuild.json").unlink(missing_ok=True)
    finish(Exit.FINE if outcome.is_whole else Exit.PARTLY)


def _opened(settings: Settings, said: From, times: Times) -> Outcome | None:
    """Read the facts, then open the node, and bring the bytes back while it runs."""
    directory = settings.directory
    with hold(directory) as lock:
        check_ports(settings)
        facts = _facts(directory, said, times)
        running_node = _Running(lambda stop: _bytes(directory, said, facts, times, stop), stay=said.stay)
        supervisor = Supervisor(
            parts(directory, web=settings.web.port is not None),
            inherit=(lock,),
            announce=lambda _doors: running_node.opened(lambda: times.reached(directory, "opened")),
        )
        return running_node.run(supervisor)


def _beside(directory: Path, said: From, times: Times) -> Outcome | None:
    """Do the same beside a node that runs already."""
    complain("the node runs already; it goes on")
    facts = _facts(directory, said, times)
    times.reached(directory, "opened")
    return _bytes(directory, said, facts, times, threading.Event())


def _facts(directory: Path, said: From, times: Times) -> Facts:
    with open_site(directory) as site:
        times.survivors = times.survivors or blobs_remain(site.blobs)
        if said.token is not None:
            come_back(site, said.token, said.code, quiet=said.json)
        facts = journals(site, said.token, patience=said.patience)
    heard = facts.heard
    for one in heard:
        if one.error:
            complain(f"{one.site}: {one.error}")
    if heard and all(one.error for one in heard):
        raise PeerUnreachable(
            ", ".join(one.site for one in heard),
            "nothing could be read; see to it that they run and know this site, then say the same again",
        )
    return facts


def _bytes(directory: Path, said: From, facts: Facts, times: Times, stop: threading.Event) -> Outcome | None:
    with open_site(directory) as site:
        outcome = bytes_back(site, facts, times, stop, patience=said.patience)
    if outcome is not None:
        as_json(_told(outcome)) if said.json else _tell(outcome)
        sys.stdout.flush()
    return outcome


class _Running:
    """Something that is done in a thread of its own as soon as the node is open, which stops with it."""

    def __init__(self, work: Callable[[threading.Event], Outcome | None], *, stay: bool) -> None:
        self._work = work
        self._stay = stay
        self._stop = threading.Event()
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="rebuild")

    def opened(self, note: Callable[[], None]) -> None:
        """The doors are open."""
        note()
        self._thread.start()

    def run(self, supervisor: Supervisor) -> Outcome | None:
        """Let the node run until the work is done, or somebody stops it.

        Raises:
            NodeError: the node could not start, or the work failed.
        """
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            supervisor.run()
        finally:
            self._stop.set()
            if self._thread.ident is not None:
                self._thread.join()
            signal.signal(signal.SIGTERM, before)
        if self._error is not None:
            raise self._error
        return self._outcome

    def _run(self) -> None:
        try:
            self._outcome = self._work(self._stop)
        except BaseException as error:
            self._error = error
        if not (self._stay and self._outcome) and not self._stop.is_set():
            os.kill(os.getpid(), signal.SIGTERM)


def _tell(outcome: Outcome) -> None:
    """Say to a person what came of it."""
    times, recalled = outcome.times, outcome.recalled
    assert recalled is not None
    say(f"{outcome.site} is back, in epoch {recalled.epoch}, with {recalled.facts} facts of its own.")
    if recalled.last_at:
        say(
            f"  The last one that others had is number {recalled.last_seq} of epoch {recalled.last_epoch}, "
            f"of {moment(recalled.last_at)}; what was received after that and is at no other site is lost."
        )
    if recalled.unknown:
        say(f"  {recalled.unknown} facts before it nobody has: rules, quarantine, or what terms withheld.")
    say(f"  {outcome.objects} objects ({size(outcome.bytes)}) came back; {outcome.rows} were found before.")
    if outcome.admitted:
        say(f"  {outcome.admitted} objects that were left here, and that nobody had heard of, were admitted.")
    for what, name in (("opened", "open"), ("answers", "answering in full"), ("whole", "whole")):
        if times.after(what):
            say(f"  {name} after {_took(times.after(what))}")
    for site, found in outcome.compared.items():
        if isinstance(found, Reconciled):
            how = "the same" if found.equal else f"{len(found.differences)} differ"
            say(f"  {site}: {found.count} objects, {how}, fingerprint {found.fingerprint}")
        else:
            complain(f"{site}: {found}")
    for one in outcome.missing[:NAMED]:
        complain(f"instance {one.instance} is not back: {one.why or 'nobody has given it yet'}")
    if len(outcome.missing) > NAMED:
        complain(f"and {len(outcome.missing) - NAMED} more; --json names them")
    say("Devices and rules are no affair of other sites: see `konzilium device` and `konzilium rule`.")


def _took(seconds: float) -> str:
    return f"{seconds:.1f} seconds" if seconds < 60 else span(seconds)


def _told(outcome: Outcome) -> dict[str, object]:
    """The same for programs."""
    assert outcome.recalled is not None
    return {
        "site": outcome.site,
        "whole": outcome.is_whole,
        "peers": [asdict(one) for one in outcome.heard],
        "own": fields(outcome.recalled),
        "rows": outcome.rows,
        "objects": outcome.objects,
        "bytes": outcome.bytes,
        "admitted": outcome.admitted,
        "unreadable": list(outcome.unreadable),
        "seconds": {what: outcome.times.after(what) for what in ("opened", "answers", "whole")},
        "missing": [asdict(one) for one in outcome.missing],
        "compared": [
            {
                "peer": site,
                "equal": isinstance(found, Reconciled) and found.equal,
                "count": found.count if isinstance(found, Reconciled) else 0,
                "fingerprint": found.fingerprint if isinstance(found, Reconciled) else "",
                "error": found if isinstance(found, str) else "",
            }
            for site, found in outcome.compared.items()
        ],
    }
