"""How couriers of a site work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How couriers of a site work."""

    streams: int = 4
    """Packs at the same time."""
    pack_bytes: int = 16 << 20
    pack_blobs: int = 64
    batch: int = 512
    """Bytes are asked for by so many blobs at a time."""
    heartbeat: float = 15.0
    """Seconds after which the other site is called although there is no news."""
    only_calls: bool = False
    """Nobody can call this site: it also puts at the others what they want of it."""
    is_open: Callable[[], bool] = lambda: True
    """Whether bytes may travel now that nobody is waiting for."""
