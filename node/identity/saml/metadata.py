"""The metadata of this site as a service provider, as identity providers and federations want them.

One entity, signed (SAML Metadata §2.4.4): where answers go, with which keys it signs and can be written to,
what people see of it in Czech and English (MDUI 1.0), where a discovery service sends people back to (IdP
Discovery 1.0 §2.4), which attributes it asks for, and whom to call. They say no end: whoever was given them
as a file would find out by a login that fails.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import xmlsec
from lxml import etree
from xmlsec import constants, template

from node.identity.certificates import known
from node.identity.providers.descriptor import POST, REDIRECT
from node.identity.providers.entity import MDATTR, MDUI, PROTOCOL
from node.identity.saml.attributes import EPPN, OIDS
from node.identity.saml.keys import SpKey, private_pem
from node.identity.saml.names import OAEP, OAEP11, XENC11
from node.identity.saml.sp import ServiceProvider
from node.identity.xmlnames import DS, MD, SAML, XML, add

IDPDISC: Final = "urn:oasis:names:tc:SAML:profiles:SSO:idp-discovery-protocol"
SUBJECT_REQUIRED: Final = "urn:oasis:names:tc:SAML:profiles:subject-id:req"
URI: Final = "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"
TRANSIENT: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
PERSISTENT: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
LANGUAGES: Final = ("cs", "en")
_NAMESPACES: Final = {"md": MD, "ds": DS, "mdui": MDUI, "mdattr": MDATTR, "saml": SAML, "idpdisc": IDPDISC}
_SUBJECT: Final = "urn:oasis:names:tc:SAML:attribute:"
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")
_DESCRIPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cs": "Archiv zdravotnických snímků, ve kterém zdravotníci otevírají snímky svých pacientů.",
        "en": "Archive of medical images, where health professionals open images of their patients.",
    }
)
_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {"cs": "Zdravotnické snímky: {0}", "en": "Medical images: {0}"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What people see of the site."""

    organization: str
    """What people call the institution that runs it."""
    support: str = ""
    """Whom to ask: metadata want a mail address."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What the service is called, by language, if not after its institution."""

    def name(self, language: str) -> str:
        """What the service is called."""
        return self.names.get(language) or _NAMES[language].format(self.organization)

    @property
    def mail(self) -> str:
        """The mail address in what is said of support, if there is one."""
        found = _MAIL.search(self.support)
        return found[0] if found else ""


def written(sp: ServiceProvider, about: About) -> bytes:
    """The metadata as XML, signed with the key in use.

    Args:
        sp: this site.
        about: what people see of it.

    Raises:
        UnusableKey: a key of this site cannot be read.
    """
    entity = etree.Element(_md("EntityDescriptor"), nsmap=_NAMESPACES)
    entity.set("ID", "_" + secrets.token_hex(16))
    entity.set("entityID", sp.entity_id)
    _add_attributes(entity)
    role = add(
        entity,
        _md("SPSSODescriptor"),
        AuthnRequestsSigned="true",
        WantAssertionsSigned="true",
        protocolSupportEnumeration=PROTOCOL,
    )
    _add_shown(role, sp, about)
    _add_keys(role, sp)
    _add_places(role, sp)
    _add_wanted(role, about)
    _add_organization(entity, sp, about)
    _add_contacts(entity, about)
    _sign(entity, sp.keys.current())
    return etree.tostring(entity, encoding="UTF-8", xml_declaration=True)


def lacking(sp: ServiceProvider, about: About) -> list[str]:
    """What a federation would send the metadata back for (as eduID.cz checks it), in whole sentences."""
    found = []
    host = sp.base_url.removeprefix("https://").partition("/")[0].partition(":")[0]
    if "." not in host or host.replace(".", "").isdigit():
        found.append(f"The address of the portal ({sp.base_url}) has no full host name; set web.url.")
    if not about.mail:
        found.append("There is no mail address of whom to ask; set login.support.")
    return found


def _add_attributes(entity: etree._Element) -> None:
    """It takes either identifier of the SAML Subject Identifier Profile 1.0 (§3.3)."""
    attributes = add(add(entity, _md("Extensions")), f"{{{MDATTR}}}EntityAttributes")
    attribute = add(attributes, f"{{{SAML}}}Attribute", Name=SUBJECT_REQUIRED, NameFormat=URI)
    add(attribute, f"{{{SAML}}}AttributeValue", "any")


