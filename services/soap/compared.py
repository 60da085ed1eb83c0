"""Comparisons of two sites on the wire (`node.replication.reconcile`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from node.domain.ids import Digest
from node.domain.replica import Whereabouts
from node.replication.peer import LONGEST_PAGE, Compared, Lacking, Range
from services.soap.framework.model import DigestText, LongText, Many, Text
from services.soap.records import Digests

PrefixText = Annotated[
    str,
    Text(name="Prefix", pattern="[0-9a-f]{0,64}", doc="The first digits of digests."),
]
FingerprintText = Annotated[
    str, Text(name="Fingerprint", pattern="[0-9a-f]{32}", doc="Of a set of digests: equal for equal sets.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The digests of a range.

    Attributes:
        digest: all of them.
    """

    digest: Digests = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRange:
    """A part of what two sites hold or owe each other.

    Attributes:
        prefix: how its digests begin.
        fingerprint: of the digests at the asking site.
        named: the digests themselves, where they are few.
    """

    prefix: PrefixText
    fingerprint: FingerprintText | None = None
    named: Named | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LackingObject:
    """Bytes that the answering site does not hold.

    Attributes:
        digest: which bytes.
        where: what is known of them there.
        note: why the last attempt to fetch them failed.
    """

    digest: DigestText
    where: Whereabouts
    note: LongText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRange:
    """The answer to one range.

    Attributes:
        prefix: of the range.
        same: whether both sites have the same there.
        part: otherwise the fingerprints of its sixteen parts,
        only: or digests that were not named,
        lacking: and digests that were named and are not here.
    """

    prefix: PrefixText
    same: bool = False
    part: Annotated[tuple[FingerprintText, ...], Many(up_to=16)] = ()
    only: Digests = ()
    lacking: Annotated[tuple[LackingObject, ...], Many(up_to=LONGEST_PAGE)] = ()


def written_ranges(ranges: Sequence[Range]) -> tuple[AskedRange, ...]:
    """Ranges for the wire."""
    return tuple(
        AskedRange(
            prefix=one.prefix,
            fingerprint=one.fingerprint or None,
            named=None if one.digests is None else Named(digest=one.digests),
        )
        for one in ranges
    )


def read_ranges(ranges: Sequence[AskedRange]) -> list[Range]:
    """Ranges from the wire."""
    return [
        Range(
            prefix=one.prefix,
            fingerprint=one.fingerprint or "",
            digests=None if one.named is None else tuple(map(Digest.trusted, one.named.digest)),
        )
        for one in ranges
    ]


def written_compared(compared: Sequence[Compared]) -> tuple[ComparedRange, ...]:
    """Answers for the wire."""
    return tuple(
        ComparedRange(
            prefix=one.prefix,
            same=one.same,
            part=one.parts,
            only=one.only,
            lacking=tuple(
                LackingObject(digest=lack.digest, where=lack.where, note=lack.note) for lack in one.lacking
            ),
        )
        for one in compared
    )


def read_compared(compared: Sequence[ComparedRange]) -> list[Compared]:
    """Answers from the wire."""
    return [
        Compared(
            prefix=one.prefix,
            same=one.same,
            parts=one.part,
            only=tuple(map(Digest.trusted, one.only)),
            lacking=tuple(
                Lacking(digest=Digest.trusted(lack.digest), where=lack.where, note=lack.note)
                for lack in one.lacking
            ),
        )
        for one in compared
    ]
