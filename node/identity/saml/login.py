"""Logging in at an identity provider: each answer is taken once, and in the browser that asked.

```
begin ─▶ pending ── an answer in the same browser ─▶ taken, whatever comes of it ─▶ a person, or a refusal
            └── ten minutes ─▶ forgotten
```

What is pending, and which answers were taken, is in the catalog: it holds for all processes of the node, and
when it starts anew. Who calls this records who came in, or why nobody did, with what it makes of it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from node.catalog.catalog import Catalog
from node.catalog.logins import Pending
from node.catalog.unit import Unit
from node.domain.clock import Clock, system_clock
from node.domain.errors import (
    LoginRefused,
    Rejected,
    Replayed,
    SecondFactorNeeded,
    UnknownProvider,
)
from node.domain.ids import SiteId
from node.domain.principal import Principal
from node.identity.providers.descriptor import REDIRECT, Provider
from node.identity.saml import answers, attributes, logout
from node.identity.saml.answers import LONGEST_ALONE, Asked
from node.identity.saml.claims import SKEW, Claims
from node.identity.saml.logout import LogoutHeard
from node.identity.saml.names import MFA
from node.identity.saml.sp import Form, NameId, ServiceProvider

LIFE: Final = 600
"""Seconds in which a login has to be answered."""
SECOND: Final = 1_000_000
_MAX_ONWARD: Final = 2_000
_NOTHING_BEGUN: Final = (
    "no login is in progress in this browser, or it took longer than ten minutes; begin again"
)


class Finder(Protocol):
    """Where identity providers are found (`node.identity.providers`)."""

    def find(self, entity: str) -> Provider:
        """The identity provider of that entity ID.

        Raises:
            UnknownProvider: it is not known, or may not be believed any more.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A login that has begun."""

    url: str
    """Where the browser has to go; empty if it has to post a form."""
    token: str
    """What the identity provider will give back (RelayState)."""
    form: Form | None = None
    """What the browser has to post, for an identity provider that takes nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """A person who has logged in."""

    principal: Principal
    provider: Provider
    name_id: str
    """What the identity provider calls the person for this site; empty if it did not say."""
    name_id_format: str
    session_index: str
    until: int
    """When the identity provider wants the session to end; 0 if it does not say. Microseconds since 1970."""
    onward: str
    """Where the person wanted to go, as `begin` was told."""
    mfa: bool
    """Whether a second factor was proved."""
    leaving: str
    """What `Logins.leave` needs, to be kept in the session."""


