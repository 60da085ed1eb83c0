"""The audit record in files: as a table (CSV), as JSON, and as the messages of PS3.15 A.5 (XML).

Each writer takes the records one by one, so that a record of years needs no memory. JSON and XML end with
what is told of the end: the signed head, by which somebody else can see later that nothing before it has
changed. A cell of a table that a spreadsheet would take for a formula begins with an apostrophe; JSON and XML
are exact.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Final, TextIO, TypeAlias
from xml.sax.saxutils import quoteattr

from node.audit.message import message, when
from node.audit.participants import Source
from node.audit.record import Deed, Record, read

About: TypeAlias = Mapping[str, str | int]
"""What is told of a whole file."""


class Format(StrEnum):
    """How a file is written."""

    CSV = "csv"
    JSON = "json"
    XML = "xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A record of some site's ledger."""

    source: Source
    seq: int
    at: int
    """Microseconds since 1970."""
    deed: Deed
    hash: str
    evidence: str = ""
    """What speaks for it, if it is of another site."""

    @classmethod
    def of(cls, record: Record, source: Source) -> Entry:
        """A record of the ledger of a node."""
        return cls(source=source, seq=record.seq, at=record.at, deed=read(record.deed), hash=record.hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record, as tables and JSON tell it."""

    site: str
    seq: int
    at: str
    """ISO 8601, UTC."""
    event: str
    outcome: str
    """`done` or `refused`."""
    who: str
    """The principal: `person:`, `device:`, `operator:` or `node:` and its name."""
    display: str
    issuer: str
    via: str
    device: str
    address: str
    patient: str
    study: str
    what: str
    roles: str
    purpose: str
    policy: str
    reason: str
    hash: str
    evidence: str


_COLUMNS: Final = tuple(field.name for field in fields(Row))
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet compute (OWASP, CSV Injection)."""


def row_of(entry: Entry) -> Row:
    """A record, flat."""
    deed = entry.deed
    return Row(
        site=entry.source.site,
        seq=entry.seq,
        at=when(entry.at),
        event=deed.event,
        outcome="refused" if deed.refused else "done",
        who=deed.who,
        display=deed.display,
        issuer=deed.issuer,
        via=deed.via,
        device=deed.device,
        address=deed.address,
        patient=deed.patient,
        study=deed.study,
        what=deed.what,
        roles=" ".join(deed.roles),
        purpose=deed.purpose,
        policy=deed.policy,
        reason=deed.reason,
        hash=entry.hash,
        evidence=entry.evidence,
    )


def write(
    out: TextIO, form: Format, entries: Iterable[Entry], end: Callable[[], About] = dict[str, str | int]
) -> int:
    """Write records; how many they were.

    Args:
        out: a text file in UTF-8; for CSV opened with `newline=""`.
        form: how.
        entries: the records.
        end: what is told of the end, asked for when the records are through.
    """
    return _WRITERS[form](out, entries, end)


def _csv(out: TextIO, entries: Iterable[Entry], end: Callable[[], About]) -> int:
    writer, count = csv.writer(out), 0
    writer.writerow(_COLUMNS)
    for entry in entries:
        writer.writerow([_cell(value) for value in asdict(row_of(entry)).values()])
        count += 1
    return count


def _json(out: TextIO, entries: Iterable[Entry], end: Callable[[], About]) -> int:
    count = 0
    out.write('{"records":[')
    for entry in entries:
        out.write(("," if count else "") + "\n" + json.dumps(asdict(row_of(entry)), ensure_ascii=False))
        count += 1
    out.write('\n],"end":' + json.dumps(end(), ensure_ascii=False) + "}\n")
    return count


def _xml(out: TextIO, entries: Iterable[Entry], end: Callable[[], About]) -> int:
    count = 0
    out.write('<?xml version="1.0" encoding="UTF-8"?>\n<AuditRecord>\n')
    for entry in entries:
        told: About = {"site": entry.source.site, "seq": entry.seq, "hash": entry.hash}
        if entry.evidence:
            told = {**told, "evidence": entry.evidence}
        text = message(entry.deed, entry.at, entry.source).decode()
        out.write(f"<Record{_attributes(told)}>{text}</Record>\n")
        count += 1
    out.write(f"<End{_attributes(end())}/>\n</AuditRecord>\n")
    return count


_WRITERS: Final = {Format.CSV: _csv, Format.JSON: _json, Format.XML: _xml}


def _attributes(values: About) -> str:
    return "".join(f" {name}={quoteattr(str(value))}" for name, value in values.items())


def _cell(value: object) -> str:
    """A value as a cell that is text for every spreadsheet."""
    text = str(value).replace("\0", "\N{REPLACEMENT CHARACTER}")
    return f"'{text}" if text.startswith(_FORMULA) else text
