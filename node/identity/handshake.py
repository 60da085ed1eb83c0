"""What two sites send each other when one of them joins, and what both have to mean alike."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from node.domain.errors import MalformedIdentifier, MalformedMessage
from node.domain.ids import SiteId
from node.domain.member import Standing
from node.journal.entry import Entry, canonical

MAX_TOKEN: Final = 4096
_PREFIX: Final = "kz1."


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is sent to the site that is invited; the code is not in it."""

    invitation: str
    site: SiteId
    """The site that it is for."""
    inviter: SiteId
    url: str
    """Where the inviter can be called."""
    fingerprints: tuple[str, ...]
    """By which it is recognised there: SHA-256 of its certificates."""
    secret: str
    expires_at: int

    def __str__(self) -> str:
        """As it is sent."""
        values = {
            "id": self.invitation,
            "for": self.site,
            "from": self.inviter,
            "url": self.url,
            "pins": list(self.fingerprints),
            "secret": self.secret,
            "until": self.expires_at,
        }
        return _PREFIX + base64.urlsafe_b64encode(canonical(values).encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Token:
        """The token that somebody pasted, with or without line breaks.

        Raises:
            MalformedMessage: it is none, or not a whole one.
        """
        text = "".join(text.split())
        encoded = text.removeprefix(_PREFIX)
        if len(text) > MAX_TOKEN or encoded == text:
            raise MalformedMessage("this is no invitation, which begins with kz1.")
        try:
            values = json.loads(base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True))
            return cls(
                invitation=str(values["id"]),
                site=SiteId(values["for"]),
                inviter=SiteId(values["from"]),
                url=str(values["url"]),
                fingerprints=tuple(str(pin) for pin in values["pins"]),
                secret=str(values["secret"]),
                expires_at=int(values["until"]),
            )
        except (binascii.Error, ValueError, KeyError, TypeError, MalformedIdentifier):
            raise MalformedMessage("the invitation is not complete; paste all of it") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """An invitation as it is handed out, once: this site keeps neither the token nor the code."""

    token: Token
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What the invited site sends when it has the offer of the inviter."""

    invitation: str
    offer: str
    """The offer of the invited site (`node.identity.pairing`)."""
    metadata: str
    proof: str
    """That it knows the code, and means this invitation, both sites, and both certificates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """What the inviter answers to one that proved the code."""

    metadata: str
    standing: Standing
    """Active, or waiting until somebody at the inviter has confirmed."""
    facts: tuple[Entry, ...]
    """What the inviter says of the federation: facts of its own journal, for a member that is active."""
    proof: str


def pins_of(token: Token) -> str:
    """By which certificates both sides mean to recognise the inviter, as one text."""
    return ",".join(token.fingerprints)


def transcript(
    invitation: str, *, joiner: SiteId, inviter: SiteId, pins: str, offers: tuple[str, str], metadata: str
) -> dict[str, str]:
    """What both sides have to mean alike: a change of any part on the way spoils the proof."""
    return {
        "invitation": invitation,
        "joiner": joiner,
        "inviter": inviter,
        "pins": pins,
        "offer of the joiner": offers[0],
        "offer of the inviter": offers[1],
        "metadata of the joiner": hashlib.sha256(metadata.encode()).hexdigest(),
    }


def welcome_said(
    said: Mapping[str, str], metadata: str, standing: Standing, facts: Sequence[Entry]
) -> dict[str, str]:
    """The transcript with the answer of the inviter."""
    return {
        **said,
        "metadata of the inviter": hashlib.sha256(metadata.encode()).hexdigest(),
        "standing": standing,
        "facts": ",".join(fact.hash for fact in facts),
    }
