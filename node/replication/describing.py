"""Rows before bytes: what peers have catalogued of instances whose bytes are still to come.

Such a row is found by searches at once, and retrieved by read-through; `held` is 0 until the bytes are here,
and then they tell the row themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from node.archive.derive import state_of
from node.archive.identity import SOP_CLASS, Identified, identify
from node.catalog.attributes import READ
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import NodeError
from node.domain.ids import SOPClassUID
from node.domain.instance import Description, Offer
from node.domain.replica import Want
from node.replication.peer import LONGEST_PAGE, Peer

log = logging.getLogger(__name__)

_AT_ONCE = 200
"""Rows in one unit of work: others write meanwhile."""

Progress = Callable[[int], None]
"""Told how many rows were added."""


class Describing:
    """Catalogues instances by what peers say of them."""

    def __init__(self, catalog: Catalog) -> None:
        """Describe what is wanted in this catalog."""
        self._catalog = catalog

    def describe(self, peer: Peer, progress: Progress = lambda rows: None, *, own: bool = False) -> int:
        """Ask a peer for what is wanted and not catalogued here, the newest first.

        Args:
            peer: is asked.
            progress: is told how it goes.
            own: ask it only for what is wanted of itself.

        Returns:
            How many rows were added.

        Raises:
            What every call to a peer raises.
        """
        rows, last = 0, None
        while True:
            with self._catalog.reading() as unit:
                wants = unit.wants.unlisted(LONGEST_PAGE, last)
            if not wants:
                return rows
            last = wants[-1]
            asked = [want for want in wants if not own or want.holder == peer.site]
            if asked:
                rows += self._listed(peer.describe([want.digest for want in asked]), asked)
                progress(rows)

    def _listed(self, descriptions: Sequence[Description], asked: Sequence[Want]) -> int:
        wanted = {want.digest for want in asked}
        read = [
            (one, identified)
            for one in descriptions
            if one.digest in wanted and (identified := _identified(one)) is not None
        ]
        rows = 0
        for first in range(0, len(read), _AT_ONCE):
            part = read[first : first + _AT_ONCE]
            rows += self._catalog.perform(lambda unit, part=part: _list(unit, part))  # type: ignore[misc]
        return rows


def _identified(one: Description) -> Identified | None:
    """The identity that a description tells; None where it is none."""
    try:
        attributes = {tag: value for tag, value in one.attributes.items() if tag in READ}
        offer = Offer(
            sop_class=SOPClassUID(str(attributes.get(SOP_CLASS, ""))),
            instance=one.instance,
            transfer_syntax=one.transfer_syntax,
        )
        return identify(offer, attributes)
    except NodeError as error:
        log.warning("a description is none", extra={"digest": one.digest, "error": str(error)})
        return None


def _list(unit: Unit, read: Sequence[tuple[Description, Identified]]) -> int:
    """Add the rows of instances that are archived by these bytes, and are not here yet."""
    rows = 0
    for one, identified in read:
        state = state_of(unit, one.instance)
        form = state.staying[0] if state.staying and not state.withdrawn else None
        if form is None or form.digest != one.digest or unit.instances.digest(one.instance) is not None:
            continue
        if unit.wants.find(one.digest) is None:
            continue
        arrival = identified.arrival(
            digest=one.digest, size=form.size, source=form.source, at=unit.now, stamp=form.stamp
        )
        unit.instances.add(arrival, held=False)
        rows += 1
    return rows
