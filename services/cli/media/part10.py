"""One file as an offer: its identifiers, and the encoded data set that follows them.

A file with a preamble and file meta information (PS3.10 7.1) says what it is. One without is tried
as file meta without a preamble, then as a bare data set in little endian, implicit or explicit, or in
big endian.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import IO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)
from pydicom.valuerep import VR

from node.domain.ids import InstanceUID, SOPClassUID, TransferSyntaxUID
from node.domain.instance import Chunk, Offer

HEAD = 1024 * 1024
"""How much of a file is read to find out what it is; also the size of the chunks after that."""

_LITTLE_GROUPS = (b"\x08\x00", b"\x10\x00")
"""Groups with which a data set begins, 0008 unless that is missing, in little endian."""
_VRS = frozenset(vr.value.encode() for vr in VR if len(vr.value) == 2)


class NotDicomError(Exception):
    """The file is not a DICOM file, or is the directory of a medium: nothing to archive."""


class UnreadableError(Exception):
    """The file is DICOM, but cannot be offered; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A file that has been recognised: what it offers, and the data set from its first byte."""

    offer: Offer
    chunks: Iterator[Chunk]


def read(stream: IO[bytes]) -> Reading:
    """Recognise a file and offer its data set.

    Raises:
        NotDicomError: there is nothing to archive in it.
        UnreadableError: it names no SOP class, instance or transfer syntax.
        MalformedIdentifier: what it names is not a UID.
    """
    head = _fill(stream)
    start = _start_of_meta(head)
    meta, offset = _meta(head, start) if start is not None else (Dataset(), 0)
    if meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise NotDicomError
    syntax = str(meta.get("TransferSyntaxUID") or "") or _guessed_syntax(head[offset : offset + 8])
    if not syntax:
        raise NotDicomError if start is None else UnreadableError("it names no transfer syntax")
    return Reading(offer=_offer(meta, head[offset:], syntax), chunks=_chunks(head, offset, stream))


def _fill(stream: IO[bytes]) -> bytes:
    """The first bytes of the file; less than HEAD only if there are no more."""
    head = stream.read(HEAD)
    while len(head) < HEAD and (more := stream.read(HEAD - len(head))):
        head += more
    return head


def _start_of_meta(head: bytes) -> int | None:
    if head[128:132] == b"DICM":
        return 132
    if head[:2] == b"\x02\x00" and head[4:6] in _VRS:
        return 0
    return None


def _meta(head: bytes, start: int) -> tuple[Dataset, int]:
    """The file meta information, always explicit little endian (PS3.10 7.1), and where it ends."""
    stream = BytesIO(head)
    stream.seek(start)
    try:
        meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
        meta.decode()
    except Exception:
        raise UnreadableError("its file meta information is damaged") from None
    return meta, stream.tell()


def _guessed_syntax(begin: bytes) -> str:
    """The transfer syntax of a data set that names none, by how it begins (PS3.5 7.1); empty if by none."""
    if begin[:2] in _LITTLE_GROUPS and begin[4:6] in _VRS:
        return str(ExplicitVRLittleEndian)
    if begin[:2] in _LITTLE_GROUPS and begin[6:8] == b"\0\0":
        return str(ImplicitVRLittleEndian)
    if begin[:2] == b"\x00\x08" and begin[4:6] in _VRS:
        return str(ExplicitVRBigEndian)
    return ""


def _offer(meta: Dataset, data: bytes, syntax: str) -> Offer:
    """The offer as the file meta makes it; what that leaves out is looked up in the data set."""
    sop_class = str(meta.get("MediaStorageSOPClassUID") or "")
    instance = str(meta.get("MediaStorageSOPInstanceUID") or "")
    if not sop_class or not instance:
        found = _identifiers(data, syntax)
        sop_class = sop_class or str(found.get("SOPClassUID") or "")
        instance = instance or str(found.get("SOPInstanceUID") or "")
    if not sop_class or not instance:
        raise UnreadableError("it names no SOP class or no SOP instance")
    return Offer(
        sop_class=SOPClassUID(sop_class),
        instance=InstanceUID(instance),
        transfer_syntax=TransferSyntaxUID(syntax),
    )


def _identifiers(data: bytes, syntax: str) -> Dataset:
    """The data set up to its SOP Instance UID (0008,0018)."""
    if syntax == DeflatedExplicitVRLittleEndian:
        return Dataset()
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    try:
        found = read_dataset(
            BytesIO(data), implicit, little, stop_when=lambda tag, _vr, _length: tag > 0x00080018
        )
        found.decode()
    except Exception:
        raise UnreadableError("its data set is damaged") from None
    return found


def _chunks(head: bytes, offset: int, stream: IO[bytes]) -> Iterator[Chunk]:
    """The data set: what was read of it already, then the rest."""
    yield memoryview(head)[offset:]
    if len(head) == HEAD:
        while chunk := stream.read(HEAD):
            yield chunk
