"""What is built to hurt at the doors for nodes: documents that explode, messages that never end, callers
that never stop, and invitations in the wrong hands.

A fault has to come before the work that was meant to hurt: what would do that work is watched.
"""

from __future__ import annotations

import copy
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest
from lxml import etree

from node.domain.errors import Expired, NodeError, PeerUnreachable, Rejected, TooBusy, Unauthenticated
from node.domain.ids import SiteId
from node.domain.member import Standing
from node.domain.principal import Kind, Principal
from node.domain.rule import EVERYTHING
from node.identity.invitations import Invited
from services.cli.federation import calling
from services.cli.federation.join import enter
from services.https.limits import Limits as ServerLimits
from services.run import nodes
from services.soap.catalog import ReplicaCatalog
from services.soap.federation import Federation
from services.soap.framework import envelope
from services.soap.framework.blob import Blob
from services.soap.framework.contract import contract_of
from services.soap.framework.limits import Limits
from services.soap.framework.names import SOAP12, VERSIONS
from services.soap.recovery import Recovery
from services.soap.services import SERVICES
from services.soap.storage import QueryKey, QueryLevel, Storage
from tests.support import synthetic
from tests.support.doors import Door, Line, acquaint, discreet, opened, served, serving, target_of
from tests.support.https import until

NAME, ID = "Tajná^Pacientka", "7605211234"
MIB = 1 << 20
PLACE = f'<e:Envelope xmlns:e="{SOAP12.envelope}"><e:Body>%s</e:Body></e:Envelope>'
QUERY = '<q:bulkQueryMappings xmlns:q="urn:konzilium:catalog:1">%s</q:bulkQueryMappings>'


@pytest.fixture(autouse=True)
def no_patient_is_named():
    with discreet("Pacientka", ID) as heard:
        yield heard


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Door, Door]]:
    with served("brno") as brno, opened("prague") as prague:
        acquaint(brno, prague)
        brno.admit(synthetic.instance(patient=ID, name=NAME))
        yield brno, prague


@pytest.fixture
def parsed(monkeypatch) -> list[int]:
    """How many bytes the parser was given, each time."""
    seen: list[int] = []
    fromstring = etree.fromstring

    class Watched:
        """lxml as the envelope uses it."""

        def __getattr__(self, name):
            return getattr(etree, name)

        def fromstring(self, data, *options):
            seen.append(len(data))
            return fromstring(data, *options)

    monkeypatch.setattr(envelope, "etree", Watched())
    return seen


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BEFORE_PARSING = {
    "a document type": "<!DOCTYPE e:Envelope>" + PLACE % "<a/>",
    "a billion laughs": f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]>' + PLACE % "<a>&l9;</a>",
    "a file of this machine": '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + PLACE % "<a>&f;</a>",
    "a document type in UTF-16": ("<!DOCTYPE a>" + PLACE % "<a/>").encode("utf-16"),
    "10 MB": PLACE % (QUERY % ("<q:instance>" + "1" * (10 * MIB) + "</q:instance>")),
    "100,000 items": PLACE % (QUERY % ("<q:instance>1.2</q:instance>" * 100_000)),
}


@pytest.mark.parametrize("anonymous", [False, True], ids=["member", "stranger"])
@pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.name)
@pytest.mark.parametrize("what", BEFORE_PARSING)
def test_it_is_refused_before_it_is_parsed(pair, parsed, service, what, anonymous):
    brno, prague = pair
    text = BEFORE_PARSING[what]
    with Line(prague, brno, anonymous=anonymous) as line:
        status, said = line.post(service, text if isinstance(text, bytes) else text.encode())
    assert status == 400
    assert family_of(said) == "MalformedRequest"
    assert parsed == []


@pytest.mark.parametrize("soap", VERSIONS, ids=lambda one: one.name)
def test_what_is_nested_too_deep_is_refused_by_the_parser_and_by_nobody_behind_it(pair, soap, monkeypatch):
    brno, prague = pair
    monkeypatch.setattr(envelope, "demand_understanding", _never)
    for depth in (Limits().depth, 300, 20_000):
        deep = "<a>" * depth + "</a>" * depth
        text = f'<e:Envelope xmlns:e="{soap.envelope}"><e:Body>{deep}</e:Body></e:Envelope>'
        with Line(prague, brno) as line:
            _, said = line.post(Storage, text.encode(), soap.media)
        assert family_of(said) == "MalformedRequest"


def _never(*_: object) -> None:
    raise AssertionError("it was read on")


def test_100_000_small_items_of_a_stranger_are_never_validated(pair, parsed, monkeypatch):
    brno, prague = pair
    monkeypatch.setattr(contract_of(ReplicaCatalog).validator, "demand", _never)
    text = PLACE % (QUERY % ("<q:instance/>" * 100_000))
    with Line(prague, brno, anonymous=True) as line:
        _, said = line.post(ReplicaCatalog, text.encode())
    assert family_of(said) == "AccessDenied"
    assert len(parsed) == 1


