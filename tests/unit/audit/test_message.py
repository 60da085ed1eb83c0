"""Audit messages: every event is one that the standard knows, and names who, whose and what (PS3.15 A.5)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from node.audit.codes import SORTS
from node.audit.message import element, message, schema
from node.audit.participants import Source
from node.audit.record import Deed, Event

BRNO = Source(site="brno", ae_title="BRNO")
STUDY, UID = "1.2.826.0.1", "1.2.826.0.1.7"
AT = 1_700_000_000_123_456


def told(**fields) -> etree._Element:
    """The message of a deed, as a reader of the repository parses it."""
    fields.setdefault("who", "device:CT1@brno")
    text = message(Deed(**fields), AT, BRNO)
    assert b"\n" not in text
    read = etree.fromstring(text)
    schema().assertValid(read)
    return read


def full(event: Event) -> Deed:
    """A deed that says everything there is to say."""
    return Deed(
        event=event,
        who="person:jana@hospital-brno.test@brno",
        address="192.0.2.7",
        study=STUDY,
        what="3 instances VIEWER",
        patient="4711^^^HOSPITAL",
        issuer="https://idp.hospital-brno.test/idp",
        display="Jana Nováková",
        via="prague",
        device="WS1",
        roles=("radiologist", "steward"),
        purpose="TREATMENT",
        policy="2026-11-01",
        reason="she was referred to",
        refused=event is Event.REFUSED,
    )


def users(read: etree._Element) -> list[str]:
    return [one.get("UserID") for one in read.iterfind("ActiveParticipant")]


def details(read: etree._Element) -> dict[str, str]:
    found = read.iterfind("ParticipantObjectIdentification/ParticipantObjectDetail")
    return {one.get("type"): base64.b64decode(one.get("value")).decode() for one in found}


def ids(read: etree._Element) -> dict[str, str]:
    """What the event is about, by the code of the identifier."""
    found = read.iterfind("ParticipantObjectIdentification")
    return {
        one.find("ParticipantObjectIDTypeCode").get("csd-code"): one.get("ParticipantObjectID")
        for one in found
    }


def roles(participant: etree._Element) -> list[str]:
    return [role.get("csd-code") for role in participant.iterfind("RoleIDCode")]


def test_no_event_is_without_its_code():
    assert set(SORTS) == set(Event)


@pytest.mark.parametrize("event", Event)
def test_the_message_of_every_event_is_valid_whatever_the_deed_says(event):
    said = element(full(event), AT, BRNO)
    schema().assertValid(said)
    schema().assertValid(element(Deed(event=event, who="node:brno@brno"), AT, BRNO))
    requestors = [one for one in said.iterfind("ActiveParticipant") if one.get("UserIsRequestor") == "true"]
    is_alert = said.find("EventIdentification/EventID").get("csd-code") == "110113"
    assert len(requestors) == (0 if is_alert else 1), "one at most, and none who performs what is alerted of"


@given(st.text(), st.text(), st.text(), st.sampled_from(Event))
def test_no_text_makes_a_message_that_is_invalid(what, who, patient, event):
    deed = Deed(event=event, who=who, what=what, patient=patient, study=STUDY, address=what, reason=what)
    schema().assertValid(etree.fromstring(message(deed, AT, BRNO)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda said: said.find("EventIdentification").set("EventActionCode", "X"),
        lambda said: said.find("ActiveParticipant").set("UserIsRequestor", "perhaps"),
        lambda said: said.remove(said.find("AuditSourceIdentification")),
        lambda said: said.append(etree.Element("Other")),
        lambda said: said.find(".//RoleIDCode").attrib.pop("originalText"),
        lambda said: said.find("ParticipantObjectIdentification").set("ParticipantObjectTypeCodeRole", "27"),
    ],
)
def test_the_schema_turns_away_what_the_standard_does_not_know(spoil):
    said = element(full(Event.SENT), AT, BRNO)
    schema().assertValid(said)
    spoil(said)
    assert not schema().validate(said)


def test_an_arrival_names_sender_receiver_study_patient_and_instance():
    read = told(
        event=Event.STORED, address="10.0.0.7", study=STUDY, what=f"{UID} kept", patient="4711^^^HOSPITAL"
    )
    event = read.find("EventIdentification")
    assert event.get("EventActionCode") == "C"
    assert event.get("EventDateTime") == "2023-11-14T22:13:20.123+00:00"
    assert event.find("EventID").get("csd-code") == "110104"
    sender, receiver = read.findall("ActiveParticipant")
    assert (sender.get("UserID"), sender.get("AlternativeUserID")) == ("CT1@brno", "AETITLES=CT1")
    assert (sender.get("NetworkAccessPointID"), sender.get("NetworkAccessPointTypeCode")) == ("10.0.0.7", "2")
    assert (receiver.get("UserID"), receiver.get("AlternativeUserID")) == ("konzilium@brno", "AETITLES=BRNO")
    assert (roles(sender), roles(receiver)) == (["110153"], ["110152"])
    assert ids(read) == {"110180": STUDY, "2": "4711^^^HOSPITAL"}
    assert read.find(".//SOPClass").get("NumberOfInstances") == "1"
    assert read.find(".//Instance").get("UID") == UID


def test_an_arrival_of_what_is_held_already_has_only_been_read():
    read = told(event=Event.STORED, study=STUDY, what=f"{UID} known")
    assert read.find("EventIdentification").get("EventActionCode") == "R"


def test_a_retrieval_to_somewhere_else_names_where_and_who_asked():
    read = told(event=Event.SENT, study=STUDY, what="12 instances VIEWER")
    here, asked, viewer = read.findall("ActiveParticipant")
    assert (roles(here), roles(asked), roles(viewer)) == (["110153"], [], ["110152"])
    assert users(read) == ["konzilium@brno", "CT1@brno", "VIEWER"]
    assert read.find(".//SOPClass").get("NumberOfInstances") == "12"


def test_a_retrieval_by_who_asked_names_nobody_else():
    read = told(event=Event.SENT, study=STUDY, what="1 instances")
    assert users(read) == ["konzilium@brno", "CT1@brno"]
    assert roles(read.findall("ActiveParticipant")[1]) == ["110152"]


def test_a_person_is_named_with_the_identity_provider_the_roles_the_device_and_the_node_between():
    read = told(**{name: getattr(full(Event.SENT), name) for name in Deed.__slots__})
    person = next(one for one in read.iterfind("ActiveParticipant") if one.get("UserIsRequestor") == "true")
    assert person.get("UserID") == "jana@hospital-brno.test"
    assert person.get("AlternativeUserID") == "<jana@hospital-brno.test@https://idp.hospital-brno.test/idp>"
    assert person.get("UserName") == "Jana Nováková"
    assert roles(person) == ["radiologist", "steward"]
    assert users(read)[-2:] == ["konzilium@prague", "WS1"]
    assert details(read) == {
        "Description": "3 instances VIEWER",
        "PurposeOfUse": "TREATMENT",
        "Policy": "2026-11-01",
    }


def test_a_query_carries_what_was_asked_for():
    read = told(event=Event.QUERY, what="STUDY 00100010=NOVÁK*")
    query = read.find("ParticipantObjectIdentification/ParticipantObjectQuery")
    assert base64.b64decode(query.text).decode() == "STUDY 00100010=NOVÁK*"


def test_a_refusal_is_an_alert_that_says_why_and_about_which_study():
    read = told(event=Event.REFUSED, study=STUDY, what="retrieve", reason="no grant", refused=True)
    event = read.find("EventIdentification")
    assert event.find("EventTypeCode").get("csd-code") == "110132"
    assert event.get("EventOutcomeIndicator") == "8"
    assert event.findtext("EventOutcomeDescription") == "no grant"
    assert details(read) == {"Alert Description": "retrieve"}
    assert ids(read)["110180"] == STUDY


def test_a_login_that_failed_is_a_minor_failure_and_says_from_where():
    read = told(event=Event.LOGIN, who="person:unknown", what="saml", reason="replayed", refused=True)
    event, person = read.find("EventIdentification"), read.find("ActiveParticipant")
    assert event.get("EventOutcomeIndicator") == "4"
    assert event.findtext("EventOutcomeDescription") == "saml: replayed"
    assert person.get("UserID") == "unknown"
    assert person.get("NetworkAccessPointID") == "brno", "the standard wants a place in any case"
    assert not read.findall("ParticipantObjectIdentification")


def test_an_export_names_the_medium():
    read = told(
        event=Event.EXPORT, who="operator:technician@brno", study=STUDY, what="4 instances to /media/disc"
    )
    medium = read.findall("ActiveParticipant")[-1]
    assert medium.get("UserID") == "/media/disc"
    assert medium.find("MediaIdentifier/MediaType").get("csd-code") == "110037"


def test_reading_the_audit_record_is_about_the_record():
    read = told(event=Event.AUDIT_USED, what="who saw 4711")
    (log,) = read.findall("ParticipantObjectIdentification")
    assert log.findtext("ParticipantObjectName") == "Security Audit Log"
    assert details(read) == {"Description": "who saw 4711"}


def test_what_xml_cannot_carry_is_replaced_and_not_lost_silently():
    read = told(event=Event.REFUSED, what="a\x00b", reason="c\x1fd", refused=True)
    assert details(read) == {"Alert Description": "a\x00b"}, "details carry every character"
    assert read.findtext(".//EventOutcomeDescription") == "c\ufffdd"


def test_a_caller_that_is_not_recognised_is_a_failure_of_authentication():
    read = told(event=Event.REFUSED, who="unknown:CT9", what="associate", address="10.0.0.9", refused=True)
    assert read.find("EventIdentification/EventTypeCode").get("csd-code") == "110126"
    assert users(read) == ["konzilium@brno", "CT9"]
