"""Conditions of audit records: of this site, and of its members."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from node.domain.alert import DAY, SECOND, Concern, Severity
from node.domain.words import span
from node.settings import AlertSettings
from node.watch.seen import Seen

TOLD: Final = 3
"""Ranges that an alert names; the command names all."""
MUTE: Final = 900 * SECOND
"""For how long a repository may not be reached."""


def broken(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """An audit record is not what it was."""
    for site, faults in seen.audit_faults.items():
        more = f" and {len(faults) - TOLD} more" if len(faults) > TOLD else ""
        yield Concern(
            kind="audit-broken",
            subject=site,
            severity=Severity.CRITICAL,
            what=f"The audit record is not what it was: {'; '.join(faults[:TOLD])}{more}.",
            todo=f"Say `konzilium audit verify {seen.directory}`, and ask at {site} what was done: a restore "
            "from an old backup shows like this, and so does somebody who covers up.",
        )


def unseen(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """A member that can be reached does not show its audit record."""
    for one in seen.neighbours:
        if one.unaudited > DAY and not one.error:
            yield Concern(
                kind="audit-unseen",
                subject=one.site,
                severity=Severity.WARNING,
                what=f"{one.site} has not shown for {span(one.unaudited / SECOND)} that its audit record "
                "is what it was.",
                todo="See the log of the worker for why; an older version there does not know how to.",
            )


def unsent(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """The repository of audit messages does not get them."""
    silent = seen.now - seen.repository_failed_at
    if seen.repository and silent > MUTE:
        yield Concern(
            kind="audit-unsent",
            subject=seen.repository,
            severity=Severity.CRITICAL if silent > DAY else Severity.WARNING,
            what=f"The repository of audit messages has got none for {span(silent / SECOND)} "
            f"({seen.repository_error.rstrip('.')}); they are kept and sent again.",
            todo="See whether it works and lets this node in: address, certificate and whom it trusts "
            "([audit] in site.toml).",
        )
