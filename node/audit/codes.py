"""The coded words of audit messages: which event of PS3.15 A.5.3 each of ours is, and the parts in it.

Codes come from PS3.16: CID 400 (Audit Event ID), CID 401 and 403 (Audit Event Type, Security Alert Type) and
CID 402 (Audit Active Participant Role ID). Where these have no word, ours are of the system `KONZILIUM`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from node.audit.record import Event

DCM: Final = "DCM"
RFC_3881: Final = "RFC-3881"
OURS: Final = "KONZILIUM"


class Code(NamedTuple):
    """A coded value (PS3.15 A.5.1.1, CodedValueType)."""

    value: str
    system: str
    text: str


APPLICATION_ACTIVITY: Final = Code("110100", DCM, "Application Activity")
AUDIT_LOG_USED: Final = Code("110101", DCM, "Audit Log Used")
INSTANCES_ACCESSED: Final = Code("110103", DCM, "DICOM Instances Accessed")
INSTANCES_TRANSFERRED: Final = Code("110104", DCM, "DICOM Instances Transferred")
EXPORT: Final = Code("110106", DCM, "Export")
IMPORT: Final = Code("110107", DCM, "Import")
QUERY: Final = Code("110112", DCM, "Query")
SECURITY_ALERT: Final = Code("110113", DCM, "Security Alert")
USER_AUTHENTICATION: Final = Code("110114", DCM, "User Authentication")

LOGIN: Final = Code("110122", DCM, "Login")
LOGOUT: Final = Code("110123", DCM, "Logout")
NODE_AUTHENTICATION: Final = Code("110126", DCM, "Node Authentication")
OVERRIDE_STARTED: Final = Code("110127", DCM, "Emergency Override Started")
SECURITY_CONFIGURATION: Final = Code("110129", DCM, "Security Configuration")
RESTRICTED_FUNCTION: Final = Code("110132", DCM, "Use of Restricted Function")
OVERRIDE_REVIEWED: Final = Code("override-reviewed", OURS, "Emergency Override Reviewed")
DRILL: Final = Code("drill", OURS, "Drill")

APPLICATION: Final = Code("110150", DCM, "Application")
LAUNCHER: Final = Code("110151", DCM, "Application Launcher")
DESTINATION: Final = Code("110152", DCM, "Destination Role ID")
SOURCE: Final = Code("110153", DCM, "Source Role ID")
DESTINATION_MEDIA: Final = Code("110154", DCM, "Destination Media")
SOURCE_MEDIA: Final = Code("110155", DCM, "Source Media")
MEDIA_URI: Final = Code("110037", DCM, "URI")

PATIENT_NUMBER: Final = Code("2", RFC_3881, "Patient Number")
SEARCH_CRITERIA: Final = Code("10", RFC_3881, "Search Criteria")
URI: Final = Code("12", RFC_3881, "URI")
STUDY_INSTANCE_UID: Final = Code("110180", DCM, "Study Instance UID")
NODE_ID: Final = Code("110182", DCM, "Node ID")


class Form(Enum):
    """Who takes part in an event of a kind, and what it is about: the tables of PS3.15 A.5.3."""

    ACTIVITY = auto()
    """Table A.5.3.1-1: the application, and who let it begin; no objects."""
    LOG = auto()
    """Table A.5.3.2-1: the audit log."""
    EXPORT = auto()
    """Table A.5.3.4-1: the medium that is written."""
    IMPORT = auto()
    """Table A.5.3.5-1: the medium that is read."""
    ACCESS = auto()
    """Table A.5.3.6-1: studies, and whose they are."""
    COMING = auto()
    """Table A.5.3.7-1, this node as the receiver."""
    GOING = auto()
    """Table A.5.3.7-1, this node as the sender."""
    QUERY = auto()
    """Table A.5.3.10-1: what was asked for."""
    ALERT = auto()
    """Table A.5.3.11-1: what the alert is about."""
    LOGIN = auto()
    """Table A.5.3.12-1: the person; no objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """What the standard makes of an event of ours."""

    event: Code
    form: Form
    action: str
    """C, R, U, D or E (EventActionCode)."""
    type: Code | None = None
    """EventTypeCode, where the standard wants one."""
    stage: str = ""
    """ParticipantObjectDataLifeCycle of the study (A.5.1.2.3)."""


def _alert(kind: Code) -> Sort:
    return Sort(event=SECURITY_ALERT, form=Form.ALERT, action="E", type=kind)


def _access(stage: str) -> Sort:
    return Sort(event=INSTANCES_ACCESSED, form=Form.ACCESS, action="U", stage=stage)


SORTS: Final[Mapping[Event, Sort]] = {
    Event.STORED: Sort(event=INSTANCES_TRANSFERRED, form=Form.COMING, action="C", stage="1"),
    Event.SENT: Sort(event=INSTANCES_TRANSFERRED, form=Form.GOING, action="R", stage="11"),
    Event.QUERY: Sort(event=QUERY, form=Form.QUERY, action="E", stage="6"),
    Event.IMPORT: Sort(event=IMPORT, form=Form.IMPORT, action="C", stage="2"),
    Event.EXPORT: Sort(event=EXPORT, form=Form.EXPORT, action="R", stage="10"),
    Event.REFUSED: _alert(RESTRICTED_FUNCTION),
    Event.SETTLED: _access("3"),
    Event.AMENDED: _access("3"),
    Event.REPAIRED: _access("4"),
    Event.DRILLED: Sort(event=APPLICATION_ACTIVITY, form=Form.ACTIVITY, action="E", type=DRILL),
    Event.CONFIGURED: _alert(SECURITY_CONFIGURATION),
    Event.LOGIN: Sort(event=USER_AUTHENTICATION, form=Form.LOGIN, action="E", type=LOGIN),
    Event.LOGOUT: Sort(event=USER_AUTHENTICATION, form=Form.LOGIN, action="E", type=LOGOUT),
    Event.EMERGENCY: _alert(OVERRIDE_STARTED),
    Event.REVIEWED: _alert(OVERRIDE_REVIEWED),
    Event.AUDIT_USED: Sort(event=AUDIT_LOG_USED, form=Form.LOG, action="R"),
}
"""Every event; a test sees that none is forgotten."""
