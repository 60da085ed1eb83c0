"""Entries of a journal as they were told: checked one by one, and compared with those that are here."""

from __future__ import annotations

from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.chain import Head
from node.domain.change import Changes, Cursor, Told
from node.domain.errors import Damaged, MalformedMessage
from node.domain.ids import SiteId
from node.journal.entry import Entry, Fact, follow
from node.journal.shape import demand_shape
from node.replication.peer import Peer

PROBE = 100
"""Entries that are asked for to see whether they are the same ones."""


def read_entry(changes: Changes, told: Told, head: Head) -> Entry:
    """The entry that was told, where it is what it claims to be.

    Raises:
        Damaged: its hash is not that of its content.
        MalformedMessage: it is of an unknown kind, or not what its kind says.
    """
    if told.payload is None:
        raise MalformedMessage("an entry that is withheld has no content")
    try:
        kind = Fact(told.kind)
    except ValueError:
        raise MalformedMessage("a newer node tells facts that this one does not know; update it") from None
    entry = follow(
        head, origin=changes.origin, epoch=changes.epoch, at=told.at, kind=kind, payload=told.payload
    )
    if entry.hash != told.hash:
        raise Damaged(f"entry {told.seq} of {changes.origin}/{changes.epoch} is not what its hash says")
    demand_shape(entry)
    return entry


def agreement(catalog: Catalog, peer: Peer, origin: SiteId, epoch: int, below: int) -> int:
    """The number of the last entry of a journal that is known to be the same here and at a peer.

    Args:
        catalog: what is here.
        peer: is asked for its entries, from the end towards the beginning.
        origin: whose journal.
        epoch: which of its epochs.
        below: the last number that both have.
    """
    after, step = max(0, below - PROBE), PROBE
    while True:
        changes = peer.changes(Cursor(origin=origin, epoch=epoch, seq=after), PROBE)
        with catalog.reading() as unit:
            found = agreed(unit, changes)
        if found or not after:
            return found
        after, step = max(0, after - step), step * 2


def agreed(unit: Unit, changes: Changes) -> int:
    """The last of these entries, or of those before them, that is the same here; 0 for none."""
    last = 0
    for told in changes.entries:
        before = unit.journal.at(changes.origin, changes.epoch, told.seq - 1)
        here = unit.journal.at(changes.origin, changes.epoch, told.seq)
        if before is not None and before.hash != told.previous:
            break
        if before is not None:
            last = before.seq
        if here is not None and here.hash != told.hash:
            break
        if here is not None:
            last = here.seq
    return last
