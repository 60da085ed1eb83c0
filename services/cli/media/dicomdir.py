"""A DICOMDIR for exported files: their File IDs and the directory that names them (PS3.10 8, PS3.3 F).

Only the headers are read for it; the files of the medium are the archive's own, byte for byte.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.fileset import FileSet

INVENTED = {
    "PatientID": "UNKNOWN",
    "StudyDate": "19000101",
    "StudyTime": "000000",
    "StudyID": "1",
    "Modality": "OT",
    "SeriesNumber": "1",
    "InstanceNumber": "1",
}
"""What a directory record must have (Type 1) but the instance may lack; the instance stays as it is."""


class UnlistableError(Exception):
    """The instance cannot be named in a DICOMDIR; the text says why."""


class Medium:
    """The directory of a medium in the making."""

    def __init__(self) -> None:
        self._files = FileSet()

    def add(self, stream: BinaryIO) -> None:
        """Name the instance whose Part 10 file this is.

        Raises:
            UnlistableError: an attribute is missing that its directory record needs.
        """
        try:
            header = dcmread(stream, stop_before_pixels=True)
            self._files.add(completed(header))
        except (ValueError, KeyError, AttributeError, TypeError, NotImplementedError, InvalidDicomError):
            raise UnlistableError("the DICOMDIR cannot name it: an attribute it needs is missing") from None

    def file_ids(self) -> dict[str, str]:
        """The path on the medium of each instance, by SOP Instance UID."""
        return {str(file.SOPInstanceUID): Path(file.FileID).as_posix() for file in self._files}

    def directory(self) -> bytes:
        """The DICOMDIR file itself."""
        with tempfile.TemporaryDirectory() as folder:
            self._files.write(folder)
            return Path(folder, "DICOMDIR").read_bytes()


def completed(header: Dataset) -> Dataset:
    """The header with what its directory records cannot do without."""
    for keyword, value in INVENTED.items():
        if keyword not in header or header[keyword].is_empty:
            setattr(header, keyword, value)
    return header
