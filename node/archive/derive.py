"""The rows of an instance, from all facts about it and the forms of it that are here.

```
facts about the UID ──▶ instance_state ──┐
                                         ├──▶ one archived row, conflict rows, or withdrawn rows
forms whose bytes are here ──────────────┘
```

Facts arrive from several sites in any order; this brings the rows to the state that all of them add up to,
and changes nothing where they are there already.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from node.archive import owing
from node.archive.identity import Identified
from node.archive.reading import read_back
from node.blobs.store import BlobStore
from node.catalog import traits
from node.catalog.conflicts import DIFFERENT, FOLDED, OPEN
from node.catalog.forms import StoredForm
from node.catalog.removal import Orphan, remove, told_by
from node.catalog.unit import Unit
from node.domain.errors import Damaged, Malformed, Unidentified
from node.domain.ids import Digest, InstanceUID, TransferSyntaxUID
from node.domain.job import Task
from node.domain.rule import Traits
from node.journal.entry import Fact
from node.journal.merge import Form, InstanceState, instance_state

log = logging.getLogger(__name__)

_MOMENT = 16
"""Digits of a stamp that tell when a fact was stated: the same where it is stated again in a later epoch."""

Fresh = tuple[StoredForm, Identified]
"""A form whose bytes have just arrived, and what its header says."""


def state_of(unit: Unit, uid: InstanceUID) -> InstanceState:
    """What all known facts about an instance add up to."""
    facts = unit.journal.about(uid)
    studies = {fact.says["study"] for fact in facts if fact.kind is Fact.RETRACT}
    locks = [lock for study in sorted(studies) for lock in unit.journal.about(study)]
    return instance_state(uid, facts, locks)


def derive(unit: Unit, blobs: BlobStore, uid: InstanceUID, fresh: Fresh | None = None) -> InstanceState:
    """Bring the rows of an instance in line with the facts.

    Args:
        unit: the unit of work that the facts are part of.
        blobs: to read headers again where another form is to be shown.
        uid: the instance.
        fresh: a form whose bytes have just arrived.
    """
    state = state_of(unit, uid)
    here = {form.digest: form for form in unit.forms.here(uid)}
    if fresh is not None:
        here[fresh[0].digest] = fresh[0]
    if state.withdrawn:
        _withdraw(unit, blobs, state, list(here.values()), fresh)
    elif here:
        unit.forms.restore(uid)
        _show(unit, blobs, state, list(here.values()), fresh)
    for digest in state.folded - set(here):
        unit.wants.drop(Digest.trusted(digest))
    owing.settle(unit, uid)
    return state


def retell(unit: Unit, blobs: BlobStore, orphan: Orphan) -> None:
    """Let the earliest instance that is left tell the attributes of its series, study or patient.

    Where its bytes are damaged, or not here, the row keeps what it told before, until they are.
    """
    if blobs.size(orphan.digest) is None:
        unit.instances.told_by(orphan.level, orphan.row, orphan.stamp)
        return
    try:
        identified = read_back(blobs, orphan.digest)
    except (Damaged, Malformed, Unidentified) as error:
        log.error("attributes could not be read again", extra={"digest": orphan.digest, "error": str(error)})
        return
    arrival = identified.arrival(digest=orphan.digest, size=0, source="", at=unit.now, stamp=orphan.stamp)
    unit.instances.retell(orphan.level, orphan.row, arrival)


def mended(unit: Unit, blobs: BlobStore, uid: InstanceUID) -> None:
    """Let an instance whose bytes are whole again tell what they could not be read for meanwhile."""
    derive(unit, blobs, uid)
    for orphan in told_by(unit, uid):
        retell(unit, blobs, orphan)


def _show(
    unit: Unit, blobs: BlobStore, state: InstanceState, here: Sequence[StoredForm], fresh: Fresh | None
) -> None:
    """Archive the earliest form that stays, and list the others as conflicts or folded."""
    others = sorted(here, key=lambda form: (form.digest in state.folded, _stamp(form, state)))
    if not _is_given_up(unit, state, here):
        first = others.pop(0)
        if not _archived(unit, blobs, state, first, fresh):
            return
        unit.conflicts.forget(state.uid, first.digest)
    for other in others:
        _list(unit, state, other)
    for form in state.forms:
        if form.digest in state.folded - {one.digest for one in here}:
            _remember(unit, state, form)


def _archived(
    unit: Unit, blobs: BlobStore, state: InstanceState, form: StoredForm, fresh: Fresh | None
) -> bool:
    """Let a form be the archived one, if it is not; whether it is now."""
    shown, stamp = unit.forms.shown(state.uid), _stamp(form, state)
    if shown == (form.digest, stamp):
        return True
    if shown is not None and shown[0] == form.digest and shown[1][:_MOMENT] == stamp[:_MOMENT]:
        unit.instances.restamp(state.uid, shown[1], stamp)
        return True
    try:
        identified = fresh[1] if fresh and fresh[0].digest == form.digest else read_back(blobs, form.digest)
    except (Damaged, Malformed, Unidentified) as error:
        log.error("another form could not be shown", extra={"digest": form.digest, "error": str(error)})
        return False
    _archive(unit, blobs, state, form, identified)
    return True


def _is_given_up(unit: Unit, state: InstanceState, here: Sequence[StoredForm]) -> bool:
    """Whether the form that is shown everywhere is catalogued here too, though this copy was given up."""
    shown = unit.instances.digest(state.uid)
    rightful = state.staying[0].digest if state.staying else None
    return shown is not None and shown == rightful and shown not in {form.digest for form in here}


def _archive(
    unit: Unit, blobs: BlobStore, state: InstanceState, form: StoredForm, identified: Identified
) -> None:
    """Let a form be the archived one, with the attributes that its header tells."""
    take_out(unit, blobs, state.uid)
    unit.instances.add(
        identified.arrival(
            digest=form.digest,
            size=form.size,
            source=_source(form, state),
            at=form.arrived_at,
            stamp=_stamp(form, state),
        )
    )


def _list(unit: Unit, state: InstanceState, other: StoredForm) -> None:
    """List a form beside the archived one, and owe the comparison that settles what it is."""
    settled = _settled(state, other.digest)
    known = unit.conflicts.state(state.uid, other.digest)
    if known is not None and other.stamp != _stamp(other, state):
        unit.conflicts.forget(state.uid, other.digest)
        known = None
    if known is None:
        unit.conflicts.add(
            state.uid,
            other.digest,
            transfer_syntax=other.transfer_syntax,
            size=other.size,
            source=_source(other, state),
            at=other.arrived_at,
            stamp=_stamp(other, state),
        )
    if known != settled:
        unit.conflicts.settle(state.uid, other.digest, settled)
    unit.conflicts.set_held(state.uid, other.digest, held=True)
    if settled != DIFFERENT:
        unit.jobs.add(Task.COMPARE, f"{state.uid} {other.digest}")


def _remember(unit: Unit, state: InstanceState, form: Form) -> None:
    """Remember a form that was folded and whose bytes are not here."""
    if unit.conflicts.state(state.uid, form.digest) is None:
        unit.conflicts.add(
            state.uid,
            form.digest,
            transfer_syntax=TransferSyntaxUID.trusted(form.transfer_syntax),
            size=form.size,
            source=form.source,
            at=form.at,
            stamp=form.stamp,
        )
    unit.conflicts.settle(state.uid, form.digest, FOLDED)
    unit.conflicts.set_held(state.uid, form.digest, held=False)


def _settled(state: InstanceState, digest: Digest) -> str:
    if digest in state.folded:
        return FOLDED
    return DIFFERENT if digest in state.different else OPEN


def _withdraw(
    unit: Unit, blobs: BlobStore, state: InstanceState, here: Sequence[StoredForm], fresh: Fresh | None
) -> None:
    """Hide every form of an instance; their bytes stay."""
    study = next((form.study for form in state.forms if form.study), "")
    known = traits.of(unit, [state.uid]).get(state.uid) or _traits_of(unit, fresh)
    for form in here:
        told = traits.written(known) if known else ""
        unit.forms.withdraw(state.uid, form, study=known.study if known else study, traits=told)
    unit.conflicts.forget_all(state.uid)
    take_out(unit, blobs, state.uid)
    arrived = {form.digest for form in here}
    for told_form in state.forms:
        if told_form.digest not in arrived:
            unit.wants.drop(told_form.digest)
        unit.replicas.forget_owed(told_form.digest)


def _traits_of(unit: Unit, fresh: Fresh | None) -> Traits | None:
    """What rules can ask about a form that arrived when its instance was withdrawn already."""
    if fresh is None:
        return None
    form, identified = fresh
    arrival = identified.arrival(digest=form.digest, size=form.size, source=form.source, at=form.arrived_at)
    return traits.of_arrival(arrival)


def take_out(unit: Unit, blobs: BlobStore, uid: InstanceUID) -> None:
    """Take the archived row out; what it told of its series, study and patient another one tells."""
    for orphan in remove(unit, uid):
        retell(unit, blobs, orphan)


def _source(form: StoredForm, state: InstanceState) -> str:
    """Who sent a form first, wherever that was."""
    known = state.form(form.digest)
    return known.source if known else form.source


def _stamp(form: StoredForm, state: InstanceState) -> str:
    known = state.form(form.digest)
    return known.stamp if known else form.stamp
