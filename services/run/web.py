"""The process for people: the portal, by HTTPS, for browsers that show no certificate or a person's."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from node.domain.errors import BadSetting, NodeError
from node.identity import web_keys
from node.identity.emergencies import Emergencies
from node.identity.gate import Gate
from node.identity.person_certificates import PersonCertificates
from node.identity.saml import metadata
from node.identity.saml.login import Logins
from node.identity.sessions import Sessions
from node.replication.accounting import Accounting
from node.settings import FILE, WebSettings
from node.settings.kinds import LOOPBACK
from node.wiring import KEYS, Site, open_site
from services.https.limits import Limits
from services.https.public import PublicContexts
from services.https.server import Server
from services.portal.app import portal
from services.portal.doors import About, Doors
from services.portal.opening import Opening
from services.run.child import GRACE, Report
from services.run.doors import web_doors
from services.run.peers import peers_of
from services.run.providers import about_of, providers_of, sp_of
from services.run.reach import Reach

log = logging.getLogger(__name__)

LIMITS: Final = Limits(
    threads=24, strangers=24, connections=512, connections_per_address=64, idle_seconds=30.0
)
"""People show no certificate, so all of them are strangers to the server."""
TEND: Final = 60.0
"""Seconds between two looks at sessions that are over, and at the certificate."""


def work(directory: Path, stop: threading.Event, ready: Report) -> None:
    """Serve the portal until told to stop, then let open requests finish."""
    with open_site(directory) as site:
        settings = site.settings.web
        if settings.port is None:
            ready([])
            stop.wait()
            return
        demand_apart(site)
        doors = doors_of(site)
        application = portal(doors, idle_minutes=settings.idle_minutes)
        server = Server(
            application, (settings.host, settings.port), contexts(site), LIMITS, setting="web.host"
        )
        server.start()
        try:
            ready(web_doors(settings))
            while not stop.wait(TEND):
                tend(site, doors.sessions)
        finally:
            server.stop(grace=GRACE / 2)


def demand_apart(site: Site) -> None:
    """See that a demonstration can be reached from this machine alone.

    Raises:
        BadSetting: it listens to others.
    """
    if site.settings.login.demonstration and site.settings.web.host not in LOOPBACK:
        raise BadSetting(
            "web.host",
            site.directory / FILE,
            'a demonstration, in which anybody can be anybody, listens on this machine alone: "127.0.0.1"',
        )


def contexts(site: Site) -> PublicContexts:
    """What the portal shows in handshakes: the certificate of the settings, or one that the node made.

    Raises:
        BadSetting: there is a certificate without its key, or the other way round.
    """
    settings = site.settings.web
    if settings.certificate is not None and settings.private_key is not None:
        return PublicContexts(settings.certificate, settings.private_key, settings.person_ca)
    if settings.certificate is not None or settings.private_key is not None:
        missing = "web.private_key" if settings.private_key is None else "web.certificate"
        raise BadSetting(missing, site.directory / FILE, "a certificate and its key are set together")
    certificate, private_key = _own_certificate(site)
    return PublicContexts(certificate, private_key, settings.person_ca)


def tend(site: Site, sessions: Sessions) -> None:
    """End the sessions that are over, and renew the certificate in time."""
    try:
        sessions.sweep()
        if site.settings.web.certificate is None:
            _own_certificate(site)
    except NodeError as error:
        log.warning("the portal could not be tended", extra={"error": str(error)})


def _own_certificate(site: Site) -> tuple[Path, Path]:
    return web_keys.make(site.directory / KEYS, host=_host(site.settings.web), now=site.clock())


def _host(settings: WebSettings) -> str:
    return urlsplit(settings.public_url(os.uname().nodename)).hostname or "localhost"


def doors_of(site: Site) -> Doors:
    """What the portal of a site is given."""
    settings, providers, sp = site.settings, providers_of(site), sp_of(site)
    login, name, told = settings.login, settings.site.name, about_of(site)
    peers, patience = peers_of(site), settings.dicom.federation_timeout
    reach, gate = Reach(site, peers), Gate(site.catalog)
    return Doors(
        about=About(
            site=name,
            organization=told.organization,
            support=told.support,
            url=sp.base_url,
            language=settings.web.language,
            demonstration=login.demonstration,
            mfa=login.mfa,
            local=login.local,
            certificates=settings.web.person_ca is not None,
            patience=patience,
        ),
        sessions=Sessions(
            site.catalog, idle=settings.web.idle_minutes * 60, longest=settings.web.session_hours * 3600
        ),
        standing=gate.known,
        why=gate.why,
        refused=lambda person, action, study, no: gate.refuse(gate.known(person), action, {study: no}),
        logins=Logins(site.catalog, providers, sp, site=name, mfa=login.mfa, clock=site.clock),
        metadata=lambda: metadata.written(sp, told),
        providers=providers,
        accounts=site.accounts,
        certificate=PersonCertificates(settings.web.person_ca, name, site.clock).person,
        search=reach.search,
        opening=Opening(reach.whole, reach.usual),
        emergencies=Emergencies(site.catalog),
        demand=gate.demand,
        accounting=Accounting(
            site.catalog, site.audit_book, peers, patience=settings.dicom.federation_timeout
        ),
    )
