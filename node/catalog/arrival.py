"""An instance as the catalog takes it in: identity and attributes, read from the data set once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node.catalog.attributes import ATTRIBUTES
from node.domain.ids import Digest, InstanceUID, SeriesUID, SOPClassUID, StudyUID, TransferSyntaxUID
from node.domain.query import Cell, Level

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


_WITHOUT_COLUMN = {
    level: [a.tag for a in ATTRIBUTES.values() if a.level is level and a.column is None] for level in Level
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What is to be catalogued of one stored instance."""

    instance: InstanceUID
    series: SeriesUID
    study: StudyUID
    patient_id: str
    issuer: str
    sop_class: SOPClassUID
    transfer_syntax: TransferSyntaxUID
    attributes: Mapping[int, Cell]
    """Decoded values of `node.catalog.attributes.READ`, by tag; absent and empty ones left out."""
    digest: Digest
    size: int
    source: str
    """Who sent it, as `kind:name@site`."""
    at: int
    """Microseconds since 1970."""
    stamp: str = ""
    """Of the fact that it is archived by: attributes of the earliest one are shown at every site."""

    def text(self, tag: int) -> str:
        """The value of a text attribute; empty where it is absent."""
        value = self.attributes.get(tag)
        return value if isinstance(value, str) else ""

    def more(self, level: Level) -> str:
        """The attributes of a level that have no column, as JSON; empty where there are none."""
        attributes = self.attributes
        held = {tag: attributes[tag] for tag in _WITHOUT_COLUMN[level] if tag in attributes}
        return written(held) if held else ""


def written(attributes: Mapping[int, Cell]) -> str:
    """Attributes as the JSON text of a `more` column; tags are eight hexadecimal digits."""
    return _encode(_named(attributes))


def read(more: str) -> dict[int, Cell]:
    """The attributes that `written` wrote; none for an empty text."""
    return _numbered(json.loads(more)) if more else {}


def _named(attributes: Mapping[int, Cell]) -> dict[str, Any]:
    return {
        f"{tag:08X}": [_named(item) for item in value] if isinstance(value, list) else value
        for tag, value in attributes.items()
    }


def _numbered(values: Mapping[str, Any]) -> dict[int, Cell]:
    return {
        int(tag, 16): [_numbered(item) for item in value] if isinstance(value, list) else value
        for tag, value in values.items()
    }
