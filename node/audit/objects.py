"""What an audited event was about: the `ParticipantObjectIdentification`s of a message (PS3.15 A.5.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from node.audit import codes
from node.audit.codes import Code, Form, Sort
from node.audit.participants import Source
from node.audit.record import Deed

_MANY: Final = re.compile(r"(?:\w+ )?(?P<count>\d+) instances?\b.*", re.DOTALL)
_ONE: Final = re.compile(r"(?P<uid>[0-2](?:\.[0-9]+)+) (?:kept|known|conflict)")
"""How the record of an arrival names the instance."""
_PERSON, _SYSTEM = "1", "2"
_PATIENT, _REPORT, _SECURITY = "1", "3", "13"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A study, a patient, a query, the audit log or what an alert is about."""

    id: str
    id_type: Code
    name: str
    type: str = _SYSTEM
    role: str = _REPORT
    stage: str = ""
    query: str = ""
    details: tuple[tuple[str, str], ...] = ()
    count: int = 0
    instances: tuple[str, ...] = ()


def things(deed: Deed, sort: Sort, source: Source) -> Iterator[Thing]:
    """What the event was about, with what else the record says in the details of the first."""
    for number, thing in enumerate(_things(deed, sort, source)):
        yield thing if number else replace(thing, details=(*thing.details, *_details(deed, sort)))


def _things(deed: Deed, sort: Sort, source: Source) -> Iterator[Thing]:
    if sort.form in (Form.ACTIVITY, Form.LOGIN):
        return
    if sort.form is Form.LOG:
        yield _log(source)
    elif sort.form is Form.QUERY:
        yield _query(deed, source)
    elif sort.form is Form.ALERT:
        yield _subject(deed, source)
    if deed.study:
        yield _study(deed, sort)
    elif sort.form in (Form.ACCESS, Form.COMING, Form.GOING):
        yield _node(source)
    if deed.patient:
        yield _patient(deed)


def _details(deed: Deed, sort: Sort) -> Iterator[tuple[str, str]]:
    """What there is no field for."""
    told = (
        ("Description", "" if sort.form in (Form.QUERY, Form.ALERT) else deed.what),
        ("PurposeOfUse", deed.purpose),
        ("Policy", deed.policy),
    )
    return ((name, value) for name, value in told if value)


def _study(deed: Deed, sort: Sort) -> Thing:
    many, one = _MANY.fullmatch(deed.what), _ONE.fullmatch(deed.what)
    return Thing(
        id=deed.study,
        id_type=codes.STUDY_INSTANCE_UID,
        name=f"Study {deed.study}",
        stage=sort.stage,
        count=int(many["count"]) if many else int(one is not None),
        instances=(one["uid"],) if one else (),
    )


def _patient(deed: Deed) -> Thing:
    """The patient, by number alone: names are not in the record."""
    return Thing(
        id=deed.patient,
        id_type=codes.PATIENT_NUMBER,
        name=f"Patient {deed.patient.partition('^')[0]}",
        type=_PERSON,
        role=_PATIENT,
    )


def _query(deed: Deed, source: Source) -> Thing:
    """The keys of the search; they are no data set any more, so they are criteria (Table A.5.3.10-1)."""
    return Thing(
        id=f"urn:konzilium:{source.site}", id_type=codes.SEARCH_CRITERIA, name="", query=deed.what or "-"
    )


def _subject(deed: Deed, source: Source) -> Thing:
    """What an alert is about: this node, with the words of the alert (Table A.5.3.11-1)."""
    details = (("Alert Description", deed.what or deed.event),)
    return replace(_node(source), role=_SECURITY, details=details)


def _node(source: Source) -> Thing:
    """This node, where an event is about no study that is known."""
    return Thing(id=f"konzilium@{source.site}", id_type=codes.NODE_ID, name=f"Site {source.site}")


def _log(source: Source) -> Thing:
    return Thing(
        id=f"urn:konzilium:{source.site}:audit",
        id_type=codes.URI,
        name="Security Audit Log",
        role=_SECURITY,
    )
