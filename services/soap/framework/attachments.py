"""The binary values of one message: beside it where both sides can, inside it where they are small.

A reference to a part (`xop:Include`) is not what the schema allows, so before validation each becomes a
token that nobody can guess, and the codec finds the part by its token.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from urllib.parse import unquote

from lxml import etree

from node.domain.errors import MalformedMessage, TooLarge
from services.soap.framework.blob import Blob
from services.soap.framework.limits import Limits
from services.soap.framework.names import XOP

INCLUDE = f"{{{XOP}}}Include"


class Attachments:
    """What came with a message, and what goes out with its answer."""

    def __init__(self, limits: Limits, *, beside: bool) -> None:
        """Values for a message.

        Args:
            limits: of values inside the message.
            beside: whether the other side takes values beside it.
        """
        self._limits = limits
        self._beside = beside
        self._came: dict[str, Blob] = {}
        self.parts: list[tuple[str, Blob]] = []
        """What goes out: Content-ID and bytes."""

    def adopt(self, root: etree._Element, parts: Mapping[str, Blob]) -> None:
        """Put a token where the message refers to a part.

        Raises:
            MalformedMessage: it refers to a part that did not come, or its reference has company.
        """
        nonce = secrets.token_bytes(24)
        for number, include in enumerate(list(root.iter(INCLUDE))):
            href = include.get("href", "")
            blob = parts.get(unquote(href.removeprefix("cid:")))
            parent = include.getparent()
            if blob is None or not href.startswith("cid:") or parent is None or len(parent) != 1:
                raise MalformedMessage("a reference leads to no part of the package")
            parent.remove(include)
            parent.text = base64.b64encode(nonce + number.to_bytes(6, "big")).decode("ascii")
            self._came[parent.text] = blob

    def take(self, text: str) -> Blob:
        """The value that stands at an element with this text.

        Raises:
            TooLarge: it is inside the message, and too large for that.
        """
        came = self._came.get(text)
        if came is not None:
            return came
        if len(text) > self._limits.inline * 2:
            raise TooLarge(self._limits.inline)
        data = base64.b64decode(text)
        if len(data) > self._limits.inline:
            raise TooLarge(self._limits.inline)
        return Blob.of(data)

    def place(self, element: etree._Element, blob: Blob) -> None:
        """Put a value into an element, or beside the message with a reference in the element.

        Raises:
            TooLarge: the other side takes no values beside a message, and it is too large to be inside.
        """
        if self._beside:
            name = f"{len(self.parts) + 1}.{secrets.token_hex(8)}@konzilium"
            self.parts.append((name, blob))
            etree.SubElement(element, INCLUDE, href=f"cid:{name}", nsmap={"xop": XOP})
            return
        if blob.size > self._limits.inline:
            raise TooLarge(self._limits.inline)
        element.text = base64.b64encode(blob.read()).decode("ascii")
