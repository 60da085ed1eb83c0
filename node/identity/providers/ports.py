"""What sources of identity providers need of the world: a way to fetch documents, and one to read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol, TypeAlias

from node.identity.providers.aggregate import Part, Wanted

Read: TypeAlias = Callable[[BinaryIO, Wanted], Iterator[Part]]
"""Reads a document; a large one in a process of its own."""


class Fetch(Protocol):
    """Gets documents by HTTPS."""

    def __call__(self, url: str, into: BinaryIO, *, etag: str, most: int) -> str | None:
        """Write the document into a file and return its entity tag; None where it is the one of `etag`.

        Raises:
            PeerUnreachable: there is no answer.
            UnknownProvider: there is no such document.
            MetadataRefused: it is longer than `most` bytes.
        """
        ...
