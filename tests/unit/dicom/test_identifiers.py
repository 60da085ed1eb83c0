"""Identifiers of requests are read once, within bounds."""

from __future__ import annotations

import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from node.domain.errors import MalformedQuery
from node.domain.query import Key, Level
from services.dicom.identifiers import RequestIdentifier, parse

SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]


def encoded(dataset: Dataset, syntax: str = ImplicitVRLittleEndian) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR = syntax == ImplicitVRLittleEndian
    stream.is_little_endian = syntax != ExplicitVRBigEndian
    write_dataset(stream, dataset)
    written = stream.getvalue()
    if syntax == DeflatedExplicitVRLittleEndian:
        compressor = zlib.compressobj(wbits=-15)
        return compressor.compress(written) + compressor.flush()
    return written


def asked(
    syntax: str = ImplicitVRLittleEndian, *, limit: int = 1 << 20, **values: object
) -> RequestIdentifier:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = "STUDY"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return parse(encoded(dataset, syntax), syntax, patient_root=False, limit=limit)


def by_tag(identifier: RequestIdentifier) -> dict[int, Key]:
    return {key.tag: key for key in identifier.keys}


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_identifier_is_read_in_every_syntax_it_may_come_in(syntax):
    step = Dataset()
    step.ScheduledProcedureStepID = "S1"
    identifier = asked(
        syntax,
        PatientName="NOVAK*",
        StudyDate="20260101-20260131",
        StudyInstanceUID=["1.2", "1.3"],
        Rows=512,
        PixelSpacing=["0.5", "0.5"],
        FrameIncrementPointer=0x00181063,
        RequestAttributesSequence=[step],
        PatientID="",
    )
    keys = by_tag(identifier)
    assert identifier.level is Level.STUDY
    assert keys[0x00100010] == Key(tag=0x00100010, vr="PN", value="NOVAK*")
    assert keys[0x00080020].value == "20260101-20260131"
    assert keys[0x0020000D].value == "1.2\\1.3"
    assert keys[0x00280010] == Key(tag=0x00280010, vr="US", value="512")
    assert keys[0x00280009].value == "00181063"
    assert keys[0x00100020].value == ""
    assert keys[0x00400275].items == (Key(tag=0x00400009, vr="SH", value="S1"),)


@pytest.mark.parametrize("undefined", [True, False])
def test_a_sequence_is_read_with_either_kind_of_length(undefined):
    item = Dataset()
    item.CodeValue = "T-1"
    item.is_undefined_length_sequence_item = undefined
    dataset = Dataset()
    dataset.QueryRetrieveLevel = "STUDY"
    dataset.ProcedureCodeSequence = [item]
    dataset["ProcedureCodeSequence"].is_undefined_length = undefined
    for syntax in SYNTAXES:
        identifier = parse(encoded(dataset, syntax), syntax, patient_root=False, limit=1 << 20)
        assert by_tag(identifier)[0x00081032].items == (Key(tag=0x00080100, vr="SH", value="T-1"),)


def test_an_empty_sequence_asks_for_all_of_it():
    assert by_tag(asked(ProcedureCodeSequence=[]))[0x00081032] == Key(tag=0x00081032, vr="SQ")


