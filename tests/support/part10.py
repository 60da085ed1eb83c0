"""DICOM files as peers leave them: what is around a data set, and its bytes as they are (PS3.10 7)."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Self

from pydicom.filereader import read_file_meta_info

from tests.support.evidence import BLOBS, Evidence
from tests.support.node_process import NodeProcess

PREAMBLE = 132
LENGTH = 12
"""Bytes of File Meta Information Group Length (0002,0000)."""


@dataclass(frozen=True, slots=True)
class File:
    """What a DICOM file says of its data set, and the encoded data set itself."""

    sop_class: str
    instance: str
    transfer_syntax: str
    data: bytes

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that keeps to PS3.10."""
        content = path.read_bytes()
        assert content[128:PREAMBLE] == b"DICM", f"{path.name} is not a DICOM file"
        meta = read_file_meta_info(path)
        begin = PREAMBLE + LENGTH + int(meta.FileMetaInformationGroupLength)
        return cls(
            sop_class=str(meta.MediaStorageSOPClassUID),
            instance=str(meta.MediaStorageSOPInstanceUID),
            transfer_syntax=str(meta.TransferSyntaxUID),
            data=content[begin:],
        )


def files(folder: Path) -> dict[str, File]:
    """All DICOM files of a folder by SOP Instance UID."""
    read = [File.read(path) for path in sorted(folder.iterdir())]
    found = {one.instance: one for one in read}
    assert len(found) == len(read), "two files hold the same instance"
    return found


def archived(node: NodeProcess, instance: str) -> File:
    """What a node has on disk of an instance, read from outside."""
    digest = Evidence(node.folder).instances()[instance]
    return File.read(node.folder / BLOBS / digest[:2] / digest)


def write(path: Path, content: bytes | BytesIO) -> Path:
    """Write a file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.getvalue())
    return path
