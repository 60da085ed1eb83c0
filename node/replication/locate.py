"""Where instances of a retrieval are that are not here: every active member is asked at once.

A retrieval names what it wants by unique keys of any level; sites announce by study. So where the studies are
not named, or a patient is named too, each site is searched for them first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final

from node.archive.apart import INSTANCE, ISSUER, PATIENT_ID, SERIES, STUDY
from node.domain.errors import MalformedIdentifier, MalformedMessage, NodeError, TooBusy
from node.domain.ids import SiteId, StudyUID
from node.domain.member import Member
from node.domain.principal import Principal
from node.domain.query import Key, Level, Query, Selection
from node.replication.calls import Call, Calls
from node.replication.peer import LONGEST_PAGE, Announced, Peer, Peers

log = logging.getLogger(__name__)


STUDIES: Final = 16
"""Studies that a site is asked about in one call: its answer names every instance of them."""

Told = tuple[Sequence[Announced], set[str]]
"""What a site announces, and the issuers of the patients that it found."""
Outcome = tuple[SiteId, Told | Exception]


@dataclass(slots=True)
class Located:
    """What other sites announce."""

    offers: list[tuple[SiteId, Sequence[Announced]]] = field(default_factory=list)
    """By site, the first to answer first."""
    silent: list[SiteId] = field(default_factory=list)
    """Those that did not answer."""
    issuers: set[str] = field(default_factory=set)
    """Issuers of the patients that were found, where a patient was asked for."""


class Locate:
    """Asks other sites what they have of a selection."""

    def __init__(
        self, peers: Peers, calls: Calls, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Ask peers, within the bounds of `calls`; `monotonic` tells seconds."""
        self._peers = peers
        self._calls = calls
        self._monotonic = monotonic

    def __call__(
        self, principal: Principal, selection: Selection, members: Sequence[Member], *, patience: float
    ) -> Located:
        """Ask all these members; those that have not answered in time are left behind."""
        located = Located()
        came: SimpleQueue[Outcome] = SimpleQueue()
        until = self._monotonic() + patience
        waiting: dict[SiteId, Call] = {}
        for member in members:
            work = self._question(member.site, principal, selection, patience, came.put)
            try:
                waiting[member.site] = self._calls.start(member.site, work)
            except TooBusy:
                located.silent.append(member.site)
        while waiting:
            try:
                site, told = came.get(timeout=max(0.001, until - self._monotonic()))
            except Empty:
                break
            del waiting[site]
            self._note(located, site, told)
        for site, call in waiting.items():
            call.leave()
            located.silent.append(site)
        return located

    def _question(
        self,
        site: SiteId,
        principal: Principal,
        selection: Selection,
        patience: float,
        tell: Callable[[Outcome], None],
    ) -> Callable[[], None]:
        def work() -> None:
            try:
                with self._peers(site, timeout=patience) as peer:
                    told: Told | Exception = _told(peer, principal, selection)
            except Exception as error:
                told = error
            tell((site, told))

        return work

    def _note(self, located: Located, site: SiteId, told: Told | Exception) -> None:
        if isinstance(told, Exception):
            why = str(told) if isinstance(told, NodeError) else type(told).__name__
            log.warning("a site was not searched for a retrieval", extra={"peer": site, "why": why})
            located.silent.append(site)
            return
        announced, issuers = told
        located.issuers |= issuers
        if announced:
            located.offers.append((site, announced))


def _told(peer: Peer, principal: Principal, selection: Selection) -> Told:
    """What a site announces of a selection."""
    studies, issuers = list(selection.studies), set[str]()
    if not studies or selection.patient_id is not None:
        studies, issuers = _searched(peer, principal, selection)
    announced: list[Announced] = []
    for first in range(0, len(studies), STUDIES):
        asked = studies[first : first + STUDIES]
        page = peer.announce(asked, principal)
        announced += [one for one in page if one.study in asked and _is_meant(one, selection)]
    return announced, issuers


def _searched(peer: Peer, principal: Principal, selection: Selection) -> tuple[list[StudyUID], set[str]]:
    """The studies at a site that hold all the given keys, and the issuers of the patients."""
    found = peer.search(query_of(selection), principal)
    places = {tag: place for place, (tag, _) in enumerate(found.tags)}
    studies, issuers = set(), set()
    try:
        for row in found.rows[:LONGEST_PAGE]:
            if selection.patient_id in (None, row[places[PATIENT_ID]]):
                studies.add(StudyUID(str(row[places[STUDY]])))
                issuers.add(str(row[places[ISSUER]] or ""))
    except (MalformedIdentifier, IndexError, KeyError):
        raise MalformedMessage("its rows are not what was asked for") from None
    return sorted(studies), issuers


def query_of(selection: Selection) -> Query:
    """The query that finds the studies of a selection."""
    level = Level.IMAGE if selection.instances else Level.SERIES if selection.series else Level.STUDY
    keys = [
        Key(tag=PATIENT_ID, vr="LO", value=selection.patient_id or ""),
        Key(tag=ISSUER, vr="LO", value=selection.issuer or ""),
        Key(tag=STUDY, vr="UI", value="\\".join(selection.studies)),
    ]
    if selection.series:
        keys.append(Key(tag=SERIES, vr="UI", value="\\".join(selection.series)))
    if selection.instances:
        keys.append(Key(tag=INSTANCE, vr="UI", value="\\".join(selection.instances)))
    return Query(level=level, keys=tuple(keys), patient_root=True, limit=LONGEST_PAGE)


def _is_meant(one: Announced, selection: Selection) -> bool:
    return (not selection.series or one.series in selection.series) and (
        not selection.instances or one.uid in selection.instances
    )
