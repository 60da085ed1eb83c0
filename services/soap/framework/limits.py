"""How much of everything a door takes: a number for each, checked before it costs anything."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one endpoint, or of the replies a client reads."""

    body: int = 4 * MIB
    """Bytes of XML: the message, or the root part of an MTOM package."""
    marks: int = 200_000
    """Tags and attributes: counted as `<` and `=` before the parser sees them."""
    depth: int = 32
    """Elements inside each other."""
    parts: int = 1024
    """MIME parts of one package."""
    attached: int = 4096 * MIB
    """Bytes of all MIME parts of one package together."""
    inline: int = MIB
    """Bytes that may travel as base64 inside the XML."""
