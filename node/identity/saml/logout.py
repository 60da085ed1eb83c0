"""Messages about logouts: requests of identity providers, and their answers to ours (SAML Profiles §4.4).

Each has to be signed, in the query of a redirect or in the message of a form; a request is taken once, and
only when it is fresh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import unquote_plus

from lxml import etree

from node.domain.errors import BadSignature, Expired, LoginRefused
from node.identity.providers.descriptor import POST, REDIRECT, Provider
from node.identity.saml import claims, crypt, gate, signature
from node.identity.saml.names import (
    ENCRYPTED_ID,
    LOGOUT_REQUEST,
    LOGOUT_RESPONSE,
    NAME_ID,
    STATUS,
    STATUS_CODE,
    SUCCESS,
    samlp,
)
from node.identity.saml.sp import Form, ServiceProvider
from node.identity.xmlnames import only

LONGEST: Final = 600 * claims.SECOND
"""How old a message about a logout may be."""
_MOST_INDEXES: Final = 50
_MAX_QUERY: Final = 64 * 1024
_NAMES: Final = ("SAMLRequest", "SAMLResponse", "RelayState", "SigAlg", "Signature")
_ROOTS: Final = {"SAMLRequest": LOGOUT_REQUEST, "SAMLResponse": LOGOUT_RESPONSE}

Find: TypeAlias = Callable[[str], Provider]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message as it came, before anything of it is believed."""

    field: str
    """`SAMLRequest` or `SAMLResponse`."""
    data: bytes
    relay: str
    signed: bytes = b""
    """The part of the query that is signed; empty for a form."""
    method: str = ""
    value: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message about a logout, whose signature holds."""

    provider: Provider
    id: str
    is_request: bool
    relay: str
    in_response_to: str = ""
    name_id: str = ""
    session_indexes: tuple[str, ...] = ()
    complete: bool = True
    """Whether an answer says that everybody was logged out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutHeard:
    """What is to be done about a message."""

    provider: Provider
    asked: bool
    """Whether sessions have to end: it is a request. Otherwise it answers ours, and nothing is left."""
    name_id: str = ""
    """Whose sessions, as the identity provider calls the person."""
    session_indexes: tuple[str, ...] = ()
    """Which of them; all, if it names none."""
    answer_url: str = ""
    """Where the browser has to go then; empty if there is no answer, or it is a form."""
    answer_form: Form | None = None
    """What the browser has to post then, for an identity provider that takes nothing else."""
    complete: bool = True
    """Whether the identity provider says that everything has ended."""

    @property
    def session_index(self) -> str:
        """The first session that it names, if it names one."""
        return self.session_indexes[0] if self.session_indexes else ""


def parameters(sent: str | Mapping[str, str], binding: str) -> Sent:
    """What a browser brought, taken apart.

    Args:
        sent: the query as it came, for a redirect; the fields of the form for POST.
        binding: which of both.

    Raises:
        LoginRefused: there is no message in it, or more than one.
    """
    if binding == REDIRECT and isinstance(sent, str):
        return _from_query(sent.removeprefix("?"))
    if binding == POST and not isinstance(sent, str):
        field = _field_in(sent)
        return Sent(field=field, data=gate.decoded(sent[field]), relay=sent.get("RelayState", ""))
    raise LoginRefused("the message came in a way that is not known here")


def read(sent: Sent, find: Find, sp: ServiceProvider, now: int) -> Message:
    """A message about a logout, if it is from whom it says, for this site, and fresh.

    Raises:
        UnknownProvider: it is from nobody who is known here.
        Unauthenticated: it is not good.
    """
    root = gate.read(sent.data, {_ROOTS[sent.field]})
    provider = find(claims.issuer_of(root))
    root = _verified(root, sent, provider)
    claims.demand_issuer(root, provider.entity)
    if root.get("Version") != "2.0" or not root.get("ID") or root.get("Destination") != sp.slo:
        raise LoginRefused("the message was sent to another address, or is not of SAML 2.0")
    claims.demand_recent(root, now - LONGEST, now)
    if root.get("NotOnOrAfter") and claims.moment(root.get("NotOnOrAfter")) + claims.SKEW <= now:
        raise Expired("the request to log out")
    if root.tag == LOGOUT_REQUEST:
        return _request(root, sent, provider, sp)
    return _answer(root, sent, provider)


