"""Bytes that a site would have fetched by now, had their instance not been withdrawn meanwhile.

What is withdrawn is not fetched. When a person takes that back, or a retention lock does, each site that
lacks the bytes asks the sites that have told of them once more: the entry becomes a gap in what was read of
their journals, and gaps are asked for again, by rules and terms as they are now.
"""

from __future__ import annotations

from dataclasses import replace

from node.catalog.unit import Unit
from node.domain.ids import Digest, InstanceUID
from node.domain.replica import CopyState, Urgency, Want
from node.journal.entry import Entry, Fact
from node.journal.merge import InstanceState, instance_state


def ask_again(unit: Unit, uid: InstanceUID) -> None:
    """Ask again for the forms of an instance that are neither here nor wanted."""
    facts = unit.journal.about(uid)
    state = replace(instance_state(uid, facts), withdrawn=False)
    here = {form.digest for form in unit.forms.here(uid)}
    for fact in facts:
        if fact.kind is Fact.INSTANCE:
            digest = Digest.trusted(fact.says["digest"])
            if digest in here | state.folded or unit.wants.find(digest) is not None:
                continue
            unit.recalls.take_again(digest)
            if fact.origin == unit.origin:
                want_back(unit, digest, state)
            else:
                _reopen(unit, fact)


def want_back(unit: Unit, digest: Digest, state: InstanceState) -> bool:
    """Want bytes that this site had of a site that says that it has them; whether one does."""
    form = state.form(digest)
    active = {member.site for member in unit.members.active()}
    holders = [
        copy.site
        for copy in unit.replicas.of_digest(digest)
        if copy.state in (CopyState.VERIFIED, CopyState.HELD) and copy.site in active
    ]
    if form is None or not holders or state.withdrawn or digest in state.folded:
        return False
    unit.wants.add(
        Want(
            digest=digest,
            instance=state.uid,
            size=form.size,
            holder=holders[0],
            urgency=Urgency.NEW,
            wanted_at=form.at,
        )
    )
    return True


def _reopen(unit: Unit, fact: Entry) -> None:
    gaps = unit.cursors.gaps(fact.origin, fact.epoch)
    unit.cursors.set_gaps(fact.origin, fact.epoch, [*gaps, (fact.seq, fact.seq)])
    contact = unit.members.contact(fact.origin)
    unit.members.save_contact(replace(contact, terms=0))
