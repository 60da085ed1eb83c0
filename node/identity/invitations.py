"""Invitations: how this site lets another one in.

```
open ── the code was proved ──▶ used
  ├── wrong codes ──▶ spoiled
  └── its time is over ──▶ expired
```

The token travels by any way, the code by another, best by voice. Who has the token alone can make a few
guesses at the code; who stands between the two sites can do no more than that.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from node.catalog.catalog import Catalog
from node.catalog.members import Invitation
from node.catalog.unit import Unit
from node.domain.errors import Rejected, Unauthenticated
from node.domain.ids import SiteId
from node.domain.member import Member, Standing
from node.domain.principal import Action, Kind, Principal
from node.domain.rule import EVERYTHING, Terms
from node.identity import pairing
from node.identity.certificates import known
from node.identity.gate import Gate
from node.identity.handshake import Application, Invited, Token, Welcome, pins_of, transcript, welcome_said
from node.identity.home import Home, read
from node.identity.metadata import Descriptor
from node.identity.statements import (
    come_back,
    derive_member,
    has_left,
    record,
    state_consent,
    state_standing,
)
from node.journal.entry import Entry, Fact

LIFETIME: Final = 24 * 3600
"""Seconds for which an invitation is good unless somebody says otherwise."""
MAX_ATTEMPTS: Final = 5
MAX_FACTS: Final = 1000
"""Facts in a welcome; the journal brings the others."""
_SECOND: Final = 1_000_000
OPEN, USED, EXPIRED, SPOILED = "open", "used", "expired", "spoiled"
_REFUSED = {
    USED: "the invitation was used already",
    EXPIRED: "the invitation has expired",
    SPOILED: "the invitation is spoiled by wrong codes",
}

Random = Callable[[int], bytes]


class Invitations:
    """The inviter's half of joining."""

    def __init__(self, catalog: Catalog, home: Home, *, random: Random = secrets.token_bytes) -> None:
        """The invitations of a site.

        Args:
            catalog: of this site.
            home: this site.
            random: makes as many unpredictable bytes as it is told.
        """
        self._catalog = catalog
        self._home = home
        self._random = random

    def invite(
        self,
        principal: Principal,
        site: SiteId,
        *,
        lifetime: float = LIFETIME,
        url: str | None = None,
        export: Terms | None = None,
        accept: Terms | None = None,
        confirmed: bool = False,
        returning: bool = False,
    ) -> Invited:
        """Make out an invitation for one site.

        Args:
            principal: who invites.
            site: the name that it has to have.
            lifetime: seconds for which the invitation is good.
            url: where it can call this site, if that is not where others call it.
            export: what this site will give it; everything if not said, or as before for one that returns.
            accept: what this site will take from it; the same.
            confirmed: whether it is active as soon as it has joined, without somebody here confirming it.
            returning: whether it is a member that has lost its folder and comes back under its name: it may
                show a new key then, and those that it showed before are not trusted any more.

        Raises:
            Forbidden: the principal may not decide about the federation.
            Rejected: it is this site, an active member, or cannot call this one.
            UnusableKey: the key of the node cannot be used.
        """
        Gate(self._catalog).demand(principal, Action.FEDERATE)
        address = url or self._home.url
        if address is None:
            raise Rejected(f"nobody can call {self._home.site} (node.url is none); let the other site invite")
        draft = Token(
            invitation=self._random(16).hex(),
            site=site,
            inviter=self._home.site,
            url=address,
            fingerprints=tuple(certificate.fingerprint for certificate in self._home.certificates()),
            secret=self._random(16).hex(),
            expires_at=0,
        )
        code = pairing.code_of(self._random(16))
        options = {
            "salt": self._random(32).hex(),
            "pins": pins_of(draft),
            "export": None if export is None else export.told(),
            "accept": None if accept is None else accept.told(),
            "confirmed": confirmed,
            "returning": returning,
            "by": [principal.kind, principal.name],
        }

        def put(unit: Unit) -> Token:
            if returning:
                _demand_known(unit, site)
            else:
                _demand_stranger(unit, site)
            self._home.announce(unit)
            token = replace(draft, expires_at=unit.now + int(lifetime * _SECOND))
            unit.members.invite(_invitation(token, code, options))
            record(unit, principal, f"invitation {token.invitation} for {site}")
            return token

        return Invited(token=self._catalog.perform(put), code=code)

    def open(self) -> Sequence[Invitation]:
        """Invitations that can still be used."""
        with self._catalog.reading() as unit:
            found = unit.members.invitations()
            return [one for one in found if is_open(one, unit.now)]

    def find(self, invitation: str) -> Invitation | None:
        """An invitation, in whatever state."""
        with self._catalog.reading() as unit:
            return unit.members.invitation(invitation)

    def greet(self, invitation: str, offer: str) -> str:
        """Answer the offer of the invited site with one of this site; the same to the same.

        Raises:
            Unauthenticated: there is no such invitation, or it is not good any more.
            MalformedMessage: the offer is none.
        """
        with self._catalog.reading() as unit:
            found = _usable(unit, invitation)
        private = _private(found, offer)
        pairing.agree(private, offer)
        return pairing.offer(found.secret, private)

    def accept(self, application: Application) -> Welcome:
        """Let a site in that proves that it has the token and the code.

        Raises:
            Unauthenticated: it does not, or the invitation is for another site or not good any more.
            MalformedMessage: the application cannot be read.
        """
        found = self._catalog.perform(lambda unit: _take_attempt(unit, application.invitation))
        private = _private(found, application.offer)
        key = pairing.agree(private, application.offer)
        said = transcript(
            application.invitation,
            joiner=found.site,
            inviter=self._home.site,
            pins=found.options["pins"],
            offers=(application.offer, pairing.offer(found.secret, private)),
            metadata=application.metadata,
        )
        if not pairing.is_proved(key, "joiner", said, application.proof):
            raise Unauthenticated(
                "the code is wrong, or the invitation was changed on its way; "
                f"{MAX_ATTEMPTS - found.attempts} attempts are left"
            )
        descriptor = read(application.metadata)
        if descriptor is None or descriptor.site != found.site:
            raise Unauthenticated(f"the metadata are not those of {found.site}, signed by itself")
        return self._catalog.perform(lambda unit: self._let_in(unit, application, descriptor, key, said))

    def _let_in(
        self,
        unit: Unit,
        application: Application,
        descriptor: Descriptor,
        key: bytes,
        said: dict[str, str],
    ) -> Welcome:
        """Write down who has joined, unless that is done already because the answer was lost."""
        invitation = _good(unit, application.invitation)
        member = unit.members.find(descriptor.site)
        if invitation.state == OPEN:
            member = self._enrol(unit, invitation, application.metadata, descriptor)
        elif member is None or member.descriptor != application.metadata:
            raise Unauthenticated(_REFUSED[USED])
        metadata = self._home.announce(unit)
        standing = member.standing
        facts = tuple(introductions(unit)) if member.is_active else ()
        answer = welcome_said(said, metadata, standing, facts)
        shown = pairing.proof(key, "inviter", answer)
        return Welcome(metadata=metadata, standing=standing, facts=facts, proof=shown)

    def _enrol(self, unit: Unit, invitation: Invitation, metadata: str, descriptor: Descriptor) -> Member:
        """Make the joiner a member, on the terms of its invitation."""
        site, options = invitation.site, invitation.options
        before = unit.members.find(site) if options.get("returning") else None
        kind, name = options["by"]
        by = Principal(kind=Kind(kind), name=name, site=self._home.site)
        unit.members.save_invitation(replace(invitation, state=USED, attempts=0))
        come_back(unit, by)
        unit.journal.append(Fact.MEMBER, {"site": site, "descriptor": metadata})
        standing = Standing.ACTIVE if options["confirmed"] else Standing.WAITING
        how = "came back" if before else "joined"
        state_standing(unit, by, site, standing, f"{how} with invitation {invitation.id}")
        export = _terms(options["export"], before.export if before else EVERYTHING)
        accept = _terms(options["accept"], before.accept if before else EVERYTHING)
        state_consent(unit, by, site, export=export, accept=accept)
        shown = ", ".join(known(pem).fingerprint for pem in descriptor.certificates)
        record(unit, by, f"member {site} shows {shown}")
        member = derive_member(unit, site)
        assert member is not None
        return member