def heard(message: Message, sp: ServiceProvider, now: int) -> LogoutHeard:
    """What is to be done about a request, and the answer to give when it is done."""
    url, form = "", None
    for binding in (REDIRECT, POST):
        _, place = message.provider.logout(binding)
        if place and not url and form is None:
            answer = sp.logout_answer(place, message.id, now=now)
            if binding == REDIRECT:
                url = sp.redirect(answer, message.relay)
            else:
                form = sp.form(answer, message.relay)
    return LogoutHeard(
        provider=message.provider,
        asked=True,
        name_id=message.name_id,
        session_indexes=message.session_indexes,
        answer_url=url,
        answer_form=form,
    )


def answered(message: Message) -> LogoutHeard:
    """The answer to our own request: the session here has ended before it."""
    return LogoutHeard(provider=message.provider, asked=False, complete=message.complete)


def _from_query(query: str) -> Sent:
    """A redirect: what is signed are the octets of the query, in a fixed order (SAML Bindings §3.4.4.1)."""
    if len(query) > _MAX_QUERY:
        raise LoginRefused("the query is too long")
    raw: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name in raw and name in _NAMES:
            raise LoginRefused("the query names a parameter twice")
        raw[name] = value
    field = _field_in(raw)
    given = {name: unquote_plus(raw.get(name, "")) for name in _NAMES}
    order = (field, *(("RelayState",) if "RelayState" in raw else ()), "SigAlg")
    return Sent(
        field=field,
        data=gate.inflated(gate.decoded(given[field])),
        relay=given["RelayState"],
        signed="&".join(f"{name}={raw.get(name, '')}" for name in order).encode(),
        method=given["SigAlg"],
        value=gate.decoded(given["Signature"]),
    )


def _field_in(fields: Mapping[str, str]) -> str:
    found = [name for name in _ROOTS if fields.get(name)]
    if len(found) != 1:
        raise LoginRefused("there is no message of an identity provider in it, or more than one")
    return found[0]


def _verified(root: etree._Element, sent: Sent, provider: Provider) -> etree._Element:
    """The message, if the identity provider signed it: in the query of a redirect, in itself otherwise."""
    if not sent.signed:
        return signature.verify(root, provider.certificates)
    if not sent.value:
        raise BadSignature("the message about a logout is not signed")
    signature.verify_query(sent.signed, sent.value, sent.method, provider.certificates)
    return root


def _request(root: etree._Element, sent: Sent, provider: Provider, sp: ServiceProvider) -> Message:
    held = root.find(ENCRYPTED_ID)
    if held is not None:
        keys = [key.private for key in sp.keys.all()]
        named = gate.read_within(crypt.decrypt(held, keys, verified=True), held, {NAME_ID})
    else:
        named = only(root, NAME_ID, LoginRefused)
    indexes = [gate.plain_text(one) for one in root.findall(samlp("SessionIndex"))]
    name = gate.plain_text(named)
    if not name or len(indexes) > _MOST_INDEXES:
        raise LoginRefused("the request does not say who is to be logged out")
    return Message(
        provider=provider,
        id=root.get("ID", ""),
        is_request=True,
        relay=sent.relay,
        name_id=name,
        session_indexes=tuple(indexes),
    )


def _answer(root: etree._Element, sent: Sent, provider: Provider) -> Message:
    code = only(only(root, STATUS, LoginRefused), STATUS_CODE, LoginRefused)
    return Message(
        provider=provider,
        id=root.get("ID", ""),
        is_request=False,
        relay=sent.relay,
        in_response_to=root.get("InResponseTo", ""),
        complete=code.get("Value") == SUCCESS and code.find(STATUS_CODE) is None,
    )
