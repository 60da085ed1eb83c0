"""The file around a data set is always the same bytes for the same data set."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from io import BytesIO

import pytest
from pydicom import dcmread

from node.archive.part10 import StoredFile, file_meta, offer_of
from node.blobs.memory import MemoryStore
from node.domain.errors import Damaged
from node.domain.ids import InstanceUID, SOPClassUID, TransferSyntaxUID
from node.domain.instance import Offer
from tests.support import synthetic

OFFER = Offer(
    sop_class=SOPClassUID("1.2.840.10008.5.1.4.1.1.2"),
    instance=InstanceUID("1.2.826.0.1.3680043.8.498.2.3.1.1.1"),
    transfer_syntax=TransferSyntaxUID("1.2.840.10008.1.2.1"),
)


def stored(content: bytes):
    blobs = MemoryStore()
    return blobs.open(blobs.put([content]))


def test_the_meta_information_is_the_same_bytes_for_ever():
    """When this digest changes, every instance in every archive has changed its name."""
    digest = hashlib.sha256(file_meta(OFFER)).hexdigest()
    assert digest == "9d015b493fdf92d0d1aacbccf5a8edb3d2f2265571cb92018613aae10c81c39d"


def test_pydicom_reads_the_file_with_nothing_missing():
    offer, data = synthetic.instance()
    read = dcmread(BytesIO(file_meta(offer) + data))
    assert read.file_meta.MediaStorageSOPInstanceUID == offer.instance == read.SOPInstanceUID
    assert read.file_meta.TransferSyntaxUID == offer.transfer_syntax
    assert read.file_meta.FileMetaInformationVersion == b"\0\1"
    assert read.pixel_array.shape == (16, 16)


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("dcmdump") is None, reason="dcmdump is not installed")
def test_dcmdump_reads_the_file_without_a_complaint(tmp_path):
    offer, data = synthetic.instance()
    path = tmp_path / "file.dcm"
    path.write_bytes(file_meta(offer) + data)
    read = subprocess.run(["dcmdump", str(path)], capture_output=True, text=True, check=True)
    assert read.stderr == ""
    assert f"[{offer.instance}]" in read.stdout


def test_a_stored_file_says_what_was_offered_and_where_its_data_set_begins():
    offer, data = synthetic.instance()
    file = stored(file_meta(offer) + data)
    assert offer_of(file) == offer
    with StoredFile.of(file) as opened:
        assert opened.size - opened.offset == len(data)
    assert file.closed


WHOLE = file_meta(OFFER) + b"data"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        WHOLE[:140],
        WHOLE[:150],
        bytes(len(WHOLE)),
        WHOLE[:140] + b"\xff\xff\xff\xff" + WHOLE[144:],
        WHOLE[:140] + b"\x00\x00\x00\x00" + WHOLE[144:],
        WHOLE.replace(b"UI", b"??"),
        WHOLE.replace(b"1.2.840", b"a.b.840"),
        WHOLE.replace(b"1.2.840", b"\xff.2.840"),
    ],
)
def test_a_file_that_has_rotten_is_damaged(content):
    with pytest.raises(Damaged):
        offer_of(stored(content))
