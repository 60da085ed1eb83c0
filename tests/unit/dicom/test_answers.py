"""Whatever is answered to a query, an independent decoder reads the same from it."""

from __future__ import annotations

import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from node.domain.ids import AETitle
from node.domain.query import Level
from services.dicom.answers import Encoder

SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]
TAGS = (
    (0x00080020, "DA"),
    (0x00080061, "CS"),
    (0x00081030, "LO"),
    (0x00081032, "SQ"),
    (0x00100010, "PN"),
    (0x00104000, "LT"),
    (0x0020000D, "UI"),
    (0x00201208, "IS"),
    (0x00280009, "AT"),
    (0x00280010, "US"),
    (0x00281053, "DS"),
    (0x00720076, "FL"),
    (0x00720078, "UL"),
)


def answered(row, tags=TAGS, syntax=ImplicitVRLittleEndian, charset="", availability=None) -> Dataset:
    encoder = Encoder(
        tags,
        level=Level.STUDY,
        ae_title=AETitle("KONZILIUM"),
        transfer_syntax=syntax,
        charset=charset,
        availability=availability,
    )
    return decoded(encoder.encode(row), syntax)


def decoded(encoded: bytes, syntax: str) -> Dataset:
    assert len(encoded) % 2 == 0
    if syntax == DeflatedExplicitVRLittleEndian:
        encoded = zlib.decompressobj(-15).decompress(encoded)
    dataset = read_dataset(BytesIO(encoded), syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
    dataset.decode()
    tags = [element.tag for element in dataset]
    assert tags == sorted(tags)
    return dataset


def texts(dataset: Dataset, tag: int) -> str:
    value = dataset[tag].value
    return "\\".join(map(str, value)) if dataset[tag].VM > 1 else str(value if value is not None else "")


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_kind_of_value_is_read_as_it_was_held(syntax):
    code = {0x00080100: "T-1", 0x00080104: "Štítná žláza", 0x00280010: "7", 0x00081032: [{0x00080100: "A"}]}
    row = (
        "20260102",
        "CT\\MR",
        "Odd",
        [code, {}],
        "Nováková^Jana",
        "one\\two",
        "1.2.3",
        "12",
        "00080018",
        "512",
        "1.5",
        "0.5",
        "1\\70000",
    )
    dataset = answered(row, syntax=syntax)
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert dataset.QueryRetrieveLevel == "STUDY"
    assert dataset.RetrieveAETitle == "KONZILIUM"
    assert "InstanceAvailability" not in dataset
    assert list(dataset.ModalitiesInStudy) == ["CT", "MR"]
    assert dataset.StudyDescription == "Odd"
    first, second = dataset.ProcedureCodeSequence
    assert (first.CodeValue, first.CodeMeaning, first.Rows) == ("T-1", "Štítná žláza", 7)
    assert first.ProcedureCodeSequence[0].CodeValue == "A"
    assert len(second) == 0
    assert dataset.PatientName == "Nováková^Jana"
    assert dataset.PatientComments == "one\\two"
    assert dataset.StudyInstanceUID == "1.2.3"
    assert dataset.FrameIncrementPointer == 0x00080018
    assert dataset.Rows == 512
    assert dataset[0x00720076].value == 0.5
    assert list(dataset[0x00720078].value) == [1, 70000]


def test_what_is_not_held_is_answered_empty():
    dataset = answered((None,) * len(TAGS))
    assert [element.tag for element in dataset if element.is_empty] == [tag for tag, _ in TAGS]


def test_availability_is_answered_when_it_was_asked_for():
    assert answered((), tags=(), availability="ONLINE").InstanceAvailability == "ONLINE"


def test_answers_of_one_element_come_in_order_on_either_side_of_the_level():
    for tag in (0x00080018, 0x00080050, 0x00080060, 0x0020000D):
        dataset = answered(("1",), tags=((tag, "UI"),))
        assert [int(element.tag) for element in dataset] == sorted([tag, 0x00080052, 0x00080054])


@pytest.mark.parametrize(
    ("charset", "name", "answer"),
    [
        ("", "NOVAK", None),
        ("ISO_IR 101", "NOVAK", None),
        ("", "Novák", "ISO_IR 192"),
        ("ISO_IR 101", "Nováková^Kateřina", "ISO_IR 101"),
        ("ISO_IR 100", "Nováková^Kateřina", "ISO_IR 192"),
        ("ISO_IR 144", "Щукин^Юлия", "ISO_IR 144"),
        ("NONSENSE", "Novák", "ISO_IR 192"),
        ("GB18030", "Wang^XiaoDong=王^小东", "GB18030"),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう", ["", "ISO 2022 IR 87"]),
        ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동", ["", "ISO 2022 IR 149"]),
        ("\\ISO 2022 IR 87", "Novák?", "ISO_IR 192"),
    ],
)
def test_the_character_set_is_the_one_of_the_request_if_it_can_spell_the_row(charset, name, answer):
    dataset = answered((name,), tags=((0x00100010, "PN"),), charset=charset)
    assert dataset.get("SpecificCharacterSet") == answer
    assert str(dataset.PatientName) == name


def test_one_foreign_row_does_not_change_the_next():
    encoder = Encoder(
        ((0x00100010, "PN"),),
        level=Level.PATIENT,
        ae_title=AETitle("A"),
        transfer_syntax=ImplicitVRLittleEndian,
        charset="ISO_IR 100",
    )
    rows = [("Kateřina",), ("Müller",), ("NOVAK",)]
    answers = [decoded(encoder.encode(row), ImplicitVRLittleEndian) for row in rows]
    assert [answer.get("SpecificCharacterSet") for answer in answers] == ["ISO_IR 192", "ISO_IR 100", None]


def test_a_value_that_has_no_room_is_answered_empty():
    dataset = answered(("x" * 70000,), tags=((0x00081030, "LO"),), syntax=ExplicitVRLittleEndian)
    assert dataset["StudyDescription"].is_empty
    dataset = answered(("x" * 70000,), tags=((0x00081030, "LO"),))
    assert len(dataset.StudyDescription) == 70000


def test_a_number_that_is_none_is_answered_empty():
    for value in ("abc", "70000", "-1", "1\\x"):
        assert answered((value,), tags=((0x00280010, "US"),))["Rows"].is_empty


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\\^= \u00a0"),
    max_size=40,
).filter(lambda text: text == text.strip())


@given(
    st.lists(st.one_of(st.none(), TEXT), min_size=4, max_size=4),
    st.lists(st.integers(0, 65535), max_size=5),
    st.sampled_from(SYNTAXES),
    st.sampled_from(["", "ISO_IR 100", "ISO_IR 101", "ISO_IR 192", "GB18030", "ISO_IR 13"]),
)
def test_any_row_is_read_as_it_was_held(cells, numbers, syntax, charset):
    tags = (
        (0x00081030, "LO"),
        (0x00081032, "SQ"),
        (0x00100010, "PN"),
        (0x00100020, "LO"),
        (0x00280010, "US"),
    )
    row = (cells[0], [{0x00080104: cells[1]}], cells[2], cells[3], "\\".join(map(str, numbers)))
    dataset = answered(row, tags=tags, syntax=syntax, charset=charset)
    assert texts(dataset, 0x00081030) == (cells[0] or "")
    assert texts(dataset.ProcedureCodeSequence[0], 0x00080104) == (cells[1] or "")
    assert texts(dataset, 0x00100010) == (cells[2] or "")
    assert texts(dataset, 0x00100020) == (cells[3] or "")
    assert texts(dataset, 0x00280010) == row[4]
