"""What a site that was restored has taken back of its own journal, and which copies it had given up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, insert, select

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import Digest, SiteId

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_recall, _given_up = schema.recall.c, schema.given_up.c
_PUT = Statement(insert(schema.recall).prefix_with("OR REPLACE", dialect="sqlite"))
_FIND = Statement(
    select(_recall.seq, _recall.agreed).where(
        _recall.site == bindparam("site"), _recall.epoch == bindparam("epoch")
    )
)
_OF = Statement(select(_recall.epoch, _recall.seq).where(_recall.site == bindparam("site")))
_TOTAL = Statement(select(func.coalesce(func.sum(_recall.seq), 0)))
_GIVE_UP = Statement(insert(schema.given_up).prefix_with("OR IGNORE", dialect="sqlite"))
_TAKE_AGAIN = Statement(delete(schema.given_up).where(_given_up.digest == bindparam("of")))
_TAKE_ALL_AGAIN = Statement(delete(schema.given_up))
_IS_GIVEN_UP = Statement(select(_given_up.digest).where(_given_up.digest == bindparam("digest")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """How far one epoch of this site's own journal was taken back from a peer."""

    seq: int
    """All that the peer had up to this number."""
    agreed: int
    """Up to this number the peer has the same entries as stand here."""


class Recalls:
    """One row for each peer and earlier epoch of this site.

    The row of this site itself tells up to which number the entries of the epoch are its own, as they stood
    when the epoch was closed.
    """

    def __init__(self, unit: Unit) -> None:
        """The recalls within a unit of work."""
        self._unit = unit

    def find(self, site: SiteId, epoch: int) -> Recall | None:
        """How far an epoch was taken back from a peer; None where that was not begun."""
        row = self._unit.run(_FIND, site=site, epoch=epoch).fetchone()
        return Recall(seq=row[0], agreed=row[1]) if row else None

    def put(self, site: SiteId, epoch: int, recall: Recall) -> None:
        """Note how far that is."""
        self._unit.run(_PUT, site=site, epoch=epoch, seq=recall.seq, agreed=recall.agreed)

    def of(self, site: SiteId) -> dict[int, int]:
        """How far each epoch was taken back from a peer."""
        return dict(self._unit.run(_OF, site=site).fetchall())

    def total(self) -> int:
        """A number that grows with everything that is taken back."""
        return int(self._unit.run(_TOTAL).fetchall()[0][0])

    def is_given_up(self, digest: Digest) -> bool:
        """Whether this site had given up its copy before it was restored, and has not wanted it since."""
        return self._unit.run(_IS_GIVEN_UP, digest=digest).fetchone() is not None

    def set_given_up(self, digests: Iterable[str]) -> None:
        """Set which copies this site had given up."""
        self._unit.run(_TAKE_ALL_AGAIN)
        for digest in digests:
            self._unit.run(_GIVE_UP, digest=digest)

    def take_again(self, digest: Digest) -> None:
        """Somebody wants a copy here again that had been given up."""
        self._unit.run(_TAKE_AGAIN, of=digest)
