"""WS-Security between nodes: every message is signed and says who caused it (WSS 1.1 with X.509 and SAML)."""

from __future__ import annotations

from services.soap.security.incoming import Caller, Verifier
from services.soap.security.outgoing import Signer

__all__ = ["Caller", "Signer", "Verifier"]
