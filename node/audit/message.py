"""An audit record as the message of DICOM PS3.15 A.5: what repositories of hospitals read.

`schema.rng` is the schema of A.5.1.1; every message is valid by it. What a record says beyond the fields of
the standard is in the `ParticipantObjectDetail`s of its first object: the words of the event, the purpose of
use, and the version of the policy that decided. Where a patient is not known, as of an object in quarantine,
no patient is named.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from typing import Final

from lxml import etree

from node.audit.codes import NODE_AUTHENTICATION, SORTS, Code, Form, Sort
from node.audit.objects import Thing, things
from node.audit.participants import Participant, Source, participants
from node.audit.record import Deed, Event

_BARRED: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML cannot carry (XML 1.0 §2.2)."""
_KNOWN: Final = re.compile(r"\S+ known")


def message(deed: Deed, at: int, source: Source) -> bytes:
    """The message of a deed, in UTF-8 and on one line.

    Args:
        deed: what happened.
        at: when; microseconds since 1970.
        source: the node that reports.
    """
    return etree.tostring(element(deed, at, source), encoding="UTF-8", xml_declaration=False)


def element(deed: Deed, at: int, source: Source) -> etree._Element:
    """The message of a deed, as an element."""
    sort = SORTS[deed.event]
    root = etree.Element("AuditMessage")
    _add_event(root, deed, at, sort)
    for participant in participants(deed, sort.form, source):
        _add_participant(root, participant)
    reporter = _add(root, "AuditSourceIdentification", AuditSourceID=source.site)
    _add(reporter, "AuditSourceTypeCode", **{"csd-code": "4"})
    for thing in things(deed, sort, source):
        _add_thing(root, thing)
    return root


@lru_cache(maxsize=1)
def schema() -> etree.RelaxNG:
    """The schema that every message is valid by (A.5.1.1)."""
    text = (files("node.audit") / "schema.rng").read_bytes()
    return etree.RelaxNG(etree.fromstring(text, etree.XMLParser(resolve_entities=False, no_network=True)))


def outcome(deed: Deed) -> str:
    """EventOutcomeIndicator: 0 done; 4 refused, try again; 8 refused."""
    if not deed.refused:
        return "0"
    return "4" if deed.event is Event.LOGIN else "8"


def _add_event(root: etree._Element, deed: Deed, at: int, sort: Sort) -> None:
    event = _add(
        root,
        "EventIdentification",
        EventActionCode=_action(deed, sort),
        EventDateTime=when(at),
        EventOutcomeIndicator=outcome(deed),
    )
    _add_code(event, "EventID", sort.event)
    if sort.type is not None:
        _add_code(event, "EventTypeCode", NODE_AUTHENTICATION if _is_stranger(deed) else sort.type)
    has_no_object = sort.form in (Form.ACTIVITY, Form.LOGIN)
    said = ": ".join(part for part in (deed.what if has_no_object else "", deed.reason) if part)
    if said:
        _add(event, "EventOutcomeDescription").text = _clean(said)


def _is_stranger(deed: Deed) -> bool:
    """Whether somebody was turned away who was not recognised (`node.identity.refusals`)."""
    return deed.event is Event.REFUSED and deed.who.startswith("unknown:")


def _action(deed: Deed, sort: Sort) -> str:
    """The action; a receiver that held the instance already has read only (Table A.5.3.7-1)."""
    if deed.event is Event.STORED and _KNOWN.fullmatch(deed.what):
        return "R"
    return "R" if deed.event is Event.SETTLED and deed.what.startswith("opened ") else sort.action


def _add_participant(root: etree._Element, one: Participant) -> None:
    element = _add(root, "ActiveParticipant", UserID=one.user)
    for name, value in (("AlternativeUserID", one.other), ("UserName", one.name)):
        if value:
            element.set(name, _clean(value))
    element.set("UserIsRequestor", "true" if one.is_requestor else "false")
    if one.address:
        element.set("NetworkAccessPointID", _clean(one.address))
        element.set("NetworkAccessPointTypeCode", one.address_type)
    for role in one.roles:
        _add_code(element, "RoleIDCode", role)
    if one.medium is not None:
        _add_code(_add(element, "MediaIdentifier"), "MediaType", one.medium)


def _add_thing(root: etree._Element, thing: Thing) -> None:
    attributes = {
        "ParticipantObjectID": thing.id,
        "ParticipantObjectTypeCode": thing.type,
        "ParticipantObjectTypeCodeRole": thing.role,
        "ParticipantObjectDataLifeCycle": thing.stage,
    }
    element = _add(
        root,
        "ParticipantObjectIdentification",
        **{name: value for name, value in attributes.items() if value},
    )
    _add_code(element, "ParticipantObjectIDTypeCode", thing.id_type)
    if thing.query:
        _add(element, "ParticipantObjectQuery").text = _base64(thing.query)
    else:
        _add(element, "ParticipantObjectName").text = _clean(thing.name)
    for kind, value in thing.details:
        _add(element, "ParticipantObjectDetail", type=kind, value=_base64(value))
    if thing.count:
        described = _add(element, "ParticipantObjectDescription")
        held = _add(described, "SOPClass", NumberOfInstances=str(thing.count))
        for uid in thing.instances:
            _add(held, "Instance", UID=uid)


def _add_code(parent: etree._Element, tag: str, code: Code) -> None:
    _add(
        parent,
        tag,
        **{"csd-code": code.value, "codeSystemName": code.system, "originalText": code.text},
    )


def _add(parent: etree._Element, tag: str, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, tag, {name: _clean(value) for name, value in attributes.items()})


def _clean(text: str) -> str:
    return _BARRED.sub("\N{REPLACEMENT CHARACTER}", text)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")


def when(at: int) -> str:
    """A time (microseconds since 1970) as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at / 1_000_000, UTC).isoformat(timespec="milliseconds")
