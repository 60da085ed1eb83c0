"""How a site calls others, from its settings."""

from __future__ import annotations

from node.replication.peer import Peers
from node.wiring import Site
from services.soap.peer import Calling, SoapPeers
from services.transfer.pace import Pace, Paces

_BITS = 1_000_000 / 8


def pace_of(site: Site) -> Paces | None:
    """The cap on bytes per second that the settings say; None for none."""
    mbit = site.settings.replication.rate_mbit
    return Pace(lambda: mbit * _BITS) if mbit else None


def peers_of(site: Site) -> Peers:
    """The other sites, as this one calls them."""
    pace = pace_of(site)
    return SoapPeers(Calling(members=site.members, blobs=site.blobs, clock=site.clock, pace=pace))
