"""Tokens that a device shows for a person: signed statements of an issuer (JWT, RFC 7519, RFC 8725)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import jwt
from jwt.exceptions import InvalidSignatureError, PyJWTError

from node.domain.clock import Clock
from node.domain.errors import AttributeMissing, BadSignature, Expired, LoginRefused
from node.domain.ids import SiteId
from node.domain.principal import Principal
from node.identity.persons import person
from node.identity.token_issuers import Key, KeyFile, TokenIssuer

LONGEST: Final = 16_384
"""Bytes of a token."""
SKEW: Final = 60
"""Seconds by which clocks may differ."""
MFA: Final = "https://refeds.org/profile/mfa"
"""The `acr` of a login with a second factor (REFEDS MFA); `mfa` in `amr` says the same (RFC 8176)."""
CLAIMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "eduperson_principal_name": "eduPersonPrincipalName",
        "eduperson_scoped_affiliation": "eduPersonScopedAffiliation",
        "eduperson_entitlement": "eduPersonEntitlement",
        "eduperson_assurance": "eduPersonAssurance",
        "schac_home_organization": "schacHomeOrganization",
        "name": "displayName",
        "given_name": "givenName",
        "family_name": "sn",
        "email": "mail",
    }
)
"""Claims and the attributes that they are (REFEDS, mapping of SAML attributes to OIDC claims)."""
_SCOPED: Final = frozenset({"eduPersonPrincipalName", "eduPersonScopedAffiliation"})
_COMPACT: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES: Final = frozenset({"", "jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_MANY: Final = 50
"""Values of a claim that are kept."""


class Tokens:
    """Knows persons by tokens of the issuers that this site believes."""

    def __init__(self, issuers: Iterable[TokenIssuer], site: SiteId, clock: Clock) -> None:
        """Tokens for a site.

        Args:
            issuers: who is believed.
            site: this site.
            clock: microseconds since 1970.

        Raises:
            BadSetting: the keys of one cannot be read.
        """
        self._issuers = {one.name: (one, KeyFile(one.keys)) for one in issuers}
        self._site = site
        self._clock = clock

    def person(self, token: bytes) -> Principal:
        """Whom a token names.

        Raises:
            LoginRefused: it is none that is believed here; of the same family are BadSignature and Expired.
            AttributeMissing: it does not tell who it is.
        """
        issuer, keys, header = self._issuer_of(token)
        claims = _verified(token, _key_for(header, keys), issuer)
        self._see_in_time(claims, issuer)
        return self._person(claims, issuer)

    def _issuer_of(self, token: bytes) -> tuple[TokenIssuer, Sequence[Key], Mapping[str, Any]]:
        """Whose keys are to be tried; nothing of the token is believed yet."""
        if len(token) > LONGEST or not _COMPACT.fullmatch(token):
            raise LoginRefused(f"this is no signed token of up to {LONGEST} bytes")
        try:
            header = jwt.get_unverified_header(token)
            claims = jwt.decode(token, options={"verify_signature": False})
        except (PyJWTError, ValueError, TypeError, RecursionError):
            raise LoginRefused("the token cannot be read") from None
        if "crit" in header or str(header.get("typ", "")).lower() not in _TYPES:
            raise LoginRefused("the token is of another kind than JWT")
        named = claims.get("iss")
        known = self._issuers.get(named) if isinstance(named, str) else None
        if known is None:
            raise LoginRefused(
                "the token is of an issuer that is not believed here; login.tokens names those"
            )
        return known[0], known[1].now(), header

    def _see_in_time(self, claims: Mapping[str, Any], issuer: TokenIssuer) -> None:
        """Insist that it holds now, and not for too long (RFC 7519 4.1.4 to 4.1.6)."""
        now = self._clock() / 1_000_000
        until, since = _moment(claims, "exp"), _moment(claims, "iat")
        begins = _moment(claims, "nbf") if "nbf" in claims else since
        if until <= now - SKEW:
            raise Expired("the token has ended")
        if max(since, begins) > now + SKEW:
            raise Expired("the token does not hold yet")
        if until - since > issuer.minutes * 60:
            raise Expired(f"the token lives longer than {issuer.minutes} minutes")

    def _person(self, claims: Mapping[str, Any], issuer: TokenIssuer) -> Principal:
        name = claims.get(issuer.claim)
        if not isinstance(name, str) or not name:
            raise AttributeMissing(issuer.name, issuer.claim, "those who run it")
        if not issuer.speaks_for(name):
            raise LoginRefused("the token names a person for whom its issuer does not speak")
        attributes = {known: _texts(claims.get(claim)) for claim, known in CLAIMS.items()}
        for scoped in _SCOPED:
            attributes[scoped] = tuple(one for one in attributes[scoped] if issuer.speaks_for(one))
        shown = attributes["displayName"] or (" ".join(attributes["givenName"] + attributes["sn"]),)
        return person(
            issuer=issuer.name,
            name=name,
            site=self._site,
            display=shown[0],
            attributes=attributes,
            mfa=claims.get("acr") == MFA or "mfa" in _texts(claims.get("amr")),
        )


def _key_for(header: Mapping[str, Any], keys: Sequence[Key]) -> Key:
    """The key that a token names, or the only one there is (RFC 7515 4.1.4)."""
    named = header.get("kid")
    fitting = [one for one in keys if named is None or one.id == named]
    if len(fitting) != 1:
        raise BadSignature("the token names no key of its issuer")
    if header.get("alg") not in fitting[0].algorithms:
        raise BadSignature("the token is signed in another way than its key is for")
    return fitting[0]


def _verified(token: bytes, key: Key, issuer: TokenIssuer) -> Mapping[str, Any]:
    """What a token says, once its signature holds and it is for this site."""
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key.key.key,
            algorithms=list(key.algorithms),
            audience=issuer.audience,
            issuer=issuer.name,
            options={
                "require": ["exp", "iat", "iss", "aud"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except InvalidSignatureError:
        raise BadSignature("the token was not signed by its issuer") from None
    except (PyJWTError, ValueError, TypeError, RecursionError):
        raise LoginRefused("the token is not for this site, or does not say until when it holds") from None
    return claims


def _moment(claims: Mapping[str, Any], name: str) -> float:
    """A time, in seconds since 1970."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 40:
        raise LoginRefused(f"the token says no time as {name}")
    return float(value)


def _texts(value: object) -> tuple[str, ...]:
    """The values of a claim that are text: it may be one or a list of them."""
    values = value if isinstance(value, list) else [value]
    return tuple(one for one in values[:_MANY] if isinstance(one, str) and one and one.isprintable())
