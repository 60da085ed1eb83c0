"""All conditions: what of a site, as it is seen, is worth an alert. Status and alerts both ask here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeAlias

from node.domain.alert import Concern
from node.settings import AlertSettings
from node.watch import disks, ledgers, logins, neighbours, persons, seal, upkeep
from node.watch.seen import Seen

Condition: TypeAlias = Callable[[Seen, AlertSettings, Collection[str]], Iterator[Concern]]
"""Judges what is seen; the keys of alerts that are open let it leave a bound later than it was reached."""

CONDITIONS: tuple[Condition, ...] = (
    disks.disks,
    disks.store,
    neighbours.neighbours,
    logins.logins,
    seal.seal,
    persons.emergencies,
    ledgers.broken,
    ledgers.unseen,
    ledgers.unsent,
    upkeep.certificates,
    upkeep.devices,
    upkeep.jobs,
    upkeep.sinks,
    upkeep.waiting,
)


def concerns(seen: Seen, settings: AlertSettings, open_: Collection[str] = ()) -> Sequence[Concern]:
    """What there is to be concerned about, in the order of the conditions."""
    return [concern for condition in CONDITIONS for concern in condition(seen, settings, open_)]