class Logins:
    """The door by which people come in from identity providers, and leave."""

    def __init__(
        self,
        catalog: Catalog,
        providers: Finder,
        sp: ServiceProvider,
        *,
        site: SiteId,
        mfa: bool = False,
        clock: Clock = system_clock,
    ) -> None:
        """The logins of a site.

        Args:
            catalog: remembers what has begun, and what was taken.
            providers: whom this site believes.
            sp: this site, as they know it.
            site: the site.
            mfa: whether every login needs a second factor.
            clock: time in microseconds since 1970.
        """
        self._catalog = catalog
        self._providers = providers
        self._sp = sp
        self._site = site
        self._mfa = mfa
        self._clock = clock

    def begin(
        self, entity: str, *, browser: str, onward: str, mfa: bool = False, language: str = ""
    ) -> Begun:
        """Send somebody to an identity provider.

        Args:
            entity: its entity ID.
            browser: a secret that only this browser has, in a cookie; the answer has to come from it.
            onward: where the person wants to go afterwards; it does not leave this site.
            mfa: whether a second factor is needed this time.
            language: of what the person will read.

        Raises:
            UnknownProvider: there is none of that name.
            TooBusy: too many logins have begun.
        """
        if not browser or len(onward) > _MAX_ONWARD:
            raise Rejected("the browser has no cookie to recognise it by, or wants to go too far")
        provider, now, token = self._providers.find(entity), self._clock(), secrets.token_urlsafe(24)
        request = self._sp.login(provider, mfa=mfa or self._mfa, now=now)
        pending = Pending(
            id=_hashed(token),
            browser=_hashed(browser),
            issuer=provider.entity,
            request=request.get("ID", ""),
            onward=onward,
            options=json.dumps({"kind": "login", "mfa": mfa or self._mfa, "language": language}),
            until_at=now + LIFE * SECOND,
        )
        self._catalog.perform(lambda unit: unit.logins.begin(pending))
        if provider.location(REDIRECT):
            return Begun(url=self._sp.redirect(request, token), token=token)
        return Begun(url="", token=token, form=self._sp.form(request, token))

    def finish(
        self, saml_response_b64: str, relay_state: str, *, browser: str, address: str = ""
    ) -> LoggedIn:
        """Take the answer of an identity provider, once; the caller records who came in or why nobody did.

        Args:
            saml_response_b64: the field `SAMLResponse` of the form, as it came.
            relay_state: the field `RelayState`.
            browser: what the cookie of the browser holds.
            address: where the browser is.

        Raises:
            LoginRefused: the answer is not good; of the same family are BadSignature, Expired and Replayed.
            AttributeMissing: it does not tell who it is.
            SecondFactorNeeded: a second factor was asked for, and not proved.
            UnknownProvider: the identity provider is not believed any more.
        """
        pending = self._pending(relay_state, "login")
        if pending is None or not browser or not hmac.compare_digest(pending.browser, _hashed(browser)):
            raise LoginRefused(_NOTHING_BEGUN)
        if not self._catalog.perform(lambda unit: unit.logins.take(pending.id)):
            raise LoginRefused(_NOTHING_BEGUN)
        return self._finish(saml_response_b64, pending, address)

    def verify_assertion(self, xml: bytes, *, address: str = "", once: bool = True) -> LoggedIn:
        """Take an assertion that a device brings for a person, for as long as it is good (PS3.7 D.3.3.7).

        It has to be signed by an identity provider, for this site as its audience, as a bearer's, and not in
        answer to a login. The caller records what comes of it.

        Args:
            xml: the assertion.
            address: where the device is.
            once: whether it is taken a single time.

        Raises:
            LoginRefused: it is not good; of the same family are BadSignature, Expired and Replayed.
            AttributeMissing: it does not tell who it is.
            UnknownProvider: nobody here believes who issued it.
        """
        now = self._clock()
        provider = self._providers.find(answers.issuer_of(xml))
        said = answers.read_assertion(xml, provider, self._sp, now)
        principal = attributes.person(said, provider, site=self._site)
        if once:
            self._catalog.perform(lambda unit: _take_once(unit, provider.entity, said))
        end = min(said.until, said.session_until) if said.session_until else said.until
        return _logged_in(replace(principal, address=address), provider, said, end, "")

    def leave(self, leaving: str) -> str | None:
        """Where the browser has to go to log out at the identity provider, too; None if nowhere.

        The session here ends before, whatever the identity provider makes of it.

        Args:
            leaving: what `LoggedIn.leaving` said.
        """
        kept = _kept(leaving)
        try:
            provider = self._providers.find(kept.get("issuer", ""))
        except UnknownProvider:
            return None
        place, _ = provider.logout(REDIRECT)
        if not place or not kept.get("name_id"):
            return None
        return self._leave(provider, place, kept)

    def hear_logout(self, sent: str | Mapping[str, str], binding: str) -> LogoutHeard:
        """Take a message about a logout: a request of an identity provider, or its answer to ours.

        Args:
            sent: the query as it came, not decoded, for a redirect; the fields of the form for POST.
            binding: `REDIRECT` or `POST` of `node.identity.providers.descriptor`.

        Raises:
            LoginRefused: the message is not good; of the same family are BadSignature, Expired and Replayed.
            UnknownProvider: it is from nobody who is known here.
        """
        now = self._clock()
        message = logout.read(logout.parameters(sent, binding), self._providers.find, self._sp, now)
        if message.is_request:
            self._catalog.perform(lambda unit: _take_message(unit, message.provider.entity, message.id, now))
            return logout.heard(message, self._sp, now)
        pending = self._pending(message.relay, "logout")
        answers_ours = pending is not None and (pending.issuer, pending.request) == (
            message.provider.entity,
            message.in_response_to,
        )
        if pending is None or not answers_ours:
            raise LoginRefused("nobody has begun a logout that this could answer")
        self._catalog.perform(lambda unit: unit.logins.take(pending.id))
        return logout.answered(message)

    def _finish(self, encoded: str, pending: Pending, address: str) -> LoggedIn:
        """A person, if everything holds; what was pending is taken already."""
        now, options = self._clock(), json.loads(pending.options)
        provider = self._providers.find(pending.issuer)
        asked = Asked(provider=provider, request=pending.request, begun_at=pending.until_at - LIFE * SECOND)
        said = answers.read_answer(encoded, asked, self._sp, now)
        language = options["language"] or "en"
        if options["mfa"] and said.context != MFA:
            raise SecondFactorNeeded(f"{provider.name(language)} did not say that one was used")
        principal = attributes.person(said, provider, site=self._site, language=language)
        principal = replace(principal, address=address)
        self._catalog.perform(lambda unit: _take_once(unit, provider.entity, said))
        return _logged_in(principal, provider, said, said.session_until, pending.onward)

    def _leave(self, provider: Provider, place: str, kept: Mapping[str, str]) -> str:
        now, token = self._clock(), secrets.token_urlsafe(24)
        name = NameId(
            value=kept["name_id"],
            format=kept.get("format", ""),
            qualifier=kept.get("qualifier", ""),
            sp_qualifier=kept.get("sp_qualifier", ""),
        )
        request = self._sp.logout(place, name, kept.get("session_index", ""), now=now)
        pending = Pending(
            id=_hashed(token),
            browser="",
            issuer=provider.entity,
            request=request.get("ID", ""),
            options=json.dumps({"kind": "logout"}),
            until_at=now + LIFE * SECOND,
        )
        self._catalog.perform(lambda unit: unit.logins.begin(pending))
        return self._sp.redirect(request, token)

    def _pending(self, token: str, kind: str) -> Pending | None:
        """What was begun with that token, if it still waits."""
        with self._catalog.reading() as unit:
            pending = unit.logins.find(_hashed(token))
        return pending if pending and json.loads(pending.options)["kind"] == kind else None


