"""The second opinion: python3-saml looks at an answer too, after the gate and with our verifier.

python3-saml 1.16 by itself takes replays, answers that nobody asked for, addresses that only begin like
ours and algorithms that are broken, and lets a message of 7 KB occupy it for minutes. So nothing reaches it
that the gate has not let through and `claims` has not found good; what the node goes by is what `claims`
has read. It is asked because it reads in its own way and knows the schema: where both do not agree, the
answer is refused.
"""

from __future__ import annotations

import copy
import logging
from typing import Any, Final
from urllib.parse import urlsplit

from lxml import etree
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.utils import OneLogin_Saml2_Utils, return_false_on_exception

from node.domain.errors import BadSignature, LoginRefused
from node.identity.providers.descriptor import REDIRECT, Provider
from node.identity.saml import signature
from node.identity.saml.claims import Claims
from node.identity.saml.names import ENCRYPTED_ASSERTION
from node.identity.saml.sp import ServiceProvider

log = logging.getLogger(__name__)

_SECURITY: Final = {
    "wantAttributeStatement": False,
    "wantNameId": False,
    "requestedAuthnContext": False,
    "rejectDeprecatedAlgorithm": True,
    "allowRepeatAttributeName": False,
    "allowSingleLabelDomains": True,
}


class _Response(OneLogin_Saml2_Response):  # type: ignore[misc]
    """An answer whose assertion has been decrypted already, by whichever key of this site fitted."""

    def __init__(self, settings: Any, encoded: str, opened: etree._Element | None) -> None:
        self._opened = opened
        super().__init__(settings, encoded)

    def _decrypt_assertion(self, xml: etree._Element) -> etree._Element:
        held = xml.find(ENCRYPTED_ASSERTION)
        if self._opened is None or held is None:
            raise LoginRefused("the message is not what it was")
        xml.replace(held, copy.deepcopy(self._opened))
        return xml


def agree(
    encoded: str,
    opened: etree._Element | None,
    claims: Claims,
    *,
    sp: ServiceProvider,
    provider: Provider,
    request: str,
) -> None:
    """Insist that python3-saml takes the answer as well, and reads the same person in it.

    Args:
        encoded: the answer in base64, as it came.
        opened: the assertion, if it was encrypted.
        claims: what has been read in it.
        sp: this site.
        provider: who was asked.
        request: the ID of the request.

    Raises:
        LoginRefused: it does not.
    """
    why, same = "it reads something else in it", False
    try:
        answer = _Response(_settings(sp, provider), encoded, opened)
        if answer.is_valid(_asked(sp), request):
            same = answer.get_assertion_id() == claims.id and _name(answer) == claims.name.value
        else:
            why = str(answer.get_error())
    except Exception as error:  # it raises whatever its libraries raise
        why = type(error).__name__
    if not same:
        log.warning("python3-saml refused an answer", extra={"issuer": provider.entity, "why": why[:200]})
        raise LoginRefused("the answer of the identity provider does not hold; begin again")


def _name(answer: _Response) -> str:
    return str((answer.get_nameid_data() or {}).get("Value") or "").strip()


def _settings(sp: ServiceProvider, provider: Provider) -> OneLogin_Saml2_Settings:
    return OneLogin_Saml2_Settings(
        {
            "strict": True,
            "debug": False,
            "sp": {"entityId": sp.entity_id, "assertionConsumerService": {"url": sp.acs}},
            "idp": {
                "entityId": provider.entity,
                "singleSignOnService": {"url": sp.acs, "binding": REDIRECT},
                "x509certMulti": {"signing": list(provider.certificates), "encryption": []},
            },
            "security": _SECURITY,
        }
    )


def _asked(sp: ServiceProvider) -> dict[str, Any]:
    """Where the answer came in, from the settings and never from a header of the request."""
    place = urlsplit(sp.acs)
    return {
        "https": "on" if place.scheme == "https" else "off",
        "http_host": place.netloc,
        "script_name": place.path,
        "get_data": {},
        "post_data": {},
    }


@return_false_on_exception  # type: ignore[untyped-decorator]
def _validate_node_sign(
    signature_node: etree._Element,
    elem: etree._Element,
    cert: str | None = None,
    fingerprint: str | None = None,
    fingerprintalg: str = "sha1",
    validatecert: bool = False,
    debug: bool = False,
) -> bool:
    """The verifier of python3-saml, replaced by ours; its arguments are what it is called with."""
    parent = signature_node.getparent()
    if not cert or parent is None:
        raise BadSignature("there is no certificate to verify it with")
    signature.verify(parent, [cert])
    return True


OneLogin_Saml2_Utils.validate_node_sign = staticmethod(_validate_node_sign)
