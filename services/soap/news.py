"""Heartbeats on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

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
        gap: entries that were withheld; the first of them.
    """

    epoch: Count
    seq: Count
    gap: Annotated[tuple[Span, ...], Many(up_to=64)] = ()


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
        audit_head: the end of its audit ledger.
        audit_hash: the hash of that record.
        reach: how far it has read the journal of who hears this.
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
        reach=tuple(
            Reach(
                epoch=int(epoch),
                seq=seq,
                gap=tuple(Span(first=first, last=last) for first, last in news.gaps.get(epoch, ())),
            )
            for epoch, seq in news.reached.items()
        ),
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
        reached={str(reach.epoch): reach.seq for reach in told.reach},
        gaps={str(reach.epoch): [(one.first, one.last) for one in reach.gap] for reach in told.reach},
    )
