"""Whatever breaks, in whatever order, and whatever crashes while it is mended: no damage is ever given out.

Two sites hold the same. A saboteur flips, cuts, deletes and drops rows at both of them, cuts the line, and
lets them crash at any write. In the end everything of which one whole copy was left is whole at both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from node.audit.record import Event
from node.audit.record import read as read_deed
from node.domain.errors import Damaged, NodeError, PeerUnreachable
from node.domain.finding import DAMAGE
from node.domain.ids import Digest
from node.domain.replica import CopyState
from node.recovery.heal import Healing
from tests.support.federation import FederatedSite, LocalPeer, federation, settle
from tests.support.fragile import Crash
from tests.support.synthetic import instance

MANY = 5
SITES = st.sampled_from([0, 1])
OBJECTS = st.integers(min_value=0, max_value=MANY - 1)


class Recovery(RuleBasedStateMachine):
    """Two sites, a saboteur, and everybody who mends."""

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        self.sites = self.stack.enter_context(federation("brno", "prague"))
        for number in range(MANY):
            self.sites[number % 2].admit(instance(number=number + 1))
        settle(*self.sites)
        self.whole = {digest: self.sites[0].blobs.blobs[digest] for digest in digests(self.sites[0])}
        self.names = sorted(self.whole)
        self.verified: list[Digest] = []
        for site in self.sites:
            site.blobs.put = self.watched(site, site.blobs.put)  # type: ignore[method-assign]

    def watched(self, site: FederatedSite, put: Callable[..., Digest]) -> Callable[..., Digest]:
        """Whatever is written over damaged bytes was set aside before."""

        def watched_put(chunks: list[bytes]) -> Digest:
            digest = Digest(hashlib.sha256(b"".join(chunks)).hexdigest())
            present = site.blobs.blobs.get(digest)
            assert present in (None, self.whole.get(digest)) or (digest, present) in site.blobs.evidence
            return put(chunks)

        return watched_put

    @rule(number=SITES, of=OBJECTS)
    def flip(self, number: int, of: int) -> None:
        blobs, digest = self.sites[number].blobs.blobs, self.names[of]
        if digest in blobs:
            blobs[digest] = bytes([blobs[digest][0] ^ 1]) + blobs[digest][1:]

    @rule(number=SITES, of=OBJECTS)
    def cut_short(self, number: int, of: int) -> None:
        blobs, digest = self.sites[number].blobs.blobs, self.names[of]
        if digest in blobs:
            blobs[digest] = blobs[digest][:-3]

    @rule(number=SITES, of=OBJECTS)
    def lose(self, number: int, of: int) -> None:
        self.sites[number].blobs.blobs.pop(self.names[of], None)

    @rule(number=SITES, of=OBJECTS)
    def drop_the_row(self, number: int, of: int) -> None:
        with self.sites[number].catalog.begin() as unit:
            unit._connection.exec_driver_sql(f"DELETE FROM instance WHERE digest = '{self.names[of]}'")

    @rule(cut=st.booleans())
    def line(self, cut: bool) -> None:
        network = self.sites[0].network
        network.sever("brno", "prague") if cut else network.heal()

    @rule(number=SITES, verify=st.booleans(), fuse=st.integers(0, 6))
    def check(self, number: int, verify: bool, fuse: int) -> None:
        with self.perhaps_crashing(number, fuse) as site:
            site.check.run(verify=verify)

    @rule(number=SITES, fuse=st.integers(0, 12))
    def repair(self, number: int, fuse: int) -> None:
        with self.perhaps_crashing(number, fuse) as site:
            mend(site)

    @rule(number=SITES, fuse=st.integers(0, 8))
    def repair_while_the_other_crashes(self, number: int, fuse: int) -> None:
        self.sites[1 - number].fuse = fuse
        mend(self.sites[number])
        self.sites[1 - number].fuse = 0

    @rule(number=SITES, of=OBJECTS, fuse=st.integers(0, 6))
    def read(self, number: int, of: int, fuse: int) -> None:
        with self.perhaps_crashing(number, fuse) as site:
            self.read_whole_or_not_at_all(site, self.names[of])

    @rule()
    def exchange(self) -> None:
        for site in self.sites:
            site.clock.forward(400)
            site.exchange()
            site.work()

    @contextmanager
    def perhaps_crashing(self, number: int, fuse: int) -> Iterator[FederatedSite]:
        site = self.sites[number]
        site.fuse = fuse
        try:
            with suppress(NodeError):
                yield site
        except Crash:
            site.crash()
        site.fuse = 0

    def read_whole_or_not_at_all(self, site: FederatedSite, digest: Digest) -> bool:
        healing = Healing(site.archive, site.catalog, site.repair, site.node)
        with site.catalog.reading() as unit:
            uid = unit.forms.holder_of(digest)
            archived = unit.instances.find(uid) if uid else None
        if archived is None:
            return False
        try:
            with healing.open(archived) as stored:
                stored.file.seek(0)
                assert stored.file.read() == self.whole[digest]
        except Damaged:
            return False
        return True

    @invariant()
    def nobody_hands_out_damaged_bytes(self) -> None:
        for site in getattr(self, "sites", ()):
            for digest, content in site.blobs.evidence:
                assert content != self.whole[digest]

    def teardown(self) -> None:
        if not hasattr(self, "sites"):
            return
        with self.stack:
            self.in_the_end()

    def in_the_end(self) -> None:
        """Everything is mended of which one whole copy was left; the rest is told as gone."""
        self.sites[0].network.heal()
        left = {
            digest
            for digest in self.names
            if any(site.blobs.blobs.get(digest) == self.whole[digest] for site in self.sites)
        }
        for _ in range(3):
            for site in self.sites:
                site.clock.forward(2 * 3600)
                site.check.run(verify=True)
                with suppress(NodeError):
                    mend(site)
            settle(*self.sites, work=False)
        for site in self.sites:
            assert {d for d in self.names if site.blobs.blobs.get(d) == self.whole[d]} >= left
            assert all(self.read_whole_or_not_at_all(site, digest) for digest in left)
            assert {one.digest for one in unsettled(site)} == set(self.names) - left
            self.tells_the_truth(site, left)

    def tells_the_truth(self, site: FederatedSite, left: set[Digest]) -> None:
        """What others believe of a site's copies, and what its audit record says of its repairs."""
        other = next(one for one in self.sites if one is not site)
        with other.catalog.reading() as unit:
            states = {digest: unit.replicas.state(digest, site.name) for digest in self.names}
        for digest in self.names:
            state = states[digest]
            assert state is None or (state[0] is CopyState.GONE) == (digest not in left), digest
        deeds = [read_deed(row[0]) for row in site.rows("SELECT deed FROM audit")]
        told = " ".join(deed.what for deed in deeds if deed.event is Event.REPAIRED)
        with site.catalog.reading() as unit:
            mended = [one for one in unit.findings.all() if one.outcome.startswith("from the copy at")]
        assert all(one.digest in told for one in mended)


