"""Time as an argument."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], int]
"""Says the time in microseconds since 1970."""


def system_clock() -> int:
    """The time of the machine."""
    return time.time_ns() // 1000
