"""Who gets in at the doors for nodes: strangers, members that were revoked or suspended, bad messages.

The doors are the real ones: HTTPS on 127.0.0.1 with certificates on both sides, signed messages, a site
folder. Next to each refusal stands the call that is let in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lxml import etree

from node.domain.errors import (
    BadSignature,
    Expired,
    LinkSuspended,
    NodeError,
    PeerUnreachable,
    Replayed,
    Unauthenticated,
)
from node.domain.member import Standing
from node.wiring import open_site
from services.run.peers import peers_of
from services.soap.catalog import ReplicaCatalog
from services.soap.federation import Federation
from services.soap.framework.names import SOAP12, VERSIONS, camel
from services.soap.recovery import Recovery
from services.soap.services import SERVICES
from services.soap.storage import Storage
from tests.support import operations, synthetic
from tests.support.doors import Door, Line, acquaint, discreet, opened, served, service_of, target_of
from tests.support.https import until
from tests.support.operations import OPEN, Thing, everything, name_of
from tests.support.signed import carried, resigned, security

NAME, ID = "Tajná^Pacientka", "7605211234"
SOAP_FAULT = f"{{{SOAP12.envelope}}}Fault"


@pytest.fixture(autouse=True)
def no_patient_is_named():
    with discreet("Pacientka", ID) as heard:
        yield heard


@contextmanager
def together() -> Iterator[tuple[Door, Door, Thing]]:
    """Brno, which is called, Prague, which calls, and an instance at Brno."""
    with served("brno") as brno, opened("prague") as prague:
        acquaint(brno, prague)
        yield brno, prague, admitted(brno)


@pytest.fixture(scope="module")
def steady() -> Iterator[tuple[Door, Door, Thing]]:
    """For tests that change nothing."""
    with together() as made:
        yield made


@pytest.fixture
def fresh() -> Iterator[tuple[Door, Door, Thing]]:
    """For tests that change who stands where."""
    with together() as made:
        yield made


def admitted(door: Door, study: int = 1, **attributes) -> Thing:
    """An instance that a site has archived."""
    digest = door.admit(synthetic.instance(study=study, patient=ID, name=NAME, **attributes))
    return Thing(
        uid=synthetic.instance_uid(study, 1, 1),
        study=synthetic.study_uid(study),
        digest=digest,
        size=door.site.blobs.size(digest) or 0,
    )


FOR_MEMBERS = sorted(operations.published() - set(OPEN), key=name_of)
ONE_OF_EACH = (Storage.stat, ReplicaCatalog.query_mappings, Federation.members, Recovery.status)


def test_every_operation_is_asked_here(steady):
    *_, thing = steady
    assert set(everything(thing)) | set(OPEN) == operations.published()


@pytest.mark.parametrize("method", FOR_MEMBERS, ids=name_of)
def test_a_stranger_without_a_certificate_is_refused(steady, method):
    brno, prague, thing = steady
    with Line(prague, brno, anonymous=True) as line, pytest.raises(Unauthenticated, match="no certificate"):
        line.call(method, **everything(thing)[method])


@pytest.mark.parametrize("method", FOR_MEMBERS, ids=name_of)
def test_a_message_that_nobody_signed_is_refused_from_members_too(steady, method):
    brno, prague, _ = steady
    service = service_of(method)
    namespace = f"urn:konzilium:{service.path}:{service.version}"
    operation = camel(method.__name__)
    for soap in VERSIONS:
        text = (
            f'<e:Envelope xmlns:e="{soap.envelope}"><e:Body><x:{operation} xmlns:x="{namespace}"/>'
            "</e:Body></e:Envelope>"
        )
        with Line(prague, brno) as line:
            _, said = line.post(service, text.encode(), f"{soap.media}; charset=utf-8")
        assert b"AccessDenied" in said
        assert b"Unauthenticated" in said


def test_a_member_is_let_in_everywhere(fresh):
    brno, prague, thing = fresh
    with Line(prague, brno) as line:
        for method, values in everything(thing).items():
            try:
                line.call(method, **values)
            except NodeError as error:
                assert not isinstance(error, Unauthenticated | LinkSuspended | PeerUnreachable), method
        assert line.opened == 1


@pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.name)
def test_a_stranger_may_read_the_documents(steady, service):
    brno, prague, _ = steady
    with Line(prague, brno, anonymous=True) as line:
        status, said = line.get(f"{target_of(service)}?wsdl")
    assert (status, etree.fromstring(said).get("name")) == (200, service.name)


def test_a_stranger_moves_no_bytes_even_with_the_ticket_of_a_member(steady):
    brno, prague, thing = steady
    with Line(prague, brno) as member, Line(prague, brno, anonymous=True) as stranger:
        get = member.call(Storage.prepare_to_get, digest=(thing.digest,)).ticket
        put = member.call(Storage.prepare_to_put, **everything(thing)[Storage.prepare_to_put]).ticket
        assert member.pack(get, [thing.digest])[0] == 200
        assert stranger.pack(get, [thing.digest])[0] == 401
        assert member.blob(get, thing.digest)[0] == 200
        assert stranger.blob(get, thing.digest)[0] == 401
        assert stranger.put(put, {"ab" * 32: b"nothing"})[0] == 401


def test_a_certificate_that_is_no_members_is_refused_in_the_handshake(steady, no_patient_is_named):
    brno, prague, thing = steady
    with opened("plzen") as plzen:
        for ask in (
            lambda line: line.call(Storage.stat, digest=thing.digest),
            lambda line: line.get(f"{target_of(Storage)}?wsdl"),
            lambda line: line.blob("ticket", thing.digest),
        ):
            with Line(plzen, brno) as line, pytest.raises(PeerUnreachable, match=r"TLS|ended|reset"):
                ask(line)
    until(lambda: "handshake refused" in no_patient_is_named.text())
    with Line(prague, brno) as line:
        assert line.call(Storage.stat, digest=thing.digest).size == thing.size


def asked_everywhere(brno: Door, prague: Door, thing: Thing) -> list[Line]:
    """Connections that stay open: one for each service, one for bytes; each has served its member."""
    lines = [Line(prague, brno) for _ in (*ONE_OF_EACH, "bytes")]
    for line, method in zip(lines, ONE_OF_EACH, strict=False):
        line.call(method, **everything(thing)[method])
    ticket = lines[0].call(Storage.prepare_to_get, digest=(thing.digest,)).ticket
    assert lines[-1].blob(ticket, thing.digest)[0] == 200
    lines[-1].sent.append(ticket.encode())
    return lines


def stand(door: Door, other: Door, standing: Standing) -> None:
    """Decide about a member as a command does: in another process than the one that serves."""
    with open_site(door.site.directory, clock=door.clock) as site:
        decide = {
            Standing.REVOKED: site.members.revoke,
            Standing.SUSPENDED: site.members.suspend,
            Standing.ACTIVE: site.members.resume,
        }[standing]
        decide(door.operator, other.name, "a test")


def test_a_revoked_node_is_refused_at_once_on_connections_that_are_open(fresh):
    brno, prague, thing = fresh
    lines = asked_everywhere(brno, prague, thing)
    ticket = lines[-1].sent[-1].decode()
    stand(brno, prague, Standing.REVOKED)
    for line, method in zip(lines, ONE_OF_EACH, strict=False):
        with pytest.raises(PeerUnreachable):
            line.call(method, **everything(thing)[method])
    with pytest.raises(PeerUnreachable):
        lines[-1].blob(ticket, thing.digest)
    with Line(prague, brno) as again, pytest.raises(PeerUnreachable):
        again.pack(ticket, [thing.digest])


def test_revoking_one_member_leaves_the_others_alone(fresh):
    brno, prague, thing = fresh
    with opened("plzen") as plzen:
        acquaint(brno, prague, plzen)
        with Line(plzen, brno) as line:
            assert line.call(Storage.stat, digest=thing.digest).size == thing.size
            stand(brno, prague, Standing.REVOKED)
            assert line.call(Storage.stat, digest=thing.digest).size == thing.size
            assert line.opened == 1


def test_a_suspended_node_is_told_so_nothing_moves_and_resuming_goes_on_where_it_was(fresh):
    brno, prague, thing = fresh
    lines = asked_everywhere(brno, prague, thing)
    bytes_line, ticket = lines[-1], lines[-1].sent[-1].decode()
    upload = synthetic.part10(synthetic.dataset(study=9))
    name = hashlib.sha256(upload).hexdigest()
    put = lines[0].call(Storage.prepare_to_put, item=(operations.Item(digest=name, size=len(upload)),)).ticket
    before = _holdings(brno)
    stand(brno, prague, Standing.SUSPENDED)
    for line, method in zip(lines, ONE_OF_EACH, strict=False):
        with pytest.raises(LinkSuspended):
            line.call(method, **everything(thing)[method])
    for status, said in (
        bytes_line.blob(ticket, thing.digest),
        bytes_line.pack(ticket, [thing.digest]),
        bytes_line.put(put, {name: upload}),
    ):
        assert status == 403
        assert json.loads(said)["type"].endswith(":LinkSuspended")
    assert _holdings(brno) == before
    stand(brno, prague, Standing.ACTIVE)
    for line, method in zip(lines, ONE_OF_EACH, strict=False):
        line.call(method, **everything(thing)[method])
    assert bytes_line.blob(ticket, thing.digest)[0] == 200
    assert bytes_line.put(put, {name: upload})[0] == 200
    assert [line.opened for line in lines[:-1]] == [1] * len(ONE_OF_EACH)


@pytest.mark.parametrize("method", FOR_MEMBERS, ids=name_of)
def test_a_suspended_node_is_refused_at_every_operation(cut, method):
    brno, prague, thing = cut
    with Line(prague, brno) as line, pytest.raises(LinkSuspended):
        line.call(method, **everything(thing)[method])


@pytest.fixture(scope="module")
def cut() -> Iterator[tuple[Door, Door, Thing]]:
    """Brno has cut the link with Prague."""
    with together() as (brno, prague, thing):
        stand(brno, prague, Standing.SUSPENDED)
        yield brno, prague, thing


def test_the_site_that_has_cut_the_link_does_not_call_either(fresh):
    brno, prague, thing = fresh
    with peers_of(prague.site)(brno.name) as peer:
        assert peer.verify([thing.digest])
    stand(prague, brno, Standing.SUSPENDED)
    with pytest.raises(LinkSuspended), peers_of(prague.site)(brno.name) as peer:
        peer.verify([thing.digest])


def _holdings(door: Door) -> list[object]:
    tables = ("instance", "replica", "want", "ticket")
    return [door.rows(f"SELECT count(*) FROM {table}") for table in tables] + [
        len(list(door.site.settings.store.path.rglob("*")))
    ]


def good(steady, method, **options):
    """A call that is let in, and its message."""
    brno, prague, thing = steady
    with Line(prague, brno, **options) as line:
        line.call(method, **everything(thing)[method])
        return line.sent[-1]


def fault_of(said: bytes) -> str:
    """The exact class of the error that a fault tells."""
    code = etree.fromstring(said).find(f".//{SOAP_FAULT}//{{*}}code")
    assert code is not None
    return str(code.text)


@pytest.mark.parametrize("method", ONE_OF_EACH, ids=name_of)
def test_a_message_that_was_received_is_refused_when_it_comes_again(steady, method):
    brno, prague, _ = steady
    message = good(steady, method)
    service = service_of(method)
    with Line(prague, brno) as line:
        assert fault_of(line.post(service, message)[1]) == Replayed.__name__


@pytest.mark.parametrize("seconds", [-3600, 3600], ids=["stale", "from the future"])
@pytest.mark.parametrize("method", ONE_OF_EACH, ids=name_of)
def test_a_message_out_of_its_time_is_refused(steady, method, seconds):
    brno, prague, thing = steady
    good(steady, method)
    prague.clock.forward(seconds)
    try:
        with Line(prague, brno) as line, pytest.raises(Expired):
            line.call(method, **everything(thing)[method])
    finally:
        prague.clock.forward(-seconds)


@pytest.mark.parametrize("method", ONE_OF_EACH, ids=name_of)
def test_a_message_for_another_node_is_refused(steady, method):
    brno, prague, thing = steady
    good(steady, method)
    with Line(prague, brno, audience="plzen") as line, pytest.raises(Unauthenticated, match="not for brno"):
        line.call(method, **everything(thing)[method])


@pytest.mark.parametrize("method", ONE_OF_EACH, ids=name_of)
def test_a_body_that_was_changed_is_refused(steady, method):
    brno, prague, thing = steady
    good(steady, method)

    def change(message):
        message[-1][0].set("changed", "yes")
        return message

    with Line(prague, brno, change=change) as line, pytest.raises(BadSignature):
        line.call(method, **everything(thing)[method])


@pytest.fixture(scope="module")
def three() -> Iterator[tuple[Door, Door, Door, Thing]]:
    with served("brno") as brno, opened("prague") as prague, opened("plzen") as plzen:
        acquaint(brno, prague, plzen)
        yield brno, prague, plzen, admitted(brno)


@pytest.mark.parametrize("method", ONE_OF_EACH, ids=name_of)
def test_a_member_cannot_send_the_message_of_another_over_its_own_connection(three, method):
    brno, prague, plzen, thing = three
    taken: list[bytes] = []

    def keep(message):
        taken.append(etree.tostring(message))
        raise Expired("it is not sent")

    with Line(prague, brno, change=keep) as line, pytest.raises(Expired):
        line.call(method, **everything(thing)[method])
    service = service_of(method)
    with Line(plzen, brno) as thief:
        assert fault_of(thief.post(service, taken[0])[1]) == Unauthenticated.__name__
        thief.call(method, **everything(thing, site="plzen")[method])
    with Line(prague, brno) as owner:
        assert owner.post(service, taken[0])[0] == 200


@pytest.mark.parametrize("method", ONE_OF_EACH, ids=name_of)
def test_a_member_cannot_carry_the_assertion_of_another(three, method):
    brno, prague, plzen, thing = three
    taken: list[etree._Element] = []

    def keep(message):
        taken.append(carried(message))
        raise Expired("it is not sent")

    with Line(prague, brno, change=keep) as line, pytest.raises(Expired):
        line.call(method, **everything(thing)[method])

    def borrow(message):
        def swap(made):
            header = security(made)
            header.replace(carried(made), taken[0])

        return resigned(message, plzen.home.key(), swap)

    values = everything(thing, site="plzen")[method]
    with Line(plzen, brno, change=borrow) as thief, pytest.raises(Unauthenticated):
        thief.call(method, **values)
    with Line(plzen, brno, change=lambda one: resigned(one, plzen.home.key(), lambda _: None)) as honest:
        honest.call(method, **values)
