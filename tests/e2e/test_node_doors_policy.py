"""What a member gets at the doors for nodes: what the terms give its site, in its own name.

Brno holds a CT study and an MR study. Its terms give Prague MR alone and Plzeň nothing; both were
admitted, corrected and locked while the terms gave everything, so that there is something to leave behind.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from node.archive.amend import Amend
from node.domain.errors import (
    Damaged,
    Forbidden,
    LastCopy,
    MalformedMessage,
    NodeError,
    PeerUnreachable,
    Unauthenticated,
    UnknownInstance,
)
from node.domain.ids import Digest, SiteId
from node.domain.member import Standing
from node.domain.principal import Kind, Principal
from node.domain.query import Selection
from node.domain.rule import EVERYTHING, NOTHING, Match, Terms
from node.identity.members import state_standing
from node.journal.entry import Fact
from node.replication.dropping import Dropping
from node.replication.rules import reconsider
from node.replication.storing import sweep
from services.run.peers import peers_of
from services.soap.catalog import ReplicaCatalog
from services.soap.compared import AskedRange, Named
from services.soap.federation import Federation
from services.soap.records import Item, JournalChanges, JournalEntry
from services.soap.recovery import Recovery
from services.soap.storage import Storage
from tests.support import synthetic
from tests.support.doors import Door, Line, acquaint, discreet, opened, served
from tests.support.https import until
from tests.support.operations import Thing, everything, mapping_at, name_of, news_of_site, published

GIVEN, SECRET = ("Známý^Jan", "6503120001"), ("Tajná^Pacientka", "7605211234")
MR = Terms(matches=(Match(modalities=("MR",)),))


@pytest.fixture(autouse=True)
def no_patient_is_named():
    with discreet("Známý", "Pacientka", GIVEN[1], SECRET[1]) as heard:
        yield heard


@dataclass(frozen=True, kw_only=True)
class Three:
    """Brno, and two members with different terms."""

    brno: Door
    prague: Door
    plzen: Door
    given: Thing
    secret: Thing

    @property
    def marks(self) -> dict[str, str]:
        """What must not be in an answer, by what it is."""
        secret = self.secret
        named = {"name": "Pacientka", "Patient ID": SECRET[1], "correction": "Tajemství"}
        return {"digest": secret.digest, "UID": secret.uid, "study": secret.study, **named}


@pytest.fixture(scope="module")
def three() -> Iterator[Three]:
    with served("brno") as brno, opened("prague") as prague, opened("plzen") as plzen:
        acquaint(brno, prague, plzen)
        given = admitted(brno, 1, "MR", *GIVEN)
        secret = admitted(brno, 2, "CT", *SECRET)
        amend = Amend(brno.site.blobs, brno.catalog)
        for thing, text in ((given, "Známost"), (secret, "Tajemství")):
            amend.correct(brno.operator, thing.study, {0x00081030: text}, "typed wrong")
            amend.lock(brno.operator, thing.study, brno.clock() + 10**12, "kept for a year")
        brno.consent(prague, export=MR)
        brno.consent(plzen, export=NOTHING)
        reconsider(brno.catalog)  # as the worker does when terms have changed
        yield Three(brno=brno, prague=prague, plzen=plzen, given=given, secret=secret)


def admitted(door: Door, study: int, modality: str, name: str, patient: str) -> Thing:
    instance = synthetic.instance(study=study, modality=modality, name=name, patient=patient)
    digest = door.admit(instance)
    return Thing(
        uid=synthetic.instance_uid(study, 1, 1),
        study=synthetic.study_uid(study),
        digest=digest,
        size=door.site.blobs.size(digest) or 0,
    )


ABOUT_MANY = (
    Storage.search,
    Storage.list,
    Storage.prepare_to_get,
    ReplicaCatalog.bulk_query_mappings,
    ReplicaCatalog.mappings_exist,
    ReplicaCatalog.changes,
    ReplicaCatalog.changes_again,
    ReplicaCatalog.compare,
    ReplicaCatalog.describe,
    Recovery.verify_replicas,
    Recovery.repair_replica,
)
"""Reading operations that answer about all that is asked for, or all there is."""
ASKING_ALL = (
    Storage.search_federation,
    Recovery.start_scrub,
    Recovery.rebuild,
    Recovery.start_drill,
    Recovery.drill_report,
)
"""Those that only a site's own programs may use."""
ABOUT_ONE = (Storage.stat, Storage.get_object, ReplicaCatalog.query_mappings)
REFUSED = (Storage.search, Storage.list)
"""Those that refuse a site to which the terms give nothing, instead of an empty answer."""


