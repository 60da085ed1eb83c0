"""Who took part in an audited event: the `ActiveParticipant`s of a message (PS3.15 A.5.2, A.5.3)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from node.audit import codes
from node.audit.codes import Code, Form
from node.audit.record import Deed

_SENT: Final = re.compile(r"\d+ instances?(?: to)? (?P<where>\S.*)")
"""How the record of a retrieval says where the instances went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The node that reports (A.5.2: AuditSourceIdentification)."""

    site: str
    ae_title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """A person, a process or a medium."""

    user: str
    other: str = ""
    """AlternativeUserID: the AE title of a process, the issuer's name of a person (A.5.2.2)."""
    name: str = ""
    is_requestor: bool = False
    roles: tuple[Code, ...] = ()
    address: str = ""
    medium: Code | None = None
    """What sort of medium it is, if it is one."""

    @property
    def address_type(self) -> str:
        """NetworkAccessPointTypeCode: 2 for an IP address, 1 for the name of a machine."""
        try:
            ipaddress.ip_address(self.address)
        except ValueError:
            return "1"
        return "2"


def participants(deed: Deed, form: Form, source: Source) -> Iterator[Participant]:
    """Everybody who took part, in the order of the table for events of that form."""
    theirs, ours = _PARTS.get(form, ((), ()))
    alert = form is Form.ALERT
    asks = _requestor(deed, theirs, is_requestor=not alert)
    here = _here(source, ours)
    if form is Form.LOGIN and not asks.address:
        asks = _requestor(deed, theirs, address=source.site)
    yield from (here, asks) if form in (Form.GOING, Form.ALERT, Form.ACTIVITY) else (asks, here)
    yield from _media(deed, form)
    yield from _others(deed, form)


_PARTS: Final[dict[Form, tuple[tuple[Code, ...], tuple[Code, ...]]]] = {
    Form.ACTIVITY: ((codes.LAUNCHER,), (codes.APPLICATION,)),
    Form.EXPORT: ((codes.SOURCE,), (codes.APPLICATION,)),
    Form.IMPORT: ((codes.DESTINATION,), (codes.APPLICATION,)),
    Form.COMING: ((codes.SOURCE,), (codes.DESTINATION,)),
    Form.GOING: ((codes.DESTINATION,), (codes.SOURCE,)),
    Form.QUERY: ((codes.SOURCE,), (codes.DESTINATION,)),
}
"""The parts of who asked and of this node; other events give none."""


def _requestor(
    deed: Deed, parts: tuple[Code, ...], *, is_requestor: bool = True, address: str = ""
) -> Participant:
    """Who asked for it, with the roles that were granted."""
    kind, _, rest = deed.who.partition(":")
    name, _, _ = rest.rpartition("@") if kind == "person" else ("", "", "")
    if _destination(deed):
        parts = tuple(part for part in parts if part != codes.DESTINATION)
    return Participant(
        user=name or rest or deed.who,
        other=_alternative(deed, kind, rest),
        name=deed.display,
        is_requestor=is_requestor,
        roles=(*parts, *(Code(role, codes.OURS, role) for role in deed.roles)),
        address=deed.address or address,
    )


def _alternative(deed: Deed, kind: str, rest: str) -> str:
    """How it calls itself elsewhere: an AE title, or a person at the issuer (ITI TF-2 3.40.4.2)."""
    if kind == "device":
        return _titles(rest.rpartition("@")[0])
    return f"<{rest.rpartition('@')[0] or rest}@{deed.issuer}>" if deed.issuer else ""


def _here(source: Source, parts: tuple[Code, ...]) -> Participant:
    """This node."""
    return Participant(
        user=f"konzilium@{source.site}", other=_titles(source.ae_title), name="Konzilium", roles=parts
    )


def _media(deed: Deed, form: Form) -> Iterator[Participant]:
    """What instances were read from or written to."""
    if form is Form.EXPORT:
        yield _medium(_destination(deed) or "media", codes.DESTINATION_MEDIA)
    elif form is Form.IMPORT:
        yield _medium("media", codes.SOURCE_MEDIA)


def _medium(name: str, part: Code) -> Participant:
    return Participant(user=name, roles=(part,), medium=codes.MEDIA_URI)


def _others(deed: Deed, form: Form) -> Iterator[Participant]:
    """The node and the device between, and where instances went, as far as these are others."""
    where = _destination(deed) if form is Form.GOING else ""
    if where:
        yield Participant(user=where, roles=(codes.DESTINATION,))
    if deed.via:
        yield Participant(user=f"konzilium@{deed.via}", name="Konzilium")
    if deed.device:
        yield Participant(user=deed.device, other=_titles(deed.device), address=deed.address)


def _destination(deed: Deed) -> str:
    """Where instances went, if not to who asked."""
    told = _SENT.fullmatch(deed.what)
    return told["where"] if told else ""


def _titles(ae_title: str) -> str:
    return f"AETITLES={ae_title}"
