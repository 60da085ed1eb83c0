"""What the portal says, in the languages it speaks: English in the pages, and the others by that."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import Final

import falcon

LANGUAGES: Final = {"cs": "Čeština", "en": "English"}
"""The languages by what they call themselves."""
_FILES: Final = {"cs": "czech.toml"}


@lru_cache(maxsize=len(_FILES))
def table(language: str) -> dict[str, str]:
    """What each English text is in another language; nothing for English."""
    if language not in _FILES:
        return {}
    text = files("services.portal").joinpath(_FILES[language]).read_text("utf-8")
    return dict(tomllib.loads(text))


def say(language: str, text: str, /, **values: object) -> str:
    """A text in a language, with the values filled in; English where it is not known."""
    told = table(language).get(text, text)
    return told.format(**values) if values else told


def preferred(req: falcon.Request, fallback: str) -> str:
    """The language that a browser would like best of those that there are (RFC 9110 12.5.4)."""
    ranked: list[tuple[float, str]] = []
    for place, part in enumerate((req.get_header("Accept-Language") or "")[:500].split(",")[:20]):
        tag, _, weight = part.strip().partition(";")
        name = tag.strip().lower().partition("-")[0]
        name = "cs" if name == "sk" else name
        if name in LANGUAGES:
            ranked.append((_weight(weight) - place / 1000, name))
    best = max(ranked, default=(0.0, fallback))
    return best[1] if best[0] > 0 else fallback


def _weight(text: str) -> float:
    try:
        return float(text.strip().removeprefix("q=")) if text.strip() else 1.0
    except ValueError:
        return 0.0
