"""A foreign archive, as the loops of this package need it; `services.dicom.foreign` speaks DICOM to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from node.domain.commitment import Vouched, Wanted
from node.domain.ids import UID, InstanceUID, SeriesUID, StudyUID
from node.domain.instance import Instance
from node.domain.partner import InstanceThere, SeriesThere, StudyThere
from node.partners.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What a foreign archive lets us do."""

    find: bool = False
    move: bool = False
    get: bool = False
    commitment: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of an instance that was sent."""

    instance: InstanceUID
    taken: bool
    why: str = ""
    """Why it was not taken, or what the partner remarked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What became of a retrieval, as far as the partner tells; only a look into the archive proves it."""

    completed: int = 0
    failed: int = 0
    reasons: dict[InstanceUID, str] = field(default_factory=dict)
    """Why instances did not come, of those about which that is known."""


class Foreign(Protocol):
    """A foreign archive; used by one thread.

    Every call raises `PeerUnreachable` where the archive cannot be talked to now, and `ForeignRefused` where
    it says that it will not.
    """

    def offers(self) -> Offers:
        """What it lets us do; asked once for each connection."""

    def studies(self, window: Window, each: Callable[[StudyThere], None], *, most: int | None = None) -> bool:
        """Tell the studies of a window one by one; whether those were all.

        False where it ended early: by itself, or because `most` were told and the rest was cancelled.
        """

    def study(self, uid: StudyUID) -> StudyThere | None:
        """A study, if it is there."""

    def series(self, study: StudyUID) -> Sequence[SeriesThere]:
        """The series of a study."""

    def instances(self, study: StudyUID, series: SeriesUID) -> Sequence[InstanceThere]:
        """The instances of a series."""

    def store(self, instances: Sequence[Instance]) -> Iterator[Answer]:
        """Send instances one after the other and tell what became of each."""

    def commit(self, transaction: UID, wanted: Sequence[Wanted]) -> Vouched | None:
        """Ask it to take the responsibility; None where the answer comes later, or never (PS3.4 J)."""

    def fetch(
        self, study: StudyUID, series: SeriesUID, instances: Sequence[InstanceThere], *, whole: bool
    ) -> Fetched:
        """Have instances of a series brought into this archive through its normal door.

        Args:
            study: of which.
            series: of which.
            instances: those that are wanted.
            whole: they are all of the series, so that it can be asked for as such.
        """

    def close(self) -> None:
        """End what is open; the next call opens it anew."""