def asked(line: Line, method, *things: Thing) -> str:
    """All that an operation answers, as text."""
    values = everything(*things, site=line.caller.name)[method]
    if method is ReplicaCatalog.compare:
        values = {"range": (AskedRange(prefix="", named=Named(digest=())),)}
    return str(line.call(method, **values))


@pytest.mark.parametrize("method", ABOUT_MANY, ids=name_of)
def test_an_answer_holds_what_the_terms_give_and_nothing_of_the_rest(three, method):
    with Line(three.prague, three.brno) as line:
        said = asked(line, method, three.given, three.secret)
    assert three.given.digest in said or three.given.uid in said
    assert [what for what, mark in three.marks.items() if mark in said] == []


@pytest.mark.parametrize("method", ABOUT_MANY, ids=name_of)
def test_a_site_to_which_the_terms_give_nothing_reads_nothing(three, method):
    with Line(three.plzen, three.brno) as line:
        if method in REFUSED:
            with pytest.raises(Forbidden):
                asked(line, method, three.given, three.secret)
            return
        said = asked(line, method, three.given, three.secret)
    hidden = (three.given.digest, three.given.uid, three.given.study, "Známost", *three.marks.values())
    assert [mark for mark in hidden if mark in said] == []


@pytest.mark.parametrize("method", ABOUT_ONE, ids=name_of)
def test_what_the_terms_do_not_give_is_unknown_as_what_is_not_there(three, method):
    nothing = replace(three.secret, digest="0" * 64, uid="1.2.3")
    with Line(three.prague, three.brno) as line, Line(three.plzen, three.brno) as poor:
        assert line.call(method, **everything(three.given)[method])
        for caller, thing in ((line, three.secret), (poor, three.secret), (poor, three.given)):
            with pytest.raises(UnknownInstance) as hidden:
                caller.call(method, **everything(thing)[method])
            with pytest.raises(UnknownInstance) as absent:
                caller.call(method, **everything(nothing)[method])
            assert type(hidden.value) is type(absent.value)


@pytest.mark.parametrize("method", [ReplicaCatalog.changes, ReplicaCatalog.changes_again], ids=name_of)
def test_withheld_entries_are_places_in_the_chain_and_nothing_else(three, method):
    with Line(three.prague, three.brno) as line:
        told = line.call(method, **everything(three.given)[method]).entry
    previous = "0" * 64
    for entry in told:
        assert entry.previous == previous or method is ReplicaCatalog.changes_again
        previous = entry.hash
    withheld = [entry for entry in told if entry.payload is None]
    full = [json.loads(entry.payload) for entry in told if entry.kind == Fact.INSTANCE]
    assert [says["uid"] for says in full] == [three.given.uid]
    assert len(withheld) >= 3  # the instance, its correction, its lock
    assert {(entry.kind, entry.at, entry.owed) for entry in withheld} == {(None, 0, False)}


def test_a_search_of_a_patient_who_is_not_given_finds_nobody(three):
    keys = everything(three.given)[Storage.search]["key"]

    def found(line: Line, patient: str) -> int:
        named = tuple(replace(one, value=patient) if one.tag == "00100020" else one for one in keys)
        return len(line.call(Storage.search, level="IMAGE", key=named).dataset)

    with Line(three.prague, three.brno) as line:
        assert found(line, GIVEN[1]) == 1
        assert found(line, SECRET[1]) == 0


def test_packs_and_blobs_are_given_for_the_digests_of_the_ticket_and_no_others(three):
    given, secret = three.given.digest, three.secret.digest
    with Line(three.prague, three.brno) as line:
        ticket = line.call(Storage.prepare_to_get, digest=(given, secret)).ticket
        assert line.blob(ticket, given)[0] == 200
        assert line.pack(ticket, [given])[0] == 200
        for status, said in (
            line.blob(ticket, secret),
            line.pack(ticket, [secret]),
            line.pack(ticket, [given, secret]),
        ):
            assert (status, json.loads(said)["type"]) == (403, "urn:konzilium:problem:Forbidden")


