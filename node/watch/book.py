"""Books of alerts: the one in the catalog, and one in memory for when that cannot be written."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Protocol

from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.alert import Alert, Notice


class Book(Protocol):
    """Alerts that sinks are told of."""

    def pending(self) -> Sequence[Alert]:
        """Alerts of which somebody may have to be told something, the oldest first.

        Raises:
            Unavailable: the book cannot be read.
        """
        ...

    def heard(self, alert: Alert, sink: str, notice: Notice) -> Alert:
        """Note durably that a sink has told a notice; the alert as it stands then.

        Raises:
            Unavailable: it could not be noted.
        """
        ...


class CatalogBook:
    """Alerts in the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        """The alerts of this catalog."""
        self._catalog = catalog

    def pending(self) -> Sequence[Alert]:
        """Alerts that are not settled (see `Book.pending`)."""
        with self._catalog.reading() as unit:
            return unit.alerts.pending()

    def heard(self, alert: Alert, sink: str, notice: Notice) -> Alert:
        """Note what was told (see `Book.heard`)."""

        def note(unit: Unit) -> Alert:
            now = (unit.alerts.find(alert.key, alert.since_at) or alert).heard(sink, notice)
            unit.alerts.save(now)
            return now

        return self._catalog.perform(note)


class MemoryBook:
    """Alerts that a process keeps for itself; they end with it."""

    def __init__(self) -> None:
        """A book without alerts."""
        self._lock = Lock()
        self._alerts: dict[tuple[str, int], Alert] = {}

    def pending(self) -> Sequence[Alert]:
        """Alerts that are not settled (see `Book.pending`)."""
        with self._lock:
            return list(self._alerts.values())

    def heard(self, alert: Alert, sink: str, notice: Notice) -> Alert:
        """Note what was told (see `Book.heard`)."""
        with self._lock:
            now = self._alerts.get((alert.key, alert.since_at), alert).heard(sink, notice)
            self._put(now)
            return now

    def save(self, alert: Alert) -> None:
        """Write how an episode stands."""
        with self._lock:
            told = self._alerts.get((alert.key, alert.since_at), alert).told
            self._put(alert.with_told(told))

    def _put(self, alert: Alert) -> None:
        if alert.is_settled:
            self._alerts.pop((alert.key, alert.since_at), None)
        else:
            self._alerts[alert.key, alert.since_at] = alert
