"""Two sites find out what one of them lacks, whatever it is, without telling each other what both have."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from node.catalog.catalog import Catalog
from node.catalog.digests import Sum
from node.domain.errors import MalformedMessage
from node.domain.ids import Digest, SiteId
from node.domain.query import Selection
from node.domain.replica import Whereabouts
from node.domain.rule import EVERYTHING, NOTHING
from node.identity.members import derive_member, state_consent
from node.replication.peer import LONGEST_PAGE, Compared, Range
from node.replication.reconcile import FEW, answer, reconcile
from tests.support.federation import LocalPeer, federation, settle
from tests.support.sites import fast_folder
from tests.support.synthetic import instance, instance_uid, study

BRNO, PRAGUE = SiteId("brno"), SiteId("prague")
DIGESTS = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(300)]
CROWDED = ["3c07a5" + digest[6:] for digest in DIGESTS]
"""So many in one part that it has to be cut further."""
STATES = ("owed", "held", "verified", "gone")


class Rows:
    """A catalog whose rows are written one by one, as its repositories do."""

    def __init__(self, folder: str, origin: SiteId) -> None:
        self.catalog = Catalog(Path(folder) / f"{origin}.db", origin=origin)
        self.write(
            "INSERT INTO patient (id) VALUES (1)",
            "INSERT INTO study (id, uid, patient, arrived_at) VALUES (1, '1', 1, 0)",
            "INSERT INTO series (id, uid, study) VALUES (1, '2', 1)",
        )

    def write(self, *statements: str) -> None:
        with self.catalog.begin() as unit:
            for statement in statements:
                unit._connection.exec_driver_sql(statement)

    def rows(self, sql: str) -> list[tuple]:
        with self.catalog.reading() as unit:
            return [tuple(row) for row in unit._connection.exec_driver_sql(sql).fetchall()]

    def hold(self, digests, other: SiteId, state: str = "verified") -> None:
        self.write(*(insert_instance(d) for d in digests), *(put_replica(d, other, state) for d in digests))


class To:
    """One catalog as the other one's peer; counts what is told."""

    def __init__(self, rows: Rows, site: SiteId, asking: SiteId) -> None:
        self.site = site
        self._rows = rows
        self._asking = asking
        self.named = 0

    def compare(self, ranges):
        with self._rows.catalog.reading() as unit:
            answers = answer(unit, self._asking, ranges)
        self.named += sum(len(asked.digests or ()) for asked in ranges)
        self.named += sum(len(told.only) for told in answers)
        return answers


def insert_instance(digest: str, held: int = 1) -> str:
    return (
        "INSERT INTO instance (uid, series, sop_class, transfer_syntax, digest, size, arrived_at, held)"
        f" VALUES ('1.{int(digest, 16) % 10**20}', 1, '', '', '{digest}', 1, 0, {held})"
    )


def put_replica(digest: str, site: SiteId, state: str) -> str:
    uid = f"1.{int(digest, 16) % 10**20}"
    return f"INSERT OR REPLACE INTO replica VALUES ('{digest}', '{site}', '{uid}', 1, '{state}', 0)"


@contextmanager
def two(here=(), there=()):
    """Two catalogs, each of which believes that the other one has what it has."""
    with fast_folder() as folder:
        brno, prague = Rows(folder, BRNO), Rows(folder, PRAGUE)
        brno.hold(here, PRAGUE)
        prague.hold(there, BRNO)
        yield brno, To(prague, PRAGUE, BRNO)
        brno.catalog.close()
        prague.catalog.close()