def test_a_site_to_which_the_terms_give_nothing_gets_no_ticket(three):
    with Line(three.plzen, three.brno) as line:
        grant = line.call(Storage.prepare_to_get, digest=(three.given.digest, three.secret.digest))
        assert grant.item == ()
        assert line.blob(grant.ticket, three.given.digest)[0] == 404


def test_telling_of_what_is_not_given_teaches_nothing(three):
    with Line(three.prague, three.brno) as line:
        with pytest.raises(UnknownInstance):
            line.call(ReplicaCatalog.add_mappings, mapping=(mapping_at("prague", three.secret),))
        assert line.call(ReplicaCatalog.arrived, digest=(three.secret.digest,)) == ()
        assert line.call(ReplicaCatalog.add_mappings, mapping=(mapping_at("prague", three.given),)) == 1


TELLING = (ReplicaCatalog.create_mappings, ReplicaCatalog.add_mappings, ReplicaCatalog.delete_mappings)


@pytest.mark.parametrize("other", ["brno", "plzen"])
@pytest.mark.parametrize("method", TELLING, ids=name_of)
def test_a_member_cannot_tell_of_copies_at_another_site(three, method, other):
    fresh = replace(three.given, uid=f"1.2.3.{TELLING.index(method)}", digest=f"{TELLING.index(method)}" * 64)
    thing = fresh if method is ReplicaCatalog.create_mappings else three.given
    before = three.brno.rows("SELECT site, state FROM replica ORDER BY rowid")
    with Line(three.prague, three.brno) as line:
        for mappings in (
            (mapping_at(other, thing),),
            (mapping_at("prague", thing), mapping_at(other, thing)),
        ):
            with pytest.raises(Forbidden):
                line.call(method, mapping=mappings)
        assert three.brno.rows("SELECT site, state FROM replica ORDER BY rowid") == before
        if other == "plzen":
            assert line.call(method, mapping=(mapping_at("prague", thing),)) == 1


def test_a_member_cannot_tell_the_journal_of_another_site(three):
    entries = _own_journal(three.prague)
    with Line(three.prague, three.brno) as line:
        with pytest.raises(Forbidden):
            line.call(ReplicaCatalog.offer_changes, changes=replace(entries, origin="plzen"))
        with pytest.raises(MalformedMessage, match="no epoch that this site has ended"):
            line.call(ReplicaCatalog.offer_changes, changes=replace(entries, origin="brno"))
        assert line.call(ReplicaCatalog.offer_changes, changes=entries) == entries.head


def test_a_member_cannot_slip_the_facts_of_another_site_into_its_own_journal(three):
    with three.plzen.catalog.reading() as unit:
        foreign = unit.journal.page(0, 1, epoch=1)[0]
    entry = JournalEntry(
        seq=foreign.seq,
        previous=foreign.previous,
        hash=foreign.hash,
        at=foreign.at,
        kind=foreign.kind,
        payload=foreign.payload,
    )
    changes = JournalChanges(origin="prague", epoch=7, head=1, terms=0, entry=(entry,))
    with Line(three.prague, three.brno) as line, pytest.raises(Damaged):
        line.call(ReplicaCatalog.offer_changes, changes=changes)


def _own_journal(door: Door) -> JournalChanges:
    with door.catalog.reading() as unit:
        facts = unit.journal.page(0, 1000, epoch=unit.epoch)
    return JournalChanges(
        origin=door.name,
        epoch=facts[0].epoch,
        head=facts[-1].seq,
        terms=0,
        entry=tuple(
            JournalEntry(
                seq=one.seq,
                previous=one.previous,
                hash=one.hash,
                at=one.at,
                kind=one.kind,
                payload=one.payload,
            )
            for one in facts
        ),
    )


@pytest.mark.parametrize("method", ASKING_ALL, ids=name_of)
def test_a_member_cannot_have_other_sites_asked_in_the_name_of_this_one(three, method):
    with Line(three.prague, three.brno) as line:
        with pytest.raises(Forbidden):
            asked(line, method, three.given)
        assert asked(line, Storage.search, three.given)


