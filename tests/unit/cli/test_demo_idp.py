"""The identity providers of the demonstration, as a portal meets them: by way of somebody's browser."""

from __future__ import annotations

import base64
import datetime
import http.client
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from lxml import etree, html
from onelogin.saml2.auth import OneLogin_Saml2_Auth
from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser
from onelogin.saml2.settings import OneLogin_Saml2_Settings

from node.domain.errors import Rejected
from services.cli.demo.commands import Commands
from services.cli.demo.idp.described import describe
from services.cli.demo.idp.houses import House, found, made
from services.cli.demo.idp.people import BRNO, HOSPITALS
from services.cli.demo.idp.server import serve
from services.cli.main import main
from tests.support.peers import free_port

PORTAL = "https://images.brno.test/saml"
MFA = "https://refeds.org/profile/mfa"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[House]:
    """The identity provider of Brno, which serves one portal."""
    folder = tmp_path_factory.mktemp("idp")
    made_here = made(folder, "brno", free_port())
    describe(made_here)
    ready, stop = threading.Event(), threading.Event()
    serving = threading.Thread(target=serve, args=(found(folder), ready.set, stop))
    serving.start()
    ready.wait()
    yield made_here
    stop.set()
    serving.join()


@pytest.fixture(scope="module")
def settings(house) -> dict:
    """A portal by python3-saml, known to the identity provider."""
    provider = OneLogin_Saml2_IdPMetadataParser.parse(house.metadata.read_text())
    settings = {
        "strict": True,
        "sp": {
            "entityId": PORTAL,
            "assertionConsumerService": {"url": f"{PORTAL}/acs"},
            "singleLogoutService": {"url": f"{PORTAL}/slo", "binding": REDIRECT},
            **dict(zip(("privateKey", "x509cert"), key_pair(), strict=True)),
        },
        "security": {
            "authnRequestsSigned": True,
            "logoutRequestSigned": True,
            "wantMessagesSigned": True,
            "wantAssertionsSigned": True,
            "wantAssertionsEncrypted": True,
            "rejectDeprecatedAlgorithm": True,
            "requestedAuthnContext": [MFA],
        },
        "idp": provider["idp"],
    }
    house.place_of_portal("brno").write_bytes(OneLogin_Saml2_Settings(settings).get_sp_metadata())
    return settings


def test_who_is_chosen_is_logged_in_with_a_signed_and_encrypted_answer(house, settings):
    login = Login(house, settings)

    page = login.ask()
    portal = login.choose("radiologist")

    assert "DEMONSTRATION" in page
    assert portal.get_errors() == [], portal.get_last_error_reason()
    assert portal.get_friendlyname_attributes()["eduPersonPrincipalName"] == [
        "radiologist@hospital-brno.test"
    ]
    assert portal.get_last_authn_contexts() == [
        "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
    ]
    assert b"EncryptedData" in login.response
    assert b"radiologist" not in login.response


def test_the_second_factor_is_shown_only_if_somebody_pretends_to(house, settings):
    login = Login(house, settings)

    page = login.ask()
    portal = login.choose("radiologist", mfa="yes")

    assert "The portal asks for a second factor." in page
    assert portal.get_last_authn_contexts() == [MFA]


def test_somebody_logs_out_and_comes_back(house, settings):
    portal = OneLogin_Saml2_Auth(request({}), settings)
    url = portal.logout(name_id="_somebody", return_to="state")

    status, _, location = call(house, "GET", path_of(url))

    assert status == 302
    answer = parse_qs(urlsplit(location).query)
    assert answer["RelayState"] == ["state"]
    back = OneLogin_Saml2_Auth(
        request({}, {name: values[0] for name, values in answer.items()}, urlsplit(location).query), settings
    )
    back.process_slo(request_id=portal.get_last_request_id())
    assert back.get_errors() == [], back.get_last_error_reason()


def test_a_portal_that_nobody_told_of_is_refused(house, settings):
    strange = settings | {"sp": settings["sp"] | {"entityId": "https://somewhere.test"}}

    status, page, _ = call(house, "GET", path_of(OneLogin_Saml2_Auth(request({}), strange).login()))

    assert (status, "does not know https://somewhere.test" in page) == (400, True)


@pytest.mark.parametrize("change", ["signature", "content", "unsigned"])
def test_a_request_that_the_portal_has_not_signed_is_refused(house, settings, change):
    url = OneLogin_Saml2_Auth(request({}), settings).login(return_to="here")
    wrong = {
        "signature": url.replace("&Signature=", "&Signature=AAAA"),
        "content": url.replace("RelayState=here", "RelayState=there"),
        "unsigned": url.partition("&SigAlg")[0],
    }

    status, page, _ = call(house, "GET", path_of(wrong[change]))

    assert (status, "not signed" in page) == (400, True)
    assert call(house, "GET", path_of(url))[0] == 200


