"""What facts add up to: pure functions of a set of facts, so that every site comes to the same result.

Sites write at the same time and hear of each other late. Nothing here depends on the order in which facts
arrived: they are put in the order of their stamps, which is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from node.domain.decision import Sensitivity
from node.domain.ids import Digest, InstanceUID
from node.journal.entry import Entry, Fact, subject_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One stored form of an instance: bytes that some site admitted under its UID."""

    digest: Digest
    size: int
    transfer_syntax: str
    source: str
    study: str
    origin: str
    """The site that has them."""
    at: int
    stamp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceState:
    """What the facts about one SOP Instance UID add up to."""

    uid: InstanceUID
    forms: tuple[Form, ...]
    """Earliest first; the first one that stays is the archived form."""
    folded: frozenset[str]
    """Digests of forms that were proved equal to an earlier one."""
    different: frozenset[str]
    """Digests of forms that were compared and proved different."""
    withdrawn: bool

    @property
    def staying(self) -> tuple[Form, ...]:
        """The forms that every holder keeps: those that are not folded."""
        return tuple(form for form in self.forms if form.digest not in self.folded)

    def form(self, digest: str) -> Form | None:
        """The form of that digest."""
        return next((form for form in self.forms if form.digest == digest), None)


def instance_state(uid: InstanceUID, facts: Iterable[Entry], locks: Iterable[Entry] = ()) -> InstanceState:
    """The state of an instance.

    Args:
        uid: the instance.
        facts: all facts about it.
        locks: all retention locks of its study.
    """
    ordered = sorted(facts, key=lambda fact: fact.stamp)
    forms = _forms(ordered)
    compared = [fact.says for fact in ordered if fact.kind is Fact.COMPARE]
    return InstanceState(
        uid=uid,
        forms=forms,
        folded=_folded(forms, [says for says in compared if says["equal"]]),
        different=frozenset(
            digest for says in compared if not says["equal"] for digest in (says["kept"], says["other"])
        ),
        withdrawn=_is_withdrawn(ordered, list(locks)),
    )


def _forms(facts: Sequence[Entry]) -> tuple[Form, ...]:
    """One form for each digest: of several facts about it the earliest."""
    found: dict[str, Form] = {}
    for fact in facts:
        if fact.kind is Fact.INSTANCE:
            says = fact.says
            form = Form(
                digest=Digest.trusted(says["digest"]),
                size=says["size"],
                transfer_syntax=says["syntax"],
                source=says["source"],
                study=says.get("study", ""),
                origin=fact.origin,
                at=fact.at,
                stamp=fact.stamp,
            )
            found.setdefault(form.digest, form)
    return tuple(found.values())