def is_open(invitation: Invitation, now: int) -> bool:
    """Whether the invitation can still be used."""
    return invitation.state == OPEN and invitation.expires_at > now and invitation.attempts < MAX_ATTEMPTS


def introductions(unit: Unit) -> list[Entry]:
    """What this site says of the federation: the latest of each kind about each site, of its own journal."""
    latest: dict[tuple[str, str], Entry] = {}
    for kind in (Fact.MEMBER, Fact.STANDING, Fact.CONSENT):
        for fact in unit.journal.of_kind(kind):
            if fact.origin == unit.origin:
                says = fact.says
                latest[f"{kind} {says.get('standing', '') == Standing.ACTIVE}", says["site"]] = fact
    return sorted(latest.values(), key=lambda fact: fact.stamp)[-MAX_FACTS:]


def _invitation(token: Token, code: str, options: Mapping[str, Any]) -> Invitation:
    """The invitation as this site keeps it."""
    return Invitation(
        id=token.invitation,
        site=token.site,
        secret=pairing.shared_secret(token.secret, code),
        expires_at=token.expires_at,
        options=options,
    )


def _private(invitation: Invitation, offer: str) -> bytes:
    """The exponent for an exchange: a new one for each offer, the same one when it is repeated."""
    return hmac.new(bytes.fromhex(invitation.options["salt"]), offer.encode(), hashlib.sha256).digest()


