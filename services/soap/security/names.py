"""The names of SOAP, WS-Addressing and WS-Security."""

from __future__ import annotations

from typing import Final

from node.identity.xmlnames import WSU

SOAP11: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12: Final = "http://www.w3.org/2003/05/soap-envelope"
WSA: Final = "http://www.w3.org/2005/08/addressing"
_WSS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
WSSE: Final = _WSS + "wssecurity-secext-1.0.xsd"

SECURITY: Final = f"{{{WSSE}}}Security"
TIMESTAMP: Final = f"{{{WSU}}}Timestamp"
CREATED: Final = f"{{{WSU}}}Created"
EXPIRES: Final = f"{{{WSU}}}Expires"
TOKEN: Final = f"{{{WSSE}}}BinarySecurityToken"
TOKEN_REFERENCE: Final = f"{{{WSSE}}}SecurityTokenReference"
DIRECT_REFERENCE: Final = f"{{{WSSE}}}Reference"
ID: Final = f"{{{WSU}}}Id"

X509V3: Final = _WSS + "x509-token-profile-1.0#X509v3"
BASE64: Final = _WSS + "soap-message-security-1.0#Base64Binary"

MESSAGE_ID: Final = f"{{{WSA}}}MessageID"
TO: Final = f"{{{WSA}}}To"
ACTION: Final = f"{{{WSA}}}Action"
REPLY_TO: Final = f"{{{WSA}}}ReplyTo"
ADDRESS: Final = f"{{{WSA}}}Address"
ANONYMOUS: Final = WSA + "/anonymous"
"""The answer goes back on the connection of the request (WS-Addressing 1.0 SOAP Binding 5.1)."""
