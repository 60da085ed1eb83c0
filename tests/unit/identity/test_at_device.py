"""Persons at devices: what an association shows, who that is, and what the record says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from node.audit.record import Deed, Event, read
from node.domain.account import AccountName
from node.domain.clock import system_clock
from node.domain.errors import (
    LoginRefused,
    Replayed,
    SecondFactorNeeded,
    TooBusy,
    Unauthenticated,
    UnknownProvider,
)
from node.domain.ids import AETitle
from node.domain.principal import Action, Device, Kind, Naming, Principal
from node.identity.account_book import AccountBook
from node.identity.accounts import Accounts
from node.identity.at_device import AtDevices, Proof, Proofs, Shown
from node.identity.person_certificates import PersonCertificates
from node.identity.persons import person
from tests.support.person_certificates import Authority, mail
from tests.support.sites import BRNO, OPERATOR, TestSite, site

GOOD = "seven lanterns over the quay"
MAY = frozenset({Action.QUERY, Action.RETRIEVE})
VIEWER = Principal(kind=Kind.DEVICE, name="VIEWER", site=BRNO, address="192.0.2.20", may=MAY)
PETR = person(issuer="https://idp.hospital-brno.test/", name="petr@hospital-brno.test", site=BRNO)
PASSCODE = Shown(kind=Proof.PASSCODE, primary=b"jana", secondary=GOOD.encode(), secure=True)
TOKEN = Shown(kind=Proof.TOKEN, primary=b"petr", secure=True)


def known_bearer(shown: bytes) -> Principal:
    """Whom a token or an assertion names, for tests that are about what comes after."""
    if shown == b"busy":
        raise TooBusy("tokens")
    if shown == b"stranger":
        raise UnknownProvider("https://idp.hospital-prague.test/")
    if not shown.startswith(b"petr"):
        raise LoginRefused("it is not right")
    return PETR


@pytest.fixture
def brno() -> Iterator[TestSite]:
    with site() as made:
        book = AccountBook(made.catalog, BRNO)
        first = book.add(OPERATOR, AccountName("jana"))
        Accounts(made.catalog, BRNO, local=True).enter("jana", first, new=GOOD, address="192.0.2.1")
        put(made, Naming.OPTIONAL)
        yield made


def put(brno: TestSite, people: Naming, name: str = "VIEWER") -> None:
    device = Device(ae_title=AETitle(name), host="192.0.2.20", port=104, may=MAY, people=people)
    brno.devices.add(OPERATOR, device, replace=True)


def door(brno: TestSite, **changes: object) -> AtDevices:
    proofs = Proofs(
        accounts=Accounts(brno.catalog, BRNO, local=True), tokens=known_bearer, assertions=known_bearer
    )
    return AtDevices(brno.catalog, replace(proofs, **changes))  # type: ignore[arg-type]


def last(brno: TestSite) -> Deed:
    with brno.catalog.reading() as unit:
        *_, record = unit.audit.after()
    return read(record.deed)


def test_without_a_person_the_device_acts_for_itself(brno: TestSite) -> None:
    before = last(brno)
    assert door(brno).who(VIEWER, Shown()) is VIEWER
    assert last(brno) == before


@pytest.mark.parametrize(
    ("shown", "name", "words"),
    [
        (PASSCODE, "jana@brno", "name and passcode"),
        (replace(PASSCODE, secondary=GOOD.encode() + b"\0"), "jana@brno", "name and passcode"),
        (TOKEN, "petr@hospital-brno.test", "JSON web token"),
        (replace(TOKEN, kind=Proof.ASSERTION), "petr@hospital-brno.test", "SAML assertion"),
    ],
)
def test_a_person_is_known_and_may_no_more_than_the_device(
    brno: TestSite, shown: Shown, name: str, words: str
) -> None:
    found = door(brno).who(VIEWER, shown)
    assert (found.kind, found.name, found.site) == (Kind.PERSON, name, BRNO)
    assert (found.device, found.address, found.may) == ("VIEWER", "192.0.2.20", MAY)
    deed = last(brno)
    assert (deed.event, deed.refused, deed.device) == (Event.LOGIN, False, "VIEWER")
    assert deed.who == f"person:{name}@brno" and words in deed.what


@pytest.mark.parametrize(
    ("shown", "who"),
    [
        (replace(PASSCODE, secondary=b"wrong wrong wrong"), "person:jana@brno@brno"),
        (replace(PASSCODE, secondary=b""), "person:jana@brno@brno"),
        (replace(PASSCODE, primary=b"nobody"), "device:VIEWER@brno"),
        (replace(PASSCODE, primary=b"\xff\xfe"), "device:VIEWER@brno"),
        (replace(PASSCODE, primary=b"x" * 5000), "device:VIEWER@brno"),
        (replace(PASSCODE, secure=False), "person:jana@brno@brno"),
        (replace(TOKEN, secure=False), "device:VIEWER@brno"),
        (replace(TOKEN, primary=b"forged"), "device:VIEWER@brno"),
        (replace(TOKEN, primary=b"stranger"), "device:VIEWER@brno"),
        (replace(TOKEN, kind=Proof.KERBEROS), "device:VIEWER@brno"),
        (replace(TOKEN, kind=9), "device:VIEWER@brno"),
        (Shown(kind=Proof.NAME, primary=b"jana"), "device:VIEWER@brno"),
    ],
)
def test_what_is_not_right_is_refused_and_recorded(brno: TestSite, shown: Shown, who: str) -> None:
    with pytest.raises(Unauthenticated):
        door(brno).who(VIEWER, shown)
    deed = last(brno)
    assert (deed.event, deed.refused, deed.who, deed.device) == (Event.LOGIN, True, who, "VIEWER")
    assert deed.reason
    assert GOOD not in str(deed) and "wrong wrong" not in str(deed)


def test_where_nobody_can_read_along_is_said_by_the_settings(brno: TestSite) -> None:
    assert door(brno, plain=True).who(VIEWER, replace(PASSCODE, secure=False)).name == "jana@brno"


@pytest.mark.parametrize("proof", [Proof.PASSCODE, Proof.TOKEN, Proof.ASSERTION])
def test_a_proof_that_this_site_does_not_know_is_refused(brno: TestSite, proof: Proof) -> None:
    bare = AtDevices(brno.catalog, Proofs())
    with pytest.raises(LoginRefused, match="cannot be proved here"):
        bare.who(VIEWER, Shown(kind=proof, primary=b"x", secure=True))


def test_a_node_that_is_busy_refuses_nobody_for_good(brno: TestSite) -> None:
    before = last(brno)
    with pytest.raises(TooBusy):
        door(brno).who(VIEWER, replace(TOKEN, primary=b"busy"))
    assert last(brno) == before


def test_a_shared_device_has_to_name_its_people(brno: TestSite) -> None:
    put(brno, Naming.REQUIRED)
    with pytest.raises(LoginRefused, match="has to say"):
        door(brno).who(VIEWER, Shown())
    assert last(brno).refused
    assert door(brno).who(VIEWER, PASSCODE).name == "jana@brno"


def test_what_a_device_says_of_people_can_be_left_alone(brno: TestSite) -> None:
    put(brno, Naming.IGNORED)
    before = last(brno)
    for shown in (Shown(), PASSCODE, replace(PASSCODE, secondary=b"wrong"), Shown(kind=9, primary=b"x")):
        assert door(brno).who(VIEWER, shown) is VIEWER
    assert last(brno) == before


def test_devices_that_were_there_before_persons_were_known_go_on_as_they_did(brno: TestSite) -> None:
    with brno.catalog.begin() as unit:
        unit._connection.exec_driver_sql("UPDATE device SET people = ''")
    assert brno.devices.find(AETitle("VIEWER")).people is Naming.IGNORED


def test_a_device_that_is_trusted_names_people_of_its_own_issuer(brno: TestSite) -> None:
    """A name without a proof is never the person of an account or of an identity provider."""
    put(brno, Naming.TRUSTED)
    found = door(brno).who(VIEWER, Shown(kind=Proof.NAME, primary=b"Jana"))
    assert (found.issuer, found.name) == ("device:VIEWER", "jana@brno")
    named = door(brno).who(VIEWER, Shown(kind=Proof.NAME, primary=b"petr@hospital-brno.test"))
    assert (named.issuer, named.name) == ("device:VIEWER", "petr@hospital-brno.test")
    with pytest.raises(LoginRefused):
        door(brno).who(VIEWER, Shown(kind=Proof.NAME, primary=b"two words"))
    assert door(brno).who(VIEWER, Shown()) is VIEWER


def test_a_token_is_shown_by_one_device_only(brno: TestSite) -> None:
    put(brno, Naming.OPTIONAL, "OTHER")
    at = door(brno)
    assert at.who(VIEWER, TOKEN) and at.who(VIEWER, TOKEN)
    for thief in (replace(VIEWER, name="OTHER"), replace(VIEWER, address="192.0.2.99")):
        with pytest.raises(Replayed):
            at.who(thief, TOKEN)
        assert last(brno).refused
    assert at.who(VIEWER, TOKEN)
    assert at.who(replace(VIEWER, name="OTHER"), replace(TOKEN, primary=b"petr again"))


def test_where_every_login_needs_a_second_factor_a_device_is_no_way_around_it(brno: TestSite) -> None:
    at = door(brno, mfa=True, tokens=lambda shown: replace(PETR, mfa=shown == b"petr with two"))
    with pytest.raises(SecondFactorNeeded):
        at.who(VIEWER, TOKEN)
    assert at.who(VIEWER, replace(TOKEN, primary=b"petr with two")).mfa
    assert at.who(VIEWER, Shown()) is VIEWER


def test_a_device_that_was_taken_off_the_list_names_nobody(brno: TestSite) -> None:
    with pytest.raises(Unauthenticated, match="not on the device list"):
        door(brno).who(replace(VIEWER, name="GONE"), PASSCODE)


def test_a_certificate_is_a_person_where_nothing_else_is_shown(brno: TestSite) -> None:
    authority, key = Authority(), ec.generate_private_key(ec.SECP256R1())
    certificates = PersonCertificates(authority.write(brno.folder / "people.pem"), BRNO, system_clock)
    at = door(brno, certificates=certificates)
    signed = authority.sign(key, [mail("eva@hospital-brno.test")])
    shown = Shown(secure=True, certificate=signed.public_bytes(Encoding.DER))
    found = at.who(VIEWER, shown)
    assert (found.name, found.device) == ("eva@hospital-brno.test", "VIEWER")
    assert last(brno).issuer == "x509:CN=People CA,O=Hospital Brno"
    assert at.who(VIEWER, replace(PASSCODE, certificate=shown.certificate)).name == "jana@brno"
    other = Authority().sign(key, [mail("eva@hospital-brno.test")])
    foreign = replace(shown, certificate=other.public_bytes(Encoding.DER))
    assert at.who(VIEWER, foreign) is VIEWER
    put(brno, Naming.REQUIRED)
    with pytest.raises(LoginRefused):
        at.who(VIEWER, foreign)