def test_every_operation_that_reads_is_bounded_here():
    changing = {
        Storage.prepare_to_put, Storage.put_done, Storage.put_object, Storage.remove, *TELLING,
        ReplicaCatalog.offer_changes, ReplicaCatalog.wanted, ReplicaCatalog.arrived,
    }  # fmt: skip
    of_sites = {one for one in published() if one.__qualname__.startswith("Federation.")}
    of_sites |= {Recovery.status, Recovery.promote, Recovery.demote}
    elsewhere = {Recovery.findings}  # see test_node_doors_recovery.py
    elsewhere |= {
        one for one in published() if one.__qualname__.startswith("Audit.")
    }  # see test_audit_service.py
    assert {*ABOUT_MANY, *ABOUT_ONE, *ASKING_ALL} == published() - changing - of_sites - elsewhere


def test_a_member_cannot_read_the_journal_of_another_site_here(three):
    values = everything(three.given)
    with Line(three.prague, three.brno) as line:
        for method in (ReplicaCatalog.changes, ReplicaCatalog.changes_again):
            assert line.call(method, **values[method]).entry
            with pytest.raises(Forbidden):
                line.call(method, **(values[method] | {"origin": "plzen"}))


def test_a_member_cannot_tell_news_of_another_site(three):
    with Line(three.prague, three.brno) as line:
        with pytest.raises(MalformedMessage):
            line.call(Federation.heartbeat, news=news_of_site("plzen"))
        assert line.call(Federation.heartbeat, news=news_of_site("prague")).site == "brno"


def test_what_a_member_says_of_terms_and_standing_holds_for_itself_alone(three):
    before = [(one.standing, one.export) for one in three.brno.site.members.all()]
    with Line(three.prague, three.brno) as line:
        line.call(Federation.suspend, reason="a test")
        line.call(Federation.consent)
        line.call(Federation.resume)
    assert [(one.standing, one.export) for one in three.brno.site.members.all()] == before


def test_an_operator_of_another_site_administers_nothing_here(three):
    three.brno.consent(three.prague, export=MR)
    with Line(three.prague, three.brno, principal=three.prague.operator) as line:
        assert line.call(Storage.stat, digest=three.given.digest)
        for thing in (three.given, three.secret):
            with pytest.raises(Forbidden):
                line.call(Storage.remove, digest=thing.digest)
    site = three.brno.site
    with pytest.raises(LastCopy):
        Dropping(site.catalog, site.blobs, peers_of(site)).drop(three.brno.operator, three.given.digest)


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.PERSON}), ids=str)
def test_nobody_of_another_site_removes_anything_whatever_their_node_calls_them(three, kind):
    principal = Principal(kind=kind, name="technician", site=three.prague.name)
    with Line(three.prague, three.brno, principal=principal) as line:
        with pytest.raises(Forbidden):
            line.call(Storage.remove, digest=three.given.digest)
        assert line.call(Storage.search, **everything(three.given)[Storage.search]).dataset


def test_a_person_of_another_site_to_whom_nothing_was_granted_here_gets_nothing(three):
    principal = Principal(
        kind=Kind.PERSON, name="technician@prague", site=three.prague.name, issuer="https://idp.test/idp"
    )
    with Line(three.prague, three.brno, principal=principal) as line:
        for method in (Storage.search, Storage.list, Storage.prepare_to_get):
            with pytest.raises(Forbidden):
                line.call(method, **everything(three.given)[method])
        with pytest.raises(Forbidden):
            line.call(Storage.remove, digest=three.given.digest)


def test_a_site_from_which_nothing_is_accepted_cannot_put(three):
    data = synthetic.part10(synthetic.dataset(study=9))
    item = Item(digest=hashlib.sha256(data).hexdigest(), size=len(data))
    with Line(three.prague, three.brno) as line:
        assert line.call(Storage.prepare_to_put, item=(item,)).item
        three.brno.consent(three.prague, accept=NOTHING)
        try:
            with pytest.raises(Forbidden):
                line.call(Storage.prepare_to_put, item=(item,))
        finally:
            three.brno.consent(three.prague, accept=Terms(matches=(Match(),)))


