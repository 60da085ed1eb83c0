"""Conditions of what persons did that others have to look at."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from node.domain.alert import DAY, Concern, Severity
from node.settings import AlertSettings
from node.watch.seen import Seen

LATE: Final = 3 * DAY
"""How long an emergency access may wait to be reviewed."""


def emergencies(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """Somebody opened a study in an emergency, and nobody has reviewed that."""
    todo = f"See `konzilium emergency list {seen.directory}`, and let an auditor review it."
    for number, at in seen.emergencies.items():
        yield Concern(
            kind="emergency",
            subject=str(number),
            severity=Severity.WARNING,
            what=f"A study was opened in an emergency (number {number}), and nobody has reviewed that.",
            todo=todo,
        )
        if seen.now - at > LATE:
            yield Concern(
                kind="emergency-late",
                subject=str(number),
                severity=Severity.CRITICAL,
                what=f"Emergency access {number} has waited for days, and nobody has reviewed it.",
                todo=todo,
            )
