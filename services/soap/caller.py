"""Who calls: a member, and the person or device at its site that caused the call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from lxml import etree

from node.domain.clock import Clock
from node.domain.errors import Unauthenticated
from node.domain.ids import SiteId
from node.domain.member import Member
from node.domain.principal import Action, Principal
from node.identity.home import demand_scope
from services.https.request import FINGERPRINT
from services.soap.framework.endpoint import Environ
from services.soap.framework.rate import Rate
from services.soap.framework.service import Call
from services.soap.security import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A caller that was recognised."""

    member: Member
    principal: Principal


def guest(call: Call) -> Guest:
    """The caller of an operation for members."""
    if not isinstance(call.caller, Guest):
        raise Unauthenticated("this operation is for members")
    return call.caller


class Recognises(Protocol):
    """Who may call."""

    def recognise(self, fingerprint: str) -> Member:
        """The member that may show this certificate now."""
        ...


def recognise(
    members: Recognises, verifier: Verifier, clock: Clock, here: SiteId
) -> Callable[[etree._Element, Environ], Guest]:
    """What a door for members asks of each message: certificate, signature, assertion, standing."""

    def authenticate(envelope: etree._Element, environ: Environ) -> Guest:
        fingerprint = environ.get(FINGERPRINT)
        if not fingerprint:
            raise Unauthenticated("it showed no certificate")
        member = members.recognise(fingerprint)
        caller = verifier.verify(envelope, fingerprint, clock())
        if caller.node != member.site:
            raise Unauthenticated("the message is of another member than the connection")
        via = None if member.site == here else member.site
        principal = replace(caller.principal, may=granted(member), via=via)
        if via is not None:
            demand_scope(member, principal)
        return Guest(member=member, principal=principal)

    return authenticate


def granted(member: Member) -> frozenset[Action]:
    """What people and devices of a member may ask here at all; the terms say of which instances."""
    give = set() if member.export.is_nothing else {Action.QUERY, Action.RETRIEVE}
    return frozenset(give if member.accept.is_nothing else {*give, Action.STORE})


def limited(rate: Rate) -> Callable[[Any, Environ], None]:
    """So many calls of each member, and no more."""

    def limit(caller: Any, _environ: Environ) -> None:
        rate.demand(caller.member.site)

    return limit
