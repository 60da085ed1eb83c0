"""What proves a person, and who that is then: certificates, and persons as sessions keep them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from node.domain.clock import system_clock
from node.domain.errors import BadSetting, LoginRefused, MalformedValue
from node.domain.ids import SiteId
from node.domain.principal import Kind, Principal
from node.identity.person_certificates import PersonCertificates
from node.identity.persons import of_account, person, read_principal, written
from tests.support.person_certificates import SERVER, Authority, mail, upn
from tests.support.sites import BRNO, CT1

AUTHORITY = Authority()
OTHER = Authority(name="People CA")
KEY = ec.generate_private_key(ec.SECP256R1())
JANA = mail("Jana@hospital-brno.test")


@pytest.fixture
def certificates(tmp_path: Path) -> PersonCertificates:
    return PersonCertificates(AUTHORITY.write(tmp_path / "people.pem"), BRNO, system_clock)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    "names",
    [
        [JANA],
        [upn("jana@hospital-brno.test")],
        [mail("j@x.test"), upn("Jana@hospital-brno.test")],
        [JANA, JANA],
    ],
)
def test_a_certificate_names_the_person(
    certificates: PersonCertificates, names: list[x509.GeneralName]
) -> None:
    found = certificates.person(der(AUTHORITY.sign(KEY, names)))
    assert (found.kind, found.name, found.display) == (Kind.PERSON, "jana@hospital-brno.test", "Jana Test")
    assert found.issuer == "x509:CN=People CA,O=Hospital Brno"
    assert not found.mfa


DEFECTS: dict[str, Callable[[], x509.Certificate]] = {
    "another authority of that name": lambda: OTHER.sign(KEY, [JANA]),
    "ended": lambda: AUTHORITY.sign(KEY, [JANA], days=-1),
    "for servers": lambda: AUTHORITY.sign(KEY, [JANA], usage=SERVER),
    "no name": lambda: AUTHORITY.sign(KEY, []),
    "the name of a machine": lambda: AUTHORITY.sign(KEY, [x509.DNSName("ws.hospital-brno.test")]),
    "two persons": lambda: AUTHORITY.sign(KEY, [JANA, mail("petr@hospital-brno.test")]),
    "two principals": lambda: AUTHORITY.sign(KEY, [upn("a@hospital-brno.test"), upn("b@hospital-brno.test")]),
    "a blank in the name": lambda: AUTHORITY.sign(KEY, [upn("jana x@hospital-brno.test")]),
    "signed by itself": lambda: Authority(key=KEY).sign(KEY, [JANA]),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_certificate_with_one_defect_is_refused(certificates: PersonCertificates, defect: str) -> None:
    with pytest.raises(LoginRefused):
        certificates.person(der(DEFECTS[defect]()))
    assert certificates.person(der(AUTHORITY.sign(KEY, [JANA])))


def test_a_person_does_not_vouch_for_another_one(certificates: PersonCertificates) -> None:
    jana = Authority(name="Jana Test", key=KEY)
    with pytest.raises(LoginRefused):
        certificates.person(der(jana.sign(ec.generate_private_key(ec.SECP256R1()), [JANA])))


@pytest.mark.parametrize("shown", [b"", b"hello", b"\x30\x80"])
def test_what_is_no_certificate_is_refused(certificates: PersonCertificates, shown: bytes) -> None:
    assert not certificates.is_one(shown)
    with pytest.raises(LoginRefused):
        certificates.person(shown)


def test_without_an_authority_nobody_has_a_certificate() -> None:
    assert not PersonCertificates(None, BRNO, system_clock).is_one(der(AUTHORITY.sign(KEY, [JANA])))


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("none")
    for path in (tmp_path / "none.pem", tmp_path / "absent.pem"):
        with pytest.raises(BadSetting, match=r"web\.person_ca"):
            PersonCertificates(path, BRNO, system_clock)


# sessions

names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=80)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
people = st.builds(
    person,
    issuer=names,
    name=names,
    site=st.just(BRNO),
    display=texts,
    attributes=st.dictionaries(texts, st.lists(texts, max_size=3), max_size=4),
    mfa=st.booleans(),
)


@given(people)
def test_a_person_comes_out_of_a_session_as_it_went_in(who: Principal) -> None:
    assert read_principal(written(who)) == who


def test_what_holds_for_one_call_only_is_not_kept() -> None:
    jana = of_account("jana", BRNO)
    now = replace(
        jana,
        address="192.0.2.7",
        roles=frozenset({"auditor"}),
        names=frozenset({"NOVAK"}),
        emergencies=frozenset({"1.2"}),
        policy="1",
    )
    assert read_principal(written(now)) == jana


@pytest.mark.parametrize("who", [CT1, replace(of_account("jana", BRNO), via=SiteId("prague"))])
def test_only_a_person_who_logged_in_here_has_a_session(who: Principal) -> None:
    with pytest.raises(MalformedValue):
        written(who)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"name":1,"site":"brno","issuer":"local"}',
        '{"name":"jana","site":"BRNO!","issuer":"local"}',
        '{"name":"jana","site":"brno","issuer":"local","attributes":[1]}',
        '{"name":"jana","site":"brno","issuer":"local","attributes":{"mail":[1]}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_session_is_nobody(text: str) -> None:
    with pytest.raises(MalformedValue):
        read_principal(text)


@pytest.mark.parametrize("name", ["", " ", "a b", "a\x00b", "x" * 257, "a\n"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(LoginRefused):
        person(issuer="local", name=name, site=BRNO)
