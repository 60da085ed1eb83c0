"""What went wrong, as SOAP says it: domain error class to fault, and back at the caller's side.

A fault carries a typed detail: the name of the fault's family is its element and its subcode, `code` is
the exact class of the error, so that a caller who knows it gets it back, and one who does not gets the
family.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from node.domain.errors import (
    AccessDenied,
    CatalogBusy,
    Damaged,
    Malformed,
    MalformedIdentifier,
    MalformedInstance,
    Misconfigured,
    MismatchedInstance,
    NodeError,
    Rejected,
    StoreFailing,
    StoreFull,
    Unavailable,
    Unidentified,
    Unknown,
    UnknownInstance,
)
from services.soap.framework.names import writable

PLACE = re.compile(r"\{(\d)\}")
ESCAPED_PLACE = re.compile(r"\\\{(\d)\\\}")


class Side(StrEnum):
    """Whose fault it is (SOAP 1.2 part 1, 5.4.6)."""

    SENDER = "Sender"
    RECEIVER = "Receiver"
    MUST_UNDERSTAND = "MustUnderstand"
    VERSION_MISMATCH = "VersionMismatch"


class NotUnderstood(Malformed):
    """The message has mandatory headers that are not understood here: {0}."""


class WrongVersion(Malformed):
    """The envelope is not the one of {0}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A fault of the contract."""

    side: Side
    name: str
    doc: str


REJECTED = Family(
    side=Side.SENDER, name="RequestRejected", doc="The request cannot be carried out as it was asked."
)
MALFORMED = Family(
    side=Side.SENDER, name="MalformedRequest", doc="The message cannot be read, or is not valid."
)
MALFORMED_INSTANCE = Family(
    side=Side.SENDER, name="MalformedInstance", doc="The DICOM instance or its identifier cannot be taken."
)
UNKNOWN = Family(side=Side.SENDER, name="UnknownName", doc="Nothing is known here by that name.")
UNKNOWN_INSTANCE = Family(
    side=Side.SENDER, name="UnknownInstance", doc="The instance is not in this archive."
)
DENIED = Family(side=Side.SENDER, name="AccessDenied", doc="The caller is not known, or may not do this.")
BUSY = Family(side=Side.RECEIVER, name="ServerBusy", doc="Not now; the same call may succeed later.")
DAMAGED = Family(
    side=Side.RECEIVER, name="ChecksumMismatch", doc="What is stored here is damaged or missing."
)
INTERNAL = Family(side=Side.RECEIVER, name="InternalError", doc="The node failed.")
FAMILIES = MappingProxyType(
    {
        family.name: family
        for family in (
            REJECTED,
            MALFORMED,
            MALFORMED_INSTANCE,
            UNKNOWN,
            UNKNOWN_INSTANCE,
            DENIED,
            BUSY,
            DAMAGED,
            INTERNAL,
        )
    }
)
"""Every fault by its name."""
ALWAYS = (DENIED, INTERNAL, MALFORMED, BUSY)
"""What every operation may answer."""

FAULTS = MappingProxyType(
    {
        Rejected: REJECTED,
        Malformed: MALFORMED,
        MalformedIdentifier: MALFORMED_INSTANCE,
        MalformedInstance: MALFORMED_INSTANCE,
        MismatchedInstance: MALFORMED_INSTANCE,
        Unidentified: MALFORMED_INSTANCE,
        Unknown: UNKNOWN,
        UnknownInstance: UNKNOWN_INSTANCE,
        AccessDenied: DENIED,
        Unavailable: BUSY,
        Damaged: DAMAGED,
        NodeError: INTERNAL,
    }
)
"""The fault of each class of errors; of several that fit, the most derived one holds."""

QUIET = MappingProxyType(
    {
        StoreFull: "There is no room for it",
        StoreFailing: "The store cannot be read or written",
        CatalogBusy: "The catalog could not be written in time",
        Misconfigured: "The node failed",
        NodeError: "The node failed",
    }
)
"""Errors whose own text speaks of this machine, and what is said instead."""

SPOKEN = frozenset({Rejected, Unavailable, Damaged})
"""Branches whose own text may be told to the caller."""

HEARD = MappingProxyType(
    {
        REJECTED: Rejected,
        MALFORMED: Malformed,
        MALFORMED_INSTANCE: MalformedInstance,
        UNKNOWN: Unknown,
        UNKNOWN_INSTANCE: Unknown,
        DENIED: AccessDenied,
        BUSY: Unavailable,
        DAMAGED: Damaged,
        INTERNAL: Unavailable,
    }
)
"""What a caller raises for a fault whose exact class it does not know; each takes a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What a fault says."""

    side: Side
    family: str = ""
    """The name of its family; none for faults of SOAP itself, and for those of strangers."""
    code: str = ""
    text: str
    retry_after: int | None = None
    headers: tuple[str, ...] = ()
    """The headers that were not understood."""


def family_of(kind: type[NodeError]) -> Family:
    """The fault that reports errors of this class."""
    return next(FAULTS[base] for base in _lineage(kind) if base in FAULTS)


def fault_of(error: NodeError) -> Fault:
    """What a response says that reports this error."""
    if isinstance(error, NotUnderstood):
        return Fault(side=Side.MUST_UNDERSTAND, text=str(NotUnderstood("")), headers=error.args)
    if isinstance(error, WrongVersion):
        return Fault(side=Side.VERSION_MISMATCH, text=str(error))
    family = family_of(type(error))
    retry = getattr(error, "retry_after", None)
    return Fault(
        side=family.side,
        family=family.name,
        code=type(error).__name__,
        text=writable(_text(error)),
        retry_after=None if retry is None else max(1, round(retry)),
    )


def _text(error: NodeError) -> str:
    quiet = _quiet(type(error))
    return str(error) if quiet is None else quiet


def _quiet(kind: type[NodeError]) -> str | None:
    """What is said instead of the text of an error, if that is not for the caller."""
    for base in _lineage(kind):
        if base in QUIET:
            return QUIET[base]
        if base in SPOKEN:
            break
    return None


def error_of(fault: Fault) -> NodeError:
    """The error that a caller raises for a fault it received."""
    family = FAMILIES.get(fault.family)
    if family is None:
        return _foreign(fault)
    error = _exact(fault, family) or HEARD[family](fault.text)
    if isinstance(error, Unavailable) and fault.retry_after is not None:
        error.retry_after = fault.retry_after
    return error


def _foreign(fault: Fault) -> NodeError:
    """The error for a fault that says nothing of ours; its text is a stranger's and is not repeated."""
    if fault.side is Side.RECEIVER:
        return Unavailable("the other side failed")
    return Rejected(f"the other side answered with a {fault.side} fault")


