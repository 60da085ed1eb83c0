"""Three sites that write at the same time, whatever happens in whatever order: they come to hold the same.

Devices send, persons decide, links are cut, processes crash, answers are lost, bytes rot, clocks disagree.
After every step nothing that was acknowledged is lost, and no copy is claimed that was never there. In the
end links and bytes are mended and the sites are left alone, until all of them show the same.

`KONZILIUM_HISTORIES=1000 pytest tests/federation/test_three_sites.py` searches for longer, with histories
that are new every time; without it the same few are tried.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from node.archive.derive import state_of
from node.audit import record as ledger
from node.domain.errors import NodeError, PeerUnreachable, Rejected, Withdrawn
from node.domain.ids import Digest, SiteId
from node.domain.query import Selection
from node.domain.replica import CopyState
from node.domain.rule import EVERYTHING, NOTHING, Match, Rule, Terms
from node.journal.entry import Fact, verify
from node.recovery.rebuild import rebuild
from node.replication.reconcile import reconcile
from node.replication.rules import RuleBook
from tests.support.backups import copied, restore
from tests.support.federation import FederatedSite, federation, settle
from tests.support.fragile import Crash
from tests.support.pool import PATIENTS, PLACES, STUDIES, Sample, sample, study_of, uid_of
from tests.support.views import copies_of, holds, shown, view

SEARCHES = int(os.environ.get("KONZILIUM_HISTORIES", "0"))
NAMES = ("brno", "prague", "olomouc")
CT = Terms(matches=(Match(modalities=("CT",)),))
DAY = 86_400_000_000

places = st.integers(0, 2)
pairs = st.sampled_from([(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)])
numbers = st.sampled_from(sorted(PLACES))
kinds = st.sampled_from(["plain", "plain", "implicit", "other", "stranger"])
sendings = st.lists(st.tuples(places, numbers, kinds), min_size=1, max_size=4)
fuses = st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 7, 9, 12])
losses = st.sampled_from([0, 0, 0, 1, 2, 4, 8, 16, 0b1010101, 0b11110000, 0b100100100])
values = st.sampled_from([None, None, "corrected", "corrected again", ""])
terms = st.sampled_from([EVERYTHING, EVERYTHING, NOTHING, CT])
policies = st.sampled_from(
    [
        None,
        None,
        Rule(name="one", copies=1),
        Rule(name="ct", match=Match(modalities=("CT",))),
        Rule(name="there", sites=(SiteId("prague"),)),
    ]
)


class ThreeSites(RuleBasedStateMachine):
    """Three sites, their devices and operators, a network and a saboteur."""

    hidden: frozenset[str] = frozenset()
    """Sites that nobody can call."""

    @initialize(first=sendings)
    def begin(self, first: list[tuple[int, int, str]]) -> None:
        self.stack = ExitStack()
        made = federation(
            *NAMES,
            callable=lambda name: name not in self.hidden,
            ahead={"prague": 240, "olomouc": -600},
        )
        self.sites: list[FederatedSite] = self.stack.enter_context(made)
        self.network = self.sites[0].network
        self.acknowledged: dict[Digest, Sample] = {}
        """What devices were told is safe."""
        self.damaged: set[tuple[str, Digest]] = set()
        """Bytes that rotted at a site."""
        self.given_up: dict[str, set[Digest]] = {name: set() for name in NAMES}
        self.deeds = dict.fromkeys(NAMES, 0)
        self.backups: dict[str, tuple[Path, int]] = {}
        """A copy of the catalog of some sites, and how many deeds it knows of."""
        self.restored: set[str] = set()
        """Sites that were restored and may not have noticed yet."""
        self.devices_send(first, 0)

    def teardown(self) -> None:
        if not hasattr(self, "stack"):
            return
        with self.stack:
            self.comes_to_rest()
            self.restored.clear()
            self.promises_are_kept()
            self.shows_the_same_everywhere()
            self.claims_what_is_there()
            self.agrees_when_compared()
            self.is_the_same_when_rebuilt()

    # ---- devices

    @rule(many=sendings, fuse=fuses)
    def devices_send(self, many: list[tuple[int, int, str]], fuse: int) -> None:
        """The site that is sent the last instance may crash over it."""
        for place, number, kind in many[:-1]:
            self.sent(self.sites[place], sample(number, kind))
        place, number, kind = many[-1]
        with self.fragile(self.sites[place], fuse):
            self.sent(self.sites[place], sample(number, kind))

    def sent(self, site: FederatedSite, sent: Sample) -> None:
        with suppress(Withdrawn):
            admitted = site.admit((sent.offer, sent.data))
            self.acknowledged[admitted.digest] = sent
            self.damaged.discard((site.name, admitted.digest))
            self.deeds[site.name] += 1
            assert site.blobs.size(admitted.digest) is not None

    # ---- persons

    @rule(place=places, study=st.sampled_from(STUDIES), value=values, fuse=fuses)
    def a_study_is_corrected(self, place: int, study: str, value: str | None, fuse: int) -> None:
        site = self.sites[place]
        with self.fragile(site, fuse), suppress(Rejected):
            site.archive.correct(site.operator, study, {0x00081030: value}, "typing error")

    @rule(place=places, patient=st.sampled_from(PATIENTS), value=values, fuse=fuses)
    def a_patient_is_corrected(self, place: int, patient, value: str | None, fuse: int) -> None:
        site = self.sites[place]
        said = value and "Svobodová^Eva" + "^A" * ("again" in value)
        with self.fragile(site, fuse), suppress(Rejected):
            site.archive.correct(site.operator, patient, {0x00100010: said}, "married")

    @rule(place=places, pair=st.permutations(PATIENTS), fuse=fuses)
    def patients_are_merged(self, place: int, pair, fuse: int) -> None:
        site = self.sites[place]
        with self.fragile(site, fuse), suppress(Rejected):
            site.archive.merge(site.operator, pair[0], pair[1], "one person")

    @rule(place=places, patient=st.sampled_from(PATIENTS))
    def a_merge_is_taken_back(self, place: int, patient) -> None:
        site = self.sites[place]
        with suppress(Rejected):
            site.archive.unmerge(site.operator, patient, "two persons")

    @rule(place=places, number=numbers, whole=st.booleans(), fuse=fuses)
    def something_is_withdrawn(self, place: int, number: int, whole: bool, fuse: int) -> None:
        site = self.sites[place]
        with self.fragile(site, fuse), suppress(Rejected):
            site.archive.retract(site.operator, chosen(number, whole), "wrong patient")

    @rule(place=places, number=numbers, whole=st.booleans(), fuse=fuses)
    def something_is_restored(self, place: int, number: int, whole: bool, fuse: int) -> None:
        site = self.sites[place]
        with self.fragile(site, fuse), suppress(Rejected):
            site.archive.restore(site.operator, chosen(number, whole), "right patient")

    @rule(place=places, number=numbers, days=st.sampled_from([0.01, 1, 1000]), also=st.integers(0, 2))
    def a_study_is_locked(self, place: int, number: int, days: float, also: int) -> None:
        """Perhaps while somebody elsewhere withdraws it."""
        site, study = self.sites[place], study_of(number)
        if self.sites[also] is not site:
            self.something_is_withdrawn(also, number, True, 0)
        with suppress(Rejected):
            site.archive.lock(site.operator, study, site.clock.now + int(days * DAY), "litigation")

    # ---- what sites do by themselves

    @rule(place=places, fuse=fuses, other=places, lost=losses)
    def a_site_calls_the_others(self, place: int, fuse: int, other: int, lost: int) -> None:
        """Some answers are lost, and some site may crash meanwhile."""
        site = self.sites[place]
        self.network.lose_replies = bits(lost)
        with self.fragile(self.sites[other], fuse), self.fragile(site, 0):
            site.exchange()
        self.network.lose_replies = lambda: False

    @rule(place=places, fuse=fuses, many=st.sampled_from([1, 100]))
    def a_worker_works(self, place: int, fuse: int, many: int) -> None:
        with self.fragile(self.sites[place], fuse):
            self.sites[place].work(many)

    @rule(works=st.booleans())
    def all_call_all(self, works: bool) -> None:
        for site in self.sites:
            site.exchange()
            if works:
                site.work()

    @rule(seconds=st.sampled_from([1, 700, 90_000]))
    def time_passes(self, seconds: int) -> None:
        self.sites[0].clock.forward(seconds)

    # ---- administrators

    @rule(pair=pairs, export=terms, accept=terms)
    def terms_change(self, pair: tuple[int, int], export: Terms, accept: Terms) -> None:
        site, other = self.both(pair)
        site.members.consent(site.operator, other.name, export=export, accept=accept)

    @rule(pair=pairs, resume=st.booleans())
    def a_member_is_suspended_or_resumed(self, pair: tuple[int, int], resume: bool) -> None:
        site, other = self.both(pair)
        if resume:
            site.members.resume(site.operator, other.name)
        else:
            site.members.suspend(site.operator, other.name, "maintenance")

    @rule(place=places, policy=policies)
    def rules_change(self, place: int, policy: Rule | None) -> None:
        site = self.sites[place]
        book = RuleBook(site.catalog)
        if policy is not None:
            book.add(site.operator, policy, replace=True)
            return
        for known in book.all():
            book.remove(site.operator, known.name)

    @rule(pair=pairs, number=numbers, fuse=fuses, together=st.booleans())
    def copies_are_given_up(self, pair: tuple[int, int], number: int, fuse: int, together: bool) -> None:
        """At two sites at the same time: one begins while the other one waits for its proof."""
        site, other = self.both(pair)
        begun: list[str] = []

        def meanwhile(call: str, _called: SiteId) -> None:
            if call == "verify" and not begun:
                begun.append(call)
                self.gives_up(other, number)

        if together:
            self.network.meanwhile = meanwhile
        with self.fragile(site, fuse):
            self.gives_up(site, number)
        self.network.meanwhile = lambda call, called: None

    def gives_up(self, site: FederatedSite, number: int) -> None:
        with site.catalog.reading() as unit:
            digest = unit.instances.digest(uid_of(number))
        if digest is not None:
            with suppress(NodeError):
                self.given_up[site.name].add(digest)
                site.dropping.drop(site.operator, digest)

    # ---- the network and the saboteur

    @rule(pair=pairs, heals=st.booleans())
    def a_link_is_cut_or_heals(self, pair: tuple[int, int], heals: bool) -> None:
        change = self.network.mend if heals else self.network.sever
        change(NAMES[pair[0]], NAMES[pair[1]])

    @rule(place=places, says_goodbye=st.booleans())
    def a_site_is_started_again(self, place: int, says_goodbye: bool) -> None:
        if says_goodbye:
            self.sites[place].catalog.close()
        self.sites[place].crash()

    @rule(place=places)
    def a_backup_is_made(self, place: int) -> None:
        site = self.sites[place]
        self.backups[site.name] = copied(site), self.deeds[site.name]

    @rule(place=places)
    def a_site_is_restored_from_an_old_copy(self, place: int) -> None:
        """Its catalog is an old one; what nobody had read since is forgotten, its bytes are as they were."""
        site = self.sites[place]
        if site.name not in self.backups:
            return
        copy, self.deeds[site.name] = self.backups[site.name]
        restore(site, copy)
        self.restored.add(site.name)
        claimed = {
            digest for other in self.sites for digest, at in verified(other, "held") if at == site.name
        }
        self.damaged |= {
            (site.name, digest) for digest in claimed | copies_of(site) if not holds(site, digest)
        }

    @rule(place=places, choice=st.randoms(use_true_random=False), rots=st.booleans())
    def bytes_are_damaged(self, place: int, choice, rots: bool) -> None:
        """One copy of several rots or is gone; the site does not vouch for it when it is asked."""
        site = self.sites[place]
        found = [digest for digest in sorted(copies_of(site)) if self.is_safe_besides(digest, site)]
        if not found:
            return
        digest = choice.choice(found)
        if rots:
            site.blobs.blobs[digest] = b"rotten"
        else:
            site.blobs.remove(digest)
        self.damaged.add((site.name, digest))
        for other in self.sites:
            if other is not site:
                with suppress(NodeError):
                    proofs = other.peer(site.name).verify([digest])
                    assert CopyState.VERIFIED not in {proof.state for proof in proofs}

    # ---- what is promised at every moment

    @invariant()
    def promises_are_kept(self) -> None:
        if hasattr(self, "sites"):
            self.nothing_acknowledged_is_lost()
            self.journals_and_audits_hold_together()
            self.cursors_stand_where_everything_before_is_there()
            self.copies_that_are_claimed_exist()
            self.what_is_wanted_is_not_proved_yet()
            self.nothing_withdrawn_is_shown()

    def nothing_acknowledged_is_lost(self) -> None:
        """Its bytes, or others that were proved to say the same, are at some site."""
        there = {digest for site in self.sites for digest in site.blobs.blobs if holds(site, digest)}
        contents = {sent.content for digest, sent in self.acknowledged.items() if digest in there}
        for sent in self.acknowledged.values():
            assert sent.content in contents

    def journals_and_audits_hold_together(self) -> None:
        for site in self.sites:
            with site.catalog.reading() as unit:
                assert verify(unit.journal.after(0)) == unit.journal.head()
                assert ledger.verify(unit.audit.after()).seq >= self.deeds[site.name]

    def cursors_stand_where_everything_before_is_there(self) -> None:
        """Each entry up to a cursor is here as its origin wrote it, or noted as withheld."""
        for site in self.sites:
            for origin in self.sites:
                if origin is not site and origin.name not in self.restored:
                    for epoch in {1, *journals_of(origin)}:
                        self.has_read(site, origin, epoch)

    def has_read(self, site: FederatedSite, origin: FederatedSite, epoch: int) -> None:
        with site.catalog.reading() as unit, origin.catalog.reading() as there:
            head = unit.cursors.find(origin.name, epoch)
            known = {entry.seq: entry for entry in unit.journal.after(0, origin=origin.name, epoch=epoch)}
            gaps = unit.cursors.gaps(origin.name, epoch)
            noted = {n for first, last in gaps for n in range(first, last + 1)}
            written = {entry.seq: entry for entry in there.journal.after(0, epoch=epoch)}
        assert head.seq <= max(written, default=0)
        assert not head.seq or written[head.seq].hash == head.hash
        assert all(written[seq] == entry for seq, entry in known.items())
        assert set(range(1, head.seq + 1)) <= known.keys() | noted

    def copies_that_are_claimed_exist(self) -> None:
        """A copy is called verified only where it is, or where it rotted or was given up since."""
        for site in self.sites:
            for digest, at in verified(site):
                other = self.network.sites[at]
                assert (
                    holds(other, digest)
                    or (at, digest) in self.damaged
                    or unread_farewell(site, other, digest)
                ), f"{site.name} believes in a copy at {at}"

    def what_is_wanted_is_not_proved_yet(self) -> None:
        for site in self.sites:
            wanted = {Digest(row[0]) for row in site.rows("SELECT digest FROM want WHERE state = 'wanted'")}
            assert not any(holds(site, digest) for digest in wanted & proved_by(site))

    def nothing_withdrawn_is_shown(self) -> None:
        for site in self.sites:
            with site.catalog.reading() as unit:
                for uid in map(uid_of, PLACES):
                    assert not (state_of(unit, uid).withdrawn and unit.instances.digest(uid))

    # ---- what is promised in the end

    def comes_to_rest(self) -> None:
        """Mend everything that was broken, and leave the sites alone."""
        self.network.heal()
        for site in self.sites:
            site.fuse = 0
            self.repair(site)
            for known in RuleBook(site.catalog).all():
                RuleBook(site.catalog).remove(site.operator, known.name)
            for other in self.sites:
                if other is not site:
                    site.members.resume(site.operator, other.name)
                    site.members.consent(site.operator, other.name, export=EVERYTHING, accept=EVERYTHING)
        settle(*self.sites, work=True)
        self.takes_copies_back()
        settle(*self.sites, work=True)

    def repair(self, site: FederatedSite) -> None:
        """Give a site back the bytes that rotted there, and let it read them and say so."""
        broken = [digest for name, digest in self.damaged if name == site.name]
        for digest in broken:
            for other in self.sites:
                if holds(other, digest):
                    site.blobs.put([other.blobs.blobs[digest]])
        if broken:
            rebuild(site.archive, site.blobs, site.catalog, site.operator, lambda done, total: None)
            says = {"of": site.name, "verified": sorted(copies_of(site) & set(broken)), "gone": []}
            with site.catalog.begin() as unit:
                unit.journal.append(Fact.COPIES, says)
        self.damaged -= {(site.name, digest) for digest in broken}

    def takes_copies_back(self) -> None:
        """A site that gave up a copy is sent the instance again."""
        for site in self.sites:
            for digest in sorted(self.given_up[site.name] - shown(site)):
                if any(digest in shown(other) for other in self.sites):
                    sent = self.acknowledged[digest]
                    site.admit((sent.offer, sent.data))

    def shows_the_same_everywhere(self) -> None:
        first, *others = [view(site) for site in self.sites]
        for other in others:
            for table, rows in first.items():
                assert other[table] == rows, table

    def claims_what_is_there(self) -> None:
        for site in self.sites:
            for other in self.sites:
                if other is not site:
                    claimed = {digest for digest, at in verified(site, "held") if at == other.name}
                    assert shown(other) <= claimed, f"{site.name} misses copies at {other.name}"
                    assert all(holds(other, digest) for digest in claimed)
            assert site.rows("SELECT * FROM replica WHERE state = 'owed'") == []
            assert site.rows("SELECT * FROM want") == []
            assert site.rows("SELECT * FROM job WHERE kind != 'drop'") == []

    def agrees_when_compared(self) -> None:
        for site in self.sites:
            for other in self.sites:
                if other is not site and other.callable:
                    outcome = reconcile(site.catalog, site.peer(other.name))
                    assert outcome.equal and outcome.count == len(shown(site))

    def is_the_same_when_rebuilt(self) -> None:
        for site in self.sites:
            forget_orphans(site)
            before = view(site)
            rebuild(site.archive, site.blobs, site.catalog, site.operator, lambda done, total: None)
            after = view(site)
            for table, rows in before.items():
                assert after[table] == rows, table

    # ---- helpers

    def both(self, pair: tuple[int, int]) -> tuple[FederatedSite, FederatedSite]:
        return self.sites[pair[0]], self.sites[pair[1]]

    @contextmanager
    def fragile(self, site: FederatedSite, fuse: int) -> Iterator[None]:
        """A site that crashes at a write to come; it is there again afterwards."""
        site.fuse = fuse or site.fuse
        try:
            yield
        except Crash as crash:
            self.network.sites[str(crash)].crash()
        except PeerUnreachable:
            pass
        site.fuse = 0

    def is_safe_besides(self, digest: Digest, site: FederatedSite) -> bool:
        """Whether another site shows these bytes, whole."""
        others = [other for other in self.sites if other is not site]
        return any(digest in copies_of(other) and holds(other, digest) for other in others)


class OneHidden(ThreeSites):
    """The same where nobody can call one of the sites."""

    hidden = frozenset({"olomouc"})


def chosen(number: int, whole: bool) -> Selection:
    return Selection(studies=(study_of(number),)) if whole else Selection(instances=(uid_of(number),))


def forget_orphans(site: FederatedSite) -> None:
    """Remove bytes that came before a crash and that no fact names: a rebuild would admit them."""
    with site.catalog.reading() as unit:
        journals = [
            unit.journal.after(0, origin=origin, epoch=epoch) for origin, epoch in unit.journal.origins()
        ]
        named = {e.says["digest"] for facts in journals for e in facts if e.kind is Fact.INSTANCE}
    for digest in site.blobs.digests():
        if digest not in named:
            site.blobs.remove(digest)


def bits(pattern: int) -> Callable[[], bool]:
    """Answers by the bits of a number, the lowest first."""
    left = [pattern]

    def lost() -> bool:
        left[0], last = divmod(left[0], 2)
        return bool(last)

    return lost


def verified(site: FederatedSite, *besides: str) -> list[tuple[Digest, str]]:
    states = "', '".join(["verified", *besides])
    return [
        (Digest(d), at)
        for d, at in site.rows(f"SELECT digest, site FROM replica WHERE state IN ('{states}')")
    ]


def journals_of(site: FederatedSite) -> list[int]:
    """The epochs of a site, as far as anything of them is there."""
    return [row[0] for row in site.rows(f"SELECT DISTINCT epoch FROM journal WHERE origin = '{site.name}'")]


def proved_by(site: FederatedSite) -> set[Digest]:
    """What a site has told that it has read back, and not told since that it is gone."""
    proved: set[Digest] = set()
    with site.catalog.reading() as unit:
        for entry in unit.journal.after(0):
            if entry.kind is Fact.COPIES:
                proved = (proved | set(entry.says["verified"])) - set(entry.says["gone"])
    return proved


def unread_farewell(site: FederatedSite, other: FederatedSite, digest: Digest) -> bool:
    """Whether a site has said that its copy is gone, and the other one has not read it or may not."""
    return any(unread(site, other, digest, epoch) for epoch in journals_of(other))


def unread(site: FederatedSite, other: FederatedSite, digest: Digest, epoch: int) -> bool:
    with site.catalog.reading() as unit, other.catalog.reading() as there:
        head = unit.cursors.find(other.name, epoch).seq
        gaps = unit.cursors.gaps(other.name, epoch)
        told = there.journal.after(0, epoch=epoch)
        said = [e.seq for e in told if e.kind is Fact.COPIES and digest in e.says["gone"]]
    return any(seq > head or any(first <= seq <= last for first, last in gaps) for seq in said)


profile = settings(
    max_examples=SEARCHES or 12,
    stateful_step_count=20,
    derandomize=not SEARCHES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)

test_three_sites = ThreeSites.TestCase
test_three_sites.settings = profile
test_one_of_them_hidden = OneHidden.TestCase
test_one_of_them_hidden.settings = profile
