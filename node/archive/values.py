"""Values that a person gives to attributes: what a value representation allows (PS3.5 6.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date

from node.catalog.attributes import Attribute
from node.domain.errors import MalformedValue, Rejected

SEX = 0x00100040
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""With halves of surrogate pairs, which no encoding can write."""
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff]")
_CODE = re.compile(r"[A-Z0-9 _]{0,16}")
_TIME = re.compile(r"(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:(?:[0-5][0-9]|60)(?:\.[0-9]{1,6})?)?)?")
_AGE = re.compile(r"[0-9]{3}[DWMY]")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
LONGEST_REASON = 1000
"""Characters of the reason of a decision."""
_LONGEST = {"SH": 16, "LO": 64}
_LONGEST_TEXT = 10240
_LONGEST_NAME = 64
_LONGEST_NUMBER = 16


def checked(attribute: Attribute, text: str) -> str:
    r"""The value without padding; an empty one says that there is none.

    Args:
        attribute: what it is to be the value of.
        text: the value as DICOM writes it; several are separated by a backslash where there may be several.

    Raises:
        MalformedValue: the value representation does not allow it; the value itself is not told.
    """
    name = f"({attribute.tag >> 16:04X},{attribute.tag & 0xFFFF:04X})"
    text = text.strip(" ")
    if attribute.vr == "LT":
        values = [text]
    else:
        values = [value.strip(" ") for value in text.split("\\")]
        if len(values) > 1 and not attribute.multiple:
            raise MalformedValue(name, "a backslash separates values, and it has only one")
    for value in values:
        doubt = _doubt(attribute, value) if value else ""
        if doubt:
            raise MalformedValue(name, doubt)
    return "\\".join(values)


def is_writable(text: str) -> bool:
    """Whether a text of persons has no control characters besides those of a line's end."""
    return _CONTROL_IN_TEXT.search(text) is None


def _doubt(attribute: Attribute, value: str) -> str:
    """What is wrong with one value; nothing if it may stand."""
    if attribute.vr != "LT" and _CONTROL.search(value):
        return "it holds a control character"
    if attribute.tag == SEX and value not in ("M", "F", "O"):
        return "it is M, F or O"
    return _DOUBTS[attribute.vr](value)


def _name(value: str) -> str:
    groups = value.split("=")
    if len(groups) > 3:
        return "a name has up to three groups"
    if any(len(group.split("^")) > 5 for group in groups):
        return "a name has up to five components, separated by ^"
    return f"it is longer than {_LONGEST_NAME} characters" if max(map(len, groups)) > _LONGEST_NAME else ""


def _date(value: str) -> str:
    try:
        if re.fullmatch(r"[0-9]{8}", value):
            date(int(value[:4]), int(value[4:6]), int(value[6:]))
            return ""
    except ValueError:
        pass
    return "a date is written like 20310131"


def _text(value: str) -> str:
    if not is_writable(value):
        return "it holds a control character"
    return f"it is longer than {_LONGEST_TEXT} characters" if len(value) > _LONGEST_TEXT else ""


def _short(vr: str) -> Callable[[str], str]:
    longest = _LONGEST[vr]
    return lambda value: f"it is longer than {longest} characters" if len(value) > longest else ""


def _formed(form: re.Pattern[str], hint: str) -> Callable[[str], str]:
    return lambda value: "" if form.fullmatch(value) else hint


def _decimal(value: str) -> str:
    fits = len(value) <= _LONGEST_NUMBER and _DECIMAL.fullmatch(value)
    return "" if fits else f"it is a decimal number of up to {_LONGEST_NUMBER} characters"


_DOUBTS: Mapping[str, Callable[[str], str]] = {
    "AS": _formed(_AGE, "an age is written like 042Y"),
    "CS": _formed(_CODE, "a code has up to 16 of A-Z, 0-9, space and _"),
    "DA": _date,
    "DS": _decimal,
    "LO": _short("LO"),
    "LT": _text,
    "PN": _name,
    "SH": _short("SH"),
    "TM": _formed(_TIME, "a time is written like 091500 or 091500.5"),
}


def demand_reason(reason: str) -> None:
    """See that a decision is given a reason that can be kept.

    Raises:
        Rejected: it has none, or one that is too long or cannot be written.
    """
    if not reason.strip() or len(reason) > LONGEST_REASON or not is_writable(reason):
        raise Rejected(f"a decision is given a reason of up to {LONGEST_REASON} characters")
