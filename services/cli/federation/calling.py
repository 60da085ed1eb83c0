"""Calls that a command makes to another node by itself, without a node running here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, cast
from urllib.parse import urlsplit

from lxml import etree

from node.domain.clock import system_clock
from node.domain.errors import NodeError, PeerUnreachable
from node.domain.ids import SiteId
from node.domain.member import Member
from node.identity.handshake import Token
from node.wiring import Site
from services.https.client import Connection, Destination, Waits
from services.https.tls import client_context, stranger_context
from services.soap.client.session import Secure, Session
from services.soap.client.wire import Pool, Wire
from services.soap.federation import Federation
from services.soap.security import Signer

log = logging.getLogger(__name__)

WAITS: Final = Waits(connect_seconds=10.0, stall_seconds=20.0)
"""For a person who waits for the answer."""
TARGET: Final = f"/soap/{Federation.path}/{Federation.version}"


@contextmanager
def stranger(token: Token) -> Iterator[Session]:
    """Calls to the inviter, which does not know this site yet, but is known by its certificate."""
    to = _destination(token.inviter, token.url, token.fingerprints)
    context = stranger_context()
    pool = Pool(lambda: cast(Wire, Connection(to, context, WAITS)))
    try:
        yield Session(Federation, peer=token.inviter, pool=pool, target=TARGET)
    finally:
        pool.close()


@contextmanager
def member(site: Site, to: Member) -> Iterator[Session]:
    """Calls to a member on behalf of whoever works here.

    Raises:
        PeerUnreachable: it has no address.
    """
    if to.url is None:
        raise PeerUnreachable(to.site, "only it can call this site")
    destination = _destination(to.site, to.url, to.fingerprints)
    key = site.home.key()
    context = client_context(key.certificate_file, key.key_file)
    pool = Pool(lambda: cast(Wire, Connection(destination, context, WAITS)))
    try:
        yield Session(Federation, peer=to.site, pool=pool, target=TARGET, secure=_secure(site, to.site))
    finally:
        pool.close()


def tell(
    site: Site, members: Iterable[Member], what: Callable[[Session], object]
) -> Iterator[tuple[SiteId, str]]:
    """Tell members of a decision; each with why it could not be told, or nothing.

    The decision holds whether they hear of it or not.
    """
    for one in members:
        try:
            with member(site, one) as session:
                what(session)
        except NodeError as error:
            log.info("a member could not be told", extra={"member": one.site, "error": str(error)})
            yield one.site, str(error)
        else:
            yield one.site, ""


def _destination(site: SiteId, url: str, fingerprints: Iterable[str]) -> Destination:
    where = urlsplit(url)
    return Destination(
        name=site,
        host=where.hostname or "",
        port=where.port or 443,
        fingerprints=frozenset(fingerprints),
    )


def _secure(site: Site, audience: SiteId) -> Secure:
    signer, principal = Signer(site.home.key()), site.operator()

    def secure(envelope: etree._Element, action: str) -> etree._Element:
        return signer.secure(
            envelope, audience=audience, principal=principal, action=action, now=system_clock()
        )

    return secure
