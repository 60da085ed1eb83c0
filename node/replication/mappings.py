"""The replica catalog as members see it: where copies are, and what they may tell of their own."""

from __future__ import annotations

from collections.abc import Sequence

from node.catalog import traits
from node.catalog.catalog import Catalog
from node.catalog.forms import StoredForm
from node.catalog.unit import Unit
from node.catalog.wants import ARRIVED
from node.domain.errors import Forbidden, Rejected, UnknownInstance
from node.domain.ids import InstanceUID
from node.domain.member import Member
from node.domain.replica import CopyState, Replica


class Mappings:
    """Questions and claims about copies."""

    def __init__(self, catalog: Catalog) -> None:
        """The mappings that a catalog holds."""
        self._catalog = catalog

    def query(self, member: Member, instances: Sequence[InstanceUID]) -> list[Replica]:
        """All known copies of those of the instances that the terms give a member, ours first."""
        asked = list(dict.fromkeys(instances))
        with self._catalog.reading() as unit:
            elsewhere = unit.replicas.of_instances(asked)
            given = _given(unit, member, asked, elsewhere)
            here = _here(unit, [uid for uid in asked if uid in given])
        return here + [copy for copy in elsewhere if copy.instance in given]

    def create(self, member: Member, told: Sequence[Replica]) -> int:
        """Note a member's copies of instances that no site has told of.

        Raises:
            Rejected: one of them is known here.
            Forbidden: a site may speak for its own copies only.
        """
        _demand_own(member, told)

        def note(unit: Unit) -> int:
            for one in told:
                if _may_know(unit, member, one.instance):
                    raise Rejected(f"{one.instance} has mappings already; add to them instead")
            return _note(unit, told)

        return self._catalog.perform(note)

    def add(self, member: Member, told: Sequence[Replica]) -> int:
        """Note a member's copies of instances that are known here.

        Raises:
            UnknownInstance: one of them is not, or is not for this member to know.
            Forbidden: a site may speak for its own copies only.
        """
        _demand_own(member, told)

        def note(unit: Unit) -> int:
            for one in told:
                if not _may_know(unit, member, one.instance):
                    raise UnknownInstance(one.instance)
            return _note(unit, told)

        return self._catalog.perform(note)

    def delete(self, member: Member, told: Sequence[Replica]) -> int:
        """Note that a member's copies are no more; how many were known.

        Raises:
            Forbidden: a site may speak for its own copies only.
        """
        _demand_own(member, told)

        def note(unit: Unit) -> int:
            known = [one for one in told if unit.replicas.state(one.digest, one.site)]
            for one in known:
                gone = Replica(
                    instance=one.instance,
                    digest=one.digest,
                    site=one.site,
                    state=CopyState.GONE,
                    size=one.size,
                    at=unit.now,
                )
                unit.replicas.put(gone)
            return len(known)

        return self._catalog.perform(note)


def _demand_own(member: Member, told: Sequence[Replica]) -> None:
    for one in told:
        if one.site != member.site:
            raise Forbidden(member.site, f"speak for copies at {one.site}", "a site speaks for its own")


def _note(unit: Unit, told: Sequence[Replica]) -> int:
    for one in told:
        unit.replicas.put(one)
    return len(told)


def _may_know(unit: Unit, member: Member, uid: InstanceUID) -> bool:
    """Whether an instance is known here, not withdrawn, and the terms give it to a member."""
    if unit.forms.is_withdrawn(uid):
        return False
    known = traits.of(unit, [uid]).get(uid)
    if known is not None:
        return member.export.allow(known, now=unit.now)
    return any(copy.site == member.site for copy in unit.replicas.of_instance(uid))


def _given(
    unit: Unit, member: Member, uids: Sequence[InstanceUID], elsewhere: Sequence[Replica]
) -> set[InstanceUID]:
    """Those of the instances that are known here, not withdrawn, and that the terms give a member."""
    withdrawn = unit.forms.withdrawn_among(uids)
    left = [uid for uid in uids if uid not in withdrawn]
    if member.export.is_everything:
        return set(left)
    known = traits.of(unit, left)
    own = {copy.instance for copy in elsewhere if copy.site == member.site}
    return {
        uid
        for uid in left
        if (uid in known and member.export.allow(known[uid], now=unit.now))
        or (uid not in known and uid in own)
    }


def _here(unit: Unit, uids: Sequence[InstanceUID]) -> list[Replica]:
    """The copies at this site: those that were read back are verified."""
    forms = unit.forms.here_of(uids)
    wanted = unit.wants.states([form.digest for _, form in forms])
    return [
        Replica(
            instance=uid,
            digest=form.digest,
            site=unit.origin,
            state=_state(unit, form, wanted.get(form.digest)),
            size=form.size,
            at=form.arrived_at,
        )
        for uid, form in forms
        if wanted.get(form.digest) in (None, ARRIVED)
    ]


def _state(unit: Unit, form: StoredForm, want: str | None) -> CopyState:
    """What this site received itself was hashed on its way in; what it fetched, it has read back."""
    received_here = form.stamp.split(" ")[1:2] == [str(unit.origin)]
    return CopyState.HELD if received_here or want is not None else CopyState.VERIFIED