def _exact(fault: Fault, family: Family) -> NodeError | None:
    """The very error that was raised there, if its class is one of ours and its text reads like it."""
    kind = next((kind for kind in error_classes() if kind.__name__ == fault.code), None)
    if kind is None or family_of(kind) is not family or family is INTERNAL:
        return None
    found = re.fullmatch(_pattern(kind), fault.text, re.DOTALL)
    if found is not None:
        return kind(*(text for _, text in sorted(found.groupdict().items())))
    return kind(*[""] * len(PLACE.findall(kind.__doc__ or ""))) if _quiet(kind) == fault.text else None


def _pattern(kind: type[NodeError]) -> str:
    """What the text of an error looks like: its docstring, with anything in the places."""
    seen: set[str] = set()

    def place(found: re.Match[str]) -> str:
        name = f"p{found[1]}"
        again = name in seen
        seen.add(name)
        return f"(?P={name})" if again else f"(?P<{name}>.*?)"

    return ESCAPED_PLACE.sub(place, re.escape(inspect.cleandoc(kind.__doc__ or "")))


def error_classes(kind: type[NodeError] = NodeError) -> Iterator[type[NodeError]]:
    """The tree of errors."""
    yield kind
    for child in kind.__subclasses__():
        yield from error_classes(child)


def _lineage(kind: type[NodeError]) -> list[type[NodeError]]:
    """The class of an error and its bases, most derived first."""
    return [base for base in kind.__mro__ if issubclass(base, NodeError)]
