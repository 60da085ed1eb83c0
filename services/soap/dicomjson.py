"""Rows of a search in the DICOM JSON Model (PS3.18 F), and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.datadict import dictionary_VR

from node.domain.query import Cell, Row

_ALPHABETS = ("Alphabetic", "Ideographic", "Phonetic")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def written(tags: Sequence[tuple[int, str]], row: Row) -> str:
    """A row as the JSON text of a data set."""
    return _encode({f"{tag:08X}": _element(vr, cell) for (tag, vr), cell in zip(tags, row, strict=True)})


def read(text: str, tags: Sequence[tuple[int, str]]) -> Row:
    """The row of these columns that `written` wrote.

    Raises:
        ValueError: it is no data set.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
        raise TypeError("a data set is an object")
    return tuple(_cell(values.get(f"{tag:08X}", {})) for tag, _ in tags)


def _element(vr: str, cell: Cell) -> dict[str, Any]:
    if cell is None or cell == "":
        return {"vr": vr}
    if isinstance(cell, list):
        return {"vr": "SQ", "Value": [_item(item) for item in cell]}
    values = cell.split("\\")
    return {"vr": vr, "Value": [_name(value) for value in values] if vr == "PN" else values}


def _item(item: Mapping[int, Cell]) -> dict[str, Any]:
    return {f"{tag:08X}": _element(_vr(tag), cell) for tag, cell in item.items()}


def _vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)[:2]
    except KeyError:
        return "UN"


def _name(value: str) -> dict[str, str]:
    return {kind: part for kind, part in zip(_ALPHABETS, value.split("="), strict=False) if part}


def _cell(element: Mapping[str, Any]) -> Cell:
    values = element.get("Value")
    if not values:
        return None if element.get("vr") == "SQ" else ""
    if element["vr"] == "SQ":
        return [{int(tag, 16): _cell(held) for tag, held in item.items()} for item in values]
    return "\\".join(_spelled(value) for value in values)


def _spelled(value: object) -> str:
    if isinstance(value, dict):
        return "=".join(str(value.get(kind, "")) for kind in _ALPHABETS).rstrip("=")
    return str(value)