class Tickets:
    """Tickets of Prague: one to get the given instance, one to put a new one."""

    def __init__(self, three: Three, line: Line, study: int) -> None:
        self.data = synthetic.part10(synthetic.dataset(study=study))
        self.name = hashlib.sha256(self.data).hexdigest()
        self.get = line.call(Storage.prepare_to_get, digest=(three.given.digest,)).ticket
        item = Item(digest=self.name, size=len(self.data))
        self.put = line.call(Storage.prepare_to_put, item=(item,)).ticket

    def gets(self, line: Line, digest: str, ticket: str | None = None) -> set[int]:
        ticket = ticket or self.get
        return {line.blob(ticket, digest)[0], line.pack(ticket, [digest])[0]}

    def puts(self, line: Line, ticket: str | None = None) -> int:
        return line.put(ticket or self.put, {self.name: self.data})[0]


def test_a_ticket_gives_no_more_than_the_terms_of_now(three):
    three.brno.consent(three.plzen, export=EVERYTHING)
    try:
        with Line(three.plzen, three.brno) as line:
            ticket = line.call(Storage.prepare_to_get, digest=(three.secret.digest,)).ticket
            assert line.blob(ticket, three.secret.digest)[0] == 200
            three.brno.consent(three.plzen, export=NOTHING)
            assert line.blob(ticket, three.secret.digest)[0] == 403
            assert line.pack(ticket, [three.secret.digest])[0] == 403
    finally:
        three.brno.consent(three.plzen, export=NOTHING)


def test_creating_mappings_teaches_a_site_nothing_that_it_is_not_given(three):
    with Line(three.plzen, three.brno) as line:
        fresh = replace(three.secret, uid="1.2.99", digest="9" * 64)
        assert line.call(ReplicaCatalog.create_mappings, mapping=(mapping_at("plzen", fresh),)) == 1
        claimed = mapping_at("plzen", three.secret)
        assert line.call(ReplicaCatalog.create_mappings, mapping=(claimed,)) == 1
        line.call(ReplicaCatalog.delete_mappings, mapping=(claimed,))
    three.brno.catalog.perform(
        lambda unit: unit.replicas.forget(Digest(three.secret.digest), SiteId("plzen"))
    )


def test_comparing_teaches_a_site_nothing_that_it_is_not_given(three):
    reconsider(three.brno.catalog)

    def where(line: Line, digest: str) -> str:
        asked = AskedRange(prefix=digest[:8], named=Named(digest=(digest,)))
        return line.call(ReplicaCatalog.compare, range=(asked,))[0].lacking[0].where

    with Line(three.plzen, three.brno) as line:
        assert where(line, three.secret.digest) == where(line, "0" * 64)


def test_finishing_an_upload_that_never_came_teaches_nothing(three):
    three.brno.consent(three.plzen, accept=EVERYTHING)
    try:
        with Line(three.plzen, three.brno) as line:
            item = Item(digest=three.secret.digest, size=3)
            ticket = line.call(Storage.prepare_to_put, item=(item,)).ticket
            assert line.call(Storage.put_done, ticket=ticket) == ()
    finally:
        three.brno.consent(three.plzen, accept=NOTHING)


def test_an_upload_that_nobody_finishes_goes_with_its_ticket(three):
    with Line(three.prague, three.brno) as line:
        tickets = Tickets(three, line, 55)
        assert tickets.puts(line) == 200
    site = three.brno.site
    assert sweep(site.catalog, site.uploads) == 0
    site.catalog.perform(
        lambda unit: unit.tickets.add(replace(unit.tickets.find(tickets.put), id="old", expires_at=1))
    )
    assert sweep(site.catalog, site.uploads) == 1
    assert site.uploads.size(tickets.name) is None


def test_what_was_withdrawn_is_given_to_nobody(three):
    thing = admitted(three.brno, 66, "MR", *GIVEN)
    amend = Amend(three.brno.site.blobs, three.brno.catalog)
    amend.retract(three.brno.operator, Selection(studies=(thing.study,)), "wrong patient")
    with Line(three.prague, three.brno) as line:
        for method in ABOUT_ONE:
            with pytest.raises(UnknownInstance):
                line.call(method, **everything(thing)[method])
        assert line.call(Storage.prepare_to_get, digest=(thing.digest,)).item == ()


