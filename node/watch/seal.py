"""The condition of the sealed account: its use is always worth a question."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from node.domain.account import SEALED_NAME
from node.domain.alert import SECOND, Concern, Severity
from node.domain.words import span
from node.settings import AlertSettings
from node.watch.seen import Seen


def seal(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """Somebody has opened the envelope with the password of the sealed account."""
    if seen.opened_at:
        ago = span((seen.now - seen.opened_at) / SECOND)
        yield Concern(
            kind="seal-broken",
            subject=SEALED_NAME,
            severity=Severity.CRITICAL,
            what=f"The sealed account of the administrator was used {ago} ago.",
            todo=f"Ask who did so and why; for a new envelope say `konzilium account seal {seen.directory}`.",
        )
