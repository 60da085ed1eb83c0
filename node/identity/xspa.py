"""What an assertion says of its subject, in the words of IHE XUA and XSPA (ITI TF-2 3.40)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from lxml import etree

from node.domain.errors import Unauthenticated
from node.domain.ids import SiteId
from node.domain.principal import Principal
from node.identity.xmlnames import HL7, NODE, SAML, XSI, add, entity_id, oid, only


class Purpose(StrEnum):
    """Why it is asked (purpose of use; code system 2.16.840.1.113883.3.18.7.1)."""

    TREATMENT = "TREATMENT"
    OPERATIONS = "OPERATIONS"
    ADMINISTRATION = "SYSADMIN"
    RESEARCH = "RESEARCH"
    EMERGENCY = "EMERGENCY"


_XSPA = "urn:oasis:names:tc:xspa:1.0:subject:"
SUBJECT_ID: Final = _XSPA + "subject-id"
ORGANIZATION: Final = _XSPA + "organization"
ORGANIZATION_ID: Final = _XSPA + "organization-id"
PURPOSE: Final = _XSPA + "purposeofuse"
ROLE: Final = "urn:oasis:names:tc:xacml:2.0:subject:role"
COMMUNITY: Final = "urn:ihe:iti:xca:2010:homeCommunityId"

_PURPOSES = "2.16.840.1.113883.3.18.7.1"
_ROLES = oid(NODE)
_URI = "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"
_STATEMENT = f"{{{SAML}}}AttributeStatement"
_ATTRIBUTE = f"{{{SAML}}}Attribute"
_VALUE = f"{{{SAML}}}AttributeValue"


def community(site: SiteId) -> str:
    """The home community id of a site (ITI TF-2 3.38): an OID that follows from its name."""
    return f"urn:oid:{oid(entity_id(site))}"


def add_attributes(
    assertion: etree._Element, principal: Principal, purpose: Purpose, organization: str
) -> None:
    """Append the attribute statement: who, of which organization, in which role, and why."""
    statement = add(assertion, _STATEMENT)
    home = community(principal.site)
    texts = {SUBJECT_ID: principal.name, ORGANIZATION: organization, ORGANIZATION_ID: home, COMMUNITY: home}
    for name, text in texts.items():
        add(_add_attribute(statement, name), _VALUE, text)
    for name, element, code, system in (
        (ROLE, "Role", str(principal.kind), _ROLES),
        (PURPOSE, "PurposeOfUse", str(purpose), _PURPOSES),
    ):
        value = add(_add_attribute(statement, name), _VALUE)
        coded = etree.SubElement(value, f"{{{HL7}}}{element}", nsmap={"hl7": HL7})
        coded.set(f"{{{XSI}}}type", "hl7:CE")
        for attribute, text in (("code", code), ("codeSystem", system), ("displayName", code)):
            coded.set(attribute, text)


def check_attributes(assertion: etree._Element, principal: Principal) -> None:
    """Insist that the attributes are those of the subject: readers of either see the same person and home.

    Raises:
        Unauthenticated: they are not, or one is given twice.
    """
    values: dict[str, str | None] = {}
    for attribute in only(assertion, _STATEMENT):
        name = attribute.get("Name", "")
        if name in values:
            raise Unauthenticated("the assertion gives an attribute twice")
        value = only(attribute, _VALUE)
        values[name] = value[0].get("code") if len(value) else value.text
    said = (values.get(SUBJECT_ID), values.get(COMMUNITY), values.get(ROLE))
    if said != (principal.name, community(principal.site), str(principal.kind)):
        raise Unauthenticated("the attributes of the assertion are not those of its subject")


def _add_attribute(statement: etree._Element, name: str) -> etree._Element:
    return add(statement, _ATTRIBUTE, Name=name, NameFormat=_URI)