class Bookkeeping(RuleBasedStateMachine):
    """Rows come, change and go in any order; what is in common is what they say, and so are its sums."""

    digests = st.sampled_from([*DIGESTS[:3], "3c07" + DIGESTS[3][4:], "3c07" + DIGESTS[4][4:]])
    sites = st.sampled_from([PRAGUE, SiteId("ostrava")])

    def __init__(self) -> None:
        super().__init__()
        self.folder = fast_folder()
        self.site = Rows(self.folder.name, BRNO)

    def teardown(self) -> None:
        self.site.catalog.close()
        self.folder.cleanup()

    @rule(digest=digests, held=st.booleans())
    def an_instance_comes(self, digest, held):
        uid = f"1.{int(digest, 16) % 10**20}"
        self.site.write(f"DELETE FROM instance WHERE uid = '{uid}'", insert_instance(digest, held))

    @rule(digest=digests, other=digests)
    def another_form_is_shown(self, digest, other):
        self.site.write(f"UPDATE instance SET digest = '{other}' WHERE digest = '{digest}'")

    @rule(digest=digests, held=st.booleans())
    def a_form_in_conflict_comes(self, digest, held):
        self.site.write(
            f"DELETE FROM conflict WHERE digest = '{digest}'",
            "INSERT INTO conflict (instance, digest, transfer_syntax, size, arrived_at, state, held)"
            f" VALUES ('9', '{digest}', '', 1, 0, 'open', {held:d})",
        )

    @rule(table=st.sampled_from(["instance", "conflict"]), digest=digests, held=st.booleans())
    def bytes_are_lost_or_found(self, table, digest, held):
        self.site.write(f"UPDATE {table} SET held = {held:d} WHERE digest = '{digest}'")

    @rule(table=st.sampled_from(["instance", "conflict", "replica"]), digest=digests)
    def a_row_goes(self, table, digest):
        self.site.write(f"DELETE FROM {table} WHERE digest = '{digest}'")

    @rule(digest=digests, site=sites, state=st.sampled_from(STATES))
    def a_copy_is_heard_of(self, digest, site, state):
        self.site.write(put_replica(digest, site, state))

    @rule(digest=digests, state=st.sampled_from(STATES))
    def copies_change(self, digest, state):
        self.site.write(f"UPDATE replica SET state = '{state}' WHERE digest = '{digest}'")

    @rule()
    def everything_is_cleared(self):
        with self.site.catalog.begin() as unit:
            unit.clear_derived()
        self.site.write(
            "INSERT INTO patient (id) VALUES (1)",
            "INSERT INTO study (id, uid, patient, arrived_at) VALUES (1, '1', 1, 0)",
            "INSERT INTO series (id, uid, study) VALUES (1, '2', 1)",
        )

    @invariant()
    def what_is_in_common_is_what_the_rows_say(self):
        said = self.site.rows(
            "SELECT site, digest FROM replica WHERE state IN ('held', 'verified') AND digest IN"
            " (SELECT digest FROM instance WHERE held UNION SELECT digest FROM conflict WHERE held)"
        )
        kept = self.site.rows("SELECT site, digest FROM common")
        assert sorted(kept) == sorted(said)
        with self.site.catalog.reading() as unit:
            for site in {row[0] for row in self.site.rows("SELECT site FROM common_sum")}:
                owed = self.site.rows(
                    f"SELECT digest FROM replica WHERE state = 'owed' AND site = '{site}' AND digest IN"
                    " (SELECT digest FROM instance WHERE held UNION SELECT digest FROM conflict WHERE held)"
                )
                members = {digest for of, digest in said if of == site}.union(row[0] for row in owed)
                assert unit.digests.sum(SiteId(site), "") == Sum.of(members)
                for prefix in ("3", "3c0", "3c07"):
                    part = [digest for digest in members if digest.startswith(prefix)]
                    assert unit.digests.sum(SiteId(site), prefix) == Sum.of(part)
                    assert sum(unit.digests.parts(SiteId(site), prefix), Sum()) == Sum.of(part)


TestBookkeeping = Bookkeeping.TestCase
TestBookkeeping.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


@settings(max_examples=40, deadline=None)
@given(
    pool=st.sampled_from([DIGESTS, CROWDED]),
    here=st.sets(st.integers(0, 299), max_size=300),
    changed=st.sets(st.integers(0, 299), max_size=20),
)
def test_every_difference_is_found_and_nothing_else(pool, here, changed):
    there = here ^ changed
    with two([pool[n] for n in here], [pool[n] for n in there]) as (brno, peer):
        found = reconcile(brno.catalog, peer)
        assert {d.digest for d in found.differences if d.here} == {pool[n] for n in here - there}
        assert {d.digest for d in found.differences if not d.here} == {pool[n] for n in there - here}
        assert found.whole
        assert found.equal == (here == there)
        assert found.count == len(here)
        assert found.fingerprint == Sum.of(pool[n] for n in here).fingerprint