def _add_shown(role: etree._Element, sp: ServiceProvider, about: About) -> None:
    """What people see of it, and where a discovery service sends them back to."""
    extensions = add(role, _md("Extensions"))
    add(extensions, f"{{{IDPDISC}}}DiscoveryResponse", Binding=IDPDISC, Location=sp.discovery, index="1")
    shown = add(extensions, f"{{{MDUI}}}UIInfo")
    _in_languages(shown, f"{{{MDUI}}}DisplayName", {one: about.name(one) for one in LANGUAGES})
    _in_languages(shown, f"{{{MDUI}}}Description", _DESCRIPTIONS)
    help_page = dict.fromkeys(LANGUAGES, f"{sp.base_url}/help")
    _in_languages(shown, f"{{{MDUI}}}InformationURL", help_page)
    _in_languages(shown, f"{{{MDUI}}}PrivacyStatementURL", help_page)


def _add_keys(role: etree._Element, sp: ServiceProvider) -> None:
    """All keys for signatures; for encryption the newest, with how it can be done."""
    for use, certificates in (("signing", sp.keys.signing()), ("encryption", sp.keys.encryption())):
        for pem in certificates:
            descriptor = add(role, _md("KeyDescriptor"), use=use)
            data = add(add(descriptor, f"{{{DS}}}KeyInfo"), f"{{{DS}}}X509Data")
            add(data, f"{{{DS}}}X509Certificate", known(pem).base64)
            if use == "encryption":
                for method in (XENC11 + "aes256-gcm", XENC11 + "aes128-gcm", OAEP11, OAEP):
                    add(descriptor, _md("EncryptionMethod"), Algorithm=method)


def _add_places(role: etree._Element, sp: ServiceProvider) -> None:
    """Where messages go."""
    for binding in (REDIRECT, POST):
        add(role, _md("SingleLogoutService"), Binding=binding, Location=sp.slo)
    for form in (TRANSIENT, PERSISTENT):
        add(role, _md("NameIDFormat"), form)
    add(role, _md("AssertionConsumerService"), Binding=POST, Location=sp.acs, index="0", isDefault="true")


def _add_wanted(role: etree._Element, about: About) -> None:
    """Which attributes it asks for."""
    service = add(role, _md("AttributeConsumingService"), index="0", isDefault="true")
    _in_languages(service, _md("ServiceName"), {one: about.name(one) for one in LANGUAGES})
    for name, friendly in OIDS.items():
        if not name.startswith(_SUBJECT):
            wanted = add(service, _md("RequestedAttribute"), Name=name, NameFormat=URI, FriendlyName=friendly)
            wanted.set("isRequired", "true" if friendly == EPPN else "false")


def _add_organization(entity: etree._Element, sp: ServiceProvider, about: About) -> None:
    organization = add(entity, _md("Organization"))
    for name, text in (
        ("OrganizationName", about.organization),
        ("OrganizationDisplayName", about.organization),
        ("OrganizationURL", sp.base_url),
    ):
        _in_languages(organization, _md(name), dict.fromkeys(LANGUAGES, text))


def _add_contacts(entity: etree._Element, about: About) -> None:
    for kind in ("technical", "support"):
        person = add(entity, _md("ContactPerson"), contactType=kind)
        add(person, _md("Company"), about.organization)
        if about.mail:
            add(person, _md("EmailAddress"), f"mailto:{about.mail}")


def _in_languages(parent: etree._Element, tag: str, texts: Mapping[str, str]) -> None:
    for language, text in texts.items():
        add(parent, tag, text).set(f"{{{XML}}}lang", language)


def _sign(entity: etree._Element, key: SpKey) -> None:
    """Sign it with RSA and SHA-256; the signature comes first (SAML Metadata §2.3.2)."""
    signature = template.create(entity, constants.TransformExclC14N, constants.TransformRsaSha256, ns="ds")
    entity.insert(0, signature)
    reference = template.add_reference(signature, constants.TransformSha256, uri=f"#{entity.get('ID')}")
    template.add_transform(reference, constants.TransformEnveloped)
    template.add_transform(reference, constants.TransformExclC14N)
    template.add_x509_data(template.ensure_key_info(signature))
    signer = xmlsec.SignatureContext()
    signer.register_id(entity, "ID")
    signer.key = xmlsec.Key.from_memory(private_pem(key.private), constants.KeyDataFormatPem, None)
    signer.key.load_cert_from_memory(key.certificate.pem, constants.KeyDataFormatPem)
    signer.sign(signature)


def _md(name: str) -> str:
    return f"{{{MD}}}{name}"
