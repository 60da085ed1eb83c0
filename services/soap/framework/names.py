"""Namespaces of SOAP and its relatives, and the two versions of SOAP as values."""

from __future__ import annotations

import re
from dataclasses import dataclass

WSDL = "http://schemas.xmlsoap.org/wsdl/"
XSD = "http://www.w3.org/2001/XMLSchema"
XML = "http://www.w3.org/XML/1998/namespace"
WSA = "http://www.w3.org/2005/08/addressing"
WSAM = "http://www.w3.org/2007/05/addressing/metadata"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
XOP = "http://www.w3.org/2004/08/xop/include"
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot carry (XML 1.0, production 2)."""
HTTP_TRANSPORT = "http://schemas.xmlsoap.org/soap/http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Soap:
    """One version of SOAP: its namespaces and the words it has for the same things."""

    name: str
    envelope: str
    binding: str
    media: str
    sender: str
    receiver: str
    roles: frozenset[str]
    """The roles (1.2) or actors (1.1) in which this node acts, besides the ultimate receiver."""

    def tag(self, local: str) -> str:
        """The name of an element of the envelope."""
        return f"{{{self.envelope}}}{local}"


SOAP11 = Soap(
    name="Soap11",
    envelope="http://schemas.xmlsoap.org/soap/envelope/",
    binding="http://schemas.xmlsoap.org/wsdl/soap/",
    media="text/xml",
    sender="Client",
    receiver="Server",
    roles=frozenset({"", "http://schemas.xmlsoap.org/soap/actor/next"}),
)
SOAP12 = Soap(
    name="Soap12",
    envelope="http://www.w3.org/2003/05/soap-envelope",
    binding="http://schemas.xmlsoap.org/wsdl/soap12/",
    media="application/soap+xml",
    sender="Sender",
    receiver="Receiver",
    roles=frozenset(
        {
            "",
            "http://www.w3.org/2003/05/soap-envelope/role/next",
            "http://www.w3.org/2003/05/soap-envelope/role/ultimateReceiver",
        }
    ),
)
VERSIONS = (SOAP11, SOAP12)


def local_name(tag: str) -> str:
    """The name of an element without its namespace."""
    return tag.rpartition("}")[2]


def camel(name: str) -> str:
    """A Python name as the wire spells it: `prepare_to_get` is `prepareToGet`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def writable(text: str) -> str:
    """A text with a mark in place of what XML cannot carry."""
    return UNWRITABLE.sub("\ufffd", text)
