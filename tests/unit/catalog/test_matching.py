"""Matching in Python follows PS3.4 C.2.2.2, and matching in SQL agrees with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from node.catalog import matching, search
from node.catalog.arrival import Arrival
from node.catalog.attributes import ATTRIBUTES, MODALITIES_IN_STUDY, Attribute
from node.catalog.matching import matches
from node.domain.ids import Digest, InstanceUID, SeriesUID, SOPClassUID, StudyUID, TransferSyntaxUID
from node.domain.query import Key, Level, Query
from tests.support.sites import TestSite, site

LO, PN, DA, TM = 0x00081030, 0x00100010, 0x00080020, 0x00080030


def match(vr: str, held: str | None, value: str) -> bool:
    return matches(held, Key(tag=LO, vr=vr, value=value))


@pytest.mark.parametrize(
    ("vr", "held", "value"),
    [
        ("LO", "anything", ""), ("LO", None, ""), ("LO", "", "*"),
        ("LO", "HEAD", "HEAD"), ("LO", "HEAD", "H*"), ("LO", "HEAD", "?EAD"), ("LO", "HEAD", "*EA*"),
        ("CS", "CT", "MR\\CT"), ("UI", "1.2", "1.1\\1.2"), ("LO", "A[1]", "A[1]*"), ("LO", "A!", "*!"),
        ("PN", "NOVÁKOVÁ^JANA", "novak*"), ("PN", "Novák^Jan", "NOVAK^JAN"),
        ("PN", "Novak^Jan^^", "novak^jan"),
        ("PN", "Novak^Jan", "novak^jan^^^"), ("PN", "Dvořák", "dvorák"),
        ("DA", "20260114", "20260114"), ("DA", "20260114", "20260101-20260131"),
        ("DA", "20260114", "-20260114"),
        ("DA", "20260114", "20260114-"), ("DA", "20260114", "2026.01.14"),
        ("TM", "101530", "1015"), ("TM", "101530.5", "10-11"),
        ("TM", "101530", "10:15:30"), ("TM", "235959.9", "23-"),
        ("LO", "one\\two", "two"),
    ],
)  # fmt: skip
def test_these_match(vr, held, value):
    assert match(vr, held, value)


@pytest.mark.parametrize(
    ("vr", "held", "value"),
    [
        ("LO", "HEAD", "head"), ("LO", "HEAD", "HEA"), ("LO", "HEAD", "?HEAD"), ("LO", None, "?*"),
        ("UI", "1.23", "1.2*"), ("UI", "1.2.3", "1.2"), ("CS", "CT", "MR\\US"), ("LO", "A1", "A[1]*"),
        ("PN", "Novotny^Jan", "novak*"), ("PN", "Novak^Jan", "novak"),
        ("DA", "", "-20260114"), ("DA", None, "20260114"),
        ("DA", "20260115", "-20260114"), ("DA", "20251231", "2026-"),
        ("TM", "101600", "1015"), ("TM", "", "10-"),
    ],
)  # fmt: skip
def test_these_do_not(vr, held, value):
    assert not match(vr, held, value)


def test_a_sequence_matches_when_one_item_matches_all_keys_of_the_item():
    items = [{LO: "a", DA: "20260101"}, {LO: "b", DA: "20260202"}]
    key = lambda lo, da: Key(  # noqa: E731
        tag=0x00400275, vr="SQ", items=(Key(tag=LO, vr="LO", value=lo), Key(tag=DA, vr="DA", value=da))
    )
    assert matches(items, key("a", "20260101"))
    assert matches(items, key("b", ""))
    assert not matches(items, key("a", "20260202"))
    assert not matches(None, key("a", ""))
    assert matches(None, key("", ""))
    assert matches(items, Key(tag=0x00400275, vr="SQ"))


COLUMNS = [
    a
    for a in ATTRIBUTES.values()
    if a.column and a.tag != MODALITIES_IN_STUDY and not (a.vr == "UI" and a.tag == 0x00080016)
]
LETTERS = "aAáÁbŘ[]*?^=_%!-. 019"
TEXTS = st.text(LETTERS, max_size=6).map(str.strip)
DATES = st.from_regex(r"20[0-2][0-9](0[1-9]|1[0-2])([01][0-9])", fullmatch=True)
TIMES = st.from_regex(r"[01][0-9]([0-5][0-9]([0-5][0-9](\.[0-9]{1,3})?)?)?", fullmatch=True)
UIDS = st.from_regex(r"[12](\.[0-9]){0,2}", fullmatch=True)


def held_values(vr: str) -> st.SearchStrategy[str]:
    return {"DA": DATES, "TM": TIMES, "UI": UIDS, "IS": st.from_regex(r"[1-9]?[0-9]", fullmatch=True)}.get(
        vr, TEXTS
    )


def wanted_values(vr: str) -> st.SearchStrategy[str]:
    single = held_values(vr)
    if vr in matching.RANGED:
        ends = st.tuples(single | st.just(""), single | st.just("")).filter(any)
        single = single | ends.map("-".join)
    return st.lists(single.map(lambda text: text.replace("\\", "")), min_size=1, max_size=3).map("\\".join)


@st.composite
def cases(draw) -> tuple[Attribute, str, str]:
    attribute = draw(st.sampled_from(COLUMNS))
    held = draw(held_values(attribute.vr).filter(bool if attribute.vr == "UI" else lambda _: True))
    wanted = draw(wanted_values(attribute.vr))
    if attribute.vr not in ("DA", "TM", "UI", "IS") and held and draw(st.booleans()):
        place = draw(st.integers(0, len(held) - 1))
        wanted = held[:place] + draw(st.sampled_from("*?")) + held[place + draw(st.integers(0, 1)) :]
    return attribute, held, wanted


def arrival(attribute: Attribute, value: str) -> Arrival:
    """One instance that has `value` in an attribute and is found by it alone."""
    said = {attribute.column: value}
    return Arrival(
        instance=InstanceUID.trusted(value if attribute.tag == 0x00080018 else "1.9.1"),
        series=SeriesUID.trusted(value if attribute.tag == 0x0020000E else "1.9.2"),
        study=StudyUID.trusted(value if attribute.tag == 0x0020000D else "1.9.3"),
        patient_id=said.get("patient_id", "P"),
        issuer=said.get("issuer", ""),
        sop_class=SOPClassUID("1.2.840.10008.5.1.4.1.1.2"),
        transfer_syntax=TransferSyntaxUID("1.2.840.10008.1.2.1"),
        attributes={attribute.tag: value},
        digest=Digest("0" * 64),
        size=1,
        source="",
        at=1,
    )


@contextmanager
def holding(brno: TestSite, one: Arrival) -> Iterator[None]:
    """The catalog with one instance in it, and without it afterwards."""
    brno.catalog.perform(lambda unit: unit.instances.add(one))
    yield
    brno.catalog.perform(lambda unit: unit.clear_derived())


@pytest.fixture(scope="module")
def brno() -> Iterator[TestSite]:
    with site() as made:
        yield made


@settings(max_examples=200, deadline=None)
@given(case=cases())
@example(case=(ATTRIBUTES[PN], "Novak^Jan^^", "novak^jan"))
@example(case=(ATTRIBUTES[PN], "Čermák^Katka", "*ermak*kat*"))
@example(case=(ATTRIBUTES[PN], "a[1]b", "*[1]b"))
@example(case=(ATTRIBUTES[0x00080090], "Dvořák^Petr", "dvor*"))
@example(case=(ATTRIBUTES[TM], "101530.5", "1015"))
@example(case=(ATTRIBUTES[DA], "", "-20260101"))
def test_sql_and_python_agree_on_what_matches(brno, case):
    attribute, held, wanted = case
    key = Key(tag=attribute.tag, vr=attribute.vr, value=wanted)
    with holding(brno, arrival(attribute, held)):
        rows = list(search.search(brno.catalog.reading, Query(level=Level.IMAGE, keys=(key,))).rows)
    assert bool(rows) == matches(held, key)
    assert rows in ([], [(held,)])