def _take_attempt(unit: Unit, name: str) -> Invitation:
    """Count an attempt before its proof is looked at: many at once are not more than many in a row."""
    found = _usable(unit, name)
    counted = replace(found, attempts=found.attempts + 1)
    unit.members.save_invitation(counted)
    return counted


def _usable(unit: Unit, name: str) -> Invitation:
    """An invitation for which a code may be tried."""
    found = _good(unit, name)
    if found.attempts >= MAX_ATTEMPTS:
        raise Unauthenticated(_REFUSED[SPOILED])
    return found


def _good(unit: Unit, name: str) -> Invitation:
    """An invitation that is open, or was used and may be asked about again because the answer was lost."""
    found = unit.members.invitation(name)
    if found is None:
        raise Unauthenticated("there is no such invitation")
    if found.state == SPOILED:
        raise Unauthenticated(_REFUSED[SPOILED])
    if found.expires_at <= unit.now:
        raise Unauthenticated(_REFUSED[EXPIRED])
    return found


def _terms(said: Any, otherwise: Terms) -> Terms:
    return otherwise if said is None else Terms.read(said)


def _demand_known(unit: Unit, site: SiteId) -> None:
    """Insist that a site that is said to return was a member."""
    if site == unit.origin:
        raise Rejected("a site cannot invite itself")
    if unit.members.find(site) is None:
        raise Rejected(f"{site} was no member here; invite it without --returning")


def _demand_stranger(unit: Unit, site: SiteId) -> None:
    """Insist that the site is not one with which this one exchanges already."""
    member = unit.members.find(site)
    if site == unit.origin:
        raise Rejected("a site cannot invite itself")
    if has_left(unit):
        return
    if member is not None and member.is_active:
        raise Rejected(f"{site} is a member already; if it has lost its folder, invite it with --returning")
    if member is not None and member.standing is Standing.SUSPENDED:
        raise Rejected(f"{site} is a member that is suspended; say `konzilium resume` or `konzilium revoke`")
