"""The schemas of SAML 2.0, with the types that nodes add to it: what others would check our XML against."""

from __future__ import annotations

from importlib.resources import files

from lxml import etree

NODE = """
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata"
           targetNamespace="urn:konzilium:metadata:1" elementFormDefault="qualified">
  <xs:import namespace="urn:oasis:names:tc:SAML:2.0:metadata"
             schemaLocation="{folder}/saml-schema-metadata-2.0.xsd"/>
  <xs:complexType name="NodeDescriptorType">
    <xs:complexContent>
      <xs:extension base="md:RoleDescriptorType">
        <xs:sequence>
          <xs:element name="Endpoint" type="md:EndpointType" minOccurs="0"/>
          <xs:element name="AETitle" type="xs:string"/>
        </xs:sequence>
      </xs:extension>
    </xs:complexContent>
  </xs:complexType>
</xs:schema>
"""

CODED = """
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:hl7-org:v3">
  <xs:import namespace="urn:oasis:names:tc:SAML:2.0:assertion"
             schemaLocation="{folder}/saml-schema-assertion-2.0.xsd"/>
  <xs:complexType name="CE">
    <xs:attribute name="code" type="xs:string" use="required"/>
    <xs:attribute name="codeSystem" type="xs:string" use="required"/>
    <xs:attribute name="displayName" type="xs:string"/>
  </xs:complexType>
</xs:schema>
"""


def schema(text: str) -> etree.XMLSchema:
    """One of the above, compiled with the schemas of SAML."""
    folder = files("onelogin.saml2") / "schemas"
    return etree.XMLSchema(etree.fromstring(text.format(folder=folder)))
