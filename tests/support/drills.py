"""Drills held at a site of this process, whose members are called without a network."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from typing import Any

from node.recovery.drill import door
from node.recovery.drill.direct import Caller, Lines
from node.recovery.drill.order import Bounds, Order, Scenario
from node.recovery.drill.scratch import Live
from tests.support.federation import FederatedSite

SEED = 7


def live_of(site: FederatedSite, *others: FederatedSite) -> Live:
    """A site as drills see it, and the members that it can call."""
    lines = Lines()
    for other in (site, *others):
        lines.open(other)
    return Live(
        site=site.name,
        folder=site.folder,
        catalog=site.catalog,
        catalog_file=site.folder / "catalog.db",
        blobs=site.blobs,
        home=site.home,
        peers_of=lambda _, blobs: lines.peers(Caller(name=site.name, home=site.home, blobs=blobs)),
        clock=site.clock,
    )


def drill(live: Live, scenario: Scenario, **bounds: Any) -> dict[str, Any]:
    """Hold a drill; what its report says."""
    order = Order(scenario=scenario, seed=SEED, bounds=Bounds(**bounds))
    operator = FederatedSite.operator.fget(_Named(live.site))  # type: ignore[attr-defined]
    return dict(door.hold(live, operator, order).report)


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name


def state(site: FederatedSite) -> str:
    """A digest of all that a site holds, apart from the audit ledger and what it noted of itself."""
    found = hashlib.sha256()
    with closing(sqlite3.connect(site.folder / "catalog.db")) as catalog:
        for line in catalog.iterdump():
            if not line.startswith('INSERT INTO "audit"'):
                found.update(line.encode())
    for digest, content in sorted(site.blobs.blobs.items()):
        found.update(digest.encode() + hashlib.sha256(content).digest())
    return found.hexdigest()
