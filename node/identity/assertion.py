"""The assertion that goes with every call between nodes: who at the home site caused it.

The calling node issues it for one call to one other node (SAML 2.0, with the attributes of IHE XUA), and the
called node takes it only over a TLS connection of the issuer (holder-of-key): stolen, it is worth nothing.
A node speaks for the principals of its own site and for nobody else.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from lxml import etree

from node.domain.errors import Expired, MalformedIdentifier, Unauthenticated
from node.domain.ids import SiteId
from node.domain.principal import Kind, Principal
from node.identity import xmlsig
from node.identity.certificates import Certificate, known
from node.identity.keys import NodeKey
from node.identity.replay import Memory
from node.identity.xmlnames import (
    DS,
    SAML,
    XSI,
    add,
    entity_id,
    instant,
    microseconds,
    one_text,
    only,
    site_of,
)
from node.identity.xspa import Purpose, add_attributes, read_attributes

LIFE: Final = 120
"""Seconds for which an assertion is issued."""
LONGEST: Final = 300
"""Seconds beyond which none is taken."""
SKEW: Final = 60
"""Seconds by which the clocks of two sites may differ."""
MAX_NAME: Final = 256
"""Characters of a principal's name."""
MAX_ISSUER: Final = 1024
MFA: Final = "https://refeds.org/profile/mfa"
"""A second factor was proved (REFEDS MFA Profile)."""
SECOND: Final = 1_000_000

Registry: TypeAlias = Callable[[SiteId], tuple[str, ...]]
"""The certificates (PEM) that an active member may show now; none for others. Asked for each message."""

_HOLDER_OF_KEY = "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"
_UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
_X509 = "urn:oasis:names:tc:SAML:2.0:ac:classes:X509"
_NOT_SAID = "urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified"
_KEY_INFO = f"{{{DS}}}KeyInfo"
_X509_DATA = f"{{{DS}}}X509Data"
_X509_CERTIFICATE = f"{{{DS}}}X509Certificate"


def _saml(name: str) -> str:
    return f"{{{SAML}}}{name}"


ASSERTION: Final = _saml("Assertion")
_CONTEXT = _saml("AuthnContextClassRef")
_AUTHORITY = _saml("AuthenticatingAuthority")


def issue(
    key: NodeKey,
    *,
    audience: SiteId,
    principal: Principal,
    now: int,
    ttl: int = LIFE,
    purpose: Purpose = Purpose.TREATMENT,
    organization: str | None = None,
) -> etree._Element:
    """Say to another node who causes the call that follows.

    Args:
        key: of this node, the issuer; also the key of its TLS connection.
        audience: the node that is called; the assertion is worth nothing elsewhere.
        principal: who causes the call, at the site of `key`.
        now: microseconds since 1970.
        ttl: seconds for which it is good.
        purpose: why it is asked.
        organization: the name of the organization as people say it; otherwise the name of the site.

    Raises:
        Unauthenticated: the principal belongs to another site, or cannot be named in XML.
    """
    _demand_scope(principal, key.site)
    assertion = etree.Element(ASSERTION, nsmap={"saml": SAML, "xsi": XSI, "ds": DS})
    for name, text in (
        ("ID", "_" + secrets.token_hex(16)),
        ("Version", "2.0"),
        ("IssueInstant", instant(now)),
    ):
        assertion.set(name, text)
    add(assertion, _saml("Issuer"), entity_id(key.site))
    _add_subject(assertion, str(principal), key.certificate)
    conditions = add(assertion, _saml("Conditions"))
    conditions.set("NotBefore", instant(now))
    conditions.set("NotOnOrAfter", instant(now + ttl * SECOND))
    add(add(conditions, _saml("AudienceRestriction")), _saml("Audience"), entity_id(audience))
    _add_authentication(assertion, principal, now)
    add_attributes(assertion, principal, purpose, organization or principal.site)
    xmlsig.sign(assertion, key, position=1)
    return assertion


@dataclass(frozen=True, slots=True, kw_only=True)
class FarEnd:
    """The active member at the other end of a connection."""

    site: SiteId
    certificate: Certificate
    """The one that the connection shows."""
    pinned: tuple[str, ...]
    """All that it may show now (PEM)."""


