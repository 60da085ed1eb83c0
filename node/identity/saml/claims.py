"""What an assertion says, if it is for this site, for now, and for what was asked (SAML Profiles §4.1.4).

The signature has been verified before; here every statement that limits an assertion has to be there and to
hold exactly: a recipient is this address and not one that begins with it, all audience restrictions name this
site and not one of them, and whatever is not known is a reason to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from lxml import etree

from node.domain.errors import Expired, LoginRefused
from node.identity.saml.gate import plain_text
from node.identity.saml.names import ASSERTION, BEARER, ENTITY, ISSUER, NAME_ID, saml
from node.identity.saml.sp import NameId
from node.identity.xmlnames import only

SECOND: Final = 1_000_000
SKEW: Final = 180 * SECOND
"""By how much the clock of an identity provider may differ from ours."""
MAX_ENTITY: Final = 1024
"""Characters of an entity ID (SAML Core §8.3.6)."""
MAX_TEXT: Final = 2_000
"""Characters of a value that is read; photographs are longer."""

_INSTANT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,12}))?Z")
_KNOWN_CONDITIONS = frozenset({saml("AudienceRestriction"), saml("OneTimeUse"), saml("ProxyRestriction")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What an assertion has to be for."""

    issuer: str
    """The identity provider that was asked."""
    audience: str
    """This site, by its entity ID."""
    recipient: str = ""
    """Where the answer came in; empty for an assertion that comes alone."""
    request: str = ""
    """The ID of the request that it answers; empty for one that nobody asked for."""
    since: int = 0
    """Nothing from before is taken: when the login began; microseconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What an identity provider says of a person."""

    id: str
    """That of the assertion."""
    name: NameId
    session_index: str
    context: str
    """How the person proved who they are (SAML Core §2.7.2.2)."""
    attributes: Mapping[str, tuple[str, ...]]
    """Values by the name of the attribute, as they were said."""
    until: int
    """When the assertion is worth nothing any more."""
    session_until: int
    """When the identity provider wants the session to end; 0 if it does not say."""


def read(assertion: etree._Element, expected: Expected, now: int) -> Claims:
    """What an assertion says, whose signature holds.

    Raises:
        Expired: it is not in its time.
        LoginRefused: it is for something else, or does not say what it is for.
    """
    _check_head(assertion, expected, now)
    until = _check_conditions(only(assertion, saml("Conditions"), LoginRefused), expected, now)
    subject = only(assertion, saml("Subject"), LoginRefused)
    confirmed = _confirmed_until(subject, expected, now)
    statement = only(assertion, saml("AuthnStatement"), LoginRefused)
    if moment(statement.get("AuthnInstant")) > now + SKEW:
        raise Expired("the assertion speaks of a login in the future")
    return Claims(
        id=assertion.get("ID", ""),
        name=_name_of(subject),
        session_index=(statement.get("SessionIndex") or "")[:MAX_TEXT],
        context=_context_of(statement),
        attributes=_attributes_of(assertion),
        until=max(until, confirmed) + SKEW,
        session_until=_session_until(statement, now),
    )


def moment(text: str | None) -> int:
    """A time as SAML writes it, in UTC; microseconds since 1970 (SAML Core §1.3.3).

    Raises:
        LoginRefused: there is none, or it is written in another way.
    """
    matched = _INSTANT.fullmatch(text or "")
    if matched is None:
        raise LoginRefused("the message has a time that is missing, or not written as SAML has it")
    try:
        whole = datetime.fromisoformat(matched[1]).replace(tzinfo=UTC)
    except ValueError:
        raise LoginRefused("the message has a time that there is not") from None
    return int(whole.timestamp()) * SECOND + int((matched[2] or "0").ljust(6, "0")[:6])


def issuer_of(element: etree._Element) -> str:
    """Who a message or an assertion says it is from: whose keys are needed to find out whether it is.

    Raises:
        LoginRefused: it does not say so.
    """
    issuer = plain_text(only(element, ISSUER, LoginRefused))
    if not 0 < len(issuer) <= MAX_ENTITY:
        raise LoginRefused("the message does not say who issued it")
    return issuer


def demand_issuer(element: etree._Element, issuer: str) -> None:
    """Insist that a message or an assertion comes from the one that was asked.

    Raises:
        LoginRefused: it comes from another.
    """
    named = only(element, ISSUER, LoginRefused)
    if plain_text(named) != issuer or named.get("Format", ENTITY) != ENTITY:
        raise LoginRefused("the message was not issued by the identity provider that was asked")


