"""Whether the bytes of a copy are damaged: read twice before anybody is told so."""

from __future__ import annotations

from node.blobs.store import BlobStore, Pace, at_once
from node.catalog.unit import Unit
from node.domain.errors import BlobMissing, BlobUnreadable, DigestMismatch
from node.domain.finding import Finding, FindingState, Trouble
from node.domain.ids import Digest
from node.journal.entry import Fact

READS = 2
"""How often bytes are read before they are called damaged: a cable or a memory may fail once."""


def examine(blobs: BlobStore, digest: Digest, size: int, *, pace: Pace = at_once) -> Trouble | None:
    """What is wrong with the bytes of a copy, or None where one reading of them was right.

    Raises:
        StoreFailing: they cannot be read at all now; that says nothing about them.
    """
    found = _read(blobs, digest, size, pace)
    for _ in range(READS - 1):
        if found is None:
            return None
        found = _read(blobs, digest, size, pace)
    return found


def glance(blobs: BlobStore, digest: Digest, size: int) -> Trouble | None:
    """What is wrong with a copy as far as its size tells."""
    held = blobs.size(digest)
    if held is None:
        return Trouble.MISSING
    if held == size or not size:
        return None
    return Trouble.TRUNCATED if held < size else Trouble.CORRUPT


def found_whole(unit: Unit, finding: Finding, how: str) -> None:
    """Settle a finding about a copy that is whole; where it was told as gone, that is taken back."""
    is_here = unit.holdings.find(Digest.trusted(finding.digest)) is not None
    if finding.state is FindingState.LOST and is_here:
        says = {"of": origin_of(unit, finding), "verified": [finding.digest], "gone": []}
        unit.journal.append(Fact.COPIES, says)
    unit.findings.settle(finding, FindingState.SETTLED, how)


def origin_of(unit: Unit, finding: Finding) -> str:
    """The site that told of these bytes first."""
    facts = unit.journal.about(finding.instance) if finding.instance else ()
    told = (fact.origin for fact in facts if fact.says.get("digest") == finding.digest)
    return next(told, unit.origin)


def _read(blobs: BlobStore, digest: Digest, size: int, pace: Pace) -> Trouble | None:
    """What one reading finds."""
    wrong = glance(blobs, digest, size)
    if wrong is not None:
        return wrong
    try:
        blobs.verify(digest, pace=pace)
    except BlobMissing:
        return Trouble.MISSING
    except (DigestMismatch, BlobUnreadable):
        return Trouble.CORRUPT
    return None
