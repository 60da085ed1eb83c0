"""python3-saml as it comes, with strict settings: what it makes of messages, and how long that takes."""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings

_SECURITY = {
    "wantAssertionsSigned": True,
    "wantAttributeStatement": False,
    "wantNameId": False,
    "requestedAuthnContext": False,
    "rejectDeprecatedAlgorithm": True,
}


def main() -> None:
    """Read what is asked from standard input, and write a verdict and the seconds of each message."""
    asked = json.load(sys.stdin)
    settings = OneLogin_Saml2_Settings(
        {
            "strict": True,
            "sp": {
                "entityId": asked["entity"],
                "assertionConsumerService": {"url": asked["acs"]},
                "privateKey": asked["key"],
            },
            "idp": {
                "entityId": asked["idp"],
                "singleSignOnService": {"url": asked["acs"]},
                "x509certMulti": {"signing": asked["certificates"], "encryption": []},
            },
            "security": _SECURITY,
        }
    )
    json.dump([_tried(settings, asked, message) for message in asked["messages"]], sys.stdout)


def _tried(settings: Any, asked: dict[str, Any], message: str) -> dict[str, float]:
    place = urlsplit(asked["acs"])
    where = {
        "https": "on",
        "http_host": place.netloc,
        "script_name": place.path,
        "get_data": {},
        "post_data": {},
    }
    began = time.perf_counter()
    try:
        taken = OneLogin_Saml2_Response(settings, message).is_valid(where, asked["request"])
    except Exception:  # what its libraries raise escapes it
        taken = False
    return {"taken": float(bool(taken)), "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    main()