def test_100_000_items_that_a_member_signed_never_reach_the_catalog(pair, monkeypatch):
    brno, prague = pair
    text = PLACE % (QUERY % ("<q:instance/>" * 100_000))
    with Line(prague, brno) as line:
        good = line.secure(etree.fromstring((PLACE % (QUERY % "")).encode()), _action("bulkQueryMappings"))
        assert line.post(ReplicaCatalog, etree.tostring(good))[0] == 200
        monkeypatch.setattr(ReplicaCatalog, "bulk_query_mappings", _never)
        signed = line.secure(etree.fromstring(text.encode()), _action("bulkQueryMappings"))
        _, said = line.post(ReplicaCatalog, etree.tostring(signed))
    assert family_of(said) == "MalformedRequest"


def _action(operation: str) -> str:
    return f"urn:konzilium:catalog:1:{operation}Request"


def family_of(said: bytes) -> str:
    """The name of the typed detail of a fault."""
    fault = next(etree.fromstring(said).iter("{*}Fault"))
    detail = next(one for one in fault if etree.QName(one).localname.lower() == "detail")
    return str(etree.QName(detail[0]).localname)


def broken_objects() -> dict[str, bytes]:
    """DICOM files of a patient that cannot be archived as they are."""
    data = synthetic.dataset(patient=ID, name=NAME, study=77)
    whole = synthetic.part10(data)
    made = {
        "cut off": whole[: len(whole) // 2],
        "no header": whole[132:],
        "noise in it": whole[:300] + b"\xff" * 60,
    }
    for keyword, value in (
        ("StudyInstanceUID", NAME),
        ("SeriesInstanceUID", ID + "x"),
        ("StudyDate", NAME),
        ("PatientBirthDate", ID),
        ("Modality", NAME),
        ("SpecificCharacterSet", NAME),
    ):
        wrong = copy.deepcopy(data)
        setattr(wrong, keyword, value)
        made[f"{keyword} is nonsense"] = synthetic.part10(wrong)
        del wrong[keyword]
        made[f"no {keyword}"] = synthetic.part10(wrong)
    return made


BROKEN = broken_objects()


@pytest.mark.parametrize("what", BROKEN)
def test_nothing_of_an_object_that_cannot_be_archived_is_repeated(pair, what, no_patient_is_named):
    brno, prague = pair
    content = BROKEN[what]
    with Line(prague, brno) as line, suppress(Rejected):
        line.call(
            Storage.put_object,
            content=Blob(lambda: iter([content]), len(content), "application/dicom"),
        )
    until(lambda: "request" in no_patient_is_named.text())


def test_nothing_of_a_query_is_repeated(pair, no_patient_is_named):
    brno, prague = pair
    with Line(prague, brno) as line:
        for tag, vr in (("00100010", "PN"), ("00100030", "DA"), ("00080020", "DA"), ("00280010", "US")):
            for value in (NAME, ID, f"{NAME}-{ID}", f"*{NAME}?", "\\".join((NAME, ID))):
                with suppress(Rejected):
                    line.call(
                        Storage.search, level=QueryLevel.STUDY, key=(QueryKey(tag=tag, vr=vr, value=value),)
                    )
    until(lambda: "request" in no_patient_is_named.text())


MISPLACED = {
    "a value that is none": '<t:stat xmlns:t="urn:konzilium:storage:1"><t:digest>%s</t:digest></t:stat>',
    "an element that is not known": '<t:stat xmlns:t="urn:konzilium:storage:1"><t:name>%s</t:name></t:stat>',
    "an operation that is not known": '<t:find xmlns:t="urn:konzilium:storage:1">%s</t:find>',
    "a site that cannot be": '<t:metadata xmlns:t="urn:konzilium:federation:1"><t:site>%s</t:site>'
    "</t:metadata>",
    "text beside the elements": '<t:members xmlns:t="urn:konzilium:federation:1">%s</t:members>',
}


@pytest.mark.parametrize("soap", VERSIONS, ids=lambda one: one.name)
@pytest.mark.parametrize("what", MISPLACED)
def test_nothing_that_stands_where_it_should_not_is_repeated(pair, soap, what):
    brno, prague = pair
    content = MISPLACED[what] % f"{NAME} {ID}"
    text = f'<e:Envelope xmlns:e="{soap.envelope}"><e:Body>{content}</e:Body></e:Envelope>'
    service = Federation if "federation" in content else Storage
    operation = etree.QName(etree.fromstring(content)).localname
    with Line(prague, brno) as line:
        action = f"urn:konzilium:{service.path}:1:{operation}Request"
        signed = etree.tostring(line.secure(etree.fromstring(text), action))
        _, said = line.post(service, signed, soap.media)
    assert family_of(said) == "MalformedRequest"


def test_nothing_of_a_message_that_is_no_xml_or_not_signed_is_repeated(pair):
    brno, prague = pair
    body = PLACE % f'<q:{"Pacientka"} xmlns:q="urn:konzilium:{ID}">{NAME}</q:Pacientka>'
    with Line(prague, brno) as line:
        for text in (
            f"<{NAME}",
            f"<a>{NAME}</b>",
            body,
            f"<a {ID}='1'/>",
            body.replace("e:Body", "e:Pacientka"),
        ):
            status, _ = line.post(Storage, text.encode())
            assert status in {400, 500}
        assert line.blob(f"{ID}", "ab" * 32)[0] == 404
        assert line.ask("POST", "/transfer/pack", {"Ticket": ID}, NAME.encode())[0] == 400


def test_a_body_without_an_end_is_cut_off_at_the_limit(pair):
    brno, prague = pair
    head = (
        f"POST {target_of(Storage)} HTTP/1.1\r\nHost: brno\r\nContent-Type: {SOAP12.media}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with raw(Line(prague, brno)) as wire:
        wire.sendall(head.encode())
        sent = 0
        try:
            while sent < 100 * MIB:
                wire.sendall(chunk)
                sent += 0x10000
        except OSError:
            pass
        assert sent < 50 * MIB


def test_a_length_that_is_too_much_is_refused_without_a_byte_of_the_body(pair):
    brno, prague = pair
    head = (
        f"POST {target_of(Storage)} HTTP/1.1\r\nHost: brno\r\nContent-Type: {SOAP12.media}\r\n"
        f"Content-Length: {10 * MIB}\r\n\r\n"
    )
    with raw(Line(prague, brno)) as wire:
        wire.sendall(head.encode())
        assert wire.recv(100).startswith(b"HTTP/1.1 400 ")


def raw(line: Line) -> ssl.SSLSocket:
    """A secured socket, for what no client would send."""
    plain = socket.create_connection(("127.0.0.1", line.called.port), 20.0)
    return line._context().wrap_socket(plain)


def test_strangers_that_never_send_what_they_announced_do_not_keep_members_out(pair):
    brno, prague = pair
    head = (
        f"POST {target_of(Federation)} HTTP/1.1\r\nHost: brno\r\nContent-Type: {SOAP12.media}\r\n"
        f"Content-Length: {MIB}\r\n\r\n<"
    )
    with ExitStack() as stack:
        strangers = [
            stack.enter_context(raw(Line(prague, brno, anonymous=True)))
            for _ in range(ServerLimits().threads + 4)
        ]
        for one in strangers:
            one.sendall(head.encode())
        line = stack.enter_context(Line(prague, brno))
        assert line.call(Recovery.status).site == "brno"
        until(lambda: _waiting(strangers) == ServerLimits().strangers)
    with Line(prague, brno, anonymous=True) as line:
        until(lambda: _is_served(line))


def _waiting(wires: list[ssl.SSLSocket]) -> int:
    """How many were not told that there are too many; the others leave the list."""
    for one in list(wires):
        one.setblocking(False)
        with suppress(OSError):
            if one.recv(100).startswith(b"HTTP/1.1 503 "):
                wires.remove(one)
    return len(wires)


def _is_served(line: Line) -> bool:
    with suppress(PeerUnreachable):
        return line.get(f"{target_of(Federation)}?wsdl")[0] == 200
    return False


def test_a_pack_that_asks_for_too_much_is_refused(pair):
    brno, prague = pair
    with Line(prague, brno) as line:
        status, said = line.pack("ticket", ["ab" * 32] * 5000)
    assert (status, json.loads(said)["type"]) == (413, "urn:konzilium:problem:TooLarge")


def test_a_member_that_calls_too_often_is_told_to_wait_and_the_others_are_served(monkeypatch):
    monkeypatch.setattr(nodes, "MEMBER_BURST", 3.0)
    monkeypatch.setattr(nodes, "MEMBER_RATE", 0.001)
    with opened("brno") as brno, opened("prague") as prague, opened("plzen") as plzen:
        acquaint(brno, prague, plzen)
        with serving(brno), Line(prague, brno) as line, Line(plzen, brno) as other:
            for service in (Recovery.status, Federation.members, Recovery.status):
                line.call(service)
            for service in (Recovery.status, Federation.members):
                with pytest.raises(TooBusy) as refused:
                    line.call(service)
                assert (refused.value.retry_after or 0) > 0
            assert other.call(Recovery.status).site == "brno"


def test_an_address_that_calls_too_often_is_refused_before_anything_is_read(monkeypatch, request):
    monkeypatch.setattr(nodes, "ADDRESS_BURST", 3.0)
    monkeypatch.setattr(nodes, "ADDRESS_RATE", 0.001)
    with opened("brno") as brno, opened("prague") as prague:
        acquaint(brno, prague)
        with serving(brno), Line(prague, brno) as line:
            for _ in range(3):
                line.call(Recovery.status)
            parsed = request.getfixturevalue("parsed")
            _, said = line.post(Recovery, b"<<< whatever this is")
    assert family_of(said) == "ServerBusy"
    assert parsed == []


@pytest.fixture
def inviting() -> Iterator[tuple[Door, Door]]:
    """Brno, served, and Prague, which it does not know."""
    with served("brno") as brno, opened("prague") as prague:
        yield brno, prague


def invited(brno: Door, **options) -> Invited:
    return brno.site.invitations.invite(brno.operator, SiteId("prague"), confirmed=True, **options)


def join(door: Door, made_out: Invited, code: str | None = None) -> None:
    enter(door.site, made_out.token, code or made_out.code, EVERYTHING, EVERYTHING)


def test_an_invitation_lets_one_site_in_once(inviting):
    brno, prague = inviting
    made_out = invited(brno)
    join(prague, made_out)
    assert brno.member(prague).standing is Standing.ACTIVE
    with Line(prague, brno) as line:
        assert line.call(Recovery.status).site == "brno"
    with opened("prague") as another:
        with pytest.raises(Unauthenticated):
            join(another, made_out)
        assert another.home.key().fingerprint not in brno.member(prague).fingerprints


def test_an_invitation_ends(inviting):
    brno, prague = inviting
    made_out, later = invited(brno, lifetime=60.0), invited(brno, lifetime=3600.0)
    brno.clock.forward(61)
    with pytest.raises(Unauthenticated):
        join(prague, made_out)
    join(prague, later)
    prague.clock.forward(3601)
    with pytest.raises(Expired):
        join(prague, later)


def test_an_invitation_is_for_the_site_that_it_names(inviting):
    brno, prague = inviting
    made_out = invited(brno)
    with opened("plzen") as plzen:
        with pytest.raises(NodeError):
            join(plzen, made_out)
        renamed = replace(made_out, token=replace(made_out.token, site=plzen.name))
        with pytest.raises(Unauthenticated):
            join(plzen, renamed)
    assert [one.site for one in brno.site.members.all()] == []
    join(prague, made_out)


def test_the_token_without_the_code_is_useless_and_guessing_spoils_it(monkeypatch):
    monkeypatch.setattr(nodes, "STRANGER_BURST", 100.0)  # so that it is not this that keeps them out
    with served("brno") as brno, opened("prague") as prague:
        _guess(brno, prague)


def _guess(brno: Door, prague: Door) -> None:
    made_out = invited(brno)
    wrong = [code for code in (f"0000-000{at}" for at in range(6)) if code != made_out.code][:5]
    with opened("prague") as thief:
        for code in wrong:
            with pytest.raises(Unauthenticated, match="code"):
                join(thief, made_out, code)
        assert brno.site.members.all() == []
    with pytest.raises(Unauthenticated):
        join(prague, made_out)
    assert brno.site.members.all() == []


def test_the_code_without_the_token_is_useless(inviting):
    brno, prague = inviting
    made_out = invited(brno)
    forged = replace(made_out, token=replace(made_out.token, secret="0" * 32))
    with pytest.raises(Unauthenticated):
        join(prague, forged)
    join(prague, made_out)


def test_a_stranger_may_try_a_few_times(inviting):
    brno, _ = inviting
    made_out = invited(brno)
    with calling.stranger(made_out.token) as session:
        refused = [_tried(session) for _ in range(int(nodes.STRANGER_BURST) + 2)]
    assert refused[0] is Unauthenticated
    assert refused[-1] is TooBusy


def _tried(session) -> type[NodeError]:  # type: ignore[no-untyped-def]
    try:
        session.call(Federation.greet, invitation="0" * 32, offer="2" * 512)
    except NodeError as error:
        return type(error)
    raise AssertionError("it was let in")


def test_guessing_does_not_keep_members_out(inviting):
    brno, prague = inviting
    join(prague, invited(brno))
    with calling.stranger(invited_again(brno).token) as session:
        for _ in range(int(nodes.STRANGER_BURST) + 2):
            _tried(session)
    operator = Principal(kind=Kind.OPERATOR, name="technician", site=prague.name)
    with Line(prague, brno, principal=operator) as line:
        assert line.call(Federation.members)


def invited_again(brno: Door) -> Invited:
    return brno.site.invitations.invite(brno.operator, SiteId("plzen"), confirmed=True)
