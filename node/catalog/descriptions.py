"""What is catalogued of instances, as another site can catalogue it before the bytes have come there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select

from node.catalog import schema
from node.catalog.arrival import read
from node.catalog.attributes import ATTRIBUTES, READ
from node.domain.ids import Digest, InstanceUID, TransferSyntaxUID
from node.domain.instance import Description
from node.domain.query import Cell, Level

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_TABLES = {
    Level.PATIENT: schema.patient,
    Level.STUDY: schema.study,
    Level.SERIES: schema.series,
    Level.IMAGE: schema.instance,
}
_COLUMNS = [
    (attribute.tag, _TABLES[attribute.level].c[attribute.column])
    for attribute in ATTRIBUTES.values()
    if attribute.column is not None and attribute.tag in READ
]
_instance = schema.instance.c


def described(unit: Unit, digests: Sequence[Digest]) -> list[Description]:
    """The archived instances among these, with the attributes of all levels.

    Patient, study and series tell what the earliest instance of them told, and what persons corrected.
    """
    query = (
        select(
            _instance.uid,
            _instance.digest,
            _instance.transfer_syntax,
            *(table.c.more for table in _TABLES.values()),
            *(column.label(f"of_{tag:08X}") for tag, column in _COLUMNS),
        )
        .join(schema.series, schema.series.c.id == _instance.series)
        .join(schema.study, schema.study.c.id == schema.series.c.study)
        .join(schema.patient, schema.patient.c.id == schema.study.c.patient)
        .where(_instance.digest.in_(digests))
    )
    return [_description(*row) for row in unit.rows(query)]


def _description(uid: str, digest: str, transfer_syntax: str, *told: str) -> Description:
    more, values = told[: len(_TABLES)], told[len(_TABLES) :]
    attributes: dict[int, Cell] = {
        tag: value for (tag, _), value in zip(_COLUMNS, values, strict=True) if value
    }
    for text in more:
        attributes |= read(text)
    return Description(
        instance=InstanceUID.trusted(uid),
        digest=Digest.trusted(digest),
        transfer_syntax=TransferSyntaxUID.trusted(transfer_syntax),
        attributes=attributes,
    )
