"""What folders, media and zip files hold, and what one file offers."""

from __future__ import annotations

import io
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.fileset import FileSet
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from node.domain.errors import MalformedIdentifier
from services.cli.media import part10, sources
from services.cli.media.part10 import NotDicomError, UnreadableError, read
from services.cli.media.sources import Media, Refusal, Source
from tests.support import synthetic

SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]
BARE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]


def content(reading: part10.Reading) -> bytes:
    return b"".join(bytes(chunk) for chunk in reading.chunks)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_file_offers_what_its_meta_says_and_its_data_set_untouched(syntax):
    data = synthetic.dataset()
    reading = read(io.BytesIO(synthetic.part10(data, syntax)))
    assert reading.offer == synthetic.offer_of(data, syntax)
    assert content(reading) == synthetic.encoded(data, syntax)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_file_without_preamble_is_read_by_its_meta(syntax):
    data = synthetic.dataset()
    reading = read(io.BytesIO(synthetic.part10(data, syntax)[132:]))
    assert reading.offer == synthetic.offer_of(data, syntax)


@pytest.mark.parametrize("syntax", BARE)
def test_a_bare_data_set_is_recognised_by_its_first_bytes(syntax):
    data = synthetic.dataset()
    encoded = synthetic.encoded(data, syntax)
    reading = read(io.BytesIO(encoded))
    assert reading.offer == synthetic.offer_of(data, syntax)
    assert content(reading) == encoded


@pytest.mark.parametrize("more", [-1, 0, 1, 3 * part10.HEAD])
def test_files_of_every_length_come_through_whole(monkeypatch, more):
    encoded = synthetic.encoded(synthetic.dataset())
    monkeypatch.setattr(part10, "HEAD", len(encoded) - more if more < 2 else 512)
    assert content(read(io.BytesIO(encoded))) == encoded


@pytest.mark.parametrize(
    "junk", [b"", b"x", b"%PDF-1.7 is not an image", bytes(1000), b"\xff" * 200, b"PK\x03\x04" * 50]
)
def test_other_files_are_not_dicom(junk):
    with pytest.raises(NotDicomError):
        read(io.BytesIO(junk))


def test_a_file_that_names_no_instance_cannot_be_offered():
    data = synthetic.dataset()
    del data.SOPInstanceUID
    with pytest.raises(UnreadableError, match="instance"):
        read(io.BytesIO(synthetic.encoded(data)))


def test_a_file_with_a_preamble_and_nothing_else_cannot_be_offered():
    with pytest.raises(UnreadableError):
        read(io.BytesIO(bytes(128) + b"DICM"))


@given(
    st.binary(max_size=400),
    st.sampled_from([b"", bytes(128) + b"DICM", b"\x08\x00\x16\x00UI", b"\x02\x00\x00\x00UL"]),
)
def test_no_content_makes_reading_fail_in_another_way(junk, begin):
    with suppress(NotDicomError, UnreadableError, MalformedIdentifier):
        content(read(io.BytesIO(begin + junk)))


