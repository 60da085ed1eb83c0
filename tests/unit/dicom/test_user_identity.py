"""User Identity Negotiation on the wire (PS3.7 D.3.3.7): pynetdicom asks, the door knows who sits there."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from node.audit.record import Event, read
from node.domain.account import AccountName
from node.domain.clock import system_clock
from node.domain.errors import LoginRefused, TooBusy
from node.domain.ids import AETitle
from node.domain.principal import DEVICE_ACTIONS, Device, Kind, Naming, Principal
from node.identity.account_book import AccountBook
from node.identity.accounts import Accounts
from node.identity.at_device import AtDevices, Proof, Proofs
from node.identity.person_certificates import PersonCertificates
from node.identity.token_issuers import read_issuers
from node.identity.tokens import Tokens
from services.dicom.channel import Message
from services.dicom.entity import ApplicationEntity
from services.dicom.messages import Field
from tests.support import saml_lab, synthetic, tokens
from tests.support.certificates import identity
from tests.support.dicom_door import serving
from tests.support.person_certificates import Authority, mail
from tests.support.sites import BRNO, OPERATOR, TestSite, site

GOOD = "seven lanterns over the quay"
REFUSED = (1, 1, 1)
"""Permanently, by the service user, without a reason (PS3.8 table 9-21)."""
CONGESTED = (2, 3, 1)
AUTHORITY = Authority()


class House:
    """A site with a door, the persons that it knows, and who has asked for something."""

    def __init__(self, brno: TestSite, folder: Path) -> None:
        self.brno = brno
        self.folder = folder
        self.asked: list[Principal] = []
        first = AccountBook(brno.catalog, BRNO).add(OPERATOR, AccountName("jana"))
        self.accounts = Accounts(brno.catalog, BRNO, local=True)
        self.accounts.enter("jana", first, new=GOOD, address="127.0.0.1")
        self.people(Naming.OPTIONAL)

    def people(self, naming: Naming) -> None:
        device = Device(ae_title=AETitle("CT1"), host="127.0.0.1", port=104, people=naming)
        self.brno.devices.add(OPERATOR, device, replace=True)

    @contextmanager
    def open(self, **changes: Any) -> Iterator[ApplicationEntity]:
        proofs = Proofs(**{"accounts": self.accounts, "plain": True} | changes.pop("proofs", {}))
        persons = changes.pop("persons", None) or AtDevices(self.brno.catalog, proofs)
        handlers = {Field.C_STORE_RQ: self._take}
        with serving(devices=self.brno.devices, handlers=handlers, persons=persons, **changes) as entity:  # type: ignore[arg-type]
            yield entity

    def _take(self, message: Message) -> None:
        self.asked.append(message.principal)
        message.respond(0)

    def refusals(self) -> list[str]:
        with self.brno.catalog.reading() as unit:
            deeds = [read(record.deed) for record in unit.audit.after()]
        return [deed.what for deed in deeds if deed.event is Event.LOGIN and deed.refused]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with site() as brno:
        yield House(brno, tmp_path)


def shown(
    kind: int, primary: str | bytes, secondary: str = "", *, answer: bool = False
) -> UserIdentityNegotiation:
    item = UserIdentityNegotiation()
    item.user_identity_type = kind
    item.positive_response_requested = answer
    item.primary_field = primary.encode() if isinstance(primary, str) else primary
    if kind == Proof.PASSCODE:
        item.secondary_field = secondary.encode()
    return item


def jana(password: str = GOOD, *, answer: bool = False) -> UserIdentityNegotiation:
    return shown(Proof.PASSCODE, "jana", password, answer=answer)


def associate(entity: ApplicationEntity, *items: UserIdentityNegotiation, tls: Any = None) -> Association:
    requestor = AE("CT1")
    requestor.add_requested_context(CTImageStorage)
    port = entity.ports[1 if tls else 0]
    return requestor.associate("127.0.0.1", port, ae_title="KONZILIUM", ext_neg=list(items), tls_args=tls)


def store(association: Association) -> None:
    assert association.is_established
    instance = synthetic.dataset()
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert association.send_c_store(instance).Status == 0
    association.release()


def rejected(association: Association) -> tuple[int, int, int]:
    assert association.is_rejected
    said = association.acceptor.primitive
    assert said is not None
    return said.result, said.result_source, said.diagnostic


def test_what_is_done_on_the_association_is_done_by_the_person_at_the_device(house: House) -> None:
    with house.open() as entity:
        store(associate(entity, jana()))
        store(associate(entity))
    person, device = house.asked
    assert (person.kind, person.name, person.issuer) == (Kind.PERSON, "jana@brno", "local")
    assert (person.device, person.may) == ("CT1", DEVICE_ACTIONS)
    assert (device.kind, device.name) == (Kind.DEVICE, "CT1")


@pytest.mark.parametrize("answer", [True, False])
def test_a_positive_response_is_made_where_it_was_asked_for(house: House, answer: bool) -> None:
    with house.open() as entity:
        association = associate(entity, jana(answer=answer))
        assert association.is_established
        given = association.acceptor.user_identity
        association.release()
    assert (given.server_response if given else None) == (b"" if answer else None)


@pytest.mark.parametrize(
    "item",
    [
        jana("wrong wrong wrong"),
        shown(Proof.PASSCODE, "nobody", GOOD),
        shown(Proof.NAME, "jana"),
        shown(Proof.KERBEROS, b"ticket"),
        shown(Proof.ASSERTION, b"<x/>"),
        shown(Proof.TOKEN, b"a.b.c"),
        shown(Proof.PASSCODE, b"\xff\xfe", GOOD),
    ],
)
def test_who_is_not_right_gets_no_association_and_is_recorded(
    house: House, item: UserIdentityNegotiation
) -> None:
    with house.open() as entity:
        assert rejected(associate(entity, item)) == REFUSED
        assert len(house.refusals()) == 1
        store(associate(entity, jana()))


def test_two_identities_in_one_request_are_none(house: House) -> None:
    with house.open() as entity:
        assert rejected(associate(entity, jana(), jana())) == REFUSED


def test_the_plain_port_takes_no_passwords_unless_that_is_wanted(house: House) -> None:
    with house.open(proofs={"plain": False}) as entity:
        assert rejected(associate(entity, jana())) == REFUSED


def test_a_shared_device_gets_no_association_without_a_person(house: House) -> None:
    house.people(Naming.REQUIRED)
    with house.open() as entity:
        assert rejected(associate(entity)) == REFUSED
        store(associate(entity, jana()))


def test_a_device_of_which_people_are_ignored_gets_no_positive_response(house: House) -> None:
    """As an acceptor that does not support it (PS3.7 D.3.3.7.2)."""
    house.people(Naming.IGNORED)
    with house.open() as entity:
        association = associate(entity, jana("wrong wrong wrong", answer=True))
        assert association.is_established
        assert association.acceptor.user_identity is None
        store(association)
    assert house.asked[0].kind is Kind.DEVICE


def test_refused_people_leave_no_seat_taken(house: House) -> None:
    with house.open(max_associations_per_device=1) as entity:
        for _ in range(3):
            assert rejected(associate(entity, jana("wrong wrong wrong"))) == REFUSED
        store(associate(entity, jana()))


@pytest.mark.parametrize(("error", "said"), [(TooBusy("x"), CONGESTED), (LoginRefused("x"), REFUSED)])
def test_a_node_that_is_busy_says_so(house: House, error: Exception, said: tuple[int, int, int]) -> None:
    class Failing:
        def who(self, device: Principal, shown: object) -> Principal:
            raise error

    with house.open(persons=Failing()) as entity:
        assert rejected(associate(entity, jana())) == said


def test_a_token_names_the_person(house: House) -> None:
    issuers = read_issuers(tokens.write_issuer(house.folder / "tokens"))
    with house.open(proofs={"tokens": Tokens(issuers, BRNO, system_clock).person}) as entity:
        assert rejected(associate(entity, shown(Proof.TOKEN, tokens.token(aud="other")))) == REFUSED
        good = shown(Proof.TOKEN, tokens.token())
        for _ in range(2):
            store(associate(entity, good))
    assert [one.name for one in house.asked] == ["jana@hospital-brno.test"] * 2
    assert house.asked[0].issuer == tokens.ISSUER


def test_an_assertion_names_the_person(house: House) -> None:
    lab = saml_lab.Lab(house.folder)
    answer = lab.answer("", message_signed=False).made()
    good = etree.tostring(saml_lab.at(answer, "saml:Assertion"), with_tail=False)

    def known(xml: bytes) -> Principal:
        return lab.logins.verify_assertion(xml, once=False).principal

    with house.open(proofs={"assertions": known}) as entity:
        altered = good.replace(b"radiologist@", b"radiographer@")
        assert altered != good
        assert rejected(associate(entity, shown(Proof.ASSERTION, altered))) == REFUSED
        for _ in range(2):
            store(associate(entity, shown(Proof.ASSERTION, good)))
    lab.close()
    assert house.asked[0].name == "radiologist@hospital-brno.test"
    assert house.asked[0].issuer == lab.idp.entity


def client(trusted: Path, shown: tuple[Path, Path]) -> tuple[ssl.SSLContext, str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(trusted)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_cert_chain(*shown)
    return context, "localhost"


def test_a_certificate_of_a_person_opens_the_tls_port_and_names_the_person(house: House) -> None:
    ours = identity(house.folder, "site")
    path = AUTHORITY.write(house.folder / "people.pem")
    card = AUTHORITY.files(house.folder, [mail("eva@hospital-brno.test")])
    changes = {"tls_port": 0, "certificate": ours.certificate, "private_key": ours.private_key}
    certificates = PersonCertificates(path, BRNO, system_clock)
    with house.open(proofs={"certificates": certificates}, person_ca=path, **changes) as entity:
        store(associate(entity, tls=client(ours.certificate, card)))
    assert [one.name for one in house.asked] == ["eva@hospital-brno.test"]
    with house.open(**changes) as entity:
        assert not associate(entity, tls=client(ours.certificate, card)).is_established
