"""Whoever changes the audit record of a site, even with its own keys, is found out by another site.

In each of these, Brno is hostile: who runs it has its disk, its program and its keys. Prague is asked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from node.audit.heads import sign
from node.audit.proof import STRIDE
from node.audit.record import Deed, Event, digest, written
from node.audit.witness import Fault, State
from node.domain.chain import START, Head, link
from node.domain.decision import patient_text
from node.domain.errors import Forbidden, MalformedMessage, MalformedQuery
from node.domain.principal import Kind, Principal
from node.identity import audit_book, keys, metadata
from node.journal.entry import Fact
from node.replication.accounting import Accounting, Evidence
from node.replication.audit_watch import AGAIN
from node.replication.peer import Offered
from tests.support.federation import FederatedSite, federation, settle
from tests.support.synthetic import instance, study_uid

SITES = ("brno", "prague", "olomouc")
MINUTE = 60.0
SEEN = 25
"""Records between two signed ends that Prague has seen."""
Breaks = list[tuple[Fault, int, int]]


@pytest.fixture
def sites() -> Iterator[list[FederatedSite]]:
    with federation(*SITES) as found:
        yield found


@pytest.fixture
def brno(sites: list[FederatedSite]) -> FederatedSite:
    """A site with a record of many deeds, of which Prague has seen four signed ends."""
    brno, prague, _ = sites
    for _ in range(4):
        deeds(brno, SEEN)
        watch(prague, brno)
    assert head(brno).seq == 100 + MADE
    return brno


@pytest.fixture
def prague(sites: list[FederatedSite]) -> FederatedSite:
    return sites[1]


@pytest.fixture
def olomouc(sites: list[FederatedSite]) -> FederatedSite:
    return sites[2]


MADE = 4
"""Records that are there from the beginning: of the members, and of what is exchanged with them."""


def deeds(site: FederatedSite, many: int, **said: str) -> None:
    """Write some deeds into the record of a site."""
    with site.catalog.begin() as unit:
        for number in range(many):
            unit.audit.append(
                Deed(event=Event.QUERY, who=f"device:WS{number}@{site.name}", what="search", **said)
            )


def head(site: FederatedSite) -> Head:
    with site.catalog.reading() as unit:
        return unit.audit.head()


def watch(watcher: FederatedSite, watched: FederatedSite) -> Breaks:
    """One round of the watch; what is known to be wrong then."""
    watcher.clock.forward(MINUTE)
    watched.audit_book.sign()
    checked = watcher.audit_watch.round(watched.name)
    return [(one.kind, one.first, one.last) for one in checked.faults]


def verify(watcher: FederatedSite, watched: FederatedSite) -> Breaks:
    """The whole record looked at; what is wrong."""
    checked = watcher.audit_watch.verify(watched.name)
    return [(one.kind, one.first, one.last) for one in checked.faults]


def shows(watcher: FederatedSite, watched: FederatedSite) -> str:
    """Where the first fault shows, in words."""
    return watcher.audit_book.faults(watched.name)[0].what


def rows(site: FederatedSite) -> list[list]:
    """Number, moment and deed of each record."""
    return [list(row) for row in site.rows("select seq, at, deed from audit order by seq")]


def tamper(site: FederatedSite, *statements: str) -> None:
    """Change the table itself, as somebody does who has the disk."""
    with sqlite3.connect(site.folder / "catalog.db") as connection:
        for one in statements:
            connection.execute(one)
    connection.close()
    site.open()


def rewrite(site: FederatedSite, change: Callable[[list[list]], list[list]]) -> None:
    """Write the whole record anew, chained as it ought to be, and forget what was signed."""
    records, end = change(rows(site)), START
    with sqlite3.connect(site.folder / "catalog.db") as connection:
        connection.execute("delete from audit")
        connection.execute("delete from audit_head")
        connection.execute(f"delete from witness where site = '{site.name}'")
        for seq, (_, at, deed) in enumerate(records, 1):
            before, end = end, link(end, seq, at, digest(deed))
            connection.execute(
                "insert into audit (seq, at, deed, previous, hash) values (?, ?, ?, ?, ?)",
                (seq, at, deed, before, end),
            )
    connection.close()
    site.open()


def another(deed: str) -> str:
    """The deed as if somebody else had done it."""
    return deed.replace("@brno", "@nobody")


def edit(number: int) -> Callable[[list[list]], list[list]]:
    def change(records: list[list]) -> list[list]:
        records[number - 1][2] = another(records[number - 1][2])
        return records

    return change


def within(found: Breaks, kind: Fault, number: int, width: int = SEEN + MADE) -> bool:
    """Whether exactly one range of that kind is named, which holds the record and is narrow."""
    ranges = [(first, last) for which, first, last in found if which is kind]
    return len(ranges) == 1 and ranges[0][0] <= number <= ranges[0][1] <= ranges[0][0] + width - 1


def test_a_record_that_is_as_it_was_raises_nothing(brno, prague):
    assert watch(prague, brno) == verify(prague, brno) == []
    assert prague.audit_watch.verify(brno.name).head.seq == 100 + MADE


def test_an_edited_record_is_named(brno, prague):
    tamper(brno, "update audit set deed = replace(deed, 'device:WS', 'device:XX') where seq = 40")
    assert watch(prague, brno) == [(Fault.ALTERED, 30, 40)]
    assert shows(prague, brno) == "40 not what their hashes say"


def test_an_edited_moment_is_named(brno, prague):
    tamper(brno, "update audit set at = at - 1 where seq between 40 and 42")
    assert watch(prague, brno) == [(Fault.ALTERED, 30, 42)]
    assert shows(prague, brno) == "40 to 42 not what their hashes say"


def test_an_edited_hash_is_named(brno, prague):
    tamper(brno, f"update audit set hash = '{'f' * 64}' where seq = 40")
    assert within(verify(prague, brno), Fault.ALTERED, 40)


def test_records_that_are_taken_out_are_named(brno, prague):
    tamper(brno, "delete from audit where seq between 40 and 44")
    assert watch(prague, brno) == [(Fault.MISSING, 30, 44)]
    assert shows(prague, brno) == "40 to 44 not there"


def test_records_that_are_taken_out_and_closed_up_are_named(brno, prague):
    """The records behind them get their numbers, and the chain is not made anew."""
    tamper(brno, "delete from audit where seq = 40", "update audit set seq = seq - 1 where seq > 40")
    found = verify(prague, brno)
    assert min(first for _, first, _ in found) == 30
    assert shows(prague, brno).startswith("40 to 54 not what their hashes say")
    assert (Fault.TRUNCATED, 101, 100 + MADE) in found


def test_a_record_that_is_cut_off_is_named(brno, prague):
    tamper(brno, "delete from audit where seq > 90")
    assert verify(prague, brno) == [(Fault.TRUNCATED, 80, 100 + MADE)]
    assert shows(prague, brno) == "91 to 104 not there"


def test_a_record_that_is_cut_off_is_named_although_it_goes_on(brno, prague):
    tamper(brno, "delete from audit where seq > 90", "delete from audit_head where seq > 90")
    deeds(brno, 50)
    found = watch(prague, brno)
    assert min(first for _, first, _ in found) <= 91
    assert max(last for _, _, last in found) >= 100 + MADE
    assert {kind for kind, _, _ in found} <= {Fault.REWRITTEN, Fault.TRUNCATED, Fault.FORKED}


def test_records_that_changed_places_are_named(brno, prague):
    """Their contents are swapped, each beside the hash of the other."""
    one, other = (rows(brno)[number - 1][2] for number in (40, 43))
    tamper(
        brno,
        f"update audit set deed = '{other}' where seq = 40",
        f"update audit set deed = '{one}' where seq = 43",
    )
    assert watch(prague, brno) == [(Fault.REORDERED, 30, 43)]
    assert shows(prague, brno) == "40, 43 in another order"


def test_rows_that_changed_places_are_named(brno, prague):
    """They are swapped whole, with their hashes."""
    tamper(
        brno,
        "update audit set seq = -1 where seq = 40",
        "update audit set seq = 40 where seq = 41",
        "update audit set seq = 41 where seq = -1",
    )
    assert watch(prague, brno) == [(Fault.REORDERED, 30, 41)]
    assert shows(prague, brno) == "40 to 41 in another order"


@pytest.mark.parametrize("number", [1, 40, 60, 100 + MADE])
def test_a_record_that_is_written_anew_with_the_keys_of_the_site_is_named(brno, prague, number):
    rewrite(brno, edit(number))
    assert brno.audit_book.verify().is_sound
    assert within(verify(prague, brno), Fault.REWRITTEN, number)


def test_a_record_that_is_written_anew_and_goes_on_is_named(brno, prague):
    rewrite(brno, edit(40))
    deeds(brno, 5)
    assert within(watch(prague, brno), Fault.REWRITTEN, 40)
    deeds(brno, 5)
    assert within(watch(prague, brno), Fault.REWRITTEN, 40)


@pytest.mark.parametrize(
    "change",
    [
        lambda records: records[:39] + records[40:],
        lambda records: [*records[:39], records[40], records[39], *records[41:]],
        lambda records: records[:39],
    ],
    ids=["deleted", "reordered", "truncated"],
)
def test_a_record_that_is_shortened_or_shuffled_and_written_anew_is_named(brno, prague, change):
    rewrite(brno, change)
    deeds(brno, 70)
    found = watch(prague, brno)
    assert found
    first = min(first for _, first, _ in found)
    assert 40 - SEEN - MADE <= first <= 40


def test_every_record_written_anew_is_named(brno, prague):
    rewrite(brno, lambda records: [[seq, at, another(deed)] for seq, at, deed in records])
    ranges = [(first, last) for kind, first, last in verify(prague, brno) if kind is Fault.REWRITTEN]
    assert ranges == [(1, 100 + MADE)]


def test_a_record_that_was_chained_anew_up_to_some_place_is_within_the_range(brno, prague):
    """The hashes up to record 45 follow from the edited one; what shows is not what was edited."""
    before = brno.rows("select seq, hash, previous from audit where seq > 45")
    rewrite(brno, edit(35))
    tamper(
        brno,
        *(
            f"update audit set hash = '{own}', previous = '{last}' where seq = {seq}"
            for seq, own, last in before
        ),
    )
    assert within(watch(prague, brno), Fault.ALTERED, 35)
    assert shows(prague, brno) == "46 not what their hashes say"


def test_what_is_found_stays_until_somebody_has_looked_into_it(brno, prague):
    rewrite(brno, edit(40))
    deeds(brno, 5)
    before = watch(prague, brno)
    deeds(brno, 200)
    assert watch(prague, brno) == verify(prague, brno) == before
    assert prague.audit_book.settle(prague.operator, brno.name, "the disk was replaced") == len(before)
    assert watch(prague, brno) == []
    kept = prague.audit_book.faults(brno.name, settled=True)
    assert [one.note for one in kept] == ["the disk was replaced"] * len(before)


def test_a_second_record_for_other_sites_is_found_by_what_sites_tell_each_other(brno, prague, olomouc):
    """Brno shows one record to Prague and another one to Olomouc, each of them whole."""
    watch(olomouc, brno)
    true = [(seq, at, deed) for seq, at, deed in rows(brno)]
    deeds(brno, 10)
    assert watch(prague, brno) == []
    rewrite(brno, lambda _: [list(row) for row in true])
    deeds(brno, 10, study="1.2.3")
    assert watch(olomouc, brno) == []
    olomouc.audit_watch.exchange(olomouc.peer(prague.name))
    found = watch(olomouc, brno)
    assert [(kind, last) for kind, _, last in found] == [(Fault.FORKED, 110 + MADE)]
    assert found[0][1] <= 101 + MADE


def test_two_ends_of_one_number_are_a_fault_by_themselves(brno, prague):
    key = keys.load(brno.folder / "keys")
    end = head(brno)
    other = sign(brno.name, replace(end, hash="e" * 64), brno.clock(), key.signing, key.fingerprint)
    (fault,) = prague.audit_book.hear([other], brno.name)
    assert (fault.kind, fault.last) == (Fault.FORKED, end.seq)


def test_a_head_that_nobody_signed_counts_for_nothing(brno, prague, olomouc):
    """Neither Olomouc nor somebody between can make Prague believe that Brno has changed its record."""
    key, end = keys.load(olomouc.folder / "keys"), head(brno)
    forged = sign(brno.name, replace(end, hash="e" * 64), brno.clock(), key.signing, key.fingerprint)
    good = brno.audit_book.sign()
    assert good is not None
    heads = [
        forged,
        replace(forged, certificate=keys.load(brno.folder / "keys").fingerprint),
        replace(good, hash="e" * 64),
        replace(good, seq=good.seq + 1),
        replace(good, at=good.at + 1),
        replace(good, site=prague.name),
        replace(good, signature="AAAA"),
    ]
    assert prague.audit_book.hear(heads, olomouc.name) == ()
    assert watch(prague, brno) == []
    assert prague.audit_book.verify().is_sound


def test_a_head_of_a_time_for_which_its_certificate_is_not_good_counts_for_nothing(brno, prague):
    key, later = keys.load(brno.folder / "keys"), brno.clock() + 6 * 365 * 86_400 * 1_000_000
    prague.audit_book.hear([sign(brno.name, head(brno), later, key.signing, key.fingerprint)], brno.name)
    forged = sign(brno.name, Head(seq=200, hash="e" * 64), later, key.signing, key.fingerprint)
    prague.audit_book.hear([forged], brno.name)
    assert [one.seq for one, _ in prague.audit_book.heads(brno.name)][-1] == 100 + MADE


def test_a_member_cannot_announce_a_key_for_another_site(brno, prague, olomouc):
    """Olomouc tells of a key that it says is Brno's, and signs an end of Brno's record with it."""
    key = keys.make(olomouc.folder / "forged", site=brno.name, now=olomouc.clock())
    home = replace(olomouc.home, site=brno.name, key_folder=olomouc.folder / "forged")
    text = metadata.written(home._describe(99), key, olomouc.clock())
    with olomouc.catalog.begin() as unit:
        unit.journal.append(Fact.MEMBER, {"site": brno.name, "descriptor": text})
    prague.courier(olomouc.name).catch_up()
    with prague.catalog.reading() as unit:
        told = [fact.origin for fact in unit.journal.about(f"site {brno.name}") if fact.kind is Fact.MEMBER]
    assert olomouc.name in told
    forged = sign(brno.name, Head(seq=50, hash="e" * 64), olomouc.clock(), key.signing, key.fingerprint)
    prague.audit_book.hear([forged], olomouc.name)
    assert 50 not in [one.seq for one, _ in prague.audit_book.heads(brno.name)]


def test_a_site_cannot_fill_the_book_of_another_with_heads_that_lead_nowhere(brno, prague, monkeypatch):
    monkeypatch.setattr(audit_book, "DOUBTFUL", 5)
    key = keys.load(brno.folder / "keys")
    for seq in range(1000, 1020):
        made = sign(brno.name, Head(seq=seq, hash="e" * 64), brno.clock(), key.signing, key.fingerprint)
        prague.audit_book.hear([made], brno.name)
    assert len([one for one, state in prague.audit_book.heads(brno.name) if state is State.HEARD]) == 5


def test_heads_hold_after_the_key_was_changed(brno, prague):
    """What was signed with a key that the site has given up since is still evidence."""
    folder = brno.folder / "keys"
    keys.prepare(folder, now=brno.clock())
    brno.catalog.perform(brno.home.announce)
    keys.promote(folder)
    brno.catalog.perform(brno.home.announce)
    courier = prague.courier(brno.name)
    courier.catch_up()
    keys.retire(folder)
    deeds(brno, 10)
    brno.catalog.perform(brno.home.announce)
    courier.catch_up()
    assert watch(prague, brno) == []
    with prague.catalog.reading() as unit:
        latest = [one for one in unit.witnesses.latest() if one.site == brno.name]
    assert latest[0].certificate == keys.load(folder).fingerprint
    rewrite(brno, edit(40))
    assert within(verify(prague, brno), Fault.REWRITTEN, 40)


def test_a_site_learns_from_others_that_its_own_record_was_cut_off(brno, prague):
    """As after it was restored from an old backup: its members hold what it had signed since."""
    tamper(brno, "delete from audit where seq > 90", "delete from audit_head where seq > 90")
    assert brno.audit_book.verify().is_sound
    brno.audit_watch.exchange(brno.peer(prague.name))
    (fault,) = brno.audit_book.verify().faults
    assert (fault.kind, fault.first, fault.last) == (Fault.TRUNCATED, 91, 100 + MADE)


def test_a_site_finds_out_for_itself_what_was_changed_without_its_key(brno):
    tamper(brno, "update audit set deed = replace(deed, 'device:WS', 'device:XX') where seq = 40")
    seen: list[tuple[int, int]] = []
    found = brno.audit_book.verify(lambda done, of: seen.append((done, of)))
    assert [(one.kind, one.first, one.last) for one in found.faults] == [(Fault.ALTERED, 30, 40)]
    assert seen[-1] == (100 + MADE, 100 + MADE)


def test_a_signed_end_that_was_changed_is_found(brno):
    tamper(brno, f"update audit_head set hash = '{'f' * 64}' where seq = (select max(seq) from audit_head)")
    assert [one.kind for one in brno.audit_book.verify().faults] == [Fault.ALTERED]


def test_a_long_record_is_named_within_a_stride_although_few_ends_were_signed(brno, prague):
    deeds(brno, 2500)
    assert watch(prague, brno) == []
    rewrite(brno, edit(1234))
    assert within(verify(prague, brno), Fault.REWRITTEN, 1234, STRIDE)


def test_old_records_are_looked_at_again_in_parts(brno, prague):
    deeds(brno, 2500)
    assert watch(prague, brno) == []
    watcher = prague.audit_watch
    watcher._budget = 500
    tamper(brno, "update audit set deed = replace(deed, 'device:WS', 'device:XX') where seq = 2000")
    rounds = 0
    while not watcher.round(brno.name).faults:
        rounds += 1
        assert rounds < 10
    (fault,) = prague.audit_book.faults(brno.name)
    assert (fault.kind, fault.first, fault.last) == (Fault.ALTERED, 1901, 2000)


def test_what_was_written_anew_shows_in_whatever_part_is_looked_at(brno, prague):
    deeds(brno, 2500)
    assert watch(prague, brno) == []
    prague.catalog.perform(lambda unit: unit.gauges.note(AGAIN, brno.name, 2000))
    rewrite(brno, edit(1234))
    watcher = prague.audit_watch
    watcher._budget = 300
    watcher._again(prague.peer(brno.name))
    (fault,) = prague.audit_book.faults(brno.name)
    assert fault.kind is Fault.REWRITTEN
    assert fault.first <= 1234 <= fault.last


# ---- who saw what


PATIENT, OTHER = "123^^^BRNO", "124^^^BRNO"


def accounting(site: FederatedSite) -> Accounting:
    return Accounting(site.catalog, site.audit_book, site.peer)


def test_who_saw_a_patient_is_told_by_all_sites_with_the_evidence(brno, prague, olomouc):
    deeds(brno, 2, patient=PATIENT)
    deeds(prague, 3, patient=PATIENT)
    deeds(prague, 1, patient=OTHER)
    brno.clock.forward(MINUTE)
    account = accounting(olomouc).who(olomouc.operator, patient=PATIENT)
    seen = [(one.site, one.evidence) for one in account.rows if one.deed.event is Event.QUERY]
    assert sorted(seen) == [("brno", Evidence.PROVED)] * 2 + [("prague", Evidence.PROVED)] * 3
    assert account.is_whole
    assert [one.site for one in account.sites] == ["olomouc", "brno", "prague"]


def test_that_it_was_asked_is_in_the_record_here_and_there(brno, prague):
    deeds(brno, 1, patient=PATIENT)
    accounting(prague).who(prague.operator, patient=PATIENT)
    again = accounting(prague).who(prague.operator, patient=PATIENT)
    asked = [
        (one.site, one.deed.who, one.deed.via) for one in again.rows if one.deed.event is Event.AUDIT_USED
    ]
    assert ("brno", "operator:technician@prague", "prague") in asked
    assert ("prague", "operator:technician@prague", "") in asked


def test_a_row_that_a_site_tells_otherwise_than_it_had_written_it_is_refuted(brno, prague):
    deeds(brno, 3, patient=PATIENT)
    watch(prague, brno)
    deed = written(Deed(event=Event.QUERY, who="device:XX@brno", what="search", patient=PATIENT))
    tamper(brno, f"update audit set deed = '{deed}' where seq = {102 + MADE}")
    rows = [
        one for one in accounting(prague).who(prague.operator, patient=PATIENT).rows if one.site == "brno"
    ]
    assert Evidence.REFUTED in {one.evidence for one in rows}
    assert next(one for one in rows if one.deed.who == "device:XX@brno").evidence is Evidence.REFUTED


def test_a_site_that_does_not_answer_is_named(brno, prague, olomouc):
    deeds(brno, 1, patient=PATIENT)
    prague.network.sever("prague", "olomouc")
    account = accounting(prague).who(prague.operator, patient=PATIENT)
    assert not account.is_whole
    assert [(one.site, one.is_whole) for one in account.sites] == [
        ("prague", True),
        ("brno", True),
        ("olomouc", False),
    ]


def test_a_question_for_this_site_alone_calls_nobody(brno, prague):
    deeds(prague, 1, study="1.2.3")
    prague.network.sever("prague", "brno")
    account = accounting(prague).who(prague.operator, study="1.2.3", everywhere=False)
    assert [(one.site, one.evidence) for one in account.rows] == [("prague", Evidence.OWN)]
    assert account.is_whole


def test_devices_and_strangers_do_not_read_the_record(brno, prague):
    with pytest.raises(Forbidden):
        accounting(prague).who(prague.device, patient=PATIENT)
    person = Principal(kind=Kind.PERSON, name="reader@hospital-prague.test", site=prague.name, issuer="local")
    with pytest.raises(Forbidden):
        accounting(prague).who(person, patient=PATIENT)
    with pytest.raises(MalformedQuery):
        accounting(prague).who(prague.operator)


def test_many_rows_come_page_by_page_and_all_are_told(brno, prague):
    deeds(brno, 2300, patient=PATIENT)
    brno.clock.forward(MINUTE)
    account = accounting(prague).who(prague.operator, patient=PATIENT)
    told = [one for one in account.rows if one.site == "brno" and one.deed.event is Event.QUERY]
    assert len(told) == 2300
    assert {one.evidence for one in told} == {Evidence.PROVED}


# ---- a site that nobody can call


@pytest.fixture
def hidden() -> Iterator[tuple[FederatedSite, FederatedSite]]:
    """Olomouc, which only calls, and Prague."""
    with federation("prague", "olomouc", callable=lambda name: name == "prague") as (prague, olomouc):
        deeds(olomouc, 2300)
        olomouc.audit_watch.round(prague.name)
        yield olomouc, prague


def found_by(watcher: FederatedSite, watched: FederatedSite) -> Breaks:
    return [(one.kind, one.first, one.last) for one in watcher.audit_book.faults(watched.name)]


def test_a_site_that_only_calls_shows_its_record_of_its_own_accord(hidden):
    olomouc, prague = hidden
    with prague.catalog.reading() as unit:
        assert unit.witnesses.base(olomouc.name, 1 << 62).seq == head(olomouc).seq
    deeds(olomouc, 10)
    olomouc.clock.forward(MINUTE)
    olomouc.audit_watch.round(prague.name)
    with prague.catalog.reading() as unit:
        assert unit.witnesses.base(olomouc.name, 1 << 62).seq == head(olomouc).seq
    assert found_by(prague, olomouc) == []


@pytest.mark.parametrize("number", [40, 1040, 2200])
def test_what_it_has_written_anew_is_named(hidden, number):
    olomouc, prague = hidden
    rewrite(olomouc, edit_of(number))
    deeds(olomouc, 10)
    olomouc.clock.forward(MINUTE)
    olomouc.audit_watch.round(prague.name)
    assert within(found_by(prague, olomouc), Fault.REWRITTEN, number, STRIDE)


def edit_of(number: int) -> Callable[[list[list]], list[list]]:
    def change(records: list[list]) -> list[list]:
        records[number - 1][2] = records[number - 1][2].replace("device:WS", "device:XX")
        return records

    return change


def test_a_patient_is_asked_for_under_all_names_and_in_all_studies(brno, prague):
    """What was done with a study counts, also where the deed does not name the patient, or the one merged."""
    brno.admit(instance(patient="A", study=1))
    brno.admit(instance(patient="B", study=2))
    settle(brno, prague)
    brno.archive.merge(brno.operator, ("", "A"), ("", "B"), "one person")
    settle(brno, prague)
    deeds(brno, 1, study=str(study_uid(1)))
    deeds(prague, 1, patient=patient_text("A", ""))
    brno.clock.forward(MINUTE)
    account = accounting(prague).who(prague.operator, patient=patient_text("B", ""))
    assert account.patients == (patient_text("A", ""), patient_text("B", ""))
    assert set(account.studies) == {str(study_uid(1)), str(study_uid(2))}
    seen = {(one.site, one.deed.event) for one in account.rows}
    assert {("brno", Event.STORED), ("brno", Event.QUERY), ("prague", Event.QUERY)} <= seen


def test_what_it_shows_besides_what_was_asked_for_is_left_aside(hidden):
    """A run that does not begin where the record was looked at last says nothing about what is between."""
    olomouc, prague = hidden
    deeds(olomouc, 30)
    end = head(olomouc).seq
    with olomouc.catalog.reading() as unit:
        proof = unit.audit.proof(end - 10, end)
    offered = Offered(after=end - 10, last=end, proof=proof)
    assert olomouc.peer(prague.name).offer_audit_proof(offered) == end - 30
    assert found_by(prague, olomouc) == []
    with pytest.raises(MalformedMessage):
        olomouc.peer(prague.name).offer_audit_proof(replace(offered, after=end - 30, last=end - 20))