def found(*paths: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Content by name, and reason by name."""
    files, refused = {}, {}
    with Media() as media:
        for one in media.files(paths):
            if isinstance(one, Source):
                with one.open() as stream:
                    files[one.name] = stream.read()
            else:
                assert isinstance(one, Refusal)
                refused[one.name] = one.reason
    return files, refused


def test_folders_are_read_to_their_depth(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("one", "a/two", "a/b/three"):
        (tmp_path / name).write_bytes(name.encode())
    files, refused = found(tmp_path)
    assert files == {str(tmp_path / name): name.encode() for name in ("one", "a/two", "a/b/three")}
    assert not refused


def test_what_is_no_regular_file_is_refused_and_stops_nothing(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "good").write_bytes(b"good")
    files, refused = found(tmp_path)
    assert list(files) == [str(tmp_path / "good")]
    assert set(refused) == {str(tmp_path / "fifo"), str(tmp_path / "broken")}


def test_a_loop_of_folders_ends(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "good").write_bytes(b"good")
    assert list(found(tmp_path)[0]) == [str(tmp_path / "good")]


def make_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_zip_files_are_read_in_place_whatever_their_members_are_called(tmp_path):
    path = make_zip(tmp_path / "study.zip", {"a/one": b"1", "../../two": b"2", "/etc/three": b"3"})
    files, refused = found(tmp_path)
    assert files == {f"{path}:a/one": b"1", f"{path}:../../two": b"2", f"{path}:/etc/three": b"3"}
    assert not refused
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.zip"]


def test_a_zip_file_is_one_whatever_it_is_called_if_it_is_named(tmp_path):
    path = make_zip(tmp_path / "study", {"one": b"1"})
    assert found(path)[0] == {f"{path}:one": b"1"}


def test_a_damaged_zip_file_is_refused(tmp_path):
    path = make_zip(tmp_path / "study.zip", {"one": b"1" * 1000})
    path.write_bytes(path.read_bytes()[:-30])
    assert found(tmp_path) == ({}, {str(path): "it is a damaged zip file"})


def test_a_member_that_unpacks_to_far_more_than_it_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "FREE", 10_000)
    monkeypatch.setattr(sources, "MAX_RATIO", 100)
    path = make_zip(tmp_path / "bomb.zip", {"bomb": bytes(1_000_000), "good": b"good"})
    files, refused = found(path)
    assert list(files) == [f"{path}:good"]
    assert "compressed" in refused[f"{path}:bomb"]


def test_a_zip_file_with_too_many_members_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_MEMBERS", 3)
    path = make_zip(tmp_path / "many.zip", {str(number): b"" for number in range(4)})
    assert found(path) == ({}, {str(path): "it holds more than 3 files"})


def test_a_zip_file_whose_members_overlap_is_refused(tmp_path):
    path = make_zip(tmp_path / "quine.zip", {"one": b"1" * 5000}, zipfile.ZIP_STORED)
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(5):
            twin = zipfile.ZipInfo(f"twin{number}")
            source = archive.infolist()[0]
            twin.header_offset, twin.compress_size, twin.file_size = 0, source.compress_size, source.file_size
            twin.CRC = source.CRC
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
        archive._didModify = True
    assert "overlap" in found(path)[1][str(path)]


def test_an_encrypted_member_is_refused(tmp_path):
    path = make_zip(tmp_path / "secret.zip", {"one": b"1"}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + at] |= 1
    path.write_bytes(content)
    assert found(path)[1] == {f"{path}:one": "it is encrypted"}


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """A DICOMDIR medium with three images, and a file that its directory does not name."""
    files = FileSet()
    for number in (1, 2, 3):
        data = synthetic.dataset(number=number)
        data.StudyID, data.StudyTime = "1", "120000"
        files.add(part10_dataset(data))
    files.write(tmp_path / "cd")
    (tmp_path / "cd" / "README").write_text("open with any viewer")
    return tmp_path / "cd"


def part10_dataset(data):
    return dcmread(io.BytesIO(synthetic.part10(data)))


def test_a_dicomdir_stands_for_the_files_it_names(medium):
    files, refused = found(medium / "DICOMDIR")
    assert len(files) == 3
    assert not refused


def test_a_folder_with_a_dicomdir_is_read_once_and_whole(medium):
    files, refused = found(medium)
    assert len(files) == 4
    assert str(medium / "README") in files
    assert str(medium / "DICOMDIR") not in files
    assert not refused


def test_what_a_dicomdir_names_and_the_medium_lacks_is_told(medium):
    gone = next(path for path in sorted(medium.rglob("IM*")))
    gone.unlink()
    for path in (medium, medium / "DICOMDIR"):
        _, refused = found(path)
        assert refused == {str(gone): "the DICOMDIR names it, but it is not on the medium"}


def test_a_medium_mounted_in_lower_case_is_read(medium):
    for path in sorted(medium.rglob("*"), reverse=True):
        if path.name not in ("DICOMDIR", "README"):
            path.rename(path.with_name(path.name.lower()))
    files, refused = found(medium / "DICOMDIR")
    assert len(files) == 3
    assert not refused


def test_a_damaged_dicomdir_is_told_and_the_files_beside_it_are_read(medium):
    content = (medium / "DICOMDIR").read_bytes()
    (medium / "DICOMDIR").write_bytes(content[: len(content) // 2])
    files, refused = found(medium)
    assert len(files) == 4
    assert "damaged" in refused.get(str(medium / "DICOMDIR"), "damaged")


@pytest.mark.parametrize(
    "components", [["..", "secret"], ["", "secret"], ["a/../../secret"], ["/etc/passwd"], ["."]]
)
def test_a_dicomdir_cannot_point_outside_of_its_medium(tmp_path, components):
    (tmp_path / "secret").touch()
    (tmp_path / "cd").mkdir()
    assert sources.locate(tmp_path / "cd", components) is None


def test_a_link_does_not_lead_outside_of_the_medium(tmp_path):
    (tmp_path / "secret").touch()
    (tmp_path / "cd").mkdir()
    (tmp_path / "cd" / "IM000000").symlink_to(tmp_path / "secret")
    assert sources.locate(tmp_path / "cd", ["IM000000"]) is None