def _folded(forms: Sequence[Form], equal: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """All but the earliest of each class of forms that were proved equal, directly or through others."""
    representative = {form.digest: index for index, form in enumerate(forms)}
    digests = [form.digest for form in forms]
    changed = True
    while changed:
        changed = False
        for says in equal:
            pair = [d for d in (says["kept"], says["other"]) if d in representative]
            if len(pair) == 2:
                lowest = min(representative[digest] for digest in pair)
                changed |= any(representative[digest] != lowest for digest in pair)
                representative.update(dict.fromkeys(pair, lowest))
    return frozenset(digest for index, digest in enumerate(digests) if representative[digest] != index)


def _is_withdrawn(facts: Sequence[Entry], locks: Sequence[Entry]) -> bool:
    """Whether the latest decision that no retention lock forbids withdraws the instance."""
    decisions = [fact for fact in facts if fact.kind is Fact.RETRACT]
    standing = [fact for fact in decisions if not fact.says["withdrawn"] or not _is_locked(fact, locks)]
    return bool(standing) and bool(standing[-1].says["withdrawn"])


def _is_locked(retraction: Entry, locks: Sequence[Entry]) -> bool:
    """Whether a lock forbids a retraction that the one who locked did not know of."""
    return any(
        lock.says["until"] > retraction.at and not knew(lock, retraction)
        for lock in locks
        if lock.kind is Fact.LOCK
    )


def knew(fact: Entry, other: Entry) -> bool:
    """Whether the site that stated `fact` had read `other` by then."""
    seen: Mapping[str, int] = fact.says.get("seen", {})
    place = f"{other.origin}/{other.epoch}"
    if fact.origin != other.origin:
        return seen.get(place, 0) >= other.seq
    if fact.epoch > other.epoch and place in seen:  # stated again, after the site had lost its memory
        return seen[place] >= other.seq
    return (fact.epoch, fact.seq) > (other.epoch, other.seq)


def locked_until(locks: Iterable[Entry]) -> int:
    """Until when a study may not be withdrawn; 0 for not at all. Locks are extended, never shortened."""
    return max((lock.says["until"] for lock in locks if lock.kind is Fact.LOCK), default=0)


def corrections(facts: Iterable[Entry]) -> dict[int, str]:
    """Corrected attributes by tag: of several corrections of one attribute the latest.

    An attribute whose latest correction takes earlier ones back (None) is left out.
    """
    latest: dict[int, str | None] = {}
    for fact in sorted(facts, key=lambda fact: fact.stamp):
        if fact.kind is Fact.CORRECT:
            latest |= {int(tag, 16): value for tag, value in fact.says["set"].items()}
    return {tag: value for tag, value in latest.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What persons said of a study and its patient that decides who may see it."""

    sensitivity: Sensitivity = Sensitivity.USUAL
    consent: frozenset[str] = frozenset()
    """What the patient has agreed to."""
    refused: frozenset[str] = frozenset()


def marks(facts: Iterable[Entry]) -> Marks:
    """The marks of a study and of its patient: of each the latest one; of both the stricter one holds."""
    sensitivity: dict[str, str] = {}
    agreed: dict[tuple[str, str], bool] = {}
    for fact in sorted(facts, key=lambda fact: fact.stamp):
        if fact.kind is not Fact.MARK:
            continue
        subject = subject_of(fact.kind, fact.says)
        if "sensitivity" in fact.says:
            sensitivity[subject] = fact.says["sensitivity"]
        agreed |= {(subject, matter): given for matter, given in fact.says.get("consent", {}).items()}
    refused = frozenset(matter for (_, matter), given in agreed.items() if not given)
    return Marks(
        sensitivity=Sensitivity(max(sensitivity.values(), default="")),
        consent=frozenset(matter for _, matter in agreed) - refused,
        refused=refused,
    )


Patient = tuple[str, str]
"""(issuer, Patient ID)."""


def merged_into(facts: Iterable[Entry]) -> dict[Patient, Patient]:
    """Under which patient each merged one is shown, from all merge facts."""
    return roots(merges(facts))


def merges(facts: Iterable[Entry]) -> dict[Patient, Patient]:
    """Into whom each patient was merged itself: the latest fact about it says so, or that it was not."""
    edges: dict[Patient, Patient | None] = {}
    for fact in sorted(facts, key=lambda fact: fact.stamp):
        if fact.kind is Fact.MERGE:
            says = fact.says
            edges[_patient(says["patient"])] = _patient(says["into"]) if says["into"] else None
    return {patient: target for patient, target in edges.items() if target and target != patient}


def roots(into: Mapping[Patient, Patient]) -> dict[Patient, Patient]:
    """The patient at the end of each chain of merges.

    Where sites merged in opposite directions at the same time, the patients of the circle are shown under
    the least of them.
    """
    found = {patient: _root(patient, into) for patient in into}
    return {patient: root for patient, root in found.items() if root != patient}


def _patient(values: Sequence[str]) -> Patient:
    issuer, patient_id = values
    return issuer, patient_id


def _root(patient: Patient, into: Mapping[Patient, Patient]) -> Patient:
    path: list[Patient] = []
    while patient in into:
        if patient in path:
            return min(path[path.index(patient) :])
        path.append(patient)
        patient = into[patient]
    return patient
