r"""What this site knows of an identity provider: where people log in, and for whom it speaks.

A scope is the part of `jana@hospital-brno.test` behind the `@`. Metadata may give one as a regular expression
(Shibboleth Metadata Extensions 1.0 §2.2.1). Only those that end in a plain domain of at least two labels are
believed, `^(.+\.)?hospital-brno\.test$` for one: anything wider would let one hospital speak for all.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from typing import Any, Final

REDIRECT: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
DEMONSTRATION: Final = "urn:konzilium:demonstration"
"""The entity attribute of identity providers that are none: anybody may log in there as anybody."""
LONGEST_SCOPE: Final = 255
LONGEST_PATTERN: Final = 120
_LABEL = r"(?:[A-Za-z0-9-]|\\-)+"
_PATTERN = re.compile(
    r"\^?(?:\((?:\?:)?|\)\??|\.[+*]|\[\^?[A-Za-z0-9_.-]+\][+*]?|\\[.-]|[A-Za-z0-9-])*?"
    rf"{_LABEL}(?:\\\.{_LABEL})+\$?"
)
"""Groups, `.+`, classes of characters and letters, then a plain domain; nothing that repeats a repetition."""
_MOST_REPEATS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An identity provider, as its metadata describe it."""

    entity: str
    """Its entity ID (SAML Metadata §2.3.2), by which all else knows it."""
    names: tuple[tuple[str, str], ...] = ()
    """What people call it: (language, text)."""
    sso: tuple[tuple[str, str], ...]
    """Where people log in: (binding, location)."""
    slo: tuple[tuple[str, str, str], ...] = ()
    """Where they log out: (binding, location, where answers go to; empty is the same location)."""
    certificates: tuple[str, ...]
    """Whose signatures count (PEM)."""
    scopes: tuple[tuple[str, bool], ...] = ()
    """For whom it speaks: (text, whether that is a regular expression)."""
    contact: str = ""
    """Whom to ask there: a mail address or a web page, if it says one."""
    categories: tuple[str, ...] = ()
    """Entity categories and what it supports of them (REFEDS research and scholarship, for one)."""
    assurance: tuple[str, ...] = ()
    """What it is certified for (REFEDS SIRTFI, for one)."""
    hidden: bool = False
    """It asks not to be shown where people choose (REFEDS Hide From Discovery)."""
    demonstration: bool = False
    """It says of itself that it proves nothing about anybody."""
    error_url: str = ""
    logo: str = ""
    source: str = ""
    """Under which name this site was told of it."""
    valid_until: int = 0
    """Until when this may be believed; microseconds since 1970."""

    def name(self, language: str = "en") -> str:
        """What people call it, in that language, in English or in any; the entity ID at last."""
        names = dict(reversed(self.names))
        return names.get(language) or names.get("en") or (self.names[0][1] if self.names else self.entity)

    def speaks_for(self, scope: str) -> bool:
        """Whether it may tell of people with that scope."""
        if not scope or len(scope) > LONGEST_SCOPE:
            return False
        return any(_covers(text, is_pattern, scope) for text, is_pattern in self.scopes)

    def location(self, binding: str) -> str:
        """Where people log in by that binding; empty where they cannot."""
        return next((place for name, place in self.sso if name == binding), "")

    def logout(self, binding: str) -> tuple[str, str]:
        """Where requests for a logout go by that binding, and where answers go; empty where they cannot."""
        for name, place, answers in self.slo:
            if name == binding:
                return place, answers or place
        return "", ""


def _covers(text: str, is_pattern: bool, scope: str) -> bool:
    if not is_pattern:
        return text.lower() == scope.lower()
    return is_bounded(text) and re.fullmatch(text, scope, re.IGNORECASE | re.ASCII) is not None


def is_bounded(pattern: str) -> bool:
    """Whether a regular expression is limited to a domain and cannot take long."""
    if len(pattern) > LONGEST_PATTERN or not _PATTERN.fullmatch(pattern):
        return False
    if sum(pattern.count(sign) for sign in "+*") > _MOST_REPEATS:
        return False
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def written(provider: Provider) -> str:
    """The provider as JSON, without what its source says of it."""
    kept = {
        field.name: value
        for field in fields(Provider)
        if field.name not in ("entity", "source", "valid_until")
        and (value := getattr(provider, field.name)) != field.default
    }
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def read_provider(text: str, *, entity: str, source: str, valid_until: int) -> Provider:
    """The provider that was written so."""
    kept = {name: _tuples(value) for name, value in json.loads(text).items()}
    return Provider(entity=entity, source=source, valid_until=valid_until, **kept)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value
