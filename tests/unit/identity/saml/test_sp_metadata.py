"""The metadata of this site are what federations ask for, and its key changes without locking anybody out."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from lxml import etree

from node.catalog.catalog import Catalog
from node.domain.alert import DAY
from node.domain.clock import system_clock
from node.domain.errors import Forbidden, Rejected
from node.domain.principal import Kind, Principal
from node.identity.certificates import from_base64
from node.identity.providers.signed import Trust, demand_signed
from node.identity.saml import keys
from node.identity.saml.attributes import OIDS
from node.identity.saml.metadata import LANGUAGES, About, lacking, written
from node.identity.saml.rollover import READ_BY_THEN, Rollover, Step
from node.identity.saml.sp import ServiceProvider
from tests.support.sites import BRNO

URL = "https://images.hospital-brno.test"
ABOUT = About(organization="Nemocnice Brno", support="Ask help@hospital-brno.test or call 123.")
OPERATOR = Principal(kind=Kind.OPERATOR, name="root", site=BRNO)
NS = {
    "md": "urn:oasis:names:tc:SAML:2.0:metadata",
    "mdui": "urn:oasis:names:tc:SAML:metadata:ui",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
    "idpdisc": "urn:oasis:names:tc:SAML:profiles:SSO:idp-discovery-protocol",
}
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


class Time:
    """A clock; keys are files, so it begins with that of the machine."""

    def __init__(self) -> None:
        self.now = system_clock()

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def sp(tmp_path: Path, clock: Time) -> ServiceProvider:
    made = keys.make(tmp_path / "keys", name="images.hospital-brno.test", now=clock())
    return ServiceProvider(entity_id=f"{URL}/saml/metadata", base_url=URL, keys=made)


@pytest.fixture
def rollover(tmp_path: Path, sp: ServiceProvider, clock: Time) -> Iterator[Rollover]:
    catalog = Catalog(tmp_path / "catalog.db", origin=BRNO, clock=clock)
    yield Rollover(catalog, sp.keys.folder, clock)
    catalog.close()


def listed(sp: ServiceProvider, use: str) -> list[str]:
    """Fingerprints of the certificates that the metadata list for a use."""
    root = etree.fromstring(written(sp, ABOUT))
    path = f".//md:KeyDescriptor[@use='{use}']//ds:X509Certificate"
    return [from_base64(one.text or "").fingerprint for one in root.iterfind(path, NS)]


def test_they_are_valid_metadata_signed_with_the_key_in_use(sp):
    root = etree.fromstring(written(sp, ABOUT))
    schema = files("onelogin.saml2") / "schemas" / "saml-schema-metadata-2.0.xsd"
    etree.XMLSchema(etree.parse(str(schema))).assertValid(root)
    demand_signed(root, Trust(certificates=(sp.keys.current().certificate.pem,)))


def test_they_tell_where_messages_go(sp):
    root = etree.fromstring(written(sp, ABOUT))
    role = root.find("md:SPSSODescriptor", NS)
    assert role is not None
    assert (role.get("AuthnRequestsSigned"), role.get("WantAssertionsSigned")) == ("true", "true")
    places = {
        (etree.QName(one).localname, one.get("Binding", "").rpartition(":")[2], one.get("Location"))
        for one in role.iter()
        if one.get("Location")
    }
    assert places == {
        ("AssertionConsumerService", "HTTP-POST", f"{URL}/saml/acs"),
        ("SingleLogoutService", "HTTP-Redirect", f"{URL}/saml/slo"),
        ("SingleLogoutService", "HTTP-POST", f"{URL}/saml/slo"),
        ("DiscoveryResponse", "idp-discovery-protocol", f"{URL}/login/discovery"),
    }


@pytest.mark.parametrize(
    "path",
    [
        ".//mdui:DisplayName",
        ".//mdui:Description",
        ".//mdui:InformationURL",
        ".//mdui:PrivacyStatementURL",
        ".//md:ServiceName",
        ".//md:OrganizationName",
        ".//md:OrganizationDisplayName",
        ".//md:OrganizationURL",
    ],
)
def test_what_people_see_is_there_in_czech_and_english(sp, path):
    found = etree.fromstring(written(sp, ABOUT)).findall(path, NS)
    assert [one.get(XML_LANG) for one in found] == list(LANGUAGES)
    assert all(one.text for one in found)


def test_they_ask_for_every_attribute_that_is_read_and_insist_on_the_name_alone(sp):
    wanted = etree.fromstring(written(sp, ABOUT)).findall(".//md:RequestedAttribute", NS)
    names = {name: friendly for name, friendly in OIDS.items() if name.startswith("urn:oid:")}
    assert {one.get("Name"): one.get("FriendlyName") for one in wanted} == names
    required = [one.get("FriendlyName") for one in wanted if one.get("isRequired") == "true"]
    assert required == ["eduPersonPrincipalName"]


def test_they_name_whom_to_ask(sp):
    root = etree.fromstring(written(sp, ABOUT))
    found = {
        one.get("contactType"): one.findtext("md:EmailAddress", namespaces=NS)
        for one in root.findall("md:ContactPerson", NS)
    }
    assert found == dict.fromkeys(("technical", "support"), "mailto:help@hospital-brno.test")


def test_what_a_federation_would_send_them_back_for_is_told(sp):
    assert lacking(sp, ABOUT) == []
    bare = ServiceProvider(entity_id="x", base_url="https://vm:8444", keys=sp.keys)
    assert [
        one.partition(";")[2] for one in lacking(bare, About(organization="Brno", support="Call 123."))
    ] == [
        " set web.url.",
        " set login.support.",
    ]


def test_a_key_is_announced_put_to_use_and_retired(sp, rollover, clock):
    first = rollover.standing().fingerprint
    assert (listed(sp, "signing"), listed(sp, "encryption")) == ([first], [first])
    announced = rollover.begin(OPERATOR)
    second = announced.other
    assert (announced.step, announced.fingerprint) == (Step.ANNOUNCED, first)
    assert (listed(sp, "signing"), listed(sp, "encryption")) == ([first, second], [second])
    assert rollover.begin(OPERATOR) == announced
    clock.now += READ_BY_THEN + DAY
    assert rollover.finish(OPERATOR).step is Step.SWITCHED
    assert sp.keys.current().certificate.fingerprint == second
    assert (listed(sp, "signing"), listed(sp, "encryption")) == ([second, first], [second])
    assert {key.certificate.fingerprint for key in sp.keys.all()} == {first, second}
    with pytest.raises(Rejected, match="--retire"):
        rollover.begin(OPERATOR)
    assert rollover.retire(OPERATOR).step is Step.RESTING
    assert listed(sp, "signing") == [second]


def test_a_key_that_nobody_can_have_read_of_is_put_to_use_only_by_insisting(rollover):
    rollover.begin(OPERATOR)
    with pytest.raises(Rejected, match="--insist"):
        rollover.finish(OPERATOR)
    assert rollover.finish(OPERATOR, insist=True).step is Step.SWITCHED


def test_no_step_is_taken_out_of_turn_or_by_anybody(rollover):
    for step in (rollover.finish, rollover.retire):
        with pytest.raises(Rejected):
            step(OPERATOR)
    with pytest.raises(Forbidden):
        rollover.begin(Principal(kind=Kind.PERSON, name="jana@hospital-brno.test", site=BRNO))
    assert rollover.standing().step is Step.RESTING