def test_equal_sites_tell_each_other_one_fingerprint():
    with two(DIGESTS, DIGESTS) as (brno, peer):
        found = reconcile(brno.catalog, peer)
        assert found.equal
        assert (found.calls, peer.named, found.count) == (1, 0, 300)
        assert found.fingerprint == reconcile_back(brno, peer).fingerprint


def reconcile_back(brno: Rows, peer: To):
    return reconcile(peer._rows.catalog, To(brno, BRNO, PRAGUE))


def test_one_difference_costs_little_more():
    with two(DIGESTS, DIGESTS[1:]) as (brno, peer):
        found = reconcile(brno.catalog, peer)
        assert [d.digest for d in found.differences] == [DIGESTS[0]]
        assert found.calls <= 4
        assert peer.named <= FEW


def test_more_differences_than_are_looked_for_are_said_to_be_more():
    with two(CROWDED, []) as (brno, peer):
        found = reconcile(brno.catalog, peer, most=50)
        assert len(found.differences) == 50
        assert not found.whole
        assert not found.equal
    with two([], CROWDED) as (brno, peer):
        assert len(reconcile(brno.catalog, peer).differences) == 300


def test_a_site_without_anything_is_compared_too():
    with two() as (brno, peer):
        found = reconcile(brno.catalog, peer)
        assert found.equal
        assert found.count == 0


def test_what_is_not_owed_at_the_other_site_is_left_apart():
    with two(DIGESTS[:10], DIGESTS[:10]) as (brno, peer):
        brno.write(*(insert_instance(digest) for digest in DIGESTS[10:15]))
        brno.write("UPDATE study SET instance_count = 15")
        found = reconcile(brno.catalog, peer)
        assert found.equal
        assert (found.count, found.apart) == (10, 5)


@pytest.mark.parametrize(
    "ranges",
    [
        [Range(prefix="x")],
        [Range(prefix="A")],
        [Range(prefix="0" * 65)],
        [Range(prefix="f", digests=(Digest("0" * 64),))],
        [Range(prefix="", fingerprint="")] * (LONGEST_PAGE + 1),
        [Range(prefix="", digests=(Digest("0" * 64),) * (LONGEST_PAGE + 1))],
    ],
)
def test_what_is_no_range_is_refused(ranges):
    with two() as (brno, _), brno.catalog.reading() as unit, pytest.raises(MalformedMessage):
        answer(unit, PRAGUE, ranges)


@pytest.mark.parametrize(
    "told",
    [
        lambda ranges: [],
        lambda ranges: [Compared(prefix="f") for _ in ranges],
        lambda ranges: [Compared(prefix=asked.prefix, parts=("", "")) for asked in ranges],
    ],
)
def test_an_answer_that_does_not_fit_is_refused(told):
    with two(DIGESTS) as (brno, peer):
        peer.compare = told
        with pytest.raises(MalformedMessage):
            reconcile(brno.catalog, peer)


def test_a_site_that_never_agrees_is_left_some_time():
    with two(DIGESTS) as (brno, peer):
        peer.compare = lambda ranges: [
            Compared(prefix=asked.prefix, parts=tuple("0123456789abcdef")) for asked in ranges
        ]
        with suppress(MalformedMessage):
            assert not reconcile(brno.catalog, peer).equal


def compared(one, other):
    return reconcile(one.catalog, LocalPeer(one, other))


def test_two_sites_at_rest_hold_the_same_whoever_asks():
    with federation("brno", "prague") as (brno, prague):
        for offer in study(5):
            brno.admit(offer)
        prague.admit(instance(study=2))
        settle(brno, prague)
        found, back = compared(brno, prague), compared(prague, brno)
        assert found.equal
        assert back.equal
        assert (found.count, found.fingerprint) == (6, back.fingerprint)
        assert (found.unproved, found.apart) == (0, 0)


def test_a_third_site_changes_nothing_between_two():
    with federation("brno", "prague", "ostrava") as (brno, prague, ostrava):
        ostrava.admit(instance(study=3))
        brno.admit(instance(study=1))
        settle(brno, prague, ostrava)
        for one, other in ((brno, prague), (prague, ostrava), (ostrava, brno)):
            found = compared(one, other)
            assert found.equal
            assert found.count == 2


