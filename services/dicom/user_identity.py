"""User Identity Negotiation: who sits at the device that asks for an association (PS3.7 D.3.3.7)."""

from __future__ import annotations

import ssl
from typing import Final, Protocol

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from node.domain.principal import Principal
from node.identity.at_device import Shown

UNKNOWN: Final = 255
"""The kind of an identity that cannot be told: there may be one item only (PS3.7 D.3.3.7.1)."""


class Knows(Protocol):
    """The door that knows the persons at devices."""

    def who(self, device: Principal, shown: Shown) -> Principal:
        """The person at a device, or the device itself.

        Raises:
            Unauthenticated: what is shown is not right, or a person is missing.
        """
        ...


class Nobody:
    """Knows devices only, as an entity does that no person is meant to call."""

    def who(self, device: Principal, shown: Shown) -> Principal:
        """The device itself, whatever it shows (PS3.7 D.3.3.7.2: no positive response is made)."""
        return device


def shown_by(association: Association, connection: object) -> Shown:
    """What a request for an association, and the connection that it came on, show of a person."""
    secured = connection if isinstance(connection, ssl.SSLSocket) else None
    certificate = secured.getpeercert(binary_form=True) if secured else None
    asked = [
        one for one in association.requestor.user_information if isinstance(one, UserIdentityNegotiation)
    ]
    if not asked:
        return Shown(secure=secured is not None, certificate=certificate)
    return Shown(
        kind=asked[0].user_identity_type or UNKNOWN if len(asked) == 1 else UNKNOWN,
        primary=asked[0].primary_field or b"",
        secondary=asked[0].secondary_field or b"",
        secure=secured is not None,
        certificate=certificate,
    )


def acknowledge(association: Association) -> None:
    """Tell a requestor that wants to know it that its user was accepted (PS3.7 D.3.3.7.2).

    The response is empty: this node answers with no ticket, assertion or token of its own.
    """
    asked = association.requestor.user_identity
    if asked is None or not asked.positive_response_requested:
        return
    answer = UserIdentityNegotiation()
    answer.server_response = b""
    association.acceptor.add_negotiation_item(answer)
