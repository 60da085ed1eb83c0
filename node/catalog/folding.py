"""Person names and patterns without case and accents, so that `novak*` finds Nováková."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """Lower case without accents; components stay apart (`NOVÁKOVÁ^Jana` becomes `novakova^jana`)."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join([character for character in decomposed if not unicodedata.combining(character)])
