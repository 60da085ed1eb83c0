"""A native data set in the other native syntax says the same, and its pixels are the same bytes."""

from __future__ import annotations

import os
import tracemalloc
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread, read_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.domain.errors import Damaged
from services.dicom.native import EXPLICIT, IMPLICIT, convert
from tests.support.fake_archive import FakeArchive
from tests.support.synthetic import dataset, encoded

OTHER = {EXPLICIT: IMPLICIT, IMPLICIT: EXPLICIT}


def rich(private: bool = True) -> Dataset:
    made = dataset(side=32)
    made.PixelRepresentation = 1
    made.SmallestImagePixelValue = -5
    item = Dataset()
    item.CodeValue = "T-1"
    item.CodeMeaning = "Štítná žláza"
    made.ProcedureCodeSequence = [item, Dataset()]
    made.ProcedureCodeSequence[1].ConceptNameCodeSequence = [item]
    made["ProcedureCodeSequence"].is_undefined_length = True
    made.DerivationDescription = "x" * 400
    made.add_new(0xFFFCFFFC, "OB", b"\0" * 10)
    if private:
        block = made.private_block(0x0029, "KONZILIUM", create=True)
        block.add_new(1, "OB", b"ab" * 1000)
        block.add_new(2, "LO", "text")
    return made


def converted(folder: Path, data: Dataset, stored: str) -> bytes:
    archive = FakeArchive(folder)
    instance = archive.keep(data, stored)
    with archive.open(instance) as file:
        new = convert(file, instance.transfer_syntax)
        body = os.pread(file.fd, new.stop - new.start, new.start)
    assert new.length == len(new.before + body + new.after)
    return new.before + body + new.after


@pytest.mark.parametrize("stored", [EXPLICIT, IMPLICIT])
def test_every_element_says_the_same_in_the_other_syntax(tmp_path, stored):
    original = rich(private=stored == EXPLICIT)
    read = read_dataset(BytesIO(converted(tmp_path, original, stored)), stored == EXPLICIT, True)
    again = read_dataset(BytesIO(encoded(original, stored)), stored == IMPLICIT, True)
    assert [element.tag for element in read] == [element.tag for element in again]
    for element in again:
        if not element.tag.is_private:
            assert read[element.tag].value == element.value
            assert read[element.tag].VR == element.VR
    assert read.SmallestImagePixelValue == -5


def test_there_and_back_again_is_where_it_began(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    original = rich(private=False)
    original["ProcedureCodeSequence"].is_undefined_length = False
    there = read_dataset(BytesIO(converted(tmp_path / "a", original, IMPLICIT)), False, True)
    back = converted(tmp_path / "b", there, EXPLICIT)
    assert back == encoded(original, IMPLICIT)


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "rtdose.dcm", "liver_1frame.dcm"]
)
def test_real_files_say_the_same_in_the_other_syntax(tmp_path, name):
    path = get_testdata_file(name)
    original = dcmread(path)
    stored = original.file_meta.TransferSyntaxUID
    assert stored in OTHER
    read = read_dataset(BytesIO(converted(tmp_path, original, stored)), stored == EXPLICIT, True)
    for element in dcmread(path):
        if not element.tag.is_private and element.tag.element:
            assert read[element.tag].value == element.value


def test_a_data_set_without_pixels_is_converted_too(tmp_path):
    original = dataset()
    del original.PixelData
    read = read_dataset(BytesIO(converted(tmp_path, original, EXPLICIT)), True, True)
    assert read.PatientName == original.PatientName


def test_text_that_contradicts_its_character_set_is_left_as_it_is(tmp_path):
    original = dataset()
    original.SpecificCharacterSet = "ISO_IR 100"
    original.PatientName = "Müller".encode("latin-1")
    sent = converted(tmp_path, original, EXPLICIT)
    assert "Müller".encode("latin-1") in sent


@pytest.mark.parametrize("cut", [20, 200, 650])
def test_a_data_set_that_ends_too_early_is_damaged(tmp_path, cut):
    archive = FakeArchive(tmp_path)
    instance = archive.keep(dataset(side=16), ExplicitVRLittleEndian)
    path = tmp_path / instance.uid
    os.truncate(path, path.stat().st_size - cut)
    with archive.open(instance) as file, pytest.raises(Damaged):
        convert(file, instance.transfer_syntax)


def test_only_what_is_beside_the_pixels_is_in_memory(tmp_path):
    archive = FakeArchive(tmp_path)
    original = dataset()
    del original.PixelData
    instance = archive.keep(original, ImplicitVRLittleEndian)
    path = tmp_path / instance.uid
    length = 200 << 20
    with path.open("ab") as file:
        file.write(b"\xe0\x7f\x10\0" + length.to_bytes(4, "little"))
    os.truncate(path, path.stat().st_size + length)
    tracemalloc.start()
    with archive.open(instance) as file:
        new = convert(file, instance.transfer_syntax)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert new.stop - new.start == length
    assert peak < 4 << 20


def test_a_header_of_absurd_size_is_not_converted(tmp_path):
    archive = FakeArchive(tmp_path)
    original = dataset()
    original.EncapsulatedDocument = b"\0" * (40 << 20)
    instance = archive.keep(original)
    with archive.open(instance) as file, pytest.raises(Damaged, match="beside its pixel data"):
        convert(file, instance.transfer_syntax)