class Verifier:
    """Takes assertions of the members of the federation, each once."""

    def __init__(self, *, site: SiteId, certificates_of: Registry, memory: Memory) -> None:
        """The verifier of a node.

        Args:
            site: this node, the only audience it answers to.
            certificates_of: what members may show now.
            memory: of the assertions that were taken.
        """
        self._site = site
        self._certificates_of = certificates_of
        self._memory = memory

    def verify(self, assertion: etree._Element, tls_fingerprint: str | None, now: int) -> Principal:
        """Who causes the call, on the word of their home site, by whose node it comes.

        Args:
            assertion: as it came; it is copied out of its message, so that what is verified is what is read.
            tls_fingerprint: SHA-256 of the client certificate of the connection (DER, hexadecimal).
            now: microseconds since 1970.

        Raises:
            Expired: it is not in its time, or was issued for too long a time.
            Replayed: it was taken before.
            IssuedBeforeStart: it is older than the memory of this process.
            BadSignature: it is not signed by the member that it names as its issuer, or was changed.
            Unauthenticated: any other reason for which it is not good here.
            TooBusy: more assertions are in their time than can be remembered.
        """
        end = demand_member(issuer_of(assertion), tls_fingerprint, self._certificates_of, now)
        return self.accept(assertion, end, now)

    def accept(self, assertion: etree._Element, end: FarEnd, now: int) -> Principal:
        """The same, where the member at the other end is known already.

        Raises:
            NodeError: for the reasons that `verify` has.
        """
        assertion = copy.deepcopy(assertion)
        assertion.tail = None
        if assertion.tag != ASSERTION or assertion.get("Version") != "2.0":
            raise Unauthenticated("the token is no SAML 2.0 assertion")
        if issuer_of(assertion) != entity_id(end.site):
            raise Unauthenticated(f"the assertion was not issued by {end.site}")
        xmlsig.verify(assertion, end.pinned)
        issued, until = self._check_conditions(assertion, now)
        principal = read_attributes(assertion, _subject(assertion, end))
        if principal.kind is Kind.PERSON:
            principal = _vouched(assertion, principal)
        self._memory.once(end.site, assertion.get("ID", ""), issued=issued, until=until, now=now)
        return principal

    def _check_conditions(self, assertion: etree._Element, now: int) -> tuple[int, int]:
        """When it was issued, and when nobody takes it any more; it has to be for this node, and for now."""
        conditions = only(assertion, _saml("Conditions"))
        if [child.tag for child in conditions] != [_saml("AudienceRestriction")]:
            raise Unauthenticated("the assertion has conditions that are not known here")
        audience = one_text(conditions[0], _saml("Audience"))
        if audience != entity_id(self._site):
            raise Unauthenticated(f"the assertion is for {audience[:MAX_NAME]}, not for {self._site}")
        issued = microseconds(assertion.get("IssueInstant"))
        begin = microseconds(conditions.get("NotBefore"))
        end = microseconds(conditions.get("NotOnOrAfter"))
        if issued is None or begin is None or end is None:
            raise Unauthenticated("the assertion does not say in which time it is good")
        check_time("the assertion", begin=min(issued, begin), end=end, now=now)
        check_time("the assertion", begin=max(issued, begin), end=end, now=now)
        return min(issued, begin), end + SKEW * SECOND


def issuer_of(assertion: etree._Element) -> str:
    """The entity id of the node that says to have issued it; nothing is verified yet.

    Raises:
        Unauthenticated: it names none, or several.
    """
    return one_text(assertion, _saml("Issuer"))


def demand_member(entity: str, tls_fingerprint: str | None, certificates_of: Registry, now: int) -> FarEnd:
    """The active member of that entity id, which has to be at the other end of the connection.

    Raises:
        Unauthenticated: it is no active member, or the connection is somebody else's.
        Expired: its certificate has expired.
    """
    site = site_of(entity)
    pinned = certificates_of(site) if site else ()
    if site is None or not pinned:
        raise Unauthenticated(f"{entity[:MAX_NAME]} is no active member of the federation")
    if tls_fingerprint is None:
        raise Unauthenticated("the connection shows no client certificate")
    for pem in pinned:
        certificate = known(pem)
        if certificate.fingerprint == tls_fingerprint:
            certificate.demand_current(now, SKEW * SECOND)
            return FarEnd(site=site, certificate=certificate, pinned=pinned)
    raise Unauthenticated(f"the connection does not show a certificate of {site}")


