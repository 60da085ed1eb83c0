"""Where notices go: the port that mail, webhook and log implement, and the words they use."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Protocol

from node.domain.alert import SECOND, Notice, Severity, Step
from node.domain.words import span

log = logging.getLogger("konzilium.alerts")

LOG = "log"
_LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.CRITICAL: logging.WARNING,
}
"""A line of the level `error` is an error of the node itself; what an alert weighs is its severity."""


class Sink(Protocol):
    """Tells notices to persons."""

    name: str
    least: Severity
    """The least severity that it tells."""

    def tell(self, notice: Notice) -> None:
        """Tell a notice; what is told again carries the same id.

        Raises:
            NoticeUntold: it could not be told; it is tried again.
        """
        ...


class LogSink:
    """Writes each notice as a line of the log."""

    name = LOG
    least = Severity.INFO

    def tell(self, notice: Notice) -> None:
        """Write the line."""
        level = logging.INFO if notice.step in (Step.OVER, Step.TEST) else _LEVELS[notice.severity]
        log.log(
            level,
            headline(notice),
            extra={"alert": notice.key, "severity": str(notice.severity), "step": str(notice.step)}
            | ({} if notice.step is Step.OVER else {"do": notice.todo}),
        )


def headline(notice: Notice) -> str:
    """The notice in one line."""
    match notice.step:
        case Step.OVER:
            return f"Over after {lasted(notice)}: {notice.what}"
        case Step.REMINDER:
            return f"Still, after {span((notice.at - notice.since_at) / SECOND)}: {notice.what}"
        case _:
            return notice.what


def lasted(notice: Notice) -> str:
    """How long the episode lasted."""
    return span(max(0, notice.over_at - notice.since_at) / SECOND)


def told(notice: Notice) -> dict[str, Any]:
    """The notice as JSON tells it."""
    return {
        "id": notice.id,
        "step": notice.step,
        "site": notice.site,
        "alert": notice.key,
        "severity": notice.severity,
        "what": notice.what,
        "do": notice.todo,
        "since": moment(notice.since_at),
        "over": moment(notice.over_at) if notice.over_at else None,
        "at": moment(notice.at),
    }


def moment(at: int) -> str:
    """A time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="seconds")
