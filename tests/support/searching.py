"""Searching and retrieving across whole sites in this process: peers that answer, hang, refuse or lie."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lxml import etree

from node.domain.ids import AETitle, Digest, SiteId, StudyUID
from node.domain.member import Standing
from node.domain.principal import Kind, Principal
from node.domain.query import Key, Level, Query
from node.domain.rule import EVERYTHING, Terms
from node.identity.assertion import Verifier, issue
from node.identity.home import demand_scope
from node.identity.members import derive_members, state_consent, state_standing
from node.identity.replay import Memory
from node.identity.xmlread import parse
from node.identity.xspa import Purpose
from node.replication.answer import Answers
from node.replication.calls import Calls
from node.replication.demand import Demand
from node.replication.federated_search import FederatedRows, FederatedSearch, Listed
from node.replication.peer import Announced, Found, TicketGrant
from node.replication.read_through import ReadThrough
from node.replication.site_answer import SiteAnswer
from tests.support.federation import FederatedSite, LocalPeer

PATIENCE = 30.0
"""Seconds that nobody is meant to use up."""
KEYS = {
    Level.PATIENT: ((0x00100010, "PN"), (0x00100020, "LO"), (0x00201204, "IS")),
    Level.STUDY: ((0x00100010, "PN"), (0x0020000D, "UI"), (0x00080061, "CS"), (0x00201208, "IS")),
    Level.SERIES: ((0x0020000D, "UI"), (0x0020000E, "UI"), (0x00080060, "CS"), (0x00201209, "IS")),
    Level.IMAGE: ((0x00080018, "UI"), (0x00200013, "IS")),
}


def query(level: Level = Level.STUDY, limit: int | None = None, **values: str) -> Query:
    """A query at a level that may match by a tag: `x00100020="P1"`."""
    given = {int(name[1:], 16): value for name, value in values.items()}
    vrs = {0x00100020: "LO", 0x00080061: "CS"}
    tags = dict(KEYS[level]) | {tag: vrs.get(tag, "UI") for tag in given if tag not in dict(KEYS[level])}
    keys = tuple(Key(tag=tag, vr=vr, value=given.get(tag, "")) for tag, vr in sorted(tags.items()))
    return Query(level=level, keys=keys, limit=limit)


@dataclass
class Mood:
    """How a site behaves towards those who search it."""

    hangs: threading.Event | None = None
    """Where given, it answers when this is set."""
    fails: Exception | None = None
    answer: Callable[[Found], Found] = lambda found: found
    asked: list[str] = field(default_factory=list)
    """Principals that came."""
    fetched: list[Digest] = field(default_factory=list)
    gives: int | None = None
    """Instances of each pack that it gives before it falls over; None for all."""

    def act(self) -> None:
        if self.hangs:
            self.hangs.wait()
        if self.fails:
            raise self.fails


class SearchingPeer(LocalPeer):
    """A local peer that can be searched."""

    def __init__(self, caller: FederatedSite, called: FederatedSite, mood: Mood) -> None:
        super().__init__(caller, called)
        self._mood = mood

    def _answers(self) -> tuple[Answers, object]:
        _, member = self._service()
        called = self._called
        return Answers(called.archive, called.catalog, AETitle(called.name.upper())), member

    def search(self, query: Query, principal: Principal) -> Found:
        self._mood.asked.append(str(principal))
        self._mood.act()
        answers, member = self._answers()
        return self._mood.answer(answers.search_for(member, self._arrived(principal), query))

    def announce(self, studies: Sequence[StudyUID], principal: Principal) -> Sequence[Announced]:
        self._mood.act()
        answers, member = self._answers()
        return answers.announce_for(member, self._arrived(principal), studies)

    def prepare_to_get(self, digests: Sequence[Digest], principal: Principal | None = None) -> TicketGrant:
        return super().prepare_to_get(digests, principal and self._arrived(principal))

    def _arrived(self, principal: Principal) -> Principal:
        """A person as the other site knows it: by an assertion that the home site signed for this call."""
        if principal.kind is not Kind.PERSON:
            return principal
        caller, called = self._caller, self._called
        assertion = issue(
            caller.home.key(),
            audience=called.name,
            principal=principal,
            now=called.clock(),
            purpose=Purpose(principal.purpose or Purpose.TREATMENT),
        )
        verifier = Verifier(
            site=called.name,
            certificates_of=called.members.certificates_of,
            memory=Memory(started=0),
        )
        arrived = verifier.verify(
            parse(etree.tostring(assertion), 1 << 20), caller.home.key().fingerprint, called.clock()
        )
        demand_scope(called.members.demand_active(caller.name), arrived)
        return arrived

    def fetch(self, grant: TicketGrant, digests: Sequence[Digest]) -> Iterator[Digest]:
        for place, digest in enumerate(super().fetch(grant, digests)):
            if place == self._mood.gives:
                raise self._mood.fails or ConnectionError
            self._mood.fetched.append(digest)
            yield digest


class Seeker:
    """A site that searches and retrieves from the others."""

    def __init__(self, site: FederatedSite, *, calls: Calls | None = None) -> None:
        self.site = site
        self.calls = calls or Calls()
        self.fetches = Calls()
        self.moods = {name: Mood() for name in site.network.sites}
        self.search = FederatedSearch(site.archive, site.catalog, self._peer, self.calls)

    @contextmanager
    def _peer(self, to: SiteId, *, timeout: float | None = None) -> Iterator[SearchingPeer]:
        yield SearchingPeer(self.site, self.site.network.sites[to], self.moods[to])

    @contextmanager
    def hanging(self, *names: str) -> Iterator[threading.Event]:
        """These sites hang until the event is set, or the block ends; then all calls come to their end."""
        released = threading.Event()
        for name in names:
            self.moods[name].hangs = released
        try:
            yield released
        finally:
            released.set()
            while self.calls.left_behind:
                time.sleep(0.005)

    def find(
        self, asked: Query | None = None, patience: float = PATIENCE
    ) -> tuple[list[Listed], dict[str, SiteAnswer]]:
        """All rows, and what came of every site."""
        found: FederatedRows = self.search.search(self.site.device, asked or query(), patience=patience)
        rows = [row for row in found.rows if row is not None]
        return rows, {answer.site: answer for answer in found.answers}

    def reader(self, *, everywhere: bool = False, patience: float = PATIENCE) -> ReadThrough:
        """What retrieves through this site."""
        site = self.site
        return ReadThrough(
            site.archive,
            site.catalog,
            self._peer,
            self.calls,
            self.fetches,
            Demand(site.catalog, site.effects, site.intake),
            patience=patience,
            everywhere=everywhere,
        )


def terms_of(site: FederatedSite, other: str, **terms: Terms) -> None:
    """Let a site exchange with another on these terms (`export`, `accept`) from now on."""
    given = {"export": EVERYTHING, "accept": EVERYTHING} | terms
    with site.catalog.begin() as unit:
        state_consent(unit, site.operator, SiteId(other), **given)
        derive_members(unit)


def standing_of(site: FederatedSite, other: str, standing: Standing) -> None:
    """Let another site stand so with this one from now on."""
    with site.catalog.begin() as unit:
        state_standing(unit, site.operator, SiteId(other), standing)
        derive_members(unit)
