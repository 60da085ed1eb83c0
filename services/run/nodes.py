"""The process for other nodes: SOAP and the transfer of bytes, by HTTPS with certificates on both sides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from node.blobs.store import BlobStore
from node.domain.ids import Digest
from node.replication.calls import Calls
from node.replication.dropping import Dropping
from node.replication.federated_search import FederatedSearch
from node.replication.mappings import Mappings
from node.replication.storing import Storing
from node.wiring import Site, open_site
from services.https.server import Server
from services.https.tls import Contexts
from services.run.care import recovery_of
from services.run.child import GRACE, Report
from services.run.doors import node_doors
from services.run.household import Household
from services.run.peers import peers_of
from services.run.turned_away import TurnedAway
from services.soap.audit import Audit
from services.soap.caller import limited, recognise
from services.soap.catalog import ReplicaCatalog
from services.soap.federation import Federation, let_strangers_join
from services.soap.federation import limited as limited_with_strangers
from services.soap.framework.endpoint import Endpoint, Guards
from services.soap.framework.rate import Rate, by_address
from services.soap.framework.registry import ROOT as SOAP
from services.soap.framework.registry import Registry
from services.soap.recovery import Recovery
from services.soap.security import Verifier
from services.soap.storage import Storage
from services.transfer.server import Transfer

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[Any]]

MEMBER_RATE, MEMBER_BURST = 50.0, 200.0
"""SOAP calls of one member a second, and at once."""
STRANGER_RATE, STRANGER_BURST = 0.2, 10.0
"""Attempts to join from one address."""
ADDRESS_RATE, ADDRESS_BURST = 200.0, 800.0
"""Messages from one address, before anything of them is read."""


def work(directory: Path, stop: threading.Event, ready: Report) -> None:
    """Listen until told to stop, then let open requests finish."""
    with open_site(directory) as site:
        settings = site.settings.node
        if site.home.url is None:
            ready([])
            stop.wait()
            return
        site.members.announce()
        server = Server(application(site), (settings.host, settings.port), contexts(site))
        server.start()
        try:
            ready(node_doors(settings))
            stop.wait()
        finally:
            server.stop(grace=GRACE / 2)


def contexts(site: Site) -> Contexts:
    """Whom a handshake lets in, as the list of members is at that moment."""
    folder = site.home.key_folder
    return Contexts(Household(site.members), certificate=folder / "node.crt", private_key=folder / "node.key")


def application(site: Site) -> Application:
    """Everything that is served to other nodes."""
    soap = Registry(endpoints(site))
    transfer = Transfer(site.blobs, Tickets(Household(site.members), site, TurnedAway(site)))

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[Any]:
        """Find the application of a path."""
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        chosen: Application = soap if path.startswith(f"{SOAP}/") else transfer
        return chosen(environ, start_response)

    return serve


def endpoints(site: Site) -> list[Endpoint]:
    """The SOAP services, behind one guard."""
    here, household = site.home.site, Household(site.members)
    verifier = Verifier(site=here, certificates_of=household.certificates_of, started=site.clock())
    authenticate = recognise(site.members, verifier, site.clock, here)
    members = Rate(per_second=MEMBER_RATE, burst=MEMBER_BURST)
    strangers = Rate(per_second=STRANGER_RATE, burst=STRANGER_BURST)
    admit = by_address(Rate(per_second=ADDRESS_RATE, burst=ADDRESS_BURST))
    refused = TurnedAway(site)
    for_members = Guards(admit=admit, authenticate=authenticate, limit=limited(members), refused=refused)
    for_household = replace(for_members, authenticate=recognise(household, verifier, site.clock, here))
    for_all = Guards(
        admit=admit,
        authenticate=let_strangers_join(authenticate),
        limit=limited_with_strangers(members, strangers),
        refused=refused,
    )
    peers = peers_of(site)
    dropping = Dropping(site.catalog, site.blobs, peers, brake=site.brake)
    search = FederatedSearch(site.archive, site.catalog, peers, Calls())
    storing = Storing(site.catalog, site.uploads, site.archive, site.service, dropping)
    return [
        Endpoint(Storage(site.service, site.answers, storing, search), guards=for_household),
        Endpoint(ReplicaCatalog(site.service, Mappings(site.catalog)), guards=for_members),
        Endpoint(Federation(site.service, site.members, site.invitations), guards=for_all),
        Endpoint(Recovery(site.service, recovery_of(site, peers), site.roles), guards=for_household),
        Endpoint(Audit(site.service, site.audit_book), guards=for_household),
    ]


class Tickets:
    """Who may move which bytes: members that are active now, for what their tickets say."""

    def __init__(self, members: Household, site: Site, turned_away: TurnedAway) -> None:
        """The tickets of a site.

        Args:
            members: recognises who shows them.
            site: made them out.
            turned_away: writes down who has none.
        """
        self._members = members
        self._turned_away = turned_away
        self._doors = site.service
        self._blobs, self._uploads = site.blobs, site.uploads

    def to_get(self, ticket: str, fingerprint: str, digests: Sequence[Digest]) -> None:
        """Let the bearer read these blobs."""
        with self._turned_away.noticing(fingerprint, "get bytes"):
            self._doors.to_get(ticket, self._members.recognise(fingerprint).site, digests)

    def to_put(self, ticket: str, fingerprint: str, digests: Sequence[Digest]) -> None:
        """Let the bearer send these blobs."""
        with self._turned_away.noticing(fingerprint, "put bytes"):
            self._doors.to_put(ticket, self._members.recognise(fingerprint).site, digests)

    def store_of(self, ticket: str) -> BlobStore:
        """Where what is sent with a ticket goes: something new goes through the door of the archive first."""
        return self._uploads if self._doors.is_upload(ticket) else self._blobs
