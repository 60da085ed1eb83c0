"""A message of another node: taken once, from the holder of the connection, for this node, now, whole."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from lxml import etree

from node.domain.errors import (
    BadSignature,
    Expired,
    IssuedBeforeStart,
    MalformedMessage,
    Replayed,
    TooBusy,
    Unauthenticated,
)
from node.identity.assertion import SECOND, SKEW
from node.identity.xmlnames import add, instant
from node.identity.xmlread import parse
from services.soap.security import Signer, incoming
from services.soap.security.names import (
    ACTION,
    ADDRESS,
    CREATED,
    EXPIRES,
    MESSAGE_ID,
    REPLY_TO,
    SECURITY,
    SOAP11,
    SOAP12,
    TIMESTAMP,
    TO,
    TOKEN,
    WSA,
)
from tests.support.signed import (
    ACTION as QUERY,
)
from tests.support.signed import (
    ARRIVED,
    BRNO,
    NOW,
    TECHNICIAN,
    Federation,
    body,
    carried,
    envelope,
    reissued,
    resigned,
    security,
    signature,
)


@pytest.fixture(scope="module")
def federation(tmp_path_factory) -> Federation:
    return Federation(tmp_path_factory.mktemp("keys"))


def refused(
    federation: Federation, message: etree._Element, why: str, error: type[Exception] = Unauthenticated, **how
) -> None:
    with pytest.raises(error, match=why) as raised:
        federation.verify(message, **how)
    assert raised.type is error


def refused_if(
    federation: Federation,
    change: Callable[[etree._Element], object],
    why: str,
    error: type[Exception] = Unauthenticated,
    **how,
) -> None:
    """A message is good, and if its sender had signed it with this change in it, it would not be."""
    message = federation.message()
    assert federation.verify(resigned(message, federation.brno, lambda _: None)).node == BRNO
    refused(federation, resigned(message, federation.brno, change), why, error, **how)


def changed(federation: Federation, change: Callable[[etree._Element], object], why: str, error=BadSignature):
    """A message is good, and is not any more when somebody changes it on its way."""
    message = federation.message()
    assert federation.verify(message).node == BRNO
    change(message)
    refused(federation, message, why, error)


def header(message: etree._Element, tag: str) -> etree._Element:
    return next(message[0].iterchildren(tag))


def again(element: etree._Element) -> None:
    element.getparent().append(copy.deepcopy(element))


@pytest.mark.parametrize("soap", [SOAP11, SOAP12], ids=["soap-1.1", "soap-1.2"])
def test_a_message_says_who_sent_it_and_who_caused_it(federation, soap):
    message = federation.message(soap=soap)
    caller = federation.verify(message)
    assert (caller.node, caller.principal) == (BRNO, ARRIVED)
    assert caller.certificate == federation.brno.pem
    assert caller.action == QUERY
    assert caller.message_id == header(message, MESSAGE_ID).text


def test_the_headers_of_whoever_made_the_envelope_are_replaced_by_those_of_the_signer(federation):
    root = envelope()
    head = etree.Element(f"{{{SOAP12}}}Header")
    root.insert(0, head)
    for name in ("MessageID", "To", "Action", "From", "FaultTo"):
        add(head, f"{{{WSA}}}{name}", "http://elsewhere.example/")
    Signer(federation.brno).secure(
        root, audience=federation.prague.site, principal=TECHNICIAN, action=QUERY, now=NOW
    )
    assert federation.verify(root).action == QUERY


def test_what_is_no_envelope_with_a_body_is_not_secured(federation):
    for root in (
        etree.Element("x"),
        etree.Element(f"{{{SOAP11}}}Envelope"),
        etree.Element("{urn:x}Envelope"),
    ):
        with pytest.raises(MalformedMessage, match="envelope"):
            Signer(federation.brno).secure(root, audience=BRNO, principal=None, action="", now=NOW)


def test_a_message_is_taken_once(federation):
    by, message = federation.verifier(), federation.message()
    assert federation.verify(message, by=by).node == BRNO
    refused(federation, message, "received before", Replayed, by=by)
    refused(federation, message, "received before", Replayed, by=by, now=NOW + 150 * SECOND)


def test_another_message_with_the_assertion_of_one_that_was_taken_is_refused(federation):
    by, first = federation.verifier(), federation.message()
    assert federation.verify(first, by=by).node == BRNO

    def borrow(message: etree._Element) -> None:
        security(message).replace(carried(message), copy.deepcopy(carried(first)))

    second = resigned(federation.message(), federation.brno, borrow)
    assert federation.verify(second).node == BRNO
    refused(federation, second, "received before", Replayed, by=by)


def test_another_message_with_the_id_of_one_that_was_taken_is_refused(federation):
    by, first = federation.verifier(), federation.message()
    assert federation.verify(first, by=by).node == BRNO
    name = header(first, MESSAGE_ID).text
    second = resigned(
        federation.message(), federation.brno, lambda one: setattr(header(one, MESSAGE_ID), "text", name)
    )
    refused(federation, second, "received before", Replayed, by=by)


def test_a_message_of_before_a_restart_is_refused_and_one_of_after_it_is_taken(federation):
    restarted = federation.verifier(started=NOW + SECOND)
    later = NOW + 2 * SECOND
    refused(federation, federation.message(), "send a new one", IssuedBeforeStart, by=restarted, now=later)
    assert federation.verify(federation.message(now=later), by=restarted, now=later).node == BRNO


def test_a_wrong_clock_is_named(federation):
    early, late = NOW - (SKEW + 1) * SECOND, NOW + (120 + SKEW + 1) * SECOND
    for now, why in ((early, "on, and by the clock here it is"), (late, "until .* compare the clocks")):
        refused(federation, federation.message(), why, Expired, now=now)
    for now in (early + SECOND, late - 2 * SECOND):
        assert (
            federation.verify(federation.message(), by=federation.verifier(started=0), now=now).node == BRNO
        )


def test_a_message_that_expires_in_an_hour_is_refused(federation):
    later = instant(NOW + 3600 * SECOND)
    refused_if(federation, lambda one: setattr(security(one)[0][1], "text", later), "at most", Expired)
    refused_if(federation, lambda one: setattr(security(one)[0][1], "text", instant(NOW)), "at most", Expired)


def test_a_message_without_a_time_is_refused(federation):
    def stamp(message: etree._Element) -> etree._Element:
        return next(security(message).iterchildren(TIMESTAMP))

    refused_if(federation, lambda one: setattr(stamp(one)[0], "text", "now"), "in which time")
    refused_if(federation, lambda one: setattr(stamp(one)[1], "text", "later"), "in which time")
    refused_if(federation, lambda one: stamp(one).remove(stamp(one)[1]), "0 elements Expires")
    refused_if(federation, lambda one: again(stamp(one)[0]), "2 elements Created")
    refused_if(federation, lambda one: security(one).remove(stamp(one)), "0 elements Timestamp")
    refused_if(federation, lambda one: again(stamp(one)), "2 elements Timestamp")
    assert {CREATED, EXPIRES} == {child.tag for child in stamp(federation.message())}


def test_a_message_for_another_node_is_refused(federation):
    refused_if(
        federation, lambda one: setattr(header(one, TO), "text", "urn:konzilium:node:plzen"), "not for prague"
    )
    refused(federation, federation.message(audience=federation.plzen.site), "not for prague")


def test_an_assertion_for_another_node_is_refused_in_a_message_for_this_one(federation):
    other = federation.assertion(audience=federation.plzen.site)
    refused_if(
        federation, lambda one: security(one).replace(carried(one), other), "is for urn:konzilium:node:plzen"
    )


def test_a_message_over_the_connection_of_another_member_is_refused(federation):
    refused(federation, federation.message(), "does not show a certificate of brno", key=federation.plzen)


def test_a_message_over_a_connection_without_certificate_is_refused(federation):
    with pytest.raises(Unauthenticated, match="no client certificate"):
        federation.verifier().verify(federation.message(), None, NOW)


def test_a_member_cannot_send_in_the_name_of_another(federation):
    """Plzen has its own connection, signs with its own key, and carries a stolen assertion of Brno."""
    stolen = federation.assertion()
    message = resigned(
        federation.message(key=federation.plzen, principal=None),
        federation.plzen,
        lambda one: security(one).append(stolen),
    )
    refused(federation, message, "does not show a certificate of brno", key=federation.plzen)
    refused(federation, message, "not from the holder of the connection")


def test_a_rogue_that_says_it_is_brno_is_refused(federation):
    forged = federation.message(key=federation.rogue)
    refused(federation, forged, "does not show a certificate of brno", key=federation.rogue)
    refused(federation, forged, "not from the holder of the connection")


def test_the_certificate_of_brno_beside_the_signature_of_a_rogue_is_refused(federation):
    refused(
        federation,
        resigned(federation.message(), federation.rogue, lambda _: None),
        "another key",
        BadSignature,
    )


def test_an_assertion_by_a_rogue_is_refused_in_a_message_of_brno(federation):
    def swap(message: etree._Element) -> None:
        forged = reissued(carried(message), federation.rogue, lambda _: None)
        security(message).replace(carried(message), forged)

    refused_if(federation, swap, "not known", BadSignature)


def test_an_assertion_that_was_changed_is_refused_though_the_message_is_signed(federation):
    def promote(message: etree._Element) -> None:
        name = next(carried(message).iter("{*}NameID"))
        name.text = "operator:director@brno"

    refused_if(federation, promote, "Assertion was changed", BadSignature)


def test_a_message_of_a_site_that_was_revoked_is_refused_at_once(federation):
    by = federation.verifier()
    assert federation.verify(federation.message(), by=by).node == BRNO
    pinned = federation.members.pop(BRNO)
    try:
        refused(federation, federation.message(), "no active member", by=by)
    finally:
        federation.members[BRNO] = pinned


def test_a_message_without_an_assertion_is_refused(federation):
    refused(federation, federation.message(principal=None), "no assertion")


def test_two_assertions_are_refused(federation):
    refused_if(
        federation, lambda one: security(one).append(federation.assertion()), "more than one assertion"
    )


def test_a_message_without_a_signature_is_refused(federation):
    changed(
        federation, lambda one: security(one).remove(signature(one)), "0 elements Signature", Unauthenticated
    )


def test_a_message_without_a_security_header_is_refused(federation):
    changed(federation, lambda one: one[0].remove(security(one)), "0 elements Security", Unauthenticated)


def test_two_of_anything_are_refused(federation):
    changed(federation, lambda one: again(security(one)), "2 elements Security", Unauthenticated)
    changed(federation, lambda one: again(signature(one)), "2 elements Signature", Unauthenticated)
    changed(federation, lambda one: again(body(one)), "one header and one body", Unauthenticated)
    changed(federation, lambda one: again(one[0]), "one header and one body", Unauthenticated)
    refused_if(federation, lambda one: again(next(security(one).iterchildren(TOKEN))), "2 elements Binary")
    for tag in (MESSAGE_ID, TO, ACTION, REPLY_TO):
        refused_if(federation, lambda one, tag=tag: again(header(one, tag)), "there twice")


def test_addressing_has_to_be_complete_and_the_answer_comes_back_on_the_connection(federation):
    for tag in (MESSAGE_ID, TO, ACTION):
        refused_if(federation, lambda one, tag=tag: one[0].remove(header(one, tag)), "is missing")
        refused_if(federation, lambda one, tag=tag: setattr(header(one, tag), "text", None), "no plain text")
    refused_if(
        federation,
        lambda one: setattr(header(one, REPLY_TO).find(ADDRESS), "text", "https://elsewhere.example/"),
        "elsewhere",
    )
    refused_if(federation, lambda one: add(header(one, MESSAGE_ID), "x"), "no plain text")
    refused_if(federation, lambda one: add(one[0], f"{{{WSA}}}FaultTo", "x"), "not known here")
    refused_if(federation, lambda one: setattr(header(one, MESSAGE_ID), "text", "x" * 129), "too long")


def test_a_message_that_does_not_say_where_the_answer_goes_gets_it_on_the_connection(federation):
    message = resigned(
        federation.message(), federation.brno, lambda one: one[0].remove(header(one, REPLY_TO))
    )
    assert federation.verify(message).node == BRNO


def test_a_header_that_is_not_known_is_refused(federation):
    changed(federation, lambda one: add(one[0], "{urn:x}Trace", "1"), "not known here", Unauthenticated)
    changed(
        federation, lambda one: add(security(one), "{urn:x}Token", "1"), "not known here", Unauthenticated
    )


def test_every_part_is_covered_so_that_none_can_be_changed_on_the_way(federation):
    changes: list[Callable[[etree._Element], object]] = [
        lambda one: setattr(body(one)[0][0], "text", "1.2.4"),
        lambda one: add(body(one)[0], "extra"),
        lambda one: body(one).set("extra", "1"),
        lambda one: setattr(header(one, TO), "text", "urn:konzilium:node:prague "),
        lambda one: setattr(header(one, ACTION), "text", "urn:other"),
        lambda one: setattr(header(one, MESSAGE_ID), "text", "urn:uuid:other"),
        lambda one: header(one, REPLY_TO).set("extra", "1"),
        lambda one: setattr(security(one)[0][1], "text", instant(NOW + 121 * SECOND)),
        lambda one: next(security(one).iterchildren(TOKEN)).set("extra", "1"),
        lambda one: carried(one).set("extra", "1"),
    ]
    for change in changes:
        changed(federation, change, "was changed")


def test_a_part_that_the_signature_leaves_out_is_refused(federation):
    message = federation.message()
    parts = [*message[0], *security(message), body(message)]
    left_out = [part.tag for part in parts if part.tag not in {SECURITY, signature(message).tag}]
    assert len(left_out) == 8
    for tag in left_out:
        without = resigned(
            message, federation.brno, lambda _: None, covered=lambda element, tag=tag: element.tag != tag
        )
        refused(federation, without, "not cover exactly", BadSignature)


def test_an_addressing_header_that_is_not_covered_is_refused(federation):
    """Nothing can be added beside what was signed."""
    message = federation.message()
    message[0].remove(header(message, REPLY_TO))
    reply = add(message[0], REPLY_TO)
    add(reply, ADDRESS, f"{WSA}/anonymous")
    refused(federation, message, "no ID", BadSignature)


@pytest.mark.parametrize("text", [None, "", "AAAA", "no base64"])
def test_a_token_that_is_no_certificate_is_refused(federation, text):
    refused_if(
        federation,
        lambda one: setattr(next(security(one).iterchildren(TOKEN)), "text", text),
        "token|holder of the connection",
    )


def test_a_token_of_another_type_is_refused(federation):
    refused_if(federation, lambda one: add(next(security(one).iterchildren(TOKEN)), "x"), "no X.509")
    for name in ("ValueType", "EncodingType"):
        refused_if(
            federation,
            lambda one, name=name: next(security(one).iterchildren(TOKEN)).set(name, "x"),
            "no X.509",
        )


def test_a_message_in_an_envelope_of_another_kind_is_refused(federation):
    def rename(message: etree._Element) -> None:
        for element in (message, message[0], body(message)):
            element.tag = f"{{urn:x}}{etree.QName(element).localname}"

    refused_if(federation, rename, "no SOAP envelope")
    changed(
        federation,
        lambda one: setattr(one, "tag", f"{{{SOAP12}}}Envelop"),
        "no SOAP envelope",
        Unauthenticated,
    )


def test_what_is_no_envelope_is_refused(federation):
    for text in (
        "<a/>",
        f'<Envelope xmlns="{SOAP12}"/>',
        f'<Body xmlns="{SOAP11}"/>',
        '<Envelope xmlns="urn:x"/>',
    ):
        with pytest.raises(Unauthenticated, match="envelope"):
            federation.verifier().verify(parse(text.encode()), federation.brno.fingerprint, NOW)


def test_comments_and_instructions_cannot_be_slipped_in(federation):
    for node in (etree.Comment("x"), etree.ProcessingInstruction("x")):
        for place in (
            lambda one: body(one)[0][0],
            body,
            lambda one: carried(one)[0],
            security,
            lambda one: one[0],
        ):
            message = federation.message()
            place(message).append(copy.copy(node))
            with pytest.raises((MalformedMessage, Unauthenticated)):
                federation.verifier().verify(message, federation.brno.fingerprint, NOW)


def test_verifying_changes_nothing_in_the_message(federation):
    message = parse(etree.tostring(federation.message()))
    before = etree.tostring(message)
    assert federation.verifier().verify(message, federation.brno.fingerprint, NOW).node == BRNO
    assert etree.tostring(message) == before


def test_a_stranger_is_known_by_the_certificate_that_it_signed_with_and_by_nothing_else(federation):
    message = parse(etree.tostring(federation.message(key=federation.rogue, principal=None)))
    for shown in (None, federation.rogue.fingerprint):
        assert federation.verifier().verify_unknown(message, shown, NOW) == federation.rogue.pem


def unknown(federation: Federation, message: etree._Element, why: str, error=Unauthenticated, **how) -> None:
    by, shown = how.get("by") or federation.verifier(), how.get("shown")
    with pytest.raises(error, match=why):
        by.verify_unknown(parse(etree.tostring(message)), shown, how.get("now", NOW))


def test_the_message_of_a_stranger_has_to_be_whole_for_this_node_now_once_and_from_its_connection(federation):
    rogue, by = federation.rogue, federation.verifier()
    message = federation.message(key=rogue, principal=None)
    unknown(federation, message, "holder of the connection", shown=federation.brno.fingerprint)
    unknown(federation, resigned(message, federation.brno, lambda _: None), "another key", BadSignature)
    unknown(federation, message, "compare the clocks", Expired, now=NOW + 200 * SECOND)
    unknown(federation, message, "send a new one", IssuedBeforeStart, by=federation.verifier(started=NOW + 1))
    unknown(federation, federation.message(key=rogue, principal=None, audience=BRNO), "not for prague")
    unknown(federation, federation.message(), "cannot say who caused")
    assert by.verify_unknown(message, None, NOW) == rogue.pem
    unknown(federation, message, "received before", Replayed, by=by)
    body(message)[0][0].text = "other"
    unknown(federation, message, "Body was changed", BadSignature)
    late = rogue.certificate.not_after + 2 * SKEW * SECOND
    unknown(
        federation, federation.message(key=rogue, principal=None, now=late), "valid from", Expired, now=late
    )


def test_a_stranger_cannot_use_up_the_message_ids_of_a_member(federation):
    by, message = federation.verifier(), federation.message()
    name = header(message, MESSAGE_ID).text
    first = resigned(
        federation.message(key=federation.rogue, principal=None),
        federation.rogue,
        lambda one: setattr(header(one, MESSAGE_ID), "text", name),
    )
    assert by.verify_unknown(first, None, NOW) == federation.rogue.pem
    assert federation.verify(message, by=by).node == BRNO


def test_strangers_cannot_fill_the_memory_for_the_members(federation, monkeypatch):
    monkeypatch.setattr(incoming, "MAX_STRANGERS", 1)
    by, strange = federation.verifier(), {"key": federation.rogue, "principal": None}
    assert by.verify_unknown(federation.message(**strange), None, NOW) == federation.rogue.pem
    unknown(federation, federation.message(**strange), "more messages", TooBusy, by=by)
    assert federation.verify(federation.message(), by=by).node == BRNO


def test_eight_threads_take_good_messages_and_refuse_forged_ones_without_mixing_them_up(federation):
    by = federation.verifier()
    senders = [federation.brno, federation.plzen]

    def work(number: int) -> bool:
        key = senders[number % 2]
        principal = replace(TECHNICIAN, name=f"technician {number}", site=key.site)
        message = federation.message(key=key, principal=principal)
        forged = copy.deepcopy(message)
        body(forged)[0][0].text = "forged"
        try:
            federation.verify(forged, key=key, by=by)
        except BadSignature:
            caller = federation.verify(message, key=key, by=by)
            return (caller.node, caller.principal) == (key.site, replace(principal, via=key.site))
        return False

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))
