"""The Audit service over a real connection: heads, proofs, disclosures, and the keeper that asks for them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.audit.record import Deed, Event
from node.audit.witness import Fault
from node.domain.errors import Forbidden, LinkSuspended, MalformedQuery, PeerUnreachable
from node.domain.ids import SiteId
from node.domain.principal import DEVICE_ACTIONS, Kind, Principal
from node.domain.rule import EVERYTHING, NOTHING
from node.replication.accounting import Accounting, Evidence
from node.replication.audit_watch import UNSEEN, AuditWatch
from node.replication.peer import Question
from node.wiring import Site, open_site
from services.cli.federation.join import enter
from services.run import audit as keeping
from services.run.audit import AuditKeeper
from services.run.peers import peers_of
from services.soap.audit import Audit
from tests.support.neighbours import made, serving

PATIENT = "123^^^BRNO"
BRNO = SiteId("brno")


@pytest.fixture
def brno(tmp_path: Path) -> Iterator[Site]:
    with serving(made(tmp_path, "brno")) as site:
        yield site


@pytest.fixture
def prague(tmp_path: Path, brno: Site) -> Iterator[Site]:
    with open_site(made(tmp_path, "prague")) as site:
        made_out = brno.invitations.invite(brno.operator(), SiteId("prague"), confirmed=True)
        enter(site, made_out.token, made_out.code, EVERYTHING, EVERYTHING)
        brno.members.consent(brno.operator(), SiteId("prague"), export=EVERYTHING, accept=EVERYTHING)
        yield site


def deeds(site: Site, many: int) -> None:
    with site.catalog.begin() as unit:
        for number in range(many):
            unit.audit.append(
                Deed(event=Event.QUERY, who=f"device:WS{number}@{site.home.site}", patient=PATIENT)
            )


def end(site: Site) -> int:
    with site.catalog.reading() as unit:
        return unit.audit.head().seq


def ask(caller: Site, method, **values):
    """Call Brno as a member."""
    with peers_of(caller)(BRNO) as peer:
        return peer._session(Audit).call(method, **values)


def keeper(site: Site) -> AuditKeeper:
    return AuditKeeper(site, peers_of(site), threading.Event())


def test_a_keeper_looks_at_what_members_show_and_tells_them_what_it_holds(brno, prague):
    deeds(brno, 120)
    keeper(prague).turn()
    with prague.catalog.reading() as unit:
        assert unit.witnesses.base(BRNO, 1 << 62).seq == end(brno) > 120
    assert [head.seq for head, _ in brno.audit_book.heads(prague.home.site)] == [end(prague)]
    deeds(brno, 5)
    brno.audit_book.sign()
    keeper(prague).turn()
    (told,) = ask(prague, Audit.get_audit_heads)[-1:]
    assert (told.site, told.seq) == ("brno", end(brno))
    assert prague.audit_book.faults() == []


def test_what_a_member_has_changed_is_found_by_the_keeper(brno, prague):
    deeds(brno, 120)
    keeper(prague).turn()
    with sqlite3.connect(brno.settings.catalog.path) as connection:
        connection.execute("update audit set deed = replace(deed, 'WS7@', 'WS8@')")
    connection.close()
    keeper(prague).turn()
    (fault,) = prague.audit_book.faults()
    assert (fault.site, fault.kind) == ("brno", Fault.ALTERED)
    assert fault.first <= end(brno) - 120 + 8 <= fault.last


def test_a_keeper_tells_at_once_what_was_signed_besides(brno, prague, monkeypatch):
    """As an export does; nobody waits for the next turn."""
    one = keeper(prague)
    one.turn()
    assert not one._is_due()
    deeds(prague, 1)
    assert not one._is_due()
    signed = prague.audit_book.sign()
    assert one._is_due()
    one.turn()
    assert not one._is_due()
    assert [head.seq for head, _ in brno.audit_book.heads(prague.home.site)][-1] == signed.seq


def test_a_keeper_goes_on_after_an_error_that_nobody_expected(monkeypatch):
    monkeypatch.setattr(keeping, "LOOK", 0.0)
    one = AuditKeeper.__new__(AuditKeeper)
    one._stop, calls = threading.Event(), []

    def due() -> bool:
        calls.append(1)
        if len(calls) == 2:
            one._stop.set()
            return False
        raise ZeroDivisionError

    one._is_due = due
    one.run()
    assert len(calls) == 2


def test_a_keeper_looks_at_its_own_record_once_a_day_and_leaves_off_when_told_to(brno, prague):
    with sqlite3.connect(prague.settings.catalog.path) as connection:
        connection.execute("update audit set at = at - 1 where seq = 1")
    connection.close()
    stop = threading.Event()
    stop.set()
    stopped = AuditKeeper(prague, peers_of(prague), stop)
    stopped.turn()
    assert prague.audit_book.faults() == []
    keeper(prague).turn()
    (fault,) = prague.audit_book.faults(prague.home.site)
    assert (fault.kind, fault.first) == (Fault.ALTERED, 1)


def test_a_member_that_does_not_show_its_record_is_noted_until_it_does(brno, prague, monkeypatch):
    watch = AuditWatch(prague.catalog, prague.audit_book, peers_of(prague))

    def refuses(*_: object) -> None:
        raise PeerUnreachable("brno", "it shows nothing")

    def since() -> int:
        with prague.catalog.reading() as unit:
            return unit.gauges.noted(UNSEEN, "brno")

    with monkeypatch.context() as patched:
        patched.setattr(brno.service.audit, "proof", refuses)
        deeds(brno, 1)
        with pytest.raises(PeerUnreachable):
            watch.round(BRNO)
    assert since() > 0
    watch.round(BRNO)
    assert since() == 0


def test_disclosures_come_with_the_evidence_over_the_wire(brno, prague):
    deeds(brno, 3)
    account = Accounting(prague.catalog, prague.audit_book, peers_of(prague)).who(
        prague.operator(), patient=PATIENT
    )
    assert account.is_whole
    rows = [one for one in account.rows if one.site == "brno"]
    assert [one.deed.who for one in rows] == [f"device:WS{number}@brno" for number in range(3)]
    assert {one.evidence for one in rows} == {Evidence.PROVED}
    with brno.catalog.reading() as unit:
        (asked,) = (one.deed for one in unit.audit.about(patients=[PATIENT]) if "Audit Log Used" in one.deed)
    assert "@prague" in asked


def test_devices_and_persons_without_a_role_are_refused_and_that_is_recorded(brno, prague):
    device = Principal(kind=Kind.DEVICE, name="CT1", site=prague.home.site, may=DEVICE_ACTIONS)
    member = brno.members.find(prague.home.site)
    for asks in (device, replace(device, kind=Kind.PERSON, name="reader@prague.test", issuer="local")):
        before = end(brno)
        with pytest.raises(Forbidden):
            brno.service.audit.disclosures(
                member, replace(asks, via=member.site), Question(patients=(PATIENT,))
            )
        assert end(brno) == before + 1


def test_a_member_with_whom_nothing_is_exchanged_is_shown_the_chain_and_no_content(brno, prague):
    brno.members.consent(brno.operator(), prague.home.site, export=NOTHING, accept=NOTHING)
    assert ask(prague, Audit.get_audit_proof, after=0, last=3).link
    with pytest.raises(Forbidden):
        ask(prague, Audit.get_disclosures, patient=(PATIENT,))
    with pytest.raises(MalformedQuery):
        brno.service.audit.disclosures(
            replace(brno.members.find(prague.home.site), export=EVERYTHING),
            prague.operator(),
            Question(),
        )


def test_a_cut_link_shows_nothing(brno, prague):
    brno.members.suspend(brno.operator(), prague.home.site, "audit")
    with pytest.raises(LinkSuspended):
        ask(prague, Audit.get_audit_proof, after=0, last=3)
