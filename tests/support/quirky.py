"""Files that other people's tests were written for: real ones, odd ones, broken ones, and some no DICOM.

They come with pydicom, pydicom-data and pynetdicom. What is sent of each is the bytes of its data set as they
are in the file, announced as a sender would: by what the data set says of itself, as far as it says anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from node.domain.ids import UID, InstanceUID, SOPClassUID, TransferSyntaxUID
from node.domain.instance import Offer

FOLDERS = (
    ("pydicom", "data/test_files"),
    ("pydicom", "data/charset_files"),
    ("data_store", "data"),
    ("pynetdicom", "tests/dicom_files"),
)
CODE = {".py", ".pyc", ".zip", ".gz"}
NAMING = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
"""What an instance has to be identified by, beside its Patient ID."""
INVENTED = "1.2.826.0.1.3680043.8.498.2.9"


@dataclass(frozen=True, slots=True)
class Quirky:
    """One file, as a sender sees it."""

    name: str
    path: Path

    @property
    def content(self) -> bytes:
        """The data set: what is left of the file when preamble and meta information are taken off."""
        return self.path.read_bytes()[_header(self.path)[1] :]

    @property
    def offer(self) -> Offer:
        """What is said of it; invented where it says nothing that could be announced."""
        said = self.read()
        instance = uid_of(said, "SOPInstanceUID") or f"{INVENTED}.{sum(self.name.encode())}"
        return Offer(
            sop_class=SOPClassUID(uid_of(said, "SOPClassUID") or SecondaryCaptureImageStorage),
            instance=InstanceUID(instance),
            transfer_syntax=TransferSyntaxUID(self._syntax(said)),
        )

    @property
    def identified(self) -> bool:
        """Whether pydicom finds in it all that an archive needs to know of it."""
        said = self.read()
        return bool(str(said.get("PatientID") or "").strip()) and all(uid_of(said, name) for name in NAMING)

    def read(self) -> Dataset:
        """What pydicom makes of it; an empty data set where it cannot make anything."""
        try:
            return dcmread(self.path, force=True, specific_tags=[*NAMING, "PatientID"])
        except Exception:
            return Dataset()

    def _syntax(self, said: Dataset) -> str:
        meta = _header(self.path)[0]
        if uid_of(meta, "TransferSyntaxUID"):
            return str(meta.TransferSyntaxUID)
        if not getattr(said, "is_little_endian", True):
            return ExplicitVRBigEndian
        return ImplicitVRLittleEndian if getattr(said, "is_implicit_VR", True) else ExplicitVRLittleEndian


@cache
def _header(path: Path) -> tuple[Dataset, int]:
    """The meta information of a file, and where it ends; none and 0 where there is none."""
    with path.open("rb") as file:
        try:
            if read_preamble(file, force=False) is None:
                return Dataset(), 0
            return _read_file_meta_info(file), file.tell()
        except Exception:
            return Dataset(), 0


def uid_of(data: Dataset, name: str) -> str:
    """A UID that can be announced, or nothing."""
    try:
        return str(UID(str(data.get(name) or "").strip(" \0")))
    except Exception:
        return ""


def files() -> Iterator[Quirky]:
    """Every file of the packages that are installed."""
    for package, folder in FOLDERS:
        found = find_spec(package)
        if found is None or not found.submodule_search_locations:
            continue
        base = Path(found.submodule_search_locations[0]) / folder
        for path in sorted(base.rglob("*")):
            if path.is_file() and path.suffix not in CODE:
                yield Quirky(f"{package}/{path.relative_to(base).as_posix()}", path)