def test_what_steers_the_query_is_not_a_key_of_it():
    identifier = asked(
        SpecificCharacterSet="ISO_IR 100",
        RetrieveAETitle="",
        InstanceAvailability="",
        TimezoneOffsetFromUTC="+0100",
        PatientID="1",
    )
    assert [key.tag for key in identifier.keys] == [0x00100020]
    assert identifier.availability
    assert identifier.charset == "ISO_IR 100"


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 101", "Nováková^Kateřina"),
        ("ISO_IR 144", "Щукин^Юлия"),
        ("ISO_IR 192", "Nováková^王小東"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_names_are_read_in_the_character_set_of_the_request(charset, name):
    assert by_tag(asked(SpecificCharacterSet=charset, PatientName=name))[0x00100010].value == name


@pytest.mark.parametrize("codec", ["utf-8", "latin-1"])
def test_a_name_without_its_character_set_is_still_understood(codec):
    value = "Dvořák" if codec == "utf-8" else "Müller"
    sent = value.encode(codec)
    sent += b" " * (len(sent) % 2)
    element = b"\x10\0\x10\0" + len(sent).to_bytes(4, "little") + sent
    head = encoded(_level("STUDY"))
    identifier = parse(head + element, ImplicitVRLittleEndian, patient_root=False, limit=1000)
    assert by_tag(identifier)[0x00100010].value == value


def _level(name: str) -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = name
    return dataset


def test_the_levels_are_those_of_the_information_model():
    patient = encoded(_level("PATIENT"))
    assert parse(patient, ImplicitVRLittleEndian, patient_root=True, limit=100).level is Level.PATIENT
    for level, patient_root in (("PATIENT", False), ("", False), ("FRAME", True)):
        with pytest.raises(MalformedQuery):
            parse(encoded(_level(level)), ImplicitVRLittleEndian, patient_root=patient_root, limit=100)
    with pytest.raises(MalformedQuery):
        parse(b"", ImplicitVRLittleEndian, patient_root=False, limit=100)


def test_an_identifier_has_a_bound_before_and_after_inflation():
    with pytest.raises(MalformedQuery):
        asked(limit=100, StudyDescription="x" * 200)
    with pytest.raises(MalformedQuery):
        asked(DeflatedExplicitVRLittleEndian, limit=1000, StudyDescription="x" * 50000)


def test_a_query_has_bounds_that_a_retrieval_has_not():
    uids = [f"1.2.{number}" for number in range(10_001)]
    assert len(by_tag(asked(StudyInstanceUID=uids))[0x0020000D].value.split("\\")) == 10_001
    assert len(asked(StudyInstanceUID=uids).selection().studies) == 10_001
    assert asked(StudyInstanceUID=uids[1:]).query(patient_root=False).keys
    for values in ({"StudyInstanceUID": uids}, {"PatientComments": "x" * 40000}):
        with pytest.raises(MalformedQuery, match="too much"):
            asked(**values).query(patient_root=False)


def test_an_identifier_of_too_many_keys_is_refused():
    private = b"".join(
        b"\x09\0" + (0x1000 + number).to_bytes(2, "little") + bytes(4) for number in range(2001)
    )
    with pytest.raises(MalformedQuery, match="too many keys"):
        parse(encoded(_level("STUDY")) + private, ImplicitVRLittleEndian, patient_root=False, limit=1 << 20)


def test_an_identifier_in_a_syntax_for_images_is_refused():
    with pytest.raises(MalformedQuery):
        parse(encoded(_level("STUDY")), JPEGBaseline8Bit, patient_root=False, limit=1000)


def test_a_sequence_of_two_items_is_refused():
    with pytest.raises(MalformedQuery):
        asked(ProcedureCodeSequence=[Dataset(), Dataset()])


def test_sequences_nested_beyond_reason_are_refused():
    opened = b"\x08\0\x32\x10\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * 20000
    with pytest.raises(MalformedQuery):
        parse(encoded(_level("STUDY")) + opened, ImplicitVRLittleEndian, patient_root=False, limit=1 << 20)


@given(st.binary(max_size=300), st.sampled_from(SYNTAXES))
def test_hostile_bytes_are_a_malformed_query_or_a_query(noise, syntax):
    start = encoded(_level("STUDY"), syntax) if syntax != DeflatedExplicitVRLittleEndian else b""
    with suppress(MalformedQuery):
        parse(start + noise, syntax, patient_root=False, limit=1 << 20)


@given(st.data())
def test_a_corrupted_identifier_is_a_malformed_query_or_a_query(data):
    item = Dataset()
    item.CodeValue = "T-1"
    dataset = _level("STUDY")
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = "Yamada^Tarou=山田^太郎"
    dataset.ProcedureCodeSequence = [item]
    dataset.Rows = 5
    syntax = data.draw(st.sampled_from(SYNTAXES))
    corrupted = bytearray(encoded(dataset, syntax))
    for _ in range(data.draw(st.integers(1, 4))):
        corrupted[data.draw(st.integers(0, len(corrupted) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(corrupted)))
    with suppress(MalformedQuery):
        parse(bytes(corrupted[:cut]), syntax, patient_root=False, limit=1 << 20)


def test_a_retrieval_names_its_unique_keys():
    selection = asked(StudyInstanceUID=["1.2", "1.3"], PatientID="12 ").selection()
    assert selection.studies == ("1.2", "1.3")
    assert selection.patient_id == "12"
    assert selection.series == ()


@pytest.mark.parametrize(
    "values",
    [
        {"PatientID": "1"},
        {"StudyInstanceUID": "1.2.*"},
        {"StudyInstanceUID": ["1.2", ""]},
        {"StudyInstanceUID": "1.2", "PatientID": ["1", "2"]},
    ],
)
def test_a_retrieval_by_anything_but_unique_keys_is_refused(values):
    with pytest.raises(MalformedQuery):
        asked(**values).selection()


def test_a_malformed_query_does_not_quote_what_was_sent():
    with pytest.raises(MalformedQuery) as refused:
        asked(StudyInstanceUID="NOVAK").selection()
    assert "NOVAK" not in str(refused.value)
