"""The migration of a whole foreign archive into this one, by plain DICOM.

```
windows of dates ──▶ studies ──▶ series by series: C-FIND of the instances there, minus those archived here
                                        │                                     │ nothing is missing
                                        ▼                                     ▼
                             C-GET or C-MOVE of what is missing ──▶ C-FIND against the archive again: here
                                        ▲                                     │ something is missing
                                        └── after a pause that doubles ◀──────┘ ──▶ told by UID in the end
```

Instances come in by the normal door of the archive. Every step is a row of the catalog, so a migration that
was interrupted, on either side, goes on where it was; and since nothing is asked for that is here, it may be
repeated at any time for what has come there since.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

from node.catalog.catalog import Catalog
from node.catalog.moving import CUT, DONE, DUE
from node.catalog.unit import Unit
from node.domain.errors import ForeignRefused, PeerUnreachable
from node.domain.ids import InstanceUID, SeriesUID
from node.domain.job import SECOND
from node.domain.partner import (
    Difference,
    InstanceThere,
    Moving,
    MovingSeries,
    MovingStudy,
    Partner,
    SeriesThere,
    StudyThere,
    Unlike,
)
from node.partners.foreign import Foreign
from node.partners.listing import list_window, means
from node.partners.windows import Window, windows

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""Times that a study is tried in one run before its differences are told."""
FETCHES = 2
"""Times that what is missing of a series is asked for in one attempt."""
FIRST_PAUSE = 2 * SECOND
LONGEST_PAUSE = 60.0
"""Seconds between two looks whether the partner can be reached again."""
BUFFER = 500
"""Studies that are written in one unit of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a migration behaves towards the partner, the clock and whoever watches."""

    today: date
    wait: Callable[[float], None]
    """Wait for so many seconds."""
    goes_on: Callable[[], bool] = lambda: True
    """Whether to go on with the next step; may wait until it is time for it."""
    fetched: Callable[[int], None] = lambda instances: None
    """Told how many instances have just come, so that it can slow down."""
    tell: Callable[[], None] = lambda: None
    """Told that a step is committed."""
    patience: float = 600.0
    """Seconds for which a partner may be out of reach."""


