"""Opening a study for a person: what is elsewhere is brought here meanwhile, and the person need not wait.

```
open ──▶ may they? who has it? ──▶ what is here, at once
                                       └─▶ the rest comes in a thread of its own, while the page can be
                                           looked at again
```
"""

from __future__ import annotations

import logging
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, Protocol

from node.archive.part10 import StoredFile
from node.domain.errors import Forbidden, NodeError, TooBusy, UnknownStudy
from node.domain.ids import StudyUID
from node.domain.instance import Instance
from node.domain.principal import Principal
from node.domain.query import Selection
from node.replication.read_through import Retrieval

log = logging.getLogger(__name__)

MANY: Final = 8
"""Studies that are brought here for people at the same time."""
PATIENCE: Final = 8.0
"""Seconds that a page waits for what comes."""
_PIECE: Final = 1 << 20


class Files(Protocol):
    """The archive as readers see it."""

    def select(self, principal: Principal, selection: Selection, *, destination: str = "") -> list[Instance]:
        """The instances that a person may have."""
        ...

    def open(self, instance: Instance) -> StoredFile:
        """The stored file of one, whole."""
        ...


class Reader(Protocol):
    """The archive with what other sites have."""

    def retrieve(self, principal: Principal, selection: Selection, *, destination: str = "") -> Retrieval:
        """Find instances here and at other sites."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A study as far as it is here."""

    total: int
    instances: tuple[Instance, ...]
    missing: int
    """How many have not come; in the end, how many could not be had."""
    is_done: bool
    """Whether nothing more comes."""


@dataclass(slots=True)
class _Coming:
    """A study that is being brought."""

    retrieval: Retrieval
    instances: list[Instance] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)
    refused: NodeError | None = None

    def run(self) -> None:
        """Take in what comes, until all has or nothing more does."""
        try:
            with closing(self.retrieval.portions) as portions:
                for portion in portions:
                    self.instances += portion or ()
        except NodeError as error:
            self.refused = error
            log.warning("a study that a person opened did not come", extra={"error": str(error)})
        except Exception:
            log.exception("a study that a person opened did not come")
        finally:
            self.done.set()

    def told(self) -> Opened:
        """How far it is."""
        if isinstance(self.refused, Forbidden):
            raise self.refused
        return Opened(
            total=self.retrieval.total,
            instances=tuple(self.instances),
            missing=len(self.retrieval.missing),
            is_done=self.done.is_set(),
        )


class Opening:
    """Opens studies for people."""

    def __init__(self, files: Files, reader: Reader, *, many: int = MANY, patience: float = PATIENCE) -> None:
        """Open studies of an archive and of the sites around it.

        Args:
            files: the archive as readers see it; it asks the policy and writes the audit record.
            reader: the same, with what other sites have.
            many: studies on their way at the same time.
            patience: seconds that a caller waits for what comes.
        """
        self._files = files
        self._reader = reader
        self._patience = patience
        self._room = threading.Semaphore(many)
        self._coming: dict[tuple[str, str, str], _Coming] = {}
        self._lock = threading.Lock()

    def open(self, principal: Principal, study: StudyUID) -> Opened:
        """Open a study, or see how far it is.

        Raises:
            Forbidden: the policy says no.
            UnknownStudy: no site that answered has it.
            TooBusy: too many others are on their way.
        """
        mine = (principal.issuer, principal.name, study)
        with self._lock:
            coming = self._coming.get(mine)
        if coming is not None:
            self._files.select(principal, Selection(studies=(study,)))  # asks the policy each time
        else:
            coming = self._begin(principal, study, mine)
        coming.done.wait(self._patience)
        opened = coming.told()
        if opened.is_done and not opened.total:
            raise UnknownStudy(study)
        return opened

    def files(self, principal: Principal, study: StudyUID) -> Sequence[Instance]:
        """What is here of a study, for a person to take away.

        Raises:
            Forbidden: the policy says no.
            UnknownStudy: nothing of it is here.
        """
        instances = self._files.select(
            principal, Selection(studies=(study,)), destination="downloaded with the portal"
        )
        if not instances:
            raise UnknownStudy(study)
        return instances

    def packed(self, instances: Sequence[Instance]) -> Iterator[bytes]:
        """The files of instances as a ZIP file that is made while it is sent, without names of patients.

        Raises:
            Damaged: one is not whole and cannot be mended now; what was sent until then is not a whole file.
        """
        sink = _Sink()
        series = {uid: place for place, uid in enumerate(dict.fromkeys(one.series for one in instances), 1)}
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as packed:
            for place, one in enumerate(instances, 1):
                info = zipfile.ZipInfo(f"{series[one.series]:04}/{place:06}.dcm")
                with self._files.open(one) as stored, packed.open(info, "w", force_zip64=True) as entry:
                    stored.file.seek(0)
                    while piece := stored.file.read(_PIECE):
                        entry.write(piece)
                        yield from sink.take()
                yield from sink.take()
        yield from sink.take()

    def _begin(self, principal: Principal, study: StudyUID, mine: tuple[str, str, str]) -> _Coming:
        if not self._room.acquire(blocking=False):
            raise TooBusy("too many studies are on their way for others")
        try:
            coming = _Coming(self._reader.retrieve(principal, Selection(studies=(study,))))
        except BaseException:
            self._room.release()
            raise
        with self._lock:
            self._coming[mine] = coming

        def work() -> None:
            try:
                coming.run()
            finally:
                with self._lock:
                    self._coming.pop(mine, None)
                self._room.release()

        threading.Thread(target=work, name="opening", daemon=True).start()
        return coming


class _Sink:
    """Where the ZIP file is written to, and taken from."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._at = 0

    def write(self, data: bytes) -> int:
        """Hold some bytes."""
        self._held.append(bytes(data))
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        """How many bytes there were."""
        return self._at

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def take(self) -> Iterator[bytes]:
        """What is held."""
        held, self._held = self._held, []
        yield from held
