"""What went wrong, as DIMSE says it: domain error class to status and comment (PS3.7 C, PS3.4 B.2.3)."""

from __future__ import annotations

from types import MappingProxyType

from node.domain.errors import (
    AccessDenied,
    Damaged,
    Malformed,
    MismatchedInstance,
    NodeError,
    ReadOnly,
    StoreFull,
    Unavailable,
    Unidentified,
    UnknownDestination,
    UnknownInstance,
)

SUCCESS = 0x0000
PENDING = 0xFF00
CANCEL = 0xFE00
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
NOT_SUPPORTED = 0x0122
NOT_AUTHORIZED = 0x0124
OUT_OF_RESOURCES = 0xA700
NO_SUCH_DESTINATION = 0xA801
MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

STATUS = MappingProxyType(
    {
        Malformed: CANNOT_UNDERSTAND,
        MismatchedInstance: MISMATCH,
        Unidentified: CANNOT_UNDERSTAND,
        UnknownInstance: NO_SUCH_INSTANCE,
        UnknownDestination: NO_SUCH_DESTINATION,
        AccessDenied: NOT_AUTHORIZED,
        ReadOnly: NOT_AUTHORIZED,
        Unavailable: OUT_OF_RESOURCES,
        Damaged: PROCESSING_FAILURE,
        NodeError: PROCESSING_FAILURE,
    }
)
"""The status of each class of errors; of several that fit, the most derived one holds."""

COMMENTS = MappingProxyType(
    {
        MismatchedInstance: "The data set is not the one that was announced",
        Malformed: "The data set cannot be read",
        Unidentified: "No patient or study identity: kept in quarantine, not archived",
        UnknownInstance: "No such instance in this archive",
        UnknownDestination: "The move destination is not a known device",
        AccessDenied: "This device may not do that",
        ReadOnly: "This archive is a read-only backup; send to another",
        StoreFull: "The archive has no room",
        Unavailable: "Cannot do this now, please try again",
        Damaged: "What is stored here is damaged",
        NodeError: "Processing failed",
    }
)
"""Error Comment (0000,0902) of each class: up to 64 characters, the same for every patient."""


def status_of(error: NodeError) -> int:
    """The status of a response that reports this error."""
    return next(STATUS[kind] for kind in _lineage(error) if kind in STATUS)


def comment_of(error: NodeError) -> str:
    """The comment that explains it to the person at the device."""
    return next(COMMENTS[kind] for kind in _lineage(error) if kind in COMMENTS)


def _lineage(error: NodeError) -> list[type[NodeError]]:
    """The class of an error and its bases, most derived first."""
    return [kind for kind in type(error).__mro__ if issubclass(kind, NodeError)]
