"""How a site calls others, from its settings."""

from __future__ import annotations

from node.replication.peer import Peers
from node.wiring import Site
from services.soap.peer import Calling, SoapPeers
from services.transfer.pace import Pace

_BITS = 1_000_000 / 8


def peers_of(site: Site) -> Peers:
    """The other sites, as this one calls them."""
    mbit = site.settings.replication.rate_mbit
    pace = Pace(lambda: mbit * _BITS) if mbit else None
    return SoapPeers(Calling(members=site.members, blobs=site.blobs, clock=site.clock, pace=pace))
