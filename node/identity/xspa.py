"""What an assertion says of its subject, in the words of IHE XUA and XSPA (ITI TF-2 3.40)."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Final

from lxml import etree

from node.domain.errors import Unauthenticated
from node.domain.ids import SiteId
from node.domain.principal import Kind, Principal
from node.identity.eduperson import FRIENDLY, OIDS
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

MOST_ATTRIBUTES: Final = 64
MOST_VALUES: Final = 256
LONGEST_VALUE: Final = 1024
"""Characters."""
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
    texts = {
        SUBJECT_ID: _called(principal),
        ORGANIZATION: organization,
        ORGANIZATION_ID: home,
        COMMUNITY: home,
    }
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
    for word, values in principal.attributes:
        if word in OIDS:
            told = _add_attribute(statement, OIDS[word])
            told.set("FriendlyName", word)
            for text in values:
                add(told, _VALUE, text)


def read_attributes(assertion: etree._Element, principal: Principal) -> Principal:
    """The subject with what the attributes say of it; readers of either see the same person and home.

    Raises:
        Unauthenticated: they are those of somebody else, or one is given twice.
    """
    values: dict[str, str] = {}
    told: list[tuple[str, tuple[str, ...]]] = []
    seen: set[str] = set()
    for attribute in only(assertion, _STATEMENT):
        name = attribute.get("Name", "")
        if name in seen or len(seen) >= MOST_ATTRIBUTES:
            raise Unauthenticated("the assertion gives an attribute twice, or too many of them")
        seen.add(name)
        if name in FRIENDLY:
            told.append((FRIENDLY[name], _texts(attribute)))
            continue
        value = only(attribute, _VALUE)
        values[name] = (value[0].get("code") if len(value) else value.text) or ""
    if (values.get(COMMUNITY), values.get(ROLE)) != (community(principal.site), str(principal.kind)):
        raise Unauthenticated("the attributes of the assertion are not those of its subject")
    if principal.kind is not Kind.PERSON:
        if values.get(SUBJECT_ID) != principal.name:
            raise Unauthenticated("the attributes of the assertion are not those of its subject")
        return principal
    return replace(
        principal,
        display=values.get(SUBJECT_ID, "")[:LONGEST_VALUE],
        attributes=tuple(sorted(told)),
        purpose=_purpose(values.get(PURPOSE, "")),
    )


def _called(principal: Principal) -> str:
    """The name of a person as people say it (ITI TF-2 3.40.4.1.2.1), and the name of anything else."""
    return principal.display or principal.name


def _texts(attribute: etree._Element) -> tuple[str, ...]:
    """The values of an attribute of a person."""
    texts = tuple((value.text or "").strip() for value in attribute.findall(_VALUE))
    if len(texts) > MOST_VALUES or any(not text or len(text) > LONGEST_VALUE for text in texts):
        raise Unauthenticated("an attribute of the assertion is empty, too long, or has too many values")
    return texts


def _purpose(code: str) -> str:
    if code not in list(Purpose):
        raise Unauthenticated("the assertion does not say why it is asked")
    return code


def _add_attribute(statement: etree._Element, name: str) -> etree._Element:
    return add(statement, _ATTRIBUTE, Name=name, NameFormat=_URI)
