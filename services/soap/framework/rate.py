"""How often a caller of the SOAP services may call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.https.rate import MANY, Rate

__all__ = ["MANY", "Rate", "by_address"]


def by_address(rate: Rate) -> Callable[[dict[str, Any]], None]:
    """What lets each network address in so often, before anything of its message is read."""
    return lambda environ: rate.demand(str(environ.get("REMOTE_ADDR", "")))
