"""Which studies a foreign archive has: window by window, smaller ones where it tells too many or not all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from node.catalog.catalog import Catalog
from node.domain.ids import StudyUID
from node.domain.partner import StudyThere
from node.domain.rule import Match
from node.partners.foreign import Foreign
from node.partners.windows import Window, windows

MOST = 100
"""Studies of one answer; a window with more is asked for in parts, since partners cut long answers off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What came of listing one window."""

    studies: int
    parts: tuple[Window, ...] = ()
    """Smaller windows that have to be listed instead."""
    cut: bool = False
    """The partner did not tell all of it, and there are no smaller windows."""


def list_window(
    foreign: Foreign, window: Window, each: Callable[[StudyThere], None], *, most: int = MOST
) -> Listed:
    """List one window; its studies are told even where it has to be listed again in parts.

    Raises:
        PeerUnreachable, ForeignRefused: the partner cannot be worked with now.
    """
    told = 0

    def count(study: StudyThere) -> None:
        nonlocal told
        told += 1
        each(study)

    parts = window.parts()
    bounded = bool(parts) and not window.is_everything
    whole = foreign.studies(window, count, most=most if bounded else None)
    if whole and (not bounded or told < most):
        return Listed(studies=told)
    return Listed(studies=told, parts=parts, cut=not parts)


def walk(
    foreign: Foreign, roots: Iterable[Window], each: Callable[[StudyThere], None], *, most: int = MOST
) -> Iterator[tuple[Window, Listed]]:
    """List windows and their parts; each study may be told several times."""
    waiting = list(roots)[::-1]
    while waiting:
        window = waiting.pop()
        listed = list_window(foreign, window, each, most=most)
        waiting += listed.parts[::-1]
        yield window, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What there is to be brought, without bringing anything."""

    studies: int = 0
    instances: int = 0
    """Of the studies whose number of instances the partner tells."""
    untold: int = 0
    """Studies whose number it does not tell."""
    studies_here: int = 0
    """Studies of which as many instances are catalogued here as there are there."""
    cut: tuple[str, ...] = ()
    """Windows of which it does not tell all studies."""


def survey(
    foreign: Foreign, catalog: Catalog, match: Match, today: date, since: date | None = None
) -> Survey:
    """Count what a partner has and what of it is here, by the numbers that it tells.

    Raises:
        PeerUnreachable, ForeignRefused: the partner cannot be worked with now.
    """
    told: dict[StudyUID, int | None] = {}

    def keep(study: StudyThere) -> None:
        if means(match, study, today, since):
            told[study.uid] = study.instances

    cut = [str(window) for window, listed in walk(foreign, windows(today, since), keep) if listed.cut]
    with catalog.reading() as unit:
        here = sum(many is not None and unit.moving.instances_here(uid) >= many for uid, many in told.items())
    return Survey(
        studies=len(told),
        instances=sum(many or 0 for many in told.values()),
        untold=sum(many is None for many in told.values()),
        studies_here=here,
        cut=tuple(cut),
    )


def means(match: Match, study: StudyThere, today: date, since: date | None) -> bool:
    """Whether a study is meant by its date; one without a readable date is, unless there is a bound."""
    bounded = since is not None or match.younger_than is not None or match.older_than is not None
    try:
        taken = date(int(study.date[:4]), int(study.date[4:6]), int(study.date[6:8]))
    except ValueError:
        return not bounded
    return (
        (since is None or taken >= since)
        and (match.younger_than is None or taken > today - timedelta(days=match.younger_than))
        and (match.older_than is None or taken <= today - timedelta(days=match.older_than))
    )
