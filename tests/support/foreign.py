"""A foreign archive in memory, as `node.partners` sees one: it can lack, cut off, refuse, forget and fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from node.domain.commitment import Reason, Vouched, Wanted
from node.domain.errors import NodeError, PeerUnreachable
from node.domain.ids import UID, InstanceUID, SeriesUID, StudyUID, TransferSyntaxUID
from node.domain.instance import Admission, Instance, Offer
from node.domain.partner import InstanceThere, SeriesThere, StudyThere
from node.partners.foreign import Answer, Fetched, Offers
from node.partners.windows import Window
from tests.support import synthetic

Admit = Callable[[tuple[Offer, bytes]], Admission]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An instance that it holds."""

    study: StudyUID
    series: SeriesUID
    content: tuple[Offer, bytes] | None = None
    date: str = "20260102"
    time: str = "101500"
    patient: str = "P0001"
    modality: str = "CT"


@dataclass
class FakeForeign:
    """Holds instances, and behaves as it is told."""

    admit: Admit | None = None
    kept: dict[InstanceUID, Kept] = field(default_factory=dict)
    what: Offers = field(default_factory=lambda: Offers(find=True, move=True, get=True))
    limit: int | None = None
    """Studies that it tells at the most."""
    silently: bool = False
    """It does not say that there are more."""
    counts: bool = True
    commits_at_once: bool = True
    forgets: set[str] = field(default_factory=set)
    """Taken, and not listed."""
    refuses: dict[str, str] = field(default_factory=dict)
    keeps_back: set[str] = field(default_factory=set)
    """Listed, and not sent."""
    vouches_not: dict[str, Reason] = field(default_factory=dict)
    syntax: str | None = None
    """What it says that instances are stored in."""
    trouble: Callable[[str], None] = lambda call: None
    """Called before everything that it does; may raise."""
    calls: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    asked: list[tuple[UID, tuple[Wanted, ...]]] = field(default_factory=list)
    closed: int = 0

    def hold(self, study: int, *, series: int = 1, number: int = 1, **more: str) -> InstanceUID:
        """Hold one synthetic instance."""
        patient = more.get("patient", "P0001")
        made = synthetic.instance(study=study, series=series, number=number, patient=patient)
        uid = made[0].instance
        self.kept[uid] = Kept(
            study=synthetic.study_uid(study), series=synthetic.series_uid(study, series), content=made, **more
        )
        return uid

    def offers(self) -> Offers:
        self._do("offers")
        return self.what

    def studies(self, window: Window, each: Callable[[StudyThere], None], *, most: int | None = None) -> bool:
        self._do("studies")
        found = {one.study: one for one in self.kept.values() if _matches(window, one)}
        for told, (uid, one) in enumerate(sorted(found.items())):
            if told in (most, self.limit):
                return self.silently and told == self.limit
            each(StudyThere(uid=uid, date=one.date, instances=self._many(uid)))
        return True

    def study(self, uid: StudyUID) -> StudyThere | None:
        self._do("study")
        one = next((one for one in self.kept.values() if one.study == uid), None)
        return StudyThere(uid=uid, date=one.date, instances=self._many(uid)) if one else None

    def series(self, study: StudyUID) -> Sequence[SeriesThere]:
        self._do("series")
        found = {one.series: one for one in self.kept.values() if one.study == study}
        return [
            SeriesThere(
                uid=uid,
                modality=one.modality,
                instances=len(self._of(study, uid)) if self.counts else None,
            )
            for uid, one in found.items()
        ]

    def instances(self, study: StudyUID, series: SeriesUID) -> Sequence[InstanceThere]:
        self._do("instances")
        syntax = TransferSyntaxUID(self.syntax) if self.syntax else None
        return [InstanceThere(uid=uid, transfer_syntax=syntax) for uid in self._of(study, series)]

    def store(self, instances: Sequence[Instance]) -> Iterator[Answer]:
        for instance in instances:
            self._do("store")
            if why := self.refuses.get(instance.uid):
                yield Answer(instance=instance.uid, taken=False, why=why)
                continue
            if instance.uid not in self.forgets:
                self.kept[instance.uid] = Kept(study=instance.study, series=instance.series)
            self.taken.append(instance.uid)
            self._do("answer")
            yield Answer(instance=instance.uid, taken=True)

    def commit(self, transaction: UID, wanted: Sequence[Wanted]) -> Vouched | None:
        self._do("commit")
        self.asked.append((transaction, tuple(wanted)))
        return self.vouched(wanted) if self.commits_at_once else None

    def vouched(self, wanted: Sequence[Wanted]) -> Vouched:
        """What it says of these."""
        failed = {one.instance: self.vouches_not.get(one.instance) for one in wanted}
        return Vouched(
            held=tuple(one for one in wanted if not failed[one.instance]),
            failed=tuple((one, why) for one in wanted if (why := failed[one.instance])),
        )

    def fetch(
        self, study: StudyUID, series: SeriesUID, instances: Sequence[InstanceThere], *, whole: bool
    ) -> Fetched:
        wanted = self._of(study, series) if whole else [one.uid for one in instances]
        reasons: dict[InstanceUID, str] = {}
        for uid in wanted:
            self._do("fetch")
            one = self.kept.get(uid)
            if one is None or one.content is None or uid in self.keeps_back:
                continue
            assert self.admit is not None
            self.fetched.append(uid)
            try:
                self.admit(one.content)
                self._do("fetched")
            except PeerUnreachable:
                raise
            except NodeError as error:
                reasons[uid] = str(error)
        return Fetched(completed=len(wanted) - len(reasons), failed=len(reasons), reasons=reasons)

    def close(self) -> None:
        self.closed += 1

    def _of(self, study: StudyUID, series: SeriesUID) -> list[InstanceUID]:
        return [uid for uid, one in self.kept.items() if (one.study, one.series) == (study, series)]

    def _many(self, study: StudyUID) -> int | None:
        return sum(one.study == study for one in self.kept.values()) if self.counts else None

    def _do(self, call: str) -> None:
        self.calls.append(call)
        self.trouble(call)


def _matches(window: Window, one: Kept) -> bool:
    """Range and wildcard matching as an archive does it (PS3.4 C.2.2.2)."""
    return (
        _in_range(window.dates, one.date)
        and _in_range(window.times, one.time)
        and (not window.patients or fnmatchcase(one.patient, window.patients))
    )


def _in_range(key: str, value: str) -> bool:
    if not key:
        return True
    begin, dash, end = key.partition("-")
    end = end if dash else begin
    return bool(value) and (not begin or value >= begin) and (not end or value <= end)


class Away:
    """Lets a partner be out of reach at the n-th of its calls, counted from now."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = set(numbers)
        self.count = 0

    def __call__(self, call: str) -> None:
        self.count += 1
        if self.count in self.numbers:
            raise PeerUnreachable("PACS", "the line was cut")
