"""What drills have of a site: its stores to read, and its members to read from."""

from __future__ import annotations

from node.blobs.store import BlobStore
from node.domain.job import SECOND
from node.identity.members import Members
from node.recovery.drill.scratch import Live
from node.replication.peer import Peers
from node.wiring import Site
from services.run.peers import pace_of
from services.soap.peer import Calling, SoapPeers

_MIB = 1 << 20


def live_of(site: Site) -> Live:
    """A site as its drills see it."""
    settings, pace = site.settings, pace_of(site)

    def peers_of(members: Members, blobs: BlobStore) -> Peers:
        return SoapPeers(Calling(members=members, blobs=blobs, clock=site.clock, pace=pace))

    return Live(
        site=settings.site.name,
        folder=site.directory,
        catalog=site.catalog,
        catalog_file=settings.catalog.path,
        blobs=site.blobs,
        home=site.home,
        peers_of=peers_of,
        clock=site.clock,
        reserve=settings.store.reserve_mb * _MIB,
        overdue=int(settings.recovery.overdue_minutes * 60 * SECOND),
    )
