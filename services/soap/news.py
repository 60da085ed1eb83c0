"""Heartbeats on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from node.domain.chain import Head
from node.domain.change import News
from node.domain.ids import SiteId
from services.soap.framework.model import Count, Many
from services.soap.records import HashText, SiteText, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far one epoch of a journal was read.

    Attributes:
        epoch: which.
        seq: up to this number.
        hash: of the entry of that number; whose journal it is sees whether it is the same one.
        gap: entries that were withheld; the first of them.
    """

    epoch: Count
    seq: Count
    hash: HashText
    gap: Annotated[tuple[Span, ...], Many(up_to=64)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An epoch that the site has ended, because it was restored from an old backup.

    Attributes:
        epoch: which.
        seq: the number of its last entry.
        hash: of that entry.
    """

    epoch: Count
    seq: Count
    hash: HashText


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """How far the site has taken back an epoch of its own journal from who hears this.

    Attributes:
        epoch: which.
        seq: up to this number.
    """

    epoch: Count
    seq: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNews:
    """What a site tells of itself.

    Attributes:
        site: which one.
        epoch: of its journal.
        head: the end of its journal.
        head_hash: the hash of that entry.
        terms: a number that changes when its terms or rules do.
        metadata: the version of its metadata.
        at: the time by its clock, in microseconds since 1970; 0 if it does not tell.
        audit_head: the end of its audit ledger.
        audit_hash: the hash of that record.
        reach: how far it has read the journal of who hears this.
        ended: its earlier epochs.
        recalled: what it has taken back of them from who hears this.
    """

    site: SiteText
    epoch: Count
    head: Count
    head_hash: HashText
    terms: Count
    metadata: Count
    audit_head: Count
    audit_hash: HashText
    reach: Annotated[tuple[Reach, ...], Many(up_to=1000)] = ()
    ended: Annotated[tuple[Ended, ...], Many(up_to=1000)] = ()
    recalled: Annotated[tuple[Recalled, ...], Many(up_to=1000)] = ()
    at: Count = 0


def written_news(news: News) -> SiteNews:
    """News for the wire."""
    return SiteNews(
        site=news.site,
        epoch=news.epoch,
        head=news.head,
        head_hash=news.head_hash,
        terms=news.terms,
        metadata=news.metadata,
        audit_head=news.audit_head,
        audit_hash=news.audit_hash,
        at=news.at,
        reach=tuple(
            Reach(
                epoch=int(epoch),
                seq=seq,
                hash=news.marks[epoch],
                gap=tuple(Span(first=first, last=last) for first, last in news.gaps.get(epoch, ())),
            )
            for epoch, seq in news.reached.items()
        ),
        ended=tuple(Ended(epoch=int(epoch), seq=end.seq, hash=end.hash) for epoch, end in news.ends.items()),
        recalled=tuple(Recalled(epoch=int(epoch), seq=seq) for epoch, seq in news.recalled.items()),
    )


def news_of(told: SiteNews) -> News:
    """News from the wire."""
    return News(
        site=SiteId.trusted(told.site),
        epoch=told.epoch,
        head=told.head,
        head_hash=told.head_hash,
        terms=told.terms,
        metadata=told.metadata,
        audit_head=told.audit_head,
        audit_hash=told.audit_hash,
        at=told.at,
        reached={str(reach.epoch): reach.seq for reach in told.reach},
        marks={str(reach.epoch): reach.hash for reach in told.reach},
        ends={str(one.epoch): Head(seq=one.seq, hash=one.hash) for one in told.ended},
        recalled={str(one.epoch): one.seq for one in told.recalled},
        gaps={str(reach.epoch): [(one.first, one.last) for one in reach.gap] for reach in told.reach},
    )
