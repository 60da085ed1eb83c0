"""The audit record in files: each format says the same, and no cell is a formula."""

from __future__ import annotations

import csv
import io
import json

import pytest
from lxml import etree

from node.audit.export import Entry, Format, row_of, write
from node.audit.message import schema
from node.audit.participants import Source
from node.audit.record import Deed, Event, Record, written

BRNO = Source(site="brno", ae_title="BRNO")
DEED = Deed(
    event=Event.SENT,
    who="person:jana@hospital-brno.test@brno",
    display="Jana Nováková",
    study="1.2.3",
    patient="4711^^^HOSPITAL",
    what="3 instances",
    roles=("radiologist", "steward"),
)
END = {"seq": 2, "hash": "ef", "signature": '"<&'}


def entry(seq: int, deed: Deed) -> Entry:
    record = Record(seq=seq, at=1_700_000_000_000_000, deed=written(deed), previous="ab", hash="cd")
    return Entry.of(record, BRNO)


ENTRIES = (entry(1, DEED), entry(2, Deed(event=Event.QUERY, who="device:CT1@brno", what="=1+1\0")))


def text(form: Format, entries=ENTRIES) -> str:
    out = io.StringIO(newline="")
    assert write(out, form, entries, lambda: END) == len(entries)
    return out.getvalue()


def test_a_table_has_a_row_for_each_record_and_no_formula():
    rows = list(csv.DictReader(io.StringIO(text(Format.CSV), newline="")))
    assert [row["seq"] for row in rows] == ["1", "2"]
    assert rows[0]["who"] == "person:jana@hospital-brno.test@brno"
    assert rows[0]["roles"] == "radiologist steward"
    assert rows[1]["what"] == "'=1+1\ufffd"


@pytest.mark.parametrize("first", "=+-@\t\r")
def test_whatever_makes_a_spreadsheet_compute_is_text(first):
    (row,) = csv.DictReader(
        io.StringIO(
            text(Format.CSV, [entry(1, Deed(event=Event.QUERY, who="x", what=f"{first}A1"))]), newline=""
        )
    )
    assert row["what"] == f"'{first}A1"


def test_json_is_exact_and_ends_with_the_signed_end():
    read = json.loads(text(Format.JSON))
    assert read["end"] == END
    assert [one["seq"] for one in read["records"]] == [1, 2]
    assert read["records"][1]["what"] == "=1+1\0"
    assert read["records"][0]["display"] == row_of(ENTRIES[0]).display == "Jana Nováková"


def test_xml_holds_the_messages_of_the_standard():
    read = etree.fromstring(text(Format.XML).encode())
    assert [one.get("seq") for one in read.iterfind("Record")] == ["1", "2"]
    for one in read.iterfind("Record/AuditMessage"):
        schema().assertValid(etree.fromstring(etree.tostring(one, with_tail=False)))
    assert dict(read.find("End").attrib) == {name: str(value) for name, value in END.items()}


@pytest.mark.parametrize("form", Format)
def test_nothing_to_tell_is_a_file_all_the_same(form):
    assert text(form, ()).strip()