def _take_once(unit: Unit, issuer: str, said: Claims) -> None:
    """Insist that an assertion was not taken before (SAML Profiles §4.1.4.5)."""
    if not unit.logins.once(issuer, said.id, min(said.until, unit.now + LONGEST_ALONE)):
        raise Replayed("the assertion of the identity provider; begin again")


def _take_message(unit: Unit, issuer: str, name: str, now: int) -> None:
    if not unit.logins.once(issuer, name, now + logout.LONGEST + SKEW):
        raise Replayed("the request to log out")


def _logged_in(principal: Principal, provider: Provider, said: Claims, until: int, onward: str) -> LoggedIn:
    kept = {
        "issuer": provider.entity,
        "name_id": said.name.value,
        "format": said.name.format,
        "qualifier": said.name.qualifier,
        "sp_qualifier": said.name.sp_qualifier,
        "session_index": said.session_index,
    }
    return LoggedIn(
        principal=principal,
        provider=provider,
        name_id=said.name.value,
        name_id_format=said.name.format,
        session_index=said.session_index,
        until=until,
        onward=onward,
        mfa=principal.mfa,
        leaving=json.dumps({name: value for name, value in kept.items() if value}),
    )


def _kept(leaving: str) -> Mapping[str, str]:
    """What a session kept for its logout; nothing of one that was not made by an identity provider."""
    try:
        kept = json.loads(leaving)
        return {str(name): str(value) for name, value in kept.items()}
    except (ValueError, AttributeError):
        return {}


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
