"""Parts of a site that fail when they are told to: a wrong clock, a catalog and a store that crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from node.blobs.memory import MemoryStore
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.ids import Digest
from node.domain.instance import Chunk
from tests.support.sites import Clock


class Crash(Exception):
    """The process is gone."""


class SkewedClock(Clock):
    """A clock that is always so many seconds ahead of another one, or behind."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._ahead = int(seconds * 1_000_000)

    def __call__(self) -> int:
        return self._clock() + self._ahead

    @property
    def now(self) -> int:  # type: ignore[override]
        return self._clock.now + self._ahead

    def forward(self, seconds: float) -> None:
        self._clock.forward(seconds)


class FragileCatalog(Catalog):
    """A catalog that may crash before or after a commit."""

    burn: Callable[[], None] = staticmethod(lambda: None)

    @contextmanager
    def _transaction(self) -> Iterator[Unit]:
        with super()._transaction() as unit:
            yield unit
            self.burn()
        self.burn()


class FragileStore(MemoryStore):
    """A store that may crash when a blob is kept and nobody knows."""

    burn: Callable[[], None] = staticmethod(lambda: None)

    def put(self, chunks: Sequence[Chunk]) -> Digest:  # type: ignore[override]
        digest = super().put(chunks)
        self.burn()
        return digest
