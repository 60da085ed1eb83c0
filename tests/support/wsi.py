"""Rules of the WS-I Basic Profile (1.1, and 2.0 where it adds to it) that a document alone can show.

`broken(document)` names every rule that a WSDL does not keep, with what breaks it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from lxml import etree

from services.soap.framework.names import HTTP_TRANSPORT, SOAP11, SOAP12, WSAM, WSDL, XSD

W, X = f"{{{WSDL}}}", f"{{{XSD}}}"
BINDINGS = (SOAP11.binding, SOAP12.binding)
ENCODING = "http://schemas.xmlsoap.org/soap/encoding/"
ORDER = ("documentation", "import", "types", "message", "portType", "binding", "service")

Rule = Callable[[etree._Element], Iterator[str]]
RULES: dict[str, Rule] = {}


def rule(number: str) -> Callable[[Rule], Rule]:
    def keep(check: Rule) -> Rule:
        RULES[number] = check
        return check

    return keep


def broken(document: bytes) -> list[str]:
    """Every rule that this document does not keep."""
    root = etree.fromstring(document)
    found = [f"{number}: {what}" for number, check in RULES.items() for what in check(root)]
    if document.startswith((b"\xff\xfe", b"\xfe\xff")) or b'encoding="UTF-8"' not in document[:60].replace(
        b"'", b'"'
    ):
        found.append("R4003: the document is not in UTF-8")
    return found


def resolved(element: etree._Element, name: str) -> tuple[str, str]:
    """A QName in a text as namespace and local name."""
    prefix, _, local = name.rpartition(":")
    return element.nsmap.get(prefix or None, ""), local


def named(root: etree._Element, path: str) -> dict[str, etree._Element]:
    return {str(one.get("name")): one for one in root.iterfind(path)}


def soap_of(binding: etree._Element) -> str | None:
    return next((ns for ns in BINDINGS if binding.find(f"{{{ns}}}binding") is not None), None)


def soap_children(root: etree._Element, name: str) -> Iterator[etree._Element]:
    for ns in BINDINGS:
        yield from root.iter(f"{{{ns}}}{name}")


@rule("R2023")
def definitions_are_in_order(root):
    order = [ORDER.index(etree.QName(one).localname) for one in root]
    if order != sorted(order):
        yield "children of definitions are out of order"


@rule("R2020")
def documentation_comes_first(root):
    for one in root.iter(f"{W}documentation"):
        if one.getparent().index(one) != 0:
            yield f"documentation inside {one.getparent().get('name')} is not its first child"


@rule("R2005")
def target_namespace_is_absolute(root):
    if not urlsplit(root.get("targetNamespace", "")).scheme:
        yield "targetNamespace is not absolute"


@rule("R2001")
def nothing_is_imported_from_elsewhere(root):
    if root.find(f"{W}import") is not None or root.find(f".//{X}import[@schemaLocation]") is not None:
        yield "the document is not complete in itself"


@rule("R2105")
def schemas_have_a_target_namespace(root):
    for one in root.iterfind(f"{W}types/{X}schema"):
        if not one.get("targetNamespace"):
            yield "a schema has no targetNamespace"


@rule("R2101")
def references_lead_somewhere(root):
    schema = root.find(f"{W}types/{X}schema")
    declared = {(schema.get("targetNamespace"), one.get("name")) for one in schema if one.get("name")}
    for one in schema.iter():
        for attribute in ("type", "base", "ref"):
            value = one.get(attribute)
            if value and (target := resolved(one, value))[0] != XSD and target not in declared:
                yield f"{value} is declared nowhere"


@rule("R2800")
def the_schema_is_one(root):
    for one in root.iterfind(f"{W}types/{X}schema"):
        try:
            etree.XMLSchema(etree.fromstring(etree.tostring(one)))
        except etree.XMLSchemaParseError as error:
            yield str(error)


@rule("R2110")
def no_encoded_arrays(root):
    if any(ns == ENCODING for one in root.iter() for ns in one.nsmap.values()):
        yield "the SOAP encoding is used"


@rule("R2204")
def parts_refer_to_elements(root):
    for part in root.iterfind(f"{W}message/{W}part"):
        if part.get("element") is None or part.get("type") is not None:
            yield f"a part of {part.getparent().get('name')} has no element"


@rule("R2206")
def elements_of_parts_are_global(root):
    schema = root.find(f"{W}types/{X}schema")
    declared = {(schema.get("targetNamespace"), one.get("name")) for one in schema.iterfind(f"{X}element")}
    for part in root.iterfind(f"{W}message/{W}part"):
        if resolved(part, part.get("element", "")) not in declared:
            yield f"{part.get('element')} is no global element"


@rule("R2210")
def messages_have_one_part(root):
    for name, message in named(root, f"{W}message").items():
        if len(message.findall(f"{W}part")) != 1:
            yield f"{name} has not one part"


@rule("R2304")
def operations_have_names_of_their_own(root):
    for port_type in root.iterfind(f"{W}portType"):
        counted = Counter(one.get("name") for one in port_type.iterfind(f"{W}operation"))
        yield from (f"{name} is there twice" for name, count in counted.items() if count > 1)


@rule("R2303")
def operations_are_asked_and_answered(root):
    for operation in root.iterfind(f"{W}portType/{W}operation"):
        kinds = [etree.QName(one).localname for one in operation]
        if [kind for kind in kinds if kind in {"input", "output"}] not in (["input", "output"], ["input"]):
            yield f"{operation.get('name')} is neither request-response nor one-way"


@rule("R2305")
def no_parameter_order(root):
    for operation in root.iterfind(f"{W}portType/{W}operation[@parameterOrder]"):
        yield f"{operation.get('name')} orders parameters"


@rule("R2401")
def bindings_are_soap(root):
    for name, binding in named(root, f"{W}binding").items():
        if soap_of(binding) is None:
            yield f"{name} is no SOAP binding"


@rule("R2702")
def transport_is_http(root):
    for one in soap_children(root, "binding"):
        if one.get("transport") != HTTP_TRANSPORT:
            yield "a binding has another transport than HTTP"


@rule("R2705")
def style_is_document(root):
    styles = {
        one.get("style", "document") for kind in ("binding", "operation") for one in soap_children(root, kind)
    }
    if styles - {"document"}:
        yield f"styles {sorted(styles)}"


@rule("R2706")
def use_is_literal(root):
    for kind in ("body", "fault", "header"):
        for one in soap_children(root, kind):
            if one.get("use", "literal") != "literal":
                yield f"a {kind} is not literal"


@rule("R2710")
def wire_signatures_differ(root):
    messages = named(root, f"{W}message")
    for port_type in root.iterfind(f"{W}portType"):
        inputs = [
            one.get("message", "").rpartition(":")[2] for one in port_type.iterfind(f"{W}operation/{W}input")
        ]
        counted = Counter(messages[name][-1].get("element") for name in inputs)
        yield from (f"{element} begins two operations" for element, count in counted.items() if count > 1)


@rule("R2716")
def literal_bindings_name_no_namespace(root):
    for kind in ("body", "fault", "header"):
        for one in soap_children(root, kind):
            if one.get("namespace") is not None:
                yield f"a {kind} names a namespace"


@rule("R2718")
def bindings_bind_every_operation(root):
    port_types = named(root, f"{W}portType")
    for name, binding in named(root, f"{W}binding").items():
        port_type = port_types.get(binding.get("type", "").rpartition(":")[2])
        if (
            port_type is None
            or named(binding, f"{W}operation").keys() != named(port_type, f"{W}operation").keys()
        ):
            yield f"{name} does not bind what its port type has"


@rule("R2740")
def bindings_name_every_fault(root):
    expected = {
        operation.get("name"): set(named(operation, f"{W}fault"))
        for operation in root.iterfind(f"{W}portType/{W}operation")
    }
    for operation in root.iterfind(f"{W}binding/{W}operation"):
        if set(named(operation, f"{W}fault")) != expected.get(operation.get("name")):
            yield f"faults of {operation.get('name')} differ"


@rule("R2754")
def faults_have_their_own_name(root):
    for fault in root.iterfind(f"{W}binding/{W}operation/{W}fault"):
        inner = [one.get("name") for one in fault if etree.QName(one).localname == "fault"]
        if inner != [fault.get("name")]:
            yield f"{fault.get('name')} is called {inner}"


@rule("R2744")
def actions_are_said(root):
    for one in soap_children(root, "operation"):
        if not urlsplit(one.get("soapAction", "")).scheme:
            yield f"{one.getparent().get('name')} has no absolute soapAction"


@rule("R2711")
def ports_of_one_binding_have_places_of_their_own(root):
    for ns in BINDINGS:
        counted = Counter(one.get("location") for one in root.iter(f"{{{ns}}}address"))
        yield from (f"two ports at {location}" for location, count in counted.items() if count > 1)


@rule("R2781")
def ports_lead_to_bindings_and_places(root):
    bindings = named(root, f"{W}binding")
    for name, port in named(root, f"{W}service/{W}port").items():
        binding = bindings.get(port.get("binding", "").rpartition(":")[2])
        place = port[-1] if len(port) else None
        if binding is None or place is None or etree.QName(place).namespace != soap_of(binding):
            yield f"{name} leads nowhere"
        elif urlsplit(place.get("location", "")).scheme not in {"http", "https"}:
            yield f"{name} is at no HTTP address"


@rule("R1142")
def addressing_actions_are_said(root):
    for operation in root.iterfind(f"{W}portType/{W}operation"):
        for one in operation:
            if etree.QName(one).localname != "documentation" and not one.get(f"{{{WSAM}}}Action"):
                yield f"a message of {operation.get('name')} has no wsam:Action"
