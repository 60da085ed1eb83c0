"""Whatever happens in whatever order, with crashes and lost replies: nothing acknowledged is lost.

The model knows what the site has promised; the invariants compare after every step.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from node.archive.part10 import file_meta
from node.audit import record as ledger
from node.domain.errors import Unidentified
from node.domain.ids import Digest, InstanceUID
from node.domain.instance import Offer, Outcome
from node.domain.job import Job, Task
from node.journal.entry import verify
from node.recovery.rebuild import rebuild
from tests.support import synthetic
from tests.support.sites import OPERATOR, TestSite, site

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
RELEASED_AS = "P0042"


class Crash(Exception):
    """The process is gone."""


@dataclass
class Model:
    """What the site has promised."""

    archived: dict[str, str] = field(default_factory=dict)
    """Instance to the digest that came first."""
    others: dict[tuple[str, str], str] = field(default_factory=dict)
    """(instance, other digest) to the state of the conflict."""
    quarantine: dict[str, str] = field(default_factory=dict)
    contents: dict[str, object] = field(default_factory=dict)
    """Digest to what the instance shows, whatever the transfer syntax."""
    deeds: int = 0
    """Deeds that were acknowledged; the ledger has at least so many records."""

    def admitted(self, uid: str, digest: str, content: object) -> Outcome:
        """Note an admission and say what its outcome has to be."""
        self.contents[digest] = content
        first = self.archived.setdefault(uid, digest)
        if first == digest:
            return Outcome.KEPT if self._is_new(uid) else Outcome.KNOWN
        if (uid, digest) in self.others:
            return Outcome.KNOWN
        self.others[uid, digest] = "open"
        return Outcome.CONFLICT

    def _is_new(self, uid: str) -> bool:
        new = uid not in self._seen
        self._seen.add(uid)
        return new

    _seen: set[str] = field(default_factory=set)

    def compared(self, uid: str, digest: str) -> bool:
        """Note a comparison and say what it has to find."""
        equal = self.contents[digest] == self.contents[self.archived[uid]]
        self.others[uid, digest] = "folded" if equal else "different"
        return equal


class Histories(RuleBasedStateMachine):
    """A site, its devices, its worker, its operator, and a saboteur."""

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        self.site: TestSite = self.stack.enter_context(site())
        self.model = Model()
        self.hands: list[Job] = []
        self.orphans = 0

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    # ---- devices

    instances = st.tuples(st.integers(1, 3), st.integers(0, 1), st.sampled_from([IMPLICIT, EXPLICIT]))

    @rule(which=instances)
    def a_device_sends(self, which: tuple[int, int, str]) -> None:
        self.sent(self.made(*which))

    @rule(which=instances, times=st.integers(1, 2))
    def lose_the_reply(self, which: tuple[int, int, str], times: int) -> None:
        """The device does not hear the answer, and sends the instance again."""
        for _ in range(times + 1):
            self.sent(self.made(*which))

    @rule(which=instances)
    def crash_between_bytes_and_unit(self, which: tuple[int, int, str]) -> None:
        """The bytes are on disk, the facts are not, nobody was answered."""
        offer, data, _ = self.made(*which)
        digest = self.site.blobs.put([file_meta(offer), data])
        known = {*self.model.archived.values(), *(digest for _, digest in self.model.others)}
        self.orphans += digest not in known
        self.crash()

    @rule(which=instances)
    def crash_within_the_unit(self, which: tuple[int, int, str]) -> None:
        """The process dies when all is written and nothing is committed."""
        offer, data, _ = self.made(*which)
        perform = self.site.catalog.perform
        self.site.catalog.perform = lambda change: perform(then_crash(change))
        with pytest.raises(Crash):
            self.site.admit((offer, data))
        known = {*self.model.archived.values(), *(digest for _, digest in self.model.others)}
        self.orphans += bool(self.site.blobs.blobs.keys() - known - self.model.quarantine.keys())
        self.crash()

    @rule(salt=st.integers(0, 1))
    def a_device_sends_what_names_no_patient(self, salt: int) -> None:
        data = synthetic.dataset(number=9, salt=salt)
        del data.PatientID
        with pytest.raises(Unidentified) as refused:
            self.site.admit((synthetic.offer_of(data), synthetic.encoded(data)))
        self.model.quarantine[refused.value.args[1]] = "held"
        self.model.contents[refused.value.args[1]] = salt
        self.model.deeds += 1

    def made(self, number: int, salt: int, syntax: str) -> tuple[Offer, bytes, object]:
        offer, data = synthetic.instance(number=number, salt=salt, transfer_syntax=syntax)
        return offer, data, (number, salt)

    def sent(self, made: tuple[Offer, bytes, object]) -> None:
        offer, data, content = made
        admission = self.site.admit((offer, data))
        self.model.deeds += 1
        assert admission.outcome is self.model.admitted(offer.instance, admission.digest, content)
        assert admission.digest in self.site.blobs.blobs

    # ---- the worker

    @rule()
    def the_worker_takes_jobs(self) -> None:
        leased = self.site.archive.lease_jobs(2)
        self.hands += [job for job in leased if job.kind is Task.COMPARE]

    @precondition(lambda self: self.hands)
    @rule(forgets=st.booleans())
    def the_worker_compares(self, forgets: bool) -> None:
        """It may die before it says that the job is done."""
        job = self.hands.pop()
        uid, digest = job.key.split(" ")
        assert self.site.archive.compare(InstanceUID(uid), Digest(digest)) == self.model.compared(uid, digest)
        if not forgets:
            self.site.archive.job_done(job)

    @precondition(lambda self: self.hands)
    @rule()
    def crash_between_fold_and_removal(self) -> None:
        uid, digest = self.hands.pop().key.split(" ")
        removes, self.site.blobs.remove = self.site.blobs.remove, crashes
        with suppress(Crash):
            self.site.archive.compare(InstanceUID(uid), Digest(digest))
        self.site.blobs.remove = removes
        self.model.compared(uid, digest)
        self.crash()

    @rule(seconds=st.sampled_from([1, 700]))
    def time_passes(self, seconds: int) -> None:
        self.site.clock.forward(seconds)

    # ---- the operator

    waiting = property(lambda self: [d for d, state in self.model.quarantine.items() if state == "held"])

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def the_operator_releases(self, data: st.DataObject) -> None:
        digest = data.draw(st.sampled_from(self.waiting))
        admission = self.site.archive.release(OPERATOR, Digest(digest), RELEASED_AS)
        self.model.deeds += 3
        uid = synthetic.instance_uid(1, 1, 9)
        expected = self.model.admitted(uid, admission.digest, ("released", self.model.contents[digest]))
        assert admission.outcome is expected
        self.model.quarantine[digest] = "released"

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def the_operator_discards(self, data: st.DataObject) -> None:
        digest = data.draw(st.sampled_from(self.waiting))
        self.site.archive.discard(OPERATOR, Digest(digest))
        self.model.deeds += 1
        self.model.quarantine[digest] = "discarded"

    @precondition(lambda self: not self.orphans)
    @rule()
    def the_operator_rebuilds(self) -> None:
        rebuild(self.site.archive, self.site.blobs, self.site.catalog, OPERATOR, lambda done, total: None)

    # ---- the saboteur

    @rule()
    def crash(self) -> None:
        """Everything in memory is gone; the worker has forgotten what it held."""
        self.hands.clear()
        self.site.crash()

    @rule()
    def stop_and_start(self) -> None:
        self.site.catalog.close()
        self.crash()

    # ---- what is promised

    @invariant()
    def nothing_acknowledged_is_lost(self) -> None:
        if not hasattr(self, "site"):
            return
        assert dict(self.site.rows("SELECT uid, digest FROM instance")) == self.model.archived
        found = {
            (uid, other): state
            for uid, other, state in self.site.rows("SELECT instance, digest, state FROM conflict")
        }
        assert found == self.model.others
        assert dict(self.site.rows("SELECT digest, state FROM quarantine")) == self.model.quarantine
        for digest in self.needed():
            self.site.blobs.verify(Digest(digest))

    def needed(self) -> set[str]:
        """Digests of all bytes that have to be there."""
        others = {digest for (_, digest), state in self.model.others.items() if state != "folded"}
        kept = {digest for digest, state in self.model.quarantine.items() if state != "discarded"}
        return {*self.model.archived.values(), *others, *kept}

    @invariant()
    def the_counts_are_what_is_there(self) -> None:
        if not hasattr(self, "site"):
            return
        counts = self.site.archive.counts()
        assert counts.instances == len(self.model.archived)
        assert counts.conflicts == sum(state != "folded" for state in self.model.others.values())
        assert counts.quarantined == len(self.waiting)
        patients = {uid == synthetic.instance_uid(1, 1, 9) for uid in self.model.archived}
        assert (counts.patients, counts.studies, counts.series) == (len(patients),) * 3
        assert counts.bytes == sum(
            len(self.site.blobs.blobs[Digest(d)]) for d in self.model.archived.values()
        )

    @invariant()
    def every_open_conflict_is_owed_a_comparison(self) -> None:
        if not hasattr(self, "site"):
            return
        owed = {key for (key,) in self.site.rows("SELECT key FROM job")}
        assert {
            f"{uid} {other}" for (uid, other), state in self.model.others.items() if state == "open"
        } <= owed

    @invariant()
    def journal_and_audit_have_no_gaps_and_verify(self) -> None:
        if not hasattr(self, "site"):
            return
        with self.site.catalog.reading() as unit:
            assert verify(unit.journal.after(0)) == unit.journal.head()
            assert ledger.verify(unit.audit.after()).seq >= self.model.deeds


def then_crash(change: Callable) -> Callable:
    def changed(unit: object) -> object:
        change(unit)
        raise Crash

    return changed


def crashes(*_: object) -> None:
    raise Crash


test_histories = Histories.TestCase
test_histories.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
