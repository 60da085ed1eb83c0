"""What the DICOM face has of other sites: one search and two ways to retrieve over the same bounds."""

from __future__ import annotations

from node.replication.calls import Calls
from node.replication.demand import Demand
from node.replication.federated_search import FederatedSearch
from node.replication.peer import Peers
from node.replication.read_through import ReadThrough
from node.wiring import Site
from services.run.care import healing_of

FETCHES = 16
"""Packs that are fetched from one site on demand at the same time."""


class Reach:
    """The other sites, as devices of this one use them."""

    def __init__(self, site: Site, peers: Peers) -> None:
        """Reach out from a site.

        Args:
            site: its doors.
            peers: makes the peer of a member.
        """
        self._site = site
        self._peers = peers
        self._calls, self._fetches = Calls(), Calls(each=FETCHES)
        self._demand = Demand(site.catalog, site.effects, site.intake)
        self.whole = healing_of(site, peers)
        """The archive, reading through damage."""
        self.search = FederatedSearch(site.archive, site.catalog, peers, self._calls)
        self.usual = self._reader(everywhere=False)
        """Retrieves what is here, and asks others for what is not."""
        self.everywhere = self._reader(everywhere=True)
        """Asks others always."""

    def _reader(self, *, everywhere: bool) -> ReadThrough:
        return ReadThrough(
            self._site.archive,
            self._site.catalog,
            self._peers,
            self._calls,
            self._fetches,
            self._demand,
            patience=self._site.settings.dicom.federation_timeout,
            everywhere=everywhere,
        )
