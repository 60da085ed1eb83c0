"""The watch: looks at the site again and again, and keeps the book of alerts.

```
look ──▶ concerns ──▶ episodes begin, go on, end (one transaction) ──▶ heralds tell the sinks
```

Where the catalog cannot be written, that itself is an alert; it is kept in memory and told all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.alert import DAY, Alert, Concern, Severity
from node.domain.clock import Clock
from node.domain.errors import NodeError
from node.watch.book import MemoryBook
from node.watch.conditions import concerns
from node.watch.look import Eye, Look, keep

KEPT: Final = 90 * DAY
"""How long alerts that are over are kept."""
PATIENCE: Final = 2
"""Looks in a row that must fail before that is an alert: a catalog may be busy for once."""


class Watch:
    """Keeps the book of alerts of one site."""

    def __init__(
        self,
        catalog: Catalog,
        eye: Eye,
        *,
        sinks: Mapping[str, Severity],
        clock: Clock,
        probe: Callable[[], str] = lambda: "",
    ) -> None:
        """A watch over a site.

        Args:
            catalog: of the site.
            eye: looks at it.
            sinks: who is owed notices, each with the least severity.
            clock: microseconds since 1970, for when the catalog cannot tell.
            probe: writes to the store and says why that failed, if it did.
        """
        self._catalog = catalog
        self._eye = eye
        self._sinks = sinks
        self._clock = clock
        self._probe = probe
        self._failures = 0
        self._failing: Alert | None = None
        self.emergencies = MemoryBook()
        """Alerts that could not be written down."""

    def round(self) -> Sequence[Concern]:
        """Look once and keep the book; what there is to be concerned about.

        Raises:
            NodeError: the catalog could not be read or written; that is noted in `emergencies`.
        """
        try:
            found, look = self._look()
            self._catalog.perform(lambda unit: self._keep(unit, found, look))
        except NodeError as error:
            self._failures += 1
            self._tend_emergency(str(error) if self._failures >= PATIENCE else "")
            raise
        self._failures = 0
        self._tend_emergency("")
        return found

    def _look(self) -> tuple[Sequence[Concern], Look]:
        error = self._probe()
        with self._catalog.reading() as unit:
            look = self._eye.look(unit, error)
            open_ = {alert.key for alert in unit.alerts.open()}
        return concerns(look.seen, self._eye.limits, open_), look

    def _keep(self, unit: Unit, found: Sequence[Concern], look: Look) -> None:
        keep(unit, look)
        step(unit, found, self._sinks)
        unit.alerts.prune(unit.now - KEPT)

    def _tend_emergency(self, error: str) -> None:
        """Begin, go on with or end the episode in which the catalog cannot be written."""
        now = self._clock()
        if error:
            concern = Concern(
                kind="catalog-failing",
                severity=Severity.CRITICAL,
                what=f"The catalog cannot be written: {error.rstrip('.')}.",
                todo="Look at the disk of the catalog; nothing can be stored until then.",
            )
            begun = self._failing or Alert.raised(concern, now)
            self._failing = begun.seen(concern, now).owed_to(self._sinks)
        elif self._failing and not self._failures:
            self._failing = self._failing.missed(now)
        if self._failing:
            self.emergencies.save(self._failing)
            self._failing = None if self._failing.is_over else self._failing


def step(unit: Unit, found: Collection[Concern], sinks: Mapping[str, Severity]) -> None:
    """Bring the book in step with what is seen."""
    now, by_key = unit.now, {concern.key: concern for concern in found}
    known = {alert.key: alert for alert in unit.alerts.open()}
    for key, alert in known.items():
        concern = by_key.get(key)
        later = alert.seen(concern, now) if concern else alert.missed(now)
        _save(unit, alert, later.owed_to(sinks))
    for key, concern in by_key.items():
        if key not in known and not concern.quiet:
            unit.alerts.save(Alert.raised(concern, now).owed_to(sinks))


def _save(unit: Unit, before: Alert, after: Alert) -> None:
    if after != before:
        unit.alerts.save(after)
