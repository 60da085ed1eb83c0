"""The settings as people read them: the commented `site.toml` and the table of the documentation.

`python -m node.settings.text` writes the example file, with the argument `markdown` the table.
"""

from __future__ import annotations

import inspect
import json
import sys
import textwrap
from collections.abc import Mapping

from node.settings.kinds import Raw
from node.settings.load import Entry, table
from node.settings.sections import SECTIONS

EXAMPLE: dict[str, Raw] = {"site.name": "brno"}
"""What `conf/site.example.toml` chooses."""

COLUMNS = "| setting | what it is | allowed | default |\n|---|---|---|---|\n"

HEAD = """\
# Settings of a Konzilium site. Every setting is explained above its line; a line that begins
# with # shows the default. An environment variable KONZILIUM_SECTION__KEY overrides its setting,
# for example KONZILIUM_DICOM__PORT=11113. The node reads this file when it starts.
"""


def toml(chosen: Mapping[str, Raw]) -> str:
    """Write a `site.toml` with the chosen values, by full name, and all others at their default."""
    site = str(chosen["site.name"])
    return HEAD + "".join(_section(name, chosen, site) for name in SECTIONS)


def _section(section: str, chosen: Mapping[str, Raw], site: str) -> str:
    about = _comment(inspect.cleandoc(SECTIONS[section].__doc__ or ""))
    lines = [_line(entry, chosen, site) for entry in table() if entry.section == section]
    return f"\n{about}[{section}]\n" + "".join(lines)


def _line(entry: Entry, chosen: Mapping[str, Raw], site: str) -> str:
    about = _comment(f"{entry.explanation} Allowed: {entry.kind.allowed}.")
    if entry.name in chosen:
        return f"{about}{entry.field.name} = {literal(chosen[entry.name])}\n"
    default = entry.default(site)
    return f"{about}#{entry.field.name} = {literal('' if default is None else default)}\n"


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, 97))


def literal(value: Raw) -> str:
    """Write a value as TOML does; a JSON string is a TOML basic string, and a JSON boolean a TOML one."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else str(value)


def markdown() -> str:
    """Write the table of `docs/SETTINGS.md`, one section of the page per section of the file."""
    parts = []
    for name, section in SECTIONS.items():
        about = inspect.cleandoc(section.__doc__ or "")
        rows = "".join(_row(entry) for entry in table() if entry.section == name)
        parts.append(f"## [{name}]\n\n{about}\n\n{COLUMNS}{rows}")
    return "\n".join(parts)


def _row(entry: Entry) -> str:
    return f"| `{entry.name}` | {entry.explanation} | {entry.kind.allowed} | {_default(entry)} |\n"


def _default(entry: Entry) -> str:
    if entry.field.metadata["derive"]:
        return str(entry.field.metadata["derive"][0])
    default = entry.default("")
    return "must be given" if default is None else f"`{literal(default)}`"


if __name__ == "__main__":
    sys.stdout.write(markdown() if sys.argv[1:] == ["markdown"] else toml(EXAMPLE))