TestRecovery = Recovery.TestCase
TestRecovery.settings = settings(max_examples=8, stateful_step_count=20, deadline=None)


def digests(site: FederatedSite) -> list[Digest]:
    return [Digest(row[0]) for row in site.rows("SELECT digest FROM instance ORDER BY uid")]


def unsettled(site: FederatedSite):
    with site.catalog.reading() as unit:
        return unit.findings.unsettled(kinds=DAMAGE)


def mend(site: FederatedSite) -> None:
    with site.catalog.reading() as unit:
        findings = unit.findings.unsettled()
    site.repair.run(site.operator, findings)


def test_what_came_before_a_line_broke_is_mended_and_the_rest_is_left(monkeypatch):
    with federation("brno", "prague") as (brno, prague):
        for number in range(6):
            brno.admit(instance(number=number + 1))
        settle(brno, prague)
        for digest in digests(brno):
            brno.blobs.blobs[digest] += b"!"
        brno.check.run(verify=True)
        fetch = LocalPeer.fetch

        def breaking(self, grant, wanted):
            for count, digest in enumerate(fetch(self, grant, wanted)):
                yield digest
                if count == 2:
                    raise PeerUnreachable("prague", "the line broke")

        monkeypatch.setattr(LocalPeer, "fetch", breaking)
        outcome = brno.repair.run(brno.operator, unsettled(brno))
        assert (len(outcome.repaired), len(outcome.left)) == (3, 3)
        settle(brno, prague)
        whole = {digest for digest, held in brno.blobs.blobs.items() if not held.endswith(b"!")}
        with prague.catalog.reading() as unit:
            gone = {d for d in digests(prague) if unit.replicas.state(d, brno.name)[0] is CopyState.GONE}
        assert len(whole) == 3
        assert gone == set(digests(brno)) - whole


def test_a_copy_that_was_told_as_gone_and_is_found_whole_is_told_again():
    with federation("brno", "prague") as (brno, prague):
        digest = brno.admit(instance()).digest
        settle(brno, prague)
        whole = brno.blobs.blobs[digest]
        for site in (brno, prague):
            site.blobs.blobs[digest] += b"!"
        brno.check.run(verify=True)
        brno.repair.run(brno.operator, unsettled(brno))
        settle(brno, prague)
        brno.blobs.blobs[digest] = whole
        brno.clock.forward(60)
        assert brno.check.run(verify=True).closed == 1
        settle(brno, prague)
        with prague.catalog.reading() as unit:
            assert unit.replicas.state(digest, brno.name)[0] is CopyState.VERIFIED
