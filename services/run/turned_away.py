"""Access that was denied at the doors for other nodes, for the audit record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from node.audit.record import Event, deed_of
from node.domain.errors import AccessDenied, NodeError, UnknownTicket
from node.identity.refusals import Refusals
from node.wiring import Site
from services.https.request import FINGERPRINT
from services.soap.caller import Guest
from services.soap.framework.endpoint import Environ

SHOWN = 16
"""Digits of the fingerprint by which a caller is named of whom nothing else is known."""


class TurnedAway:
    """Writes down who was denied what by SOAP, and who had no ticket for bytes."""

    def __init__(self, site: Site) -> None:
        """For the record of a site."""
        self._catalog = site.catalog
        self._members = site.members
        self._refusals = Refusals(site.catalog)

    def __call__(self, caller: Any, environ: Environ, what: str, error: NodeError) -> None:
        """An operation was denied, to a caller that was recognised or to a stranger."""
        if isinstance(caller, Guest):
            deed = deed_of(caller.principal, Event.REFUSED, what=what, reason=str(error))
            self._catalog.perform(lambda unit: unit.audit.append(deed))
        else:
            address, who = environ.get("REMOTE_ADDR", ""), self._named(environ.get(FINGERPRINT) or "")
            self._refusals.note(who=who, address=address, what=what, reason=str(error))

    @contextmanager
    def noticing(self, fingerprint: str, what: str) -> Iterator[None]:
        """Write down what is denied meanwhile to the holder of a certificate."""
        try:
            yield
        except (AccessDenied, UnknownTicket) as error:
            self._refusals.note(who=self._named(fingerprint), address="", what=what, reason=str(error))
            raise

    def _named(self, fingerprint: str) -> str:
        """The member whose certificate it is; otherwise the beginning of its fingerprint."""
        try:
            return self._members.recognise(fingerprint).site
        except NodeError:
            return fingerprint[:SHOWN]
