"""Faults as elements of the two versions of SOAP, written and read."""

from __future__ import annotations

from lxml import etree

from services.soap.framework.codec import put
from services.soap.framework.faults import Fault, Side
from services.soap.framework.names import SOAP11, SOAP12, XML, Soap

OLD_SIDES = {"Client": Side.SENDER, "Server": Side.RECEIVER}
LONGEST = 4096


def write_fault(body: etree._Element, soap: Soap, namespace: str, fault: Fault) -> None:
    """Append a fault to a Body.

    Args:
        body: of the answer.
        soap: its version.
        namespace: of the contract, for the subcode and the detail.
        fault: what to say.
    """
    element = etree.SubElement(body, soap.tag("Fault"), nsmap={"soap": soap.envelope, "tns": namespace})
    (_write11 if soap is SOAP11 else _write12)(element, fault)
    if fault.family:
        detail = etree.SubElement(element, "detail" if soap is SOAP11 else soap.tag("Detail"))
        _write_detail(etree.SubElement(detail, f"{{{namespace}}}{fault.family}"), namespace, fault)


def _write11(element: etree._Element, fault: Fault) -> None:
    side = {new: old for old, new in OLD_SIDES.items()}.get(fault.side, str(fault.side))
    etree.SubElement(element, "faultcode").text = f"soap:{side}"
    etree.SubElement(element, "faultstring").text = fault.text


def _write12(element: etree._Element, fault: Fault) -> None:
    tag = SOAP12.tag
    code = etree.SubElement(element, tag("Code"))
    etree.SubElement(code, tag("Value")).text = f"soap:{fault.side}"
    if fault.family:
        subcode = etree.SubElement(code, tag("Subcode"))
        etree.SubElement(subcode, tag("Value")).text = f"tns:{fault.family}"
    text = etree.SubElement(etree.SubElement(element, tag("Reason")), tag("Text"))
    text.set(f"{{{XML}}}lang", "en")
    text.text = fault.text


def _write_detail(element: etree._Element, namespace: str, fault: Fault) -> None:
    retry = () if fault.retry_after is None else (("retryAfter", str(fault.retry_after)),)
    for name, text in (("code", fault.code), ("message", fault.text), *retry):
        put(element, f"{{{namespace}}}{name}", text)


def write_headers(header: etree._Element, fault: Fault) -> None:
    """What a fault of SOAP itself says in headers (SOAP 1.2 part 1, 5.4.7 and 5.4.8)."""
    for tag in fault.headers:
        name = etree.QName(tag)
        element = etree.SubElement(header, SOAP12.tag("NotUnderstood"), nsmap={"h": str(name.namespace)})
        element.set("qname", f"h:{name.localname}")
    if fault.side is Side.VERSION_MISMATCH:
        upgrade = etree.SubElement(header, SOAP12.tag("Upgrade"))
        for other in (SOAP12, SOAP11):
            supported = etree.SubElement(
                upgrade, SOAP12.tag("SupportedEnvelope"), nsmap={"e": other.envelope}
            )
            supported.set("qname", "e:Envelope")


def read_fault(element: etree._Element, soap: Soap, namespace: str) -> Fault:
    """What a fault says; of a stranger's, whose fault it is and nothing more."""
    side = _side(element, soap)
    detail = element.find("detail" if soap is SOAP11 else soap.tag("Detail"))
    typed = detail[0] if detail is not None and len(detail) else None
    if typed is None or etree.QName(typed).namespace != namespace:
        return Fault(side=side, text="")
    retry = (typed.findtext(f"{{{namespace}}}retryAfter") or "").strip()
    return Fault(
        side=side,
        family=etree.QName(typed).localname,
        code=(typed.findtext(f"{{{namespace}}}code") or "").strip(),
        text=(typed.findtext(f"{{{namespace}}}message") or "")[:LONGEST],
        retry_after=int(retry) if retry.isdigit() and len(retry) < 9 else None,
    )


def _side(element: etree._Element, soap: Soap) -> Side:
    path = "faultcode" if soap is SOAP11 else f"{soap.tag('Code')}/{soap.tag('Value')}"
    word = (element.findtext(path) or "").strip().rpartition(":")[2]
    return OLD_SIDES.get(word) or next((side for side in Side if side == word), Side.RECEIVER)
