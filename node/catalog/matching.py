"""DICOM matching of one value in Python, for what has no column: the rules of the SQL (PS3.4 C.2.2.2)."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

from node.catalog.folding import fold
from node.domain.query import Cell, Key

RANGED = frozenset({"DA", "TM", "DT"})
WILD = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
FIRST = "0"
"""Sorts before every date and time, and after the empty value of one that is not held."""
LAST = "~"
"""Sorts after every character of a date or time."""


def is_universal(key: Key) -> bool:
    """Whether the key matches everything (PS3.4 C.2.2.2.3)."""
    return not key.items and key.value in ("", "*")


def values(key: Key) -> list[str]:
    """The values of a key: a backslash separates those of a list (PS3.4 C.2.2.2.2)."""
    return [value.strip() for value in key.value.split("\\")]


def bounds(vr: str, value: str) -> tuple[str, str]:
    """First and last value that a date, time or range matches (PS3.4 C.2.2.2.5).

    A value of less precision stands for all it contains: `1015` is 10:15:00 to 10:15:59.999999.
    """
    value = value.replace(":", "") if vr == "TM" else value.replace(".", "") if vr == "DA" else value
    first, dash, last = value.partition("-")
    if not dash:
        return value or FIRST, value + LAST
    return first.strip() or FIRST, (last.strip() or LAST) + LAST


def matches(cell: Cell, key: Key) -> bool:
    """Whether a value that is held matches a key."""
    if is_universal(key):
        return True
    if key.vr == "SQ" or isinstance(cell, list):
        return _sequence_matches(cell, key)
    held = (cell or "").split("\\")
    return any(_value_matches(one, value, key.vr) for one in held for value in values(key))


def _sequence_matches(cell: Cell, key: Key) -> bool:
    """One item has to match all keys of the item (PS3.4 C.2.2.2.6)."""
    wanted = [inner for inner in key.items if not is_universal(inner)]
    if not wanted:
        return True
    items = cell if isinstance(cell, list) else []
    return any(all(matches(item.get(inner.tag), inner) for inner in wanted) for item in items)


def _value_matches(held: str, value: str, vr: str) -> bool:
    if vr in RANGED:
        first, last = bounds(vr, value)
        return first <= held <= last
    if vr == "PN":
        held, value = name(held), name(value)
    if vr in WILD and ("*" in value or "?" in value):
        return _pattern(value).fullmatch(held) is not None
    return held == value


def name(text: str) -> str:
    """A person name or a pattern of one, without case, accents and empty trailing components."""
    return fold(text).rstrip("^= ")


@lru_cache(maxsize=256)
def _pattern(value: str) -> re.Pattern[str]:
    return re.compile(translate(value.replace("[", "[[]")), re.DOTALL)
