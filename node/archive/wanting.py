"""Bytes that a site would have fetched by now, had their instance not been withdrawn meanwhile.

What is withdrawn is not fetched. When a person takes that back, or a retention lock does, each site that
lacks the bytes asks the sites that have told of them once more: the entry becomes a gap in what was read of
their journals, and gaps are asked for again, by rules and terms as they are now.
"""

from __future__ import annotations

from dataclasses import replace

from node.catalog.unit import Unit
from node.domain.ids import Digest, InstanceUID
from node.journal.entry import Entry, Fact
from node.journal.merge import instance_state


def ask_again(unit: Unit, uid: InstanceUID) -> None:
    """Ask again for the forms of an instance that are neither here nor wanted."""
    facts = unit.journal.about(uid)
    folded = instance_state(uid, facts).folded
    here = {form.digest for form in unit.forms.here(uid)}
    for fact in facts:
        if fact.kind is Fact.INSTANCE and fact.origin != unit.origin:
            digest = Digest.trusted(fact.says["digest"])
            if digest not in here | folded and unit.wants.find(digest) is None:
                _reopen(unit, fact)


def _reopen(unit: Unit, fact: Entry) -> None:
    gaps = unit.cursors.gaps(fact.origin, fact.epoch)
    unit.cursors.set_gaps(fact.origin, fact.epoch, [*gaps, (fact.seq, fact.seq)])
    contact = unit.members.contact(fact.origin)
    unit.members.save_contact(replace(contact, terms=0))
