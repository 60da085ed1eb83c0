"""Facts of other sites, checked once where they come in: whoever reads them later need not doubt them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from node.domain.decision import Sensitivity
from node.domain.errors import MalformedMessage, Rejected
from node.domain.ids import Digest, InstanceUID, SiteId, StudyUID, TransferSyntaxUID
from node.domain.member import Standing
from node.domain.role import Role
from node.domain.rule import Terms
from node.journal.entry import Entry, Fact

LONGEST = 4096
"""Characters of a text in a fact."""
LONGEST_DESCRIPTOR = 65536
MOST_SUCCESSORS = 64
MOST_MATTERS, LONGEST_MATTER = 16, 64
LATEST = 10**16
"""Microseconds since 1970: stamps have sixteen digits."""

Says = Mapping[str, Any]


def demand_shape(entry: Entry) -> None:
    """See that a fact says what facts of its kind say.

    Raises:
        MalformedMessage: it does not.
    """
    try:
        _demand(0 <= entry.at < LATEST)
        _SHAPES[entry.kind](entry.says)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, Rejected):
        raise MalformedMessage(
            f"entry {entry.seq} of {entry.origin}/{entry.epoch} is no fact of the kind {entry.kind}"
        ) from None


def _demand(holds: bool) -> None:
    if not holds:
        raise ValueError


def _text(value: object, longest: int = LONGEST) -> None:
    _demand(isinstance(value, str) and len(value) <= longest)


def _whole(value: object) -> None:
    _demand(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62)


def _patient(value: object) -> None:
    _demand(isinstance(value, list) and len(value) == 2)
    for part in value:  # type: ignore[attr-defined]
        _text(part, 256)


def _decided(says: Says) -> None:
    for name in ("reason", "by"):
        _text(says.get(name, ""))
    seen = says.get("seen", {})
    _demand(isinstance(seen, dict))
    for place, seq in seen.items():
        _text(place, 64)
        _whole(seq)


def _instance(says: Says) -> None:
    InstanceUID(says["uid"])
    Digest(says["digest"])
    TransferSyntaxUID(says["syntax"])
    _whole(says["size"])
    _text(says["source"])
    _text(says.get("modality", ""), 64)
    if says.get("study"):
        StudyUID(says["study"])


def _compare(says: Says) -> None:
    InstanceUID(says["uid"])
    Digest(says["kept"])
    Digest(says["other"])
    _demand(isinstance(says["equal"], bool))


def _copies(says: Says) -> None:
    SiteId(says["of"])
    for name in ("verified", "gone"):
        _demand(isinstance(says[name], list))
        for digest in says[name]:
            Digest(digest)


def _correct(says: Says) -> None:
    _decided(says)
    if "study" in says:
        StudyUID(says["study"])
    else:
        _patient(says["patient"])
    _demand(isinstance(says["set"], dict))
    for tag, value in says["set"].items():
        int(tag, 16)
        _text(value or "")


def _mark(says: Says) -> None:
    _decided(says)
    if "study" in says:
        StudyUID(says["study"])
    else:
        _patient(says["patient"])
    Sensitivity(says.get("sensitivity", ""))
    consent = says.get("consent", {})
    _demand(isinstance(consent, dict) and len(consent) <= MOST_MATTERS)
    for matter, given in consent.items():
        _text(matter, LONGEST_MATTER)
        _demand(isinstance(given, bool))


def _merge(says: Says) -> None:
    _decided(says)
    _patient(says["patient"])
    if says["into"] is not None:
        _patient(says["into"])


def _retract(says: Says) -> None:
    _decided(says)
    InstanceUID(says["uid"])
    _demand(isinstance(says["withdrawn"], bool))
    if says["study"]:
        StudyUID(says["study"])


def _lock(says: Says) -> None:
    _decided(says)
    StudyUID(says["study"])
    _whole(says["until"])


def _member(says: Says) -> None:
    SiteId(says["site"])
    _text(says["descriptor"], LONGEST_DESCRIPTOR)


def _standing(says: Says) -> None:
    _decided(says)
    SiteId(says["site"])
    Standing(says["standing"])


def _consent(says: Says) -> None:
    _decided(says)
    SiteId(says["site"])
    Terms.read(says["export"])
    Terms.read(says["accept"])


def _role(says: Says) -> None:
    _decided(says)
    SiteId(says["site"])
    Role(says["role"])
    _whole(says["term"])
    _text(says["of"], 128)
    _text(says["after"], 128)
    _demand(isinstance(says["successors"], list) and len(says["successors"]) <= MOST_SUCCESSORS)
    for site in says["successors"]:
        SiteId(site)


def _of_its_own(says: Says) -> None:
    """Facts that concern one site alone come in from nowhere."""
    raise ValueError


_SHAPES: dict[Fact, Callable[[Says], None]] = {
    Fact.INSTANCE: _instance,
    Fact.COMPARE: _compare,
    Fact.COPIES: _copies,
    Fact.CORRECT: _correct,
    Fact.MERGE: _merge,
    Fact.RETRACT: _retract,
    Fact.MARK: _mark,
    Fact.LOCK: _lock,
    Fact.MEMBER: _member,
    Fact.STANDING: _standing,
    Fact.CONSENT: _consent,
    Fact.ROLE: _role,
    Fact.RULE: _of_its_own,
    Fact.QUARANTINE: _of_its_own,
    Fact.SETTLE: _of_its_own,
}
