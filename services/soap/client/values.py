"""Arguments of the node's own types as zeep takes them."""

from __future__ import annotations

import base64
import dataclasses
import enum
import secrets
from collections.abc import Sequence
from typing import Any

from lxml import etree

from services.soap.framework.attachments import Attachments
from services.soap.framework.blob import Blob
from services.soap.framework.model import fields_of
from services.soap.framework.names import camel


class Arguments:
    """The arguments of one call; bytes become tokens, so that zeep does not see them."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._blobs: dict[str, Blob] = {}
        self.values = {camel(name): self._plain(value) for name, value in values.items() if value is not None}

    def place(self, envelope: etree._Element, attachments: Attachments) -> None:
        """Put the bytes into the message, or beside it with references in it."""
        if not self._blobs:
            return
        for element in list(envelope.iter(etree.Element)):
            blob = self._blobs.get(element.text or "")
            if blob is not None:
                element.text = None
                attachments.place(element, blob)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, enum.Enum):
            return value.value
        if isinstance(value, Blob):
            return self._token(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            given = ((one.tag, getattr(value, one.name)) for one in fields_of(type(value)))
            return {tag: self._plain(inner) for tag, inner in given if inner is not None}
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return [self._plain(item) for item in value]
        return value

    def _token(self, blob: Blob) -> bytes:
        token = secrets.token_bytes(24)
        self._blobs[base64.b64encode(token).decode("ascii")] = blob
        return token
