"""Verifying a message that arrives: from which node, caused by whom, meant for this node, now, and only once.

Everything that is used is found by its place in the envelope, and has to be signed; what is signed but not
used, or used but not signed, makes the message invalid. So there is nothing to wrap and nowhere to hide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lxml import etree

from node.domain.errors import Malformed, Unauthenticated
from node.domain.ids import SiteId
from node.domain.principal import Principal
from node.identity import assertion as assertions
from node.identity.assertion import ASSERTION, SECOND, SKEW, Registry, check_time, demand_member, issuer_of
from node.identity.certificates import Certificate, from_base64
from node.identity.replay import Memory
from node.identity.xmlnames import entity_id, local, microseconds, one_text, only
from node.identity.xmlsig import SIGNATURE, Part, verify_parts
from services.soap.security.names import (
    ACTION,
    ADDRESS,
    ANONYMOUS,
    BASE64,
    CREATED,
    EXPIRES,
    ID,
    MESSAGE_ID,
    REPLY_TO,
    SECURITY,
    SOAP11,
    SOAP12,
    TIMESTAMP,
    TO,
    TOKEN,
    X509V3,
)

MAX_ID: Final = 128
"""Characters of a message ID."""
MAX_STRANGERS: Final = 10_000
"""Messages of strangers that are remembered; each may have any number of keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose message it is, as far as it was proved."""

    principal: Principal
    """Who caused it, at the site of the node."""
    node: SiteId
    """The member that sent it."""
    certificate: str
    """The certificate that it showed, in TLS as in the message (PEM)."""
    message_id: str
    action: str
    """What it asks for (WS-Addressing)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """The elements of a message that are used, each found by its place."""

    timestamp: etree._Element
    token: etree._Element
    signature: etree._Element
    assertion: etree._Element | None
    body: etree._Element
    addressing: dict[str, etree._Element]

    def parts(self) -> list[Part]:
        """All of them, since all of them have to be signed."""
        elements = (self.timestamp, self.token, self.body, *self.addressing.values())
        parts = [Part(element=element, attribute=ID) for element in elements]
        return parts if self.assertion is None else [*parts, Part(element=self.assertion)]

    def header(self, tag: str) -> str:
        """The text of an addressing header."""
        text = self.addressing[tag].text
        if not text or len(self.addressing[tag]):
            raise Unauthenticated(f"the addressing header {local(tag)} holds no plain text")
        return text


class Verifier:
    """Takes the messages of members, each once, and those of strangers where a door lets them in."""

    def __init__(self, *, site: SiteId, certificates_of: Registry, started: int) -> None:
        """The verifier of a node; one for all its services, so that it remembers for all of them.

        Args:
            site: this node.
            certificates_of: what active members may show now; asked for each message.
            started: when this process began to serve, in microseconds since 1970.
        """
        self._site = site
        self._certificates_of = certificates_of
        self._memory = Memory(started=started)
        self._strangers = Memory(started=started, most=MAX_STRANGERS)
        self._assertions = assertions.Verifier(
            site=site, certificates_of=certificates_of, memory=Memory(started=started)
        )

    def verify(self, envelope: etree._Element, tls_fingerprint: str | None, now: int) -> Caller:
        """Whose message it is.

        Args:
            envelope: as it was parsed, SOAP 1.1 or 1.2; it is not changed.
            tls_fingerprint: SHA-256 of the client certificate of the connection (DER, hexadecimal).
            now: microseconds since 1970.

        Raises:
            BadSignature: something that is used is not signed, or was changed.
            Expired: it is not in its time; the reason names both clocks.
            Replayed: it was received before.
            IssuedBeforeStart: it is older than this process; the caller sends a new one.
            Unauthenticated: any other reason for which it is not taken.
            TooBusy: more messages are in their time than can be remembered.
        """
        message = _message(envelope)
        if message.assertion is None:
            raise Unauthenticated("the message has no assertion of who caused it")
        issuer = issuer_of(message.assertion)
        end = demand_member(issuer, tls_fingerprint, self._certificates_of, now)
        if _token_text(message.token) != end.certificate.base64:
            raise Unauthenticated("the message is not from the holder of the connection")
        until = self._check(message, end.certificate, now)
        principal = self._assertions.accept(message.assertion, end, now)
        _once(self._memory, message, end.site, until, now)
        return Caller(
            principal=principal,
            node=end.site,
            certificate=end.certificate.pem,
            message_id=message.header(MESSAGE_ID),
            action=message.header(ACTION),
        )

    def verify_unknown(self, envelope: etree._Element, tls_fingerprint: str | None, now: int) -> str:
        """The certificate (PEM) whose key signed the message of a site that is no member yet.

        Nothing but this is proved: the body is the one that the holder of that key sent to this node, now.
        Whether the certificate means anything is for the caller to find out.

        Args:
            envelope: as it was parsed; it carries no assertion.
            tls_fingerprint: of the client certificate, if the connection shows one; it has to be the same.
            now: microseconds since 1970.

        Raises:
            NodeError: for the reasons that `verify` has.
        """
        message = _message(envelope)
        if message.assertion is not None:
            raise Unauthenticated("a site that is no member cannot say who caused its message")
        try:
            certificate = from_base64(_token_text(message.token))
        except Malformed as error:
            raise Unauthenticated(error.args[0]) from None
        if tls_fingerprint not in {None, certificate.fingerprint}:
            raise Unauthenticated("the message is not from the holder of the connection")
        certificate.demand_current(now, SKEW * SECOND)
        until = self._check(message, certificate, now)
        _once(self._strangers, message, certificate.fingerprint, until, now)
        return certificate.pem

    def _check(self, message: _Message, certificate: Certificate, now: int) -> int:
        """Time, signature and address; returns when nobody takes the message any more."""
        begin, end = _times(message.timestamp)
        check_time("the message", begin=begin, end=end, now=now)
        verify_parts(message.signature, message.parts(), certificate)
        _check_addressing(message, self._site)
        return end + SKEW * SECOND