def test_the_ticket_of_another_member_is_none(three):
    three.brno.consent(three.plzen, export=MR)
    try:
        with Line(three.prague, three.brno) as line, Line(three.plzen, three.brno) as thief:
            tickets = Tickets(three, line, 21)
            assert tickets.gets(thief, three.given.digest) == {404}
            assert tickets.puts(thief) == 404
            with pytest.raises(NodeError):
                thief.call(Storage.put_done, ticket=tickets.put)
            assert tickets.gets(line, three.given.digest) == {200}
            assert tickets.puts(line) == 200
            assert [one.outcome for one in line.call(Storage.put_done, ticket=tickets.put)] == ["kept"]
    finally:
        three.brno.consent(three.plzen, export=NOTHING)


def test_a_ticket_to_put_gets_nothing_and_a_ticket_to_get_puts_nothing(three):
    with Line(three.prague, three.brno) as line:
        tickets = Tickets(three, line, 22)
        assert tickets.gets(line, three.given.digest, tickets.put) == {404}
        assert tickets.gets(line, tickets.name, tickets.put) == {404}
        assert tickets.puts(line, tickets.get) == 404
        assert tickets.gets(line, three.given.digest) == {200}
        assert tickets.puts(line) == 200


def test_a_ticket_ends(three):
    with Line(three.prague, three.brno) as line:
        tickets = Tickets(three, line, 23)
        assert tickets.gets(line, three.given.digest) == {200}
        for door in (three.brno, three.prague):
            door.clock.forward(601)
        assert tickets.gets(line, three.given.digest) == {404}
        assert tickets.puts(line) == 404
        assert Tickets(three, line, 24).gets(line, three.given.digest) == {200}


def test_a_ticket_for_one_object_puts_no_other(three):
    with Line(three.prague, three.brno) as line:
        tickets = Tickets(three, line, 25)
        other = synthetic.part10(synthetic.dataset(study=26))
        name = hashlib.sha256(other).hexdigest()
        line.put(tickets.put, {name: other})
        assert three.brno.site.uploads.size(name) is None
        assert tickets.puts(line) == 200
        assert three.brno.site.uploads.size(tickets.name) == len(tickets.data)


def test_what_is_kept_quiet_is_there_to_be_told(three, no_patient_is_named):
    with Line(three.prague, three.brno) as line:
        said: Any = line.call(Storage.search, **everything(three.given)[Storage.search]).dataset
    assert GIVEN[1] in str(said)
    until(lambda: "request" in no_patient_is_named.text())
    with pytest.raises(AssertionError, match="a secret in the log"), discreet("a secret"):
        logging.getLogger("node").debug("this is told", extra={"what": "a secret"})


@pytest.fixture
def impostor() -> Iterator[Door]:
    """Another site that calls itself Brno."""
    with opened("brno") as made:
        yield made


def test_a_member_cannot_bring_in_a_stranger_under_the_name_of_this_site(impostor):
    with served("brno") as brno, opened("prague") as prague, opened("plzen") as plzen:
        acquaint(brno, prague)
        thing = admitted(brno, 1, "MR", *GIVEN)
        with prague.catalog.begin() as unit:
            for door in (impostor, plzen):
                says = {"site": door.name, "descriptor": door.catalog.perform(door.home.announce)}
                unit.journal.append(Fact.MEMBER, says)
                state_standing(unit, prague.operator, door.name, Standing.ACTIVE)
        with Line(prague, brno) as line:
            line.call(ReplicaCatalog.offer_changes, changes=_own_journal(prague))
        assert {one.site for one in brno.site.members.all()} == {"prague", "plzen"}
        with Line(plzen, brno) as introduced:
            assert introduced.call(Recovery.status).site == "brno"
        for method in (Storage.remove, Storage.stat, Recovery.status):
            with Line(impostor, brno, principal=impostor.operator) as line, pytest.raises(PeerUnreachable):
                line.call(method, **everything(thing)[method])


def test_the_programs_of_a_site_use_its_storage_and_nothing_that_is_for_other_sites(three):
    brno = three.brno
    with Line(brno, brno, principal=brno.device) as line:
        for method in (Storage.stat, Storage.search_federation, Recovery.status):
            assert asked(line, method, three.secret)
        for method in (Federation.members, ReplicaCatalog.query_mappings):
            with pytest.raises(Unauthenticated):
                asked(line, method, three.secret)
