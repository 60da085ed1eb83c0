"""A published contract as zeep reads it: what makes requests, so that they are what the document says.

The document comes with this program, never from the node that is called: what a stranger sends cannot
change what is sent to it. Reading one takes some 30 ms, so it is read once for each contract.
"""

from __future__ import annotations

import io
import logging
from functools import cache
from importlib.resources import files
from typing import Any, cast

import zeep.settings
import zeep.wsdl
from lxml import etree

from node.domain.errors import MalformedMessage
from services.soap.framework.names import SOAP12

logging.getLogger("zeep").setLevel(logging.WARNING)  # it writes messages into the log where it can


class Sealed:
    """What zeep takes for a transport while it reads a document: it fetches nothing."""

    def load(self, url: str) -> bytes:
        """Refuse to fetch.

        Raises:
            ValueError: always; a published document is complete.
        """
        raise ValueError(f"a published document refers to {url}")


class Grammar:
    """Makes the requests of one contract (SOAP 1.2)."""

    def __init__(self, document: bytes) -> None:
        """Read a WSDL.

        Args:
            document: as it is published in the package `wsdl`.
        """
        settings = zeep.settings.Settings(
            strict=True, forbid_dtd=True, forbid_entities=True, forbid_external=True
        )
        read = zeep.wsdl.Document(io.BytesIO(document), cast(Any, Sealed()), settings=settings)
        binding = next(one for name, one in read.bindings.items() if name.endswith(f"{SOAP12.name}Binding"))
        self._operations: dict[str, Any] = dict(binding._operations)

    def request(self, operation: str, values: dict[str, Any]) -> etree._Element:
        """The envelope of a request.

        Raises:
            MalformedMessage: the values are not what the contract asks for.
        """
        try:
            envelope: etree._Element = self._operations[operation].create(**values).content
        except (zeep.exceptions.Error, TypeError, ValueError) as error:
            raise MalformedMessage(
                f"the arguments of {operation} do not fit ({type(error).__name__})"
            ) from None
        return envelope


@cache
def grammar_of(path: str, version: int) -> Grammar:
    """The grammar of a published service."""
    return Grammar((files("wsdl") / f"{path}-{version}.wsdl").read_bytes())
