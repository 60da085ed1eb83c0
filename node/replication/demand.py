"""What another site announces, and this one wants at once: the facts are kept, the bytes are wanted.

A site announces what it holds with the journal entry that tells of it, which may be its own or that of a
third site. The entry is kept where this site would have read it, so that the chains stay whole: the origin's
own word, when its journal is read, says the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.chain import Head
from node.domain.errors import NodeError, Rejected
from node.domain.ids import Digest, SiteId
from node.domain.job import SECOND
from node.domain.member import Member
from node.domain.replica import Urgency
from node.journal.entry import Entry, Fact, follow
from node.journal.shape import demand_shape
from node.replication.effects import Effects
from node.replication.intake import Intake
from node.replication.peer import Announced

log = logging.getLogger(__name__)

LEASE: Final = 60 * SECOND
"""Microseconds for which the courier leaves bytes alone that are fetched on demand."""

_AT_ONCE = 200


class Demand:
    """Wants what other sites announce."""

    def __init__(self, catalog: Catalog, effects: Effects, intake: Intake) -> None:
        """Want for this catalog.

        Args:
            catalog: where facts and wants go.
            effects: what facts do to the rows.
            intake: decides what is wanted, and catalogues it when it has come.
        """
        self._catalog = catalog
        self._effects = effects
        self._intake = intake

    def want(self, site: SiteId, announced: Sequence[Announced]) -> list[Digest]:
        """Keep the facts and want the bytes, ahead of all others.

        Returns:
            The digests that may come: those of which this site's terms accept nothing are left out.
        """

        def change(unit: Unit, part: Sequence[Announced]) -> list[Digest]:
            member = unit.members.find(site)
            if member is None or not member.is_active:
                return []
            return [one.digest for one in part if self._is_wanted(unit, member, one)]

        wanted: list[Digest] = []
        for first in range(0, len(announced), _AT_ONCE):
            part = announced[first : first + _AT_ONCE]
            wanted += self._catalog.perform(partial(change, part=part))
        return wanted

    def arrived(self, site: SiteId, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Catalogue what has come into the store; which of them are catalogued now."""
        return self._intake.arrived(site, digests)

    def _is_wanted(self, unit: Unit, member: Member, one: Announced) -> bool:
        try:
            entry = entry_of(one)
            _demand_credible(unit, member, entry)
        except NodeError as error:
            log.warning("an announcement was not believed", extra={"peer": member.site, "why": str(error)})
            return False
        unit.journal.keep(entry)
        self._effects.apply(unit, entry)
        if not self._intake.want(unit, member, entry, owed=True, urgency=Urgency.ON_DEMAND):
            return False
        unit.wants.ask(one.digest, member.site)
        unit.wants.failed(one.digest, "it is being fetched on demand", pause=LEASE)
        return True


def entry_of(announced: Announced) -> Entry:
    """The journal entry of an announcement, where it is about what is announced.

    Raises:
        Rejected: it is not.
    """
    told = announced.entry
    if told.payload is None or told.kind != Fact.INSTANCE:
        raise Rejected("it comes without the fact that tells of it")
    entry = follow(
        Head(seq=told.seq - 1, hash=told.previous),
        origin=announced.origin,
        epoch=announced.epoch,
        at=told.at,
        kind=Fact.INSTANCE,
        payload=told.payload,
    )
    if entry.hash != told.hash:
        raise Rejected("the fact is not what its hash says")
    demand_shape(entry)
    if _about(entry) != (announced.uid, announced.digest, announced.size):
        raise Rejected("the fact is about something else")
    return entry


def _about(entry: Entry) -> tuple[object, object, object] | None:
    """Instance, digest and size that an INSTANCE fact names; None where it is none."""
    try:
        said = entry.says
        named = said["uid"], said["digest"], said["size"]
        return named if isinstance(said["source"], str) and isinstance(said["syntax"], str) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _demand_credible(unit: Unit, member: Member, entry: Entry) -> None:
    """Make sure that the entry may be believed.

    Raises:
        Rejected: another fact stands in its place, it claims to be of this site, or its origin, which is a
            third site, is unknown or withholds it from this one.
    """
    known = unit.journal.at(entry.origin, entry.epoch, entry.seq)
    if known is not None:
        if known.hash != entry.hash:
            raise Rejected("another fact stands in its place")
        return
    if entry.origin == member.site:
        return
    origin = unit.members.find(entry.origin)
    if origin is None or not origin.is_active:
        raise Rejected("the site that it comes from is not an active member here")
    if entry.seq <= unit.cursors.find(entry.origin, entry.epoch).seq:
        raise Rejected("the site that it comes from withholds it from this one")