def test_nobody_is_there_under_another_name(house, settings):
    assert call(house, "GET", "/", host="hospital.test")[0] == 404
    assert call(house, "GET", "/")[0] == 200


def test_nobody_else_can_be_chosen(house, settings):
    login = Login(house, settings)
    login.ask()

    status, page, _ = call(house, "POST", "/login", {"asked": login.query, "person": "director"})

    assert (status, "Nobody has that name here" in page) == (400, True)


def test_the_metadata_say_that_nothing_is_proved(house):
    root = etree.parse(house.metadata).getroot()

    labels = {
        one.get("Name"): one[0].text for one in root.iter("{urn:oasis:names:tc:SAML:2.0:assertion}Attribute")
    }
    assert labels == {"urn:konzilium:demonstration": "true"}


def test_a_site_that_is_no_demonstration_does_not_believe_it(house, tmp_path):
    konzilium, folder = Commands(main), tmp_path / "site"
    konzilium("init", folder, "--site", "brno")
    believe = ("idp", "add", folder, "hospital", "--file", house.metadata, "--fingerprint", house.fingerprint)

    with pytest.raises(Rejected, match="demonstration"):
        konzilium(*believe)

    settings = folder / "site.toml"
    settings.write_text(settings.read_text().replace("#demonstration = false", "demonstration = true"))
    assert house.hospital.entity in konzilium(*believe)
    settings.write_text(settings.read_text().replace("demonstration = true", "demonstration = false"))
    assert konzilium.json("idp", "search", folder) == [], "nor one that was believed before"


def test_there_are_four_people_of_two_hospitals():
    people = [hospital.principal(one) for hospital in HOSPITALS.values() for one in hospital.people]

    assert people == [
        "radiologist@hospital-brno.test",
        "steward@hospital-brno.test",
        "physician@hospital-prague.test",
        "researcher@hospital-prague.test",
    ]
    assert BRNO.person("nobody") is None


class Login:
    """A browser on its way from the portal and back."""

    def __init__(self, house: House, settings: dict) -> None:
        self._house = house
        self._settings = settings
        self._portal = OneLogin_Saml2_Auth(request({}), settings)
        self.query = urlsplit(self._portal.login(return_to="state")).query
        self.response = b""

    def ask(self) -> str:
        """The page on which one chooses."""
        status, page, _ = call(self._house, "GET", f"/login?{self.query}")
        assert status == 200, page
        assert html.fromstring(page).forms[0].fields["asked"] == self.query
        return page

    def choose(self, person: str, **fields: str) -> OneLogin_Saml2_Auth:
        """What the portal makes of the answer."""
        status, page, _ = call(
            self._house, "POST", "/login", {"asked": self.query, "person": person} | fields
        )
        assert status == 200, page
        form = html.fromstring(page).forms[0]
        assert form.action == f"{PORTAL}/acs"
        portal = OneLogin_Saml2_Auth(request(dict(form.fields)), self._settings)
        portal.process_response(self._portal.get_last_request_id())
        assert portal.get_last_response_xml() is not None, portal.get_last_error_reason()
        self.response = base64.b64decode(form.fields["SAMLResponse"])
        return portal


def call(
    house: House, method: str, path: str, form: dict[str, str] | None = None, host: str = ""
) -> tuple[int, str, str]:
    """One request: its status, the page and where it leads."""
    line = http.client.HTTPConnection("127.0.0.1", house.port, timeout=20)
    headers = {"Host": host or f"127.0.0.1:{house.port}"}
    line.request(method, path, urlencode(form) if form else None, headers)
    answer = line.getresponse()
    page = answer.read().decode()
    line.close()
    return answer.status, page, answer.getheader("Location", "")


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def request(form: dict, query: dict | None = None, text: str = "") -> dict:
    """A request to the portal, as python3-saml takes it."""
    path = "/saml/slo" if query else "/saml/acs"
    return {
        "https": "on", "http_host": "images.brno.test", "script_name": path,
        "get_data": query or {}, "post_data": form, "query_string": text,
    }  # fmt: skip


def key_pair() -> tuple[str, str]:
    """A key and its certificate (PEM)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "portal")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    pem, clear = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, clear)
    return private.decode(), builder.sign(key, hashes.SHA256()).public_bytes(pem).decode()
