"""WS-Addressing 1.0: what a message says about itself, and what its answer says about the message."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from lxml import etree

from node.domain.errors import MalformedMessage
from services.soap.framework.envelope import Envelope, text_of
from services.soap.framework.names import WSA

A = f"{{{WSA}}}"
HERE = frozenset({f"{WSA}/anonymous", f"{WSA}/none"})
LONGEST = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressing:
    """The addressing headers of a request."""

    action: str
    message_id: str

    @property
    def used(self) -> bool:
        """Whether the caller speaks WS-Addressing."""
        return bool(self.action or self.message_id)


def read_addressing(envelope: Envelope) -> Addressing:
    """Take the addressing headers of a request.

    Raises:
        MalformedMessage: the answer should go elsewhere than back, or a header comes twice or is too long.
    """
    tags = [one.tag for one in envelope.headers if str(one.tag).startswith(A) and one.tag != f"{A}RelatesTo"]
    if len(tags) != len(set(tags)):
        raise MalformedMessage("an addressing header comes twice")
    for one in envelope.headers:
        if (
            one.tag in {f"{A}ReplyTo", f"{A}FaultTo"}
            and (one.findtext(f"{A}Address") or "").strip() not in HERE
        ):
            raise MalformedMessage("an answer can go only to where the message came from")
    found = Addressing(action=text_of(envelope, f"{A}Action"), message_id=text_of(envelope, f"{A}MessageID"))
    if max(len(found.action), len(found.message_id)) > LONGEST:
        raise MalformedMessage("an addressing header is too long")
    return found


def address(header: etree._Element, *, action: str, to: str = "", relates_to: str = "") -> str:
    """Write addressing headers; returns the new message's identifier."""
    message_id = f"urn:uuid:{uuid.uuid4()}"
    for name, text in (("Action", action), ("MessageID", message_id), ("To", to), ("RelatesTo", relates_to)):
        if text:
            etree.SubElement(header, f"{A}{name}").text = text
    return message_id
