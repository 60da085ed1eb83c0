"""Who may call: recognised by address or certificate; strangers knock and wait, within limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from node.audit.record import Event, read
from node.catalog.devices import KNOCKS_KEPT
from node.domain.errors import (
    Forbidden,
    Rejected,
    Unauthenticated,
    Unknown,
    UnknownDestination,
    UnknownDevice,
)
from node.domain.ids import AETitle
from node.domain.principal import DEVICE_ACTIONS, Action, Caller, Device, Kind
from node.identity.devices import addresses, fingerprint
from tests.support.sites import BRNO, CT1, OPERATOR, TestSite, site

DEVICE = Device(ae_title=AETitle("CT1"), host="127.0.0.1", port=104)


@pytest.fixture
def brno() -> Iterator[TestSite]:
    with site() as made:
        yield made


def caller(name: str = "CT1", address: str = "127.0.0.1", certificate: str | None = None) -> Caller:
    return Caller(calling=AETitle(name), called="BRNO", address=address, certificate=certificate)


def certificate() -> str:
    """A self-signed certificate (PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CT1")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM).decode()


def configured(brno: TestSite) -> list[str]:
    """What the audit ledger says of changes to the device list."""
    with brno.catalog.reading() as unit:
        deeds = [read(record.deed) for record in unit.audit.after()]
    return [deed.what for deed in deeds if deed.event is Event.CONFIGURED]


def test_a_device_is_recognised_at_its_address_with_what_it_may_do(brno):
    brno.devices.add(
        OPERATOR, Device(ae_title=AETitle("CT1"), host="localhost", port=104, may=frozenset({Action.STORE}))
    )
    principal = brno.devices.recognise(caller(), "CT Image Storage")
    assert (principal.kind, principal.name, principal.site) == (Kind.DEVICE, "CT1", BRNO)
    assert (principal.address, principal.may) == ("127.0.0.1", {Action.STORE})
    assert brno.devices.pending() == []


def test_a_device_that_calls_from_elsewhere_is_refused(brno):
    brno.devices.add(OPERATOR, DEVICE)
    with pytest.raises(Unauthenticated, match=r"10\.9\.9\.9"):
        brno.devices.recognise(caller(address="10.9.9.9"), "")


def test_a_device_with_a_certificate_is_recognised_by_it_wherever_it_calls_from(brno):
    own, other = certificate(), certificate()
    brno.devices.add(OPERATOR, Device(ae_title=AETitle("CT1"), host="127.0.0.1", port=104, certificate=own))
    assert brno.devices.recognise(caller(address="10.9.9.9", certificate=fingerprint(own)), "").name == "CT1"
    for shown in (fingerprint(other), None):
        with pytest.raises(Unauthenticated, match="certificate"):
            brno.devices.recognise(caller(certificate=shown), "")


def test_certificates_are_the_trust_anchors_and_their_version_changes_with_them(brno):
    before = brno.devices.version()
    own = certificate()
    brno.devices.add(OPERATOR, DEVICE)
    assert brno.devices.version() == before
    brno.devices.add(OPERATOR, Device(ae_title=AETitle("CT2"), host="h", port=1, certificate=own))
    assert brno.devices.certificates() == [own]
    assert brno.devices.version() != before
    brno.devices.remove(OPERATOR, "CT2")
    assert brno.devices.version() == before


def test_what_is_no_certificate_is_not_added(brno):
    for text in ("no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ž"):
        with pytest.raises(Rejected, match="PEM"):
            brno.devices.add(OPERATOR, Device(ae_title=AETitle("CT1"), host="h", port=1, certificate=text))
    assert brno.devices.all() == []


def test_a_stranger_is_refused_and_waits_with_what_it_asked_for(brno):
    for _ in range(3):
        brno.clock.forward(60)
        with pytest.raises(Unauthenticated, match="MR7 is not on the device list"):
            brno.devices.recognise(caller("MR7", "10.0.0.9"), "MR Image Storage")
    [knock] = brno.devices.pending()
    assert (knock.ae_title, knock.address, knock.called) == ("MR7", "10.0.0.9", "BRNO")
    assert (knock.asked, knock.count) == ("MR Image Storage", 3)
    assert knock.last_at - knock.first_at >= 120_000_000


def test_one_command_accepts_a_stranger_at_the_address_it_called_from_last(brno):
    for address in ("10.0.0.8", "10.0.0.9"):
        with pytest.raises(Unauthenticated):
            brno.devices.recognise(caller("MR7", address), "")
    device = brno.devices.accept(OPERATOR, "MR7", port=11112, may=frozenset({Action.QUERY}))
    assert device == brno.devices.find(AETitle("MR7"))
    assert (device.host, device.port, device.may) == ("10.0.0.9", 11112, {Action.QUERY})
    assert brno.devices.pending() == []
    assert brno.devices.recognise(caller("MR7", "10.0.0.9"), "").name == "MR7"


def test_who_never_knocked_cannot_be_accepted(brno):
    with pytest.raises(Unknown):
        brno.devices.accept(OPERATOR, "MR7")


def test_strangers_can_make_only_so_many_names_wait_and_the_latest_stay(brno):
    def knock(unit) -> None:
        for number in range(KNOCKS_KEPT + 50):
            unit.devices.knocked(f"X{number}", "10.0.0.9", called="x", asked="y")

    brno.catalog.perform(knock)
    with pytest.raises(Unauthenticated):
        brno.devices.recognise(caller("LAST"), "z" * 10_000)
    pending = brno.devices.pending()
    assert len(pending) == KNOCKS_KEPT
    assert pending[0].ae_title == "LAST"
    assert len(pending[0].asked) <= 500


def test_a_device_is_added_once_and_changed_only_when_that_is_meant(brno):
    brno.devices.add(OPERATOR, DEVICE)
    changed = Device(ae_title=AETitle("CT1"), host="10.0.0.1", port=11112, may=frozenset())
    with pytest.raises(Rejected, match="already"):
        brno.devices.add(OPERATOR, changed)
    assert brno.devices.all() == [DEVICE]
    brno.devices.add(OPERATOR, changed, replace=True)
    assert brno.devices.all() == [changed]


def test_a_device_that_was_removed_is_a_stranger_again(brno):
    brno.devices.add(OPERATOR, DEVICE)
    brno.devices.remove(OPERATOR, "CT1")
    with pytest.raises(Unauthenticated):
        brno.devices.recognise(caller(), "")
    with pytest.raises(UnknownDestination):
        brno.devices.find(AETitle("CT1"))
    with pytest.raises(UnknownDevice):
        brno.devices.remove(OPERATOR, "CT1")


def test_every_change_of_the_list_is_recorded(brno):
    brno.devices.add(OPERATOR, DEVICE)
    brno.devices.remove(OPERATOR, "CT1")
    added, removed = configured(brno)
    assert added.startswith("device CT1 ")
    assert all(action in added for action in DEVICE_ACTIONS)
    assert removed == "device CT1 removed"


def test_a_device_cannot_change_the_list(brno):
    brno.devices.add(OPERATOR, DEVICE)
    with pytest.raises(Unauthenticated):
        brno.devices.recognise(caller("MR7"), "")
    for change in (
        lambda: brno.devices.add(CT1, DEVICE, replace=True),
        lambda: brno.devices.remove(CT1, "CT1"),
        lambda: brno.devices.accept(CT1, "MR7"),
    ):
        with pytest.raises(Forbidden):
            change()
    assert brno.devices.all() == [DEVICE]
    assert len(configured(brno)) == 1


@pytest.mark.parametrize("host", ["no such host", "a" * 100 + ".invalid", "x..y"])
def test_a_host_that_cannot_be_resolved_has_no_address(host):
    assert addresses(host) == frozenset()
