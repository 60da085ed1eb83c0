"""Who was turned away at a door before anybody knew who it was, in the audit record, and no flood of it.

```
turned away ──▶ recorded at once ── the same again within a minute ──▶ counted
                      ▲                                                   │
                      └────── the same again later: with the count ───────┘
```

Strangers choose their names and can knock as often as they like; so the same is written once a minute, with
how often it was, and of more than some hundred different ones in a minute only that there were others. A
count that was not written when the process ends is lost; that somebody was turned away is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final, TypeAlias

from node.audit.record import Deed, Event
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.words import number

WINDOW: Final = 60.0
"""Seconds within which the same is only counted."""
KINDS: Final = 200
"""Different ones that are told apart at the same time."""
LONGEST: Final = 200
"""Characters that are kept of what a stranger says."""

_Key: TypeAlias = tuple[str, str, str]


@dataclass(slots=True)
class _Seen:
    """What was written, until when the same is counted, and how often it was since."""

    deed: Deed
    until: float
    more: int = 0


class Refusals:
    """Writes down who was turned away."""

    def __init__(self, catalog: Catalog, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Write into the ledger of this catalog; `monotonic` tells seconds."""
        self._catalog = catalog
        self._monotonic = monotonic
        self._seen: dict[_Key, _Seen] = {}
        self._lock = Lock()

    def note(self, *, who: str, address: str, what: str, reason: str) -> None:
        """Write down that somebody was turned away, or count it.

        Args:
            who: the name that was given, proved or not.
            address: where the caller is.
            what: what for.
            reason: why not.
        """
        due = self.due(who=who, address=address, what=what, reason=reason)

        def write(unit: Unit) -> None:
            for deed in due:
                unit.audit.append(deed)

        if due:
            self._catalog.perform(write)

    def due(self, *, who: str, address: str, what: str, reason: str) -> list[Deed]:
        """What is to be written now, for a unit of work that writes more than that (see `note`)."""
        deed = Deed(
            event=Event.REFUSED,
            who=f"unknown:{who[:LONGEST] or '-'}",
            address=address,
            what=what[:LONGEST],
            reason=reason[:LONGEST],
            refused=True,
        )
        with self._lock:
            now = self._monotonic()
            told = list(self._forgotten(now)) if len(self._seen) >= KINDS else []
            if len(self._seen) >= KINDS and _key(deed) not in self._seen:
                deed = replace(deed, who="unknown:others", address="", reason="")
            return [*told, *self._one(deed, now)]

    def _one(self, deed: Deed, now: float) -> Iterator[Deed]:
        seen = self._seen.get(_key(deed))
        if seen is not None and now < seen.until:
            seen.more += 1
            return
        self._seen[_key(deed)] = _Seen(deed=deed, until=now + WINDOW)
        yield _counted(deed, seen.more) if seen is not None else deed

    def _forgotten(self, now: float) -> Iterator[Deed]:
        """Make room, and tell what was counted."""
        for key, seen in list(self._seen.items()):
            if now >= seen.until:
                del self._seen[key]
                if seen.more:
                    yield _counted(seen.deed, seen.more)


def _key(deed: Deed) -> _Key:
    return deed.who, deed.address, deed.what


def _counted(deed: Deed, more: int) -> Deed:
    return replace(deed, what=f"{deed.what} ({number(more, 'time')} more before)") if more else deed
