"""The WSDL of a contract (WSDL 1.1): one document, one port type, a binding for each version of SOAP."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from lxml import etree

from services.soap.framework.contract import Contract, Operation
from services.soap.framework.names import HTTP_TRANSPORT, VERSIONS, WSAM, WSDL, XSD, Soap

W = f"{{{WSDL}}}"
ACTION = f"{{{WSAM}}}Action"


def wsdl(contract: Contract, location: str, versions: Sequence[Soap] = VERSIONS) -> etree._Element:
    """Write a contract down.

    Args:
        contract: what to write.
        location: the address of the service.
        versions: of SOAP; a client that knows SOAP 1.1 alone may stumble over the other binding.
    """
    prefixes = {"Soap11": "soap", "Soap12": "soap12"}
    nsmap = {"wsdl": WSDL, "xs": XSD, "tns": contract.namespace, "wsam": WSAM}
    nsmap |= {prefixes[version.name]: version.binding for version in versions}
    root = etree.Element(f"{W}definitions", nsmap=nsmap)
    root.set("name", contract.name)
    root.set("targetNamespace", contract.namespace)
    _document(root, contract.docs.text)
    etree.SubElement(root, f"{W}types").append(deepcopy(contract.schema))
    _messages(root, contract)
    _port_type(root, contract)
    for version in versions:
        _binding(root, contract, version)
    _service(root, contract, location, versions)
    return root


def write(root: etree._Element) -> bytes:
    """A document as it is published."""
    etree.indent(root)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _document(element: etree._Element, text: str) -> None:
    if text:
        etree.SubElement(element, f"{W}documentation").text = text


def _messages(root: etree._Element, contract: Contract) -> None:
    for one in contract.operations.values():
        _message(root, one.name, one.name, "parameters")
        _message(root, f"{one.name}Response", f"{one.name}Response", "parameters")
    for family in contract.faults:
        _message(root, f"{family.name}Fault", family.name, "fault")


def _message(root: etree._Element, name: str, element: str, part: str) -> None:
    message = etree.SubElement(root, f"{W}message", name=name)
    etree.SubElement(message, f"{W}part", name=part, element=f"tns:{element}")


def _port_type(root: etree._Element, contract: Contract) -> None:
    port_type = etree.SubElement(root, f"{W}portType", name=f"{contract.name}PortType")
    for one in contract.operations.values():
        element = etree.SubElement(port_type, f"{W}operation", name=one.name)
        _document(element, one.docs.text)
        _abstract(element, "input", one.name, one.request_action)
        _abstract(element, "output", f"{one.name}Response", one.response_action)
        for family in one.faults:
            fault = _abstract(element, "fault", f"{family.name}Fault", one.fault_action(family.name))
            fault.set("name", family.name)


def _abstract(parent: etree._Element, kind: str, message: str, action: str) -> etree._Element:
    element = etree.SubElement(parent, f"{W}{kind}", message=f"tns:{message}")
    element.set(ACTION, action)
    return element


def _binding(root: etree._Element, contract: Contract, version: Soap) -> None:
    binding = etree.SubElement(root, f"{W}binding", name=f"{contract.name}{version.name}Binding")
    binding.set("type", f"tns:{contract.name}PortType")
    soap = f"{{{version.binding}}}"
    etree.SubElement(binding, f"{soap}binding", style="document", transport=HTTP_TRANSPORT)
    for one in contract.operations.values():
        _bound(binding, one, soap)


def _bound(binding: etree._Element, operation: Operation, soap: str) -> None:
    element = etree.SubElement(binding, f"{W}operation", name=operation.name)
    etree.SubElement(element, f"{soap}operation", soapAction=operation.request_action, style="document")
    for kind in ("input", "output"):
        etree.SubElement(etree.SubElement(element, f"{W}{kind}"), f"{soap}body", use="literal")
    for family in operation.faults:
        fault = etree.SubElement(element, f"{W}fault", name=family.name)
        etree.SubElement(fault, f"{soap}fault", name=family.name, use="literal")


def _service(root: etree._Element, contract: Contract, location: str, versions: Sequence[Soap]) -> None:
    service = etree.SubElement(root, f"{W}service", name=f"{contract.name}Service")
    for version in versions:
        port = etree.SubElement(service, f"{W}port", name=f"{contract.name}{version.name}Port")
        port.set("binding", f"tns:{contract.name}{version.name}Binding")
        etree.SubElement(port, f"{{{version.binding}}}address", location=location)