def check_time(what: str, *, begin: int, end: int, now: int) -> None:
    """Insist that it is in its time, give or take the skew, and that its time is short.

    Raises:
        Expired: it is not; the reason helps to find a clock that is wrong.
    """
    clock = f"by the clock here it is {instant(now)}; compare the clocks of both sites"
    if begin - SKEW * SECOND > now:
        raise Expired(f"{what} is good from {instant(begin)} on, and {clock}")
    if end + SKEW * SECOND <= now:
        raise Expired(f"{what} was good until {instant(end)}, and {clock}")
    if not 0 < end - begin <= LONGEST * SECOND:
        raise Expired(f"{what} has to be good for at most {LONGEST} seconds")


def _demand_scope(principal: Principal, site: SiteId) -> None:
    """A node speaks for its own site, by names that XML can carry and a log can show."""
    if principal.site != site:
        raise Unauthenticated(f"{site} cannot speak for somebody of {principal.site}")
    if not 0 < len(principal.name) <= MAX_NAME or not principal.name.isprintable():
        raise Unauthenticated("the name of the principal is none that can be sent")
    if principal.kind is Kind.PERSON and principal.via is None and not principal.issuer:
        raise Unauthenticated("nobody has vouched for the person")


def _add_subject(assertion: etree._Element, name: str, certificate: Certificate) -> None:
    subject = add(assertion, _saml("Subject"))
    add(subject, _saml("NameID"), name, Format=_UNSPECIFIED)
    confirmation = add(subject, _saml("SubjectConfirmation"), Method=_HOLDER_OF_KEY)
    data = add(confirmation, _saml("SubjectConfirmationData"))
    data.set(f"{{{XSI}}}type", "saml:KeyInfoConfirmationDataType")
    add(add(add(data, _KEY_INFO), _X509_DATA), _X509_CERTIFICATE, certificate.base64)


def _add_authentication(assertion: etree._Element, principal: Principal, now: int) -> None:
    """How it is known who it is: a person by an IdP, which is named (SAML Core §2.7.2.2)."""
    statement = add(assertion, _saml("AuthnStatement"), AuthnInstant=instant(now))
    context = add(statement, _saml("AuthnContext"))
    if principal.kind is not Kind.PERSON:
        add(context, _CONTEXT, _X509)
        return
    add(context, _CONTEXT, MFA if principal.mfa else _NOT_SAID)
    add(context, _AUTHORITY, principal.issuer)


def _vouched(assertion: etree._Element, principal: Principal) -> Principal:
    """The person with who vouched for it at the home site, and whether by a second factor."""
    context = only(only(assertion, _saml("AuthnStatement")), _saml("AuthnContext"))
    issuer = one_text(context, _AUTHORITY)
    if len(issuer) > MAX_ISSUER or not issuer.isprintable():
        raise Unauthenticated("the assertion does not name who vouched for the person")
    return replace(principal, issuer=issuer, mfa=one_text(context, _CONTEXT) == MFA)


def _subject(assertion: etree._Element, end: FarEnd) -> Principal:
    """The principal, if the issuer may speak for it and the connection is the one it was issued to."""
    subject = only(assertion, _saml("Subject"))
    principal = _principal(one_text(subject, _saml("NameID")), end.site)
    _demand_scope(principal, end.site)
    confirmation = only(subject, _saml("SubjectConfirmation"))
    if confirmation.get("Method") != _HOLDER_OF_KEY:
        raise Unauthenticated("the assertion is not bound to the key of its holder")
    info = only(only(confirmation, _saml("SubjectConfirmationData")), _KEY_INFO)
    bound = one_text(only(info, _X509_DATA), _X509_CERTIFICATE)
    if "".join(bound.split()) != end.certificate.base64:
        raise Unauthenticated("the assertion was issued to the holder of another key")
    return principal


def _principal(text: str, issuer: SiteId) -> Principal:
    """The reverse of `str(principal)`, on the word of the issuer."""
    kind, _, rest = text.partition(":")
    name, _, site = rest.rpartition("@")
    try:
        return Principal(kind=Kind(kind), name=name, site=SiteId(site), via=issuer)
    except (ValueError, MalformedIdentifier):
        raise Unauthenticated("the assertion does not name its subject as kind:name@site") from None