def _once(memory: Memory, message: _Message, sender: str, until: int, now: int) -> None:
    created, _ = _times(message.timestamp)
    memory.once(sender, message.header(MESSAGE_ID), issued=created, until=until, now=now)


def _message(envelope: etree._Element) -> _Message:
    """Pick what is used out of the envelope; nothing is trusted yet.

    Raises:
        Unauthenticated: something is missing, there twice, or in a place where it has no business.
    """
    namespace = etree.QName(envelope).namespace
    if namespace not in {SOAP11, SOAP12} or envelope.tag != f"{{{namespace}}}Envelope":
        raise Unauthenticated("the message is no SOAP envelope")
    if [child.tag for child in envelope] != [f"{{{namespace}}}Header", f"{{{namespace}}}Body"]:
        raise Unauthenticated("the envelope does not consist of one header and one body")
    header, body = envelope[0], envelope[1]
    security = only(header, SECURITY)
    known = {TIMESTAMP, TOKEN, SIGNATURE, ASSERTION}
    if not {child.tag for child in security} <= known:
        raise Unauthenticated("the security header holds something that is not known here")
    if len(security.findall(ASSERTION)) > 1:
        raise Unauthenticated("the message has more than one assertion")
    return _Message(
        timestamp=only(security, TIMESTAMP),
        token=only(security, TOKEN),
        signature=only(security, SIGNATURE),
        assertion=security.find(ASSERTION),
        body=body,
        addressing=_addressing(header),
    )


def _addressing(header: Iterable[etree._Element]) -> dict[str, etree._Element]:
    """The addressing headers, one of each; besides them there is the security header, and nothing else."""
    found: dict[str, etree._Element] = {}
    for element in header:
        if element.tag in found or element.tag not in {MESSAGE_ID, TO, ACTION, REPLY_TO, SECURITY}:
            raise Unauthenticated(
                f"the header {local(str(element.tag))[:MAX_ID]} is there twice, or not known here"
            )
        found[element.tag] = element
    del found[SECURITY]
    missing = {MESSAGE_ID, TO, ACTION} - set(found)
    if missing:
        raise Unauthenticated(f"the addressing header {local(min(missing))} is missing")
    return found


def _check_addressing(message: _Message, site: SiteId) -> None:
    """The message is for this node, and its answer goes back on the connection."""
    if message.header(TO) != entity_id(site):
        raise Unauthenticated(f"the message is not for {site}")
    if len(message.header(MESSAGE_ID)) > MAX_ID:
        raise Unauthenticated("the message ID is too long")
    reply = message.addressing.get(REPLY_TO)
    if reply is not None and one_text(reply, ADDRESS) != ANONYMOUS:
        raise Unauthenticated("the answer would have to go elsewhere")


def _token_text(token: etree._Element) -> str:
    """The certificate in base64, on one line."""
    if (
        token.get("ValueType") != X509V3
        or token.get("EncodingType") != BASE64
        or not token.text
        or len(token)
    ):
        raise Unauthenticated("the binary security token is no X.509 certificate in base64")
    return "".join(token.text.split())


def _times(timestamp: etree._Element) -> tuple[int, int]:
    """When the message was created, and when it expires."""
    created = microseconds(one_text(timestamp, CREATED))
    expires = microseconds(one_text(timestamp, EXPIRES))
    if created is None or expires is None:
        raise Unauthenticated("the message does not say in which time it is good")
    return created, expires
