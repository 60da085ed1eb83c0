"""What the catalog is told of a data set is what is in it, however it is encoded."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.charset import python_encoding

from node.archive import header
from node.archive.header import peek_header, read_header
from node.archive.part10 import file_meta
from node.catalog.arrival import written
from node.catalog.attributes import READ
from node.domain.errors import MalformedInstance
from node.domain.instance import Offer
from node.domain.query import Cell
from tests.support import synthetic
from tests.support.encodings import SYNTAXES, Element, Sequence, data_sets, encode

IMPLICIT, EXPLICIT, BIG = SYNTAXES
DEFLATED = "1.2.840.10008.1.2.1.99"
NAME, PATIENT_ID = 0x00100010, 0x00100020


def offer(syntax: str = EXPLICIT) -> Offer:
    return synthetic.offer_of(synthetic.dataset(), syntax)


def read(data: bytes, syntax: str = EXPLICIT) -> dict[int, Cell]:
    return dict(read_header(offer(syntax), memoryview(data)))


def deflated(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


def seen_by_pydicom(dataset: Dataset) -> dict[int, Cell]:
    """What pydicom reads, in the same words."""
    return {
        int(element.tag): [seen_by_pydicom(item) for item in element.value]
        if element.VR == "SQ"
        else "\\".join(str(one).strip(" \0") for one in _several(element.value))
        for element in dataset
        if not isinstance(element.value, bytes)
    }


def _several(value: object) -> list[object]:
    return [] if value is None else list(value) if hasattr(value, "append") else [value]


@given(data_sets, st.sampled_from([*SYNTAXES, DEFLATED]))
def test_every_attribute_has_the_value_that_pydicom_reads(nodes, syntax):
    order, implicit = SYNTAXES.get(syntax, SYNTAXES[EXPLICIT])
    data = encode(nodes, order, implicit=implicit)
    data = deflated(data) if syntax == DEFLATED else data
    seen = seen_by_pydicom(dcmread(BytesIO(file_meta(offer(syntax)) + data)))
    assert {tag: value for tag, value in read(data, syntax).items() if value} == {
        tag: value for tag, value in seen.items() if value and tag in READ
    }


@given(data_sets, st.sampled_from(sorted(SYNTAXES)), st.data())
def test_the_beginning_of_a_data_set_tells_all_of_it_or_that_it_cannot(nodes, syntax, data):
    order, implicit = SYNTAXES[syntax]
    whole = memoryview(encode(nodes, order, implicit=implicit))
    peeked = peek_header(offer(syntax), whole[: data.draw(st.integers(0, len(whole)))])
    if peeked is not None and peeked[1] == len(whole):
        assert dict(peeked[0]) == dict(read_header(offer(syntax), whole))


NAMES = [
    ("", b"Novak^Jan", "Novak^Jan"),
    ("ISO_IR 6", b"Novak^Jan", "Novak^Jan"),
    ("ISO_IR 100", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
    ("ISO_IR 101", "Dvořák^Božena".encode("iso8859-2"), "Dvořák^Božena"),
    ("ISO_IR 144", "Живот".encode("iso8859-5"), "Живот"),
    ("ISO_IR 192", "Nováková^Žofie=山田".encode(), "Nováková^Žofie=山田"),
    ("ISO 2022 IR 101", "Dvořák".encode("iso8859-2"), "Dvořák"),
    ("\\ISO 2022 IR 101", b"Dvo\x1b-B\xf8\xe1k", "Dvořák"),
    ("ISO 2022 IR 100\\ISO 2022 IR 101", b"M\xfcller^\x1b-B\xf8", "Müller^ř"),
    ("GB18030", "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    ("GBK", "Wang=王".encode("gbk"), "Wang=王"),
    ("ISO_IR 13", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    (
        "\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    ("ISO-IR 101", "Dvořák".encode("iso8859-2"), "Dvořák"),
    ("ISO IR 144", "Живот".encode("iso8859-5"), "Живот"),
    ("ISO-2022-IR-101", "Dvořák".encode("iso8859-2"), "Dvořák"),
    ("no character set", b"M\xfcller", "Müller"),
    ("\\ISO 2022 IR 149", b"Hong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong=洪^吉洞"),
]
"""Specific Character Set, encoded name, name (PS3.5 H and I give the Japanese and Korean ones)."""


@pytest.mark.parametrize(("character_set", "encoded", "name"), NAMES)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_names_are_read_in_the_character_set_of_the_data_set(syntax, character_set, encoded, name):
    order, implicit = SYNTAXES[syntax]
    nodes = (Element(0x00080005, "CS", padded(character_set.encode())), Element(NAME, "PN", padded(encoded)))
    assert read(encode(nodes, order, implicit=implicit), syntax).get(NAME) == name


def padded(value: bytes) -> bytes:
    return value + b" " * (len(value) % 2)


def test_a_sequence_is_read_in_the_character_set_of_the_data_set_or_of_its_own():
    data = synthetic.dataset()
    data.SpecificCharacterSet = "ISO_IR 101"
    plain, own = Dataset(), Dataset()
    plain.CodeMeaning = "Břicho"
    own.SpecificCharacterSet, own.CodeMeaning = "ISO_IR 144", "Живот"
    data.ProcedureCodeSequence = [plain, own]
    items = read(synthetic.encoded(data))[0x00081032]
    assert [item[0x00080104] for item in items] == ["Břicho", "Живот"]


CODECS = (
    "unicode_escape",
    "raw_unicode_escape",
    "utf-7",
    "utf_16",
    "punycode",
    "idna",
    "rot13",
    "zip",
    "hex",
)
character_sets = st.sampled_from(sorted(python_encoding)) | st.sampled_from(CODECS) | st.text(max_size=16)


@given(character_sets, st.binary(max_size=40) | st.just(rb"\ud800 \udfff"))
def test_text_in_any_character_set_can_be_written_down(character_set, value):
    """Names that do not keep to their character set, or to any."""
    inner = (
        Element(0x00080005, "CS", padded(character_set.encode())),
        Element(0x00080104, "LO", padded(value)),
    )
    nodes = (
        Element(0x00080005, "CS", padded(character_set.encode())),
        Element(NAME, "PN", padded(value)),
        Element(0x0008103E, "LO", padded(value)),
        Sequence(0x00081032, ((inner, False),), undefined=False, unknown=False),
    )
    found = read(encode(nodes, "<", implicit=False))
    assert written({tag: found[tag] for tag in found}).encode()


@given(st.lists(st.sampled_from(sorted(python_encoding)), max_size=3), st.lists(st.sampled_from(
    [b"\x1b$B", b"\x1b(B", b"\x1b$)C", b"\x1b-B", b"\x1b", b"=", b"^", b"\\", b"\xb0\xa1", b";3", b"A"]
), max_size=8))  # fmt: skip
def test_escape_sequences_in_any_order_can_be_read(character_sets, parts):
    nodes = (
        Element(0x00080005, "CS", padded("\\".join(character_sets).encode())),
        Element(NAME, "PN", padded(b"".join(parts))),
    )
    assert written(read(encode(nodes, "<", implicit=False))).encode()


@given(data_sets, st.sampled_from(sorted(SYNTAXES)), st.sampled_from([*SYNTAXES, DEFLATED]), st.data())
def test_broken_data_sets_are_read_or_malformed_and_nothing_else(nodes, syntax, announced, data):
    order, implicit = SYNTAXES[syntax]
    broken = bytearray(encode(nodes, order, implicit=implicit))
    for place in data.draw(st.lists(st.integers(0, max(len(broken) - 1, 0)), max_size=4)) if broken else ():
        broken[place] = data.draw(st.integers(0, 255))
    content = deflated(broken) if announced == DEFLATED else bytes(broken)
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        found = read(content, announced)
    except MalformedInstance:
        return
    assert written(found).encode()


@given(st.binary(max_size=200))
def test_noise_in_sequences_is_no_item(noise):
    data = b"\x08\x00\x32\x10SQ\0\0" + struct.pack("<I", len(noise)) + noise
    try:
        found = read(data)
    except MalformedInstance:
        return
    assert written(found).encode()


@pytest.mark.parametrize("encoded_as", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("announced", [EXPLICIT, IMPLICIT, "1.2.840.10008.1.2.4.50"])
def test_a_data_set_that_is_not_encoded_as_was_announced_is_read_all_the_same(announced, encoded_as):
    found = read(synthetic.encoded(synthetic.dataset(), encoded_as), announced)
    assert found[PATIENT_ID] == "P0001"
    assert found[NAME] == "Nováková^Jana"


def test_a_data_set_that_breaks_off_is_malformed():
    data = synthetic.encoded(synthetic.dataset())
    for content, syntax in (
        (data[:-1], EXPLICIT),
        (deflated(data)[:-9], DEFLATED),
        (deflated(data[:-1]), DEFLATED),
    ):
        with pytest.raises(MalformedInstance, match="breaks off"):
            read(content, syntax)


def test_what_cannot_be_inflated_is_malformed():
    with pytest.raises(MalformedInstance, match="inflated"):
        read(b"\xff" * 100, DEFLATED)


ZEROS = bytes(1 << 20)


@pytest.mark.parametrize("start", [b"", b"\x08\x00\x50\x00SH\x00\x00", b"\x08\x00\x50\x00??\x00\x00"])
def test_a_deflated_bomb_stays_small(monkeypatch, start):
    """100 MB of zeros in 100 kB: after nothing, after an element, after one that only pydicom could read."""
    monkeypatch.setattr(header, "QUIRKY", 1 << 16)
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = (
        deflater.compress(start) + b"".join(deflater.compress(ZEROS) for _ in range(100)) + deflater.flush()
    )
    tracemalloc.start()
    try:
        read(bomb, DEFLATED)
    except MalformedInstance:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 3 * header.HEAD


def test_a_deflated_data_set_larger_than_is_inflated_is_read_from_its_beginning():
    data = synthetic.dataset()
    data.Rows = data.Columns = 3000
    data.PixelData = bytes(2 * 3000 * 3000)
    assert read(deflated(synthetic.encoded(data)), DEFLATED)[PATIENT_ID] == "P0001"


def test_a_value_that_is_too_long_for_the_catalog_is_left_out():
    data = synthetic.dataset()
    data.ImageComments = "x" * 5000
    data.PatientComments = "x" * 5000
    found = read(synthetic.encoded(data))
    assert 0x00104000 not in found
    assert found[PATIENT_ID] == "P0001"


def test_empty_and_padded_values_say_nothing():
    nodes = (
        Element(0x00080050, "SH", b""),
        Element(0x0008103E, "LO", b"  "),
        Element(0x00200010, "SH", b"\0\0"),
    )
    assert read(encode(nodes, "<", implicit=False)) == {}
