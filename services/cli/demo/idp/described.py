"""The metadata of an identity provider of the demonstration, which begin with what it is not."""

from __future__ import annotations

from lxml import etree

from node.identity.providers.descriptor import DEMONSTRATION
from services.cli.demo.idp.houses import House
from services.cli.demo.idp.names import DS, MD, MDATTR, MDUI, REDIRECT, SAML, SAMLP, SHIBMD, URI
from services.cli.demo.idp.sealed import bare, child

_NAMES = {"md": MD, "mdui": MDUI, "mdattr": MDATTR, "saml": SAML, "shibmd": SHIBMD, "ds": DS}
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


def describe(house: House) -> None:
    """Write the metadata of an identity provider (SAML Metadata §2.4.3) into its folder."""
    root = etree.Element(f"{{{MD}}}EntityDescriptor", nsmap=_NAMES, entityID=house.hospital.entity)
    _say_what_it_is(child(root, MD, "Extensions"))
    role = child(root, MD, "IDPSSODescriptor", protocolSupportEnumeration=SAMLP)
    role.set("WantAuthnRequestsSigned", "true")
    _say_whose_it_is(child(role, MD, "Extensions"), house)
    key = child(role, MD, "KeyDescriptor", use="signing")
    data = child(child(key, DS, "KeyInfo"), DS, "X509Data")
    child(data, DS, "X509Certificate").text = bare(house.certificate)
    child(role, MD, "SingleLogoutService", Binding=REDIRECT, Location=f"{house.url}/logout")
    child(role, MD, "SingleSignOnService", Binding=REDIRECT, Location=f"{house.url}/login")
    _say_whom_to_ask(root, house)
    house.metadata.write_bytes(
        etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    )


def _say_what_it_is(extensions: etree._Element) -> None:
    attributes = child(extensions, MDATTR, "EntityAttributes")
    attribute = child(attributes, SAML, "Attribute", Name=DEMONSTRATION, NameFormat=URI)
    child(attribute, SAML, "AttributeValue").text = "true"


def _say_whose_it_is(extensions: etree._Element, house: House) -> None:
    child(extensions, SHIBMD, "Scope", regexp="false").text = house.hospital.scope
    described = child(extensions, MDUI, "UIInfo")
    for language, words in (("en", house.hospital.english), ("cs", house.hospital.czech)):
        child(described, MDUI, "DisplayName", **{_LANGUAGE: language}).text = words


def _say_whom_to_ask(root: etree._Element, house: House) -> None:
    organization = child(root, MD, "Organization")
    for name in ("OrganizationName", "OrganizationDisplayName"):
        child(organization, MD, name, **{_LANGUAGE: "en"}).text = house.hospital.english
    child(organization, MD, "OrganizationURL", **{_LANGUAGE: "en"}).text = f"{house.url}/"
    contact = child(root, MD, "ContactPerson", contactType="technical")
    child(contact, MD, "GivenName").text = "Nobody: this is a demonstration"
    child(contact, MD, "EmailAddress").text = f"mailto:nobody@{house.hospital.scope}"
