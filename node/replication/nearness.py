"""In which order sites are asked for what several of them have: healthy ones first, then the nearest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from node.catalog.unit import Unit
from node.domain.ids import SiteId

Nearness: TypeAlias = tuple[bool, bool, int, int, SiteId]
"""Less is better: it failed last, its distance is not known, microseconds there and back, turn, name."""


def nearest_first(unit: Unit, sites: Iterable[SiteId]) -> list[SiteId]:
    """Sites in the order in which to ask them.

    Args:
        unit: reads how it went with each of them lately.
        sites: in the order in which they answered, if they did; that decides among those of which the time
            there and back was not measured.
    """
    ranked = [_nearness(unit, site, turn) for turn, site in enumerate(sites)]
    return [site for *_, site in sorted(ranked)]


def is_failing(unit: Unit, site: SiteId) -> bool:
    """Whether the last attempt to reach a site failed and it has not been heard of since."""
    contact = unit.members.contact(site)
    return contact.failed_at > contact.heard_at


def _nearness(unit: Unit, site: SiteId, turn: int) -> Nearness:
    away = unit.members.contact(site).rtt
    return is_failing(unit, site), not away, away, turn, site
