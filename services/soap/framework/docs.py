"""Docstrings as documentation of a contract: the text, and what it says about each name.

`Attributes:`, `Args:` and `Returns:` (Google style) speak of parts; they go to the parts.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

SECTION = re.compile(r"^(Attributes|Args|Returns|Raises|Yields):$")
ENTRY = re.compile(r"^    (\w+)(?: \([^)]*\))?: (.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Docs:
    """What a docstring says."""

    text: str = ""
    parts: dict[str, str] = field(default_factory=dict)
    """About each attribute or argument."""
    returns: str = ""


def read_docs(documented: object) -> Docs:
    """Take the docstring of a class or function apart."""
    sections = _sections(inspect.cleandoc(getattr(documented, "__doc__", None) or ""))
    parts = _entries(sections.get("Attributes", [])) | _entries(sections.get("Args", []))
    return Docs(
        text=_paragraphs(sections[""]),
        parts=parts,
        returns=" ".join(" ".join(sections.get("Returns", [])).split()),
    )


def _sections(text: str) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {"": []}
    current = sections[""]
    for line in text.splitlines():
        if found := SECTION.match(line):
            current = sections.setdefault(found[1], [])
        else:
            current.append(line)
    return sections


def _entries(lines: list[str]) -> dict[str, str]:
    entries: dict[str, str] = {}
    name = ""
    for line in lines:
        if found := ENTRY.match(line):
            name = found[1]
            entries[name] = found[2]
        elif name and line.strip():
            entries[name] += f" {line.strip()}"
    return entries


def _paragraphs(lines: list[str]) -> str:
    blocks = "\n".join(lines).strip().split("\n\n")
    return "\n".join(" ".join(block.split()) for block in blocks)