def test_what_has_not_been_told_yet_is_named():
    with federation("brno", "prague") as (brno, prague):
        admitted = brno.admit(instance())
        (difference,) = compared(brno, prague).differences
        assert difference.digest == admitted.digest
        assert difference.instance == instance_uid(1, 1, 1)
        assert (difference.here, difference.where) == (True, Whereabouts.UNKNOWN)
        (difference,) = compared(prague, brno).differences
        assert (difference.here, difference.instance) == (False, None)


def test_what_is_still_to_be_fetched_is_named():
    with federation("brno", "prague") as (brno, prague):
        admitted = brno.admit(instance())
        brno.blobs.remove(admitted.digest)
        prague.exchange()
        (difference,) = compared(brno, prague).differences
        assert (difference.here, difference.where) == (True, Whereabouts.WANTED)
        (difference,) = compared(prague, brno).differences
        assert difference.instance == instance_uid(1, 1, 1)
        assert (difference.here, difference.where) == (False, Whereabouts.WANTED)


def test_what_is_there_but_not_proved_is_counted():
    with federation("brno", "prague") as (brno, prague):
        brno.admit(instance())
        settle(prague)
        found = compared(brno, prague)
        assert found.equal
        assert found.unproved == 1
        settle(brno, prague)
        assert compared(brno, prague).unproved == 0


def test_bytes_that_both_hold_are_no_difference_though_one_has_not_heard_of_it():
    with federation("brno", "prague") as (brno, prague):
        for offer in study(3):
            brno.admit(offer)
        settle(brno, prague)
        proof = compared(brno, prague).fingerprint
        with prague.catalog.begin() as unit:
            unit.replicas.forget(unit.instances.digest(instance_uid(1, 1, 1)), BRNO)
        for found in (compared(brno, prague), compared(prague, brno)):
            assert found.equal
            assert (found.count, found.fingerprint) == (3, proof)


def test_what_the_terms_do_not_give_a_member_is_unknown_to_it():
    with federation("brno", "prague") as (_, prague):
        with prague.catalog.begin() as unit:
            state_consent(unit, prague.operator, BRNO, export=NOTHING, accept=EVERYTHING)
            derive_member(unit, BRNO)
        secret = prague.admit(instance()).digest
        with prague.catalog.reading() as unit:
            (told,) = answer(unit, BRNO, [Range(prefix=secret[:4], digests=(secret,))])
        assert [(lack.digest, lack.where) for lack in told.lacking] == [(secret, Whereabouts.UNKNOWN)]


def test_a_copy_that_was_proved_and_is_lost_is_named_with_the_proof():
    with federation("brno", "prague") as (brno, prague):
        admitted = brno.admit(instance())
        settle(brno, prague)
        with prague.catalog.begin() as unit:
            unit.instances.set_held(instance_uid(1, 1, 1), held=False)
        (difference,) = compared(brno, prague).differences
        assert difference.digest == admitted.digest
        assert difference.where is Whereabouts.MISSING
        assert difference.proved_at is not None


def test_what_is_withdrawn_at_one_site_only_is_named():
    with federation("brno", "prague") as (brno, prague):
        brno.admit(instance())
        settle(brno, prague)
        brno.archive.retract(brno.operator, Selection(instances=(instance_uid(1, 1, 1),)), "wrong patient")
        (difference,) = compared(brno, prague).differences
        assert (difference.here, difference.where) == (False, Whereabouts.WITHDRAWN)
        (difference,) = compared(prague, brno).differences
        assert (difference.here, difference.where) == (True, Whereabouts.WITHDRAWN)
        settle(brno, prague)
        assert compared(brno, prague).equal


def test_two_forms_of_an_instance_are_two_objects_until_they_are_folded():
    with federation("brno", "prague") as (brno, prague):
        brno.admit(instance(salt=0))
        prague.admit(instance(salt=1))
        assert len(compared(brno, prague).differences) == 2
        settle(brno, prague)
        found = compared(brno, prague)
        assert found.equal
        assert found.count == 2