class Migration:
    """Brings what a partner has; used by one thread."""

    def __init__(
        self,
        catalog: Catalog,
        partner: Partner,
        foreign: Foreign,
        manners: Manners,
        *,
        since: date | None = None,
    ) -> None:
        """The migration of a partner.

        Args:
            catalog: the facts.
            partner: whose.
            foreign: that archive, which brings instances through the door of this one.
            manners: how to behave.
            since: studies from this date on only.
        """
        self._catalog = catalog
        self._partner = partner
        self._name = partner.ae_title
        self._foreign = foreign
        self._manners = manners
        self._since = since

    def run(self, *, verify: bool = False) -> bool:
        """Bring everything that is not here; whether it came to its end.

        Args:
            verify: compare also what was compared before.

        Raises:
            PeerUnreachable: the partner was out of reach for too long; a later run goes on here.
            Rejected: the partner does not let us find or fetch at all.
            Unavailable: this archive can take nothing now.
        """
        self._catalog.perform(lambda unit: self._begin(unit, verify))
        if not self._patiently(self._list_next) or not self._patiently(self._bring_next):
            return False
        self._catalog.perform(lambda unit: unit.partners.migrated(self._name))
        return True

    def _begin(self, unit: Unit, verify: bool) -> None:
        """Go on where the last run was, or begin to list anew."""
        unit.moving.revive(self._name, Moving.DIFFERS)
        if verify:
            unit.moving.revive(self._name, Moving.HERE)
        going = unit.moving.windows(self._name, DUE)
        if not going and (verify or unit.moving.next_due(self._name) is None):
            unit.moving.drop_windows(self._name)
            for window in windows(self._manners.today, self._since):
                unit.moving.put_window(self._name, str(window), DUE)

    def _patiently(self, step: Callable[[], bool]) -> bool:
        """Repeat a step until it says that there is no more; False when told to stop.

        A partner that goes away is waited for.
        """
        waited, pause = 0.0, 1.0
        while self._manners.goes_on():
            try:
                if not step():
                    return True
                waited, pause = 0.0, 1.0
            except PeerUnreachable as error:
                self._foreign.close()
                self._note(str(error))
                if waited >= self._manners.patience:
                    raise
                log.warning("a partner is waited for", extra={"partner": self._name, "why": str(error)})
                self._manners.wait(pause)
                waited, pause = waited + pause, min(2 * pause, LONGEST_PAUSE)
            else:
                self._manners.tell()
        return False

    def _note(self, reason: str) -> None:
        self._catalog.perform(lambda unit: unit.partners.failed(self._name, reason))

    def _list_next(self) -> bool:
        """List the next window; whether there was one."""
        with self._catalog.reading() as unit:
            waiting = unit.moving.windows(self._name, DUE)
        if not waiting:
            self._note("")
            return False
        window = Window.read(waiting[0])
        found: list[StudyThere] = []

        def keep(study: StudyThere) -> None:
            found.append(study)
            if len(found) >= BUFFER:
                self._write_studies(found)

        listed = list_window(self._foreign, window, keep)
        self._write_studies(found)

        def write(unit: Unit) -> None:
            if listed.parts:
                unit.moving.drop_window(self._name, str(window))
            else:
                unit.moving.put_window(self._name, str(window), CUT if listed.cut else DONE, listed.studies)
            for part in listed.parts:
                unit.moving.put_window(self._name, str(part), DUE)

        self._catalog.perform(write)
        return True

    def _write_studies(self, found: list[StudyThere]) -> None:
        """Write what was told and is meant, and forget it."""
        match, today = self._partner.match, self._manners.today
        meant = [study for study in found if means(match, study, today, self._since)]
        found.clear()
        if meant:
            self._catalog.perform(partial(self._note_studies, meant))

    def _note_studies(self, studies: Sequence[StudyThere], unit: Unit) -> None:
        """Have brought what is new there, or has another number of instances than it had."""
        for study in studies:
            known = unit.moving.study(self._name, study.uid)
            new = MovingStudy(uid=study.uid, date=study.date, told=study.instances)
            grown = known is not None and (study.instances is None or study.instances != known.told)
            if known is None or (known.state is Moving.HERE and grown):
                unit.moving.put_study(self._name, new)

    def _bring_next(self) -> bool:
        """Bring the next study; whether there is anything left to do."""
        with self._catalog.reading() as unit:
            studies = unit.moving.next_studies(self._name, 1)
            due, now = unit.moving.next_due(self._name), unit.now
        if studies:
            self._bring(studies[0])
        elif due is not None:
            self._manners.wait(min(max(due - now, 0) / SECOND + 0.01, LONGEST_PAUSE))
        return due is not None

    def _bring(self, study: MovingStudy) -> None:
        """Bring a study, series by series, and write how far it is."""
        try:
            listed = self._foreign.series(study.uid)
        except ForeignRefused as refusal:
            self._write_study(study, str(refusal), set())
            return
        modalities = self._partner.match.modalities
        there = [one for one in listed if not modalities or one.modality in modalities]
        with self._catalog.reading() as unit:
            known = unit.moving.series(self._name, study.uid)
        error = ""
        for series in there:
            row = known.get(series.uid)
            if study.attempts and row and row.state is Moving.HERE and row.there == series.instances:
                continue
            if not self._manners.goes_on():
                return
            error = self._bring_series(study, series) or error
        self._write_study(study, error, set(known) - {series.uid for series in there})

    def _write_study(self, study: MovingStudy, error: str, left: set[SeriesUID]) -> None:
        """Write where a study stands after an attempt, and forget the series that are there no longer."""

        def write(unit: Unit) -> None:
            for uid in left:
                unit.moving.drop_series(self._name, study.uid, uid)
            unit.moving.put_study(self._name, _after(study, error, unit.now))

        self._catalog.perform(write)

    def _bring_series(self, study: MovingStudy, series: SeriesThere) -> str:
        """Bring a series; what is wrong with it, empty where nothing is."""
        row = MovingSeries(uid=series.uid, study=study.uid, modality=series.modality)
        try:
            there = self._foreign.instances(study.uid, series.uid)
            reasons, fetched = self._fetch(study, series, there)
        except ForeignRefused as refusal:
            self._write_series(replace(row, there=series.instances or 0, error=str(refusal)), ())
            return str(refusal)
        differences, here = self._differences(study, series, there, reasons)
        missing = sum(one.kind is Unlike.MISSING for one in differences)
        error = f"{missing} instances are missing" if missing else ""
        row = replace(
            row,
            there=len(there),
            here=len(here),
            bytes=sum(size for size, _ in here.values()),
            fetched=fetched,
            state=Moving.LISTED if missing else Moving.HERE,
            error=error,
        )
        self._write_series(row, differences)
        return error

    def _write_series(self, row: MovingSeries, differences: Sequence[Difference]) -> None:
        def write(unit: Unit) -> None:
            before = unit.moving.series(self._name, row.study).get(row.uid)
            fetched = row.fetched + (before.fetched if before else 0)
            unit.moving.put_series(self._name, replace(row, fetched=fetched), differences)

        self._catalog.perform(write)

    def _fetch(
        self, study: MovingStudy, series: SeriesThere, there: Sequence[InstanceThere]
    ) -> tuple[dict[InstanceUID, str], int]:
        """Have brought what is missing; why some did not come, and how many came."""
        reasons: dict[InstanceUID, str] = {}
        missing = self._missing(there)
        first = len(missing)
        for number in range(FETCHES):
            if not missing:
                break
            whole = number == 0 and len(missing) == len(there)
            told = self._foreign.fetch(study.uid, series.uid, missing, whole=whole)
            reasons |= told.reasons
            before, missing = len(missing), self._missing(missing)
            self._manners.fetched(before - len(missing))
        return reasons, first - len(missing)

    def _missing(self, there: Sequence[InstanceThere]) -> list[InstanceThere]:
        """Those of the instances that are neither archived here nor withdrawn."""
        uids = [instance.uid for instance in there]
        with self._catalog.reading() as unit:
            known = set(unit.moving.here_among(uids)) | unit.moving.withdrawn_among(uids)
        return [instance for instance in there if instance.uid not in known]

    def _differences(
        self,
        study: MovingStudy,
        series: SeriesThere,
        there: Sequence[InstanceThere],
        reasons: dict[InstanceUID, str],
    ) -> tuple[list[Difference], dict[str, tuple[int, str]]]:
        """What is not here as it is there, and what is here of it."""
        uids = [instance.uid for instance in there]
        with self._catalog.reading() as unit:
            here = unit.moving.here_among(uids)
            withdrawn = unit.moving.withdrawn_among(uids)
        differences = []
        for instance in there:
            kind, why = _unlike(instance, here.get(instance.uid), instance.uid in withdrawn)
            if kind is not None:
                why = reasons.get(instance.uid, why) if kind is Unlike.MISSING else why
                differences.append(
                    Difference(instance=instance.uid, study=study.uid, series=series.uid, kind=kind, why=why)
                )
        return differences, here


def _unlike(
    instance: InstanceThere, here: tuple[int, str] | None, withdrawn: bool
) -> tuple[Unlike | None, str]:
    """How an instance differs from what is archived here, if it does, and why."""
    if here is None and withdrawn:
        return Unlike.WITHDRAWN, "it was withdrawn here"
    if here is None:
        return Unlike.MISSING, "it was asked for and did not come; it may be in quarantine here"
    if instance.transfer_syntax is not None and instance.transfer_syntax != here[1]:
        return Unlike.CONVERTED, f"there it is stored in {instance.transfer_syntax}, it came in {here[1]}"
    return None, ""


def _after(study: MovingStudy, error: str, now: int) -> MovingStudy:
    """A study after an attempt."""
    if not error:
        return replace(study, state=Moving.HERE, error="")
    attempts = study.attempts + 1
    state = Moving.DIFFERS if attempts >= ATTEMPTS else Moving.LISTED
    pause = FIRST_PAUSE * 2**study.attempts
    return replace(study, state=state, attempts=attempts, due_at=now + pause, error=error)