def demand_recent(element: etree._Element, since: int, now: int) -> None:
    """Insist that something was issued after `since` and not in the future.

    Raises:
        Expired: it was not.
        LoginRefused: it does not say when it was issued.
    """
    if not since - SKEW <= moment(element.get("IssueInstant")) <= now + SKEW:
        raise Expired("the message was issued before it was asked for, or in the future; clocks may differ")


def _check_head(assertion: etree._Element, expected: Expected, now: int) -> None:
    if assertion.tag != ASSERTION or assertion.get("Version") != "2.0" or not assertion.get("ID"):
        raise LoginRefused("the message holds no assertion of SAML 2.0")
    demand_issuer(assertion, expected.issuer)
    demand_recent(assertion, expected.since, now)


def _check_conditions(conditions: etree._Element, expected: Expected, now: int) -> int:
    """Until when they hold; each has to be known, and to name this site."""
    if {child.tag for child in conditions} - _KNOWN_CONDITIONS:
        raise LoginRefused("the assertion has conditions that are not known here")
    restrictions = conditions.findall(saml("AudienceRestriction"))
    for restriction in restrictions:
        if expected.audience not in [plain_text(one) for one in restriction.findall(saml("Audience"))]:
            raise LoginRefused("the assertion is for another service")
    if not restrictions:
        raise LoginRefused("the assertion does not say for which service it is")
    if conditions.get("NotBefore") and moment(conditions.get("NotBefore")) > now + SKEW:
        raise Expired("the assertion is not good yet; clocks may differ")
    return _demand_end(conditions, now)


def _confirmed_until(subject: etree._Element, expected: Expected, now: int) -> int:
    """Until when whoever brings the assertion is taken for its subject (SAML Profiles §3.3, §4.1.4.2)."""
    for confirmation in subject.findall(saml("SubjectConfirmation")):
        data = confirmation.find(saml("SubjectConfirmationData"))
        if confirmation.get("Method") == BEARER and data is not None and _fits(data, expected):
            if data.get("NotBefore") and moment(data.get("NotBefore")) > now + SKEW:
                raise Expired("the assertion is not good yet; clocks may differ")
            return _demand_end(data, now)
    raise LoginRefused("the assertion was not issued for this login at this address")


def _fits(data: etree._Element, expected: Expected) -> bool:
    """Whether a confirmation is for the request and the place; alone, it was asked for by nobody."""
    if not expected.request:
        return data.get("InResponseTo") is None and data.get("Recipient") in (None, expected.audience)
    return data.get("InResponseTo") == expected.request and data.get("Recipient") == expected.recipient


def _demand_end(element: etree._Element, now: int) -> int:
    end = moment(element.get("NotOnOrAfter"))
    if end + SKEW <= now:
        raise Expired("the assertion is not good any more; begin again")
    return end


def _session_until(statement: etree._Element, now: int) -> int:
    text = statement.get("SessionNotOnOrAfter")
    end = moment(text) if text else 0
    if text and end <= now:
        raise Expired("the session at the identity provider is over; log in there again")
    return end


def _name_of(subject: etree._Element) -> NameId:
    """What the person is called for this site, if the assertion says it; never what is encrypted again."""
    if {child.tag for child in subject} - {NAME_ID, saml("SubjectConfirmation")}:
        raise LoginRefused("the assertion names its subject in a way that is not known here")
    found = subject.findall(NAME_ID)
    if not found:
        return NameId(value="")
    named = only(subject, NAME_ID, LoginRefused)
    return NameId(
        value=plain_text(named)[:MAX_TEXT],
        format=named.get("Format", ""),
        qualifier=named.get("NameQualifier", ""),
        sp_qualifier=named.get("SPNameQualifier", ""),
    )


def _context_of(statement: etree._Element) -> str:
    context = only(statement, saml("AuthnContext"), LoginRefused)
    found = context.findall(saml("AuthnContextClassRef"))
    return plain_text(found[0]) if len(found) == 1 else ""


def _attributes_of(assertion: etree._Element) -> Mapping[str, tuple[str, ...]]:
    """Values by name; each name is said once."""
    found: dict[str, tuple[str, ...]] = {}
    for attribute in assertion.iter(saml("Attribute")):
        name = attribute.get("Name", "")
        if name in found:
            raise LoginRefused("the assertion tells the same attribute twice")
        values = [one for one in attribute.findall(saml("AttributeValue")) if not len(one)]
        told = [plain_text(value) for value in values]
        found[name] = tuple(text for text in told if len(text) <= MAX_TEXT)
    if next(assertion.iter(saml("EncryptedAttribute")), None) is not None:
        raise LoginRefused("the assertion holds attributes that are encrypted by themselves")
    return found
