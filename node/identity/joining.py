"""The invited site's half of joining: it proves that it knows the code, and has the inviter prove it too."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.chain import Head
from node.domain.errors import Expired, Rejected, Unauthenticated
from node.domain.member import Member, Standing
from node.domain.principal import Action, Principal
from node.domain.rule import EVERYTHING, Terms
from node.identity import pairing
from node.identity.certificates import known
from node.identity.gate import Gate
from node.identity.handshake import Application, Token, Welcome, pins_of, transcript, welcome_said
from node.identity.home import Home, read
from node.identity.invitations import Random
from node.identity.membership import is_well_formed
from node.identity.metadata import Descriptor
from node.identity.statements import come_back, derive_member, record, state_consent, state_standing
from node.journal.entry import Entry, Fact, follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of joining; what it knows stays in this process."""

    token: Token
    metadata: str
    """Of this site."""
    offer: str
    """What is sent to the inviter first."""
    secret: str = field(repr=False)
    private: bytes = field(repr=False)

    def application(self, offered: str) -> Application:
        """What is sent to the inviter when it has answered the offer.

        Raises:
            MalformedMessage: what it answered is no offer.
        """
        return Application(
            invitation=self.token.invitation,
            offer=self.offer,
            metadata=self.metadata,
            proof=pairing.proof(pairing.agree(self.private, offered), "joiner", self._said(offered)),
        )

    def check(self, offered: str, welcome: Welcome) -> Descriptor:
        """Who the inviter is, if it knows the code and the answer is its own.

        Raises:
            Unauthenticated: it is somebody else, or the answer was changed on its way.
        """
        answer = welcome_said(self._said(offered), welcome.metadata, welcome.standing, welcome.facts)
        if not pairing.is_proved(pairing.agree(self.private, offered), "inviter", answer, welcome.proof):
            raise Unauthenticated(f"who answers for {self.token.inviter} does not know the code")
        descriptor = read(welcome.metadata)
        if descriptor is None or descriptor.site != self.token.inviter:
            raise Unauthenticated(f"the metadata are not those of {self.token.inviter}, signed by itself")
        shown = {known(pem).fingerprint for pem in descriptor.certificates}
        if not shown & set(self.token.fingerprints):
            raise Unauthenticated(f"{self.token.inviter} has other certificates than the invitation says")
        return descriptor

    def _said(self, offered: str) -> dict[str, str]:
        return transcript(
            self.token.invitation,
            joiner=self.token.site,
            inviter=self.token.inviter,
            pins=pins_of(self.token),
            offers=(self.offer, offered),
            metadata=self.metadata,
        )


class Joining:
    """Joins the federation on an invitation."""

    def __init__(self, catalog: Catalog, home: Home, *, random: Random = secrets.token_bytes) -> None:
        """The joining of one site.

        Args:
            catalog: of this site.
            home: this site.
            random: makes as many unpredictable bytes as it is told.
        """
        self._catalog = catalog
        self._home = home
        self._random = random

    def begin(self, principal: Principal, token: Token, code: str) -> Attempt:
        """Prepare what is sent to the inviter.

        Raises:
            Forbidden: the principal may not decide about the federation.
            Rejected: the invitation is for another site.
            Expired: its time is over.
            UnusableKey: the key of the node cannot be used.
        """
        Gate(self._catalog).demand(principal, Action.FEDERATE)
        secret, private = pairing.shared_secret(token.secret, code), self._random(32)
        metadata = self._catalog.perform(lambda unit: self._introduce(unit, token))
        return Attempt(
            token=token,
            metadata=metadata,
            offer=pairing.offer(secret, private),
            secret=secret,
            private=private,
        )

    def finish(
        self,
        principal: Principal,
        attempt: Attempt,
        offered: str,
        welcome: Welcome,
        *,
        export: Terms = EVERYTHING,
        accept: Terms = EVERYTHING,
        returning: bool = False,
    ) -> Member:
        """Make the inviter a member here, and learn from it who else is one.

        Args:
            principal: who joins.
            attempt: what `begin` made.
            offered: what the inviter answered to the offer.
            welcome: what it answered to the application.
            export: what this site will give it.
            accept: what this site will take from it.
            returning: whether this site was a member before and has lost its memory: what it had said of
                terms comes back with its journal, and nothing is said of them now.

        Raises:
            Forbidden: the principal may not decide about the federation.
            Unauthenticated: who answered is not the inviter.
        """
        Gate(self._catalog).demand(principal, Action.FEDERATE)
        descriptor = attempt.check(offered, welcome)
        site = descriptor.site

        def join(unit: Unit) -> Member:
            come_back(unit, principal)
            unit.journal.append(Fact.MEMBER, {"site": site, "descriptor": welcome.metadata})
            reason = f"invited this site with invitation {attempt.token.invitation}"
            state_standing(unit, principal, site, Standing.ACTIVE, reason)
            if not returning:
                state_consent(unit, principal, site, export=export, accept=accept)
            shown = ", ".join(known(pem).fingerprint for pem in descriptor.certificates)
            record(unit, principal, f"member {site} shows {shown}")
            _learn(unit, welcome.facts, descriptor)
            member = derive_member(unit, site)
            assert member is not None
            return member

        return self._catalog.perform(join)

    def _introduce(self, unit: Unit, token: Token) -> str:
        """The metadata of this site, if the invitation is good for it."""
        if token.site != self._home.site:
            raise Rejected(f"the invitation is for {token.site}, this is {self._home.site}")
        if token.expires_at <= unit.now:
            raise Expired("the time of the invitation is over; ask for another one")
        return self._home.announce(unit)


def _learn(unit: Unit, facts: tuple[Entry, ...], inviter: Descriptor) -> None:
    """Keep what the inviter says of the federation; its journal will bring the same facts, in their place."""
    for fact in facts:
        about_sites = fact.kind in {Fact.MEMBER, Fact.STANDING, Fact.CONSENT}
        if fact.origin != inviter.site or not about_sites or not _is_intact(fact):
            raise Unauthenticated(f"{inviter.site} sends facts that are not its own")
        unit.journal.keep(fact)


def _is_intact(fact: Entry) -> bool:
    """Whether the fact is what its hash says, and can be read."""
    before = Head(seq=fact.seq - 1, hash=fact.previous)
    expected = follow(
        before, origin=fact.origin, epoch=fact.epoch, at=fact.at, kind=fact.kind, payload=fact.payload
    )
    return expected == fact and is_well_formed(fact)
