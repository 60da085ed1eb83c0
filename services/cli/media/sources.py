"""What there is to import: the files of folders, DICOMDIR media and zip files, one after the other."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, TypeAlias, cast

from pydicom import dcmread
from pydicom.uid import MediaStorageDirectoryStorage

MAX_MEMBERS = 1_000_000
MAX_MEMBER = 64 * 1024**3
MAX_RATIO = 1000
"""Deflate reaches 1032; an honest image far less, once it is larger than FREE."""
FREE = 64 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file to read: its name for people, and how to open it."""

    name: str
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something that could not be read, and why."""

    name: str
    reason: str


Found: TypeAlias = Source | Refusal


class Media:
    """The files of several paths. Zip files stay open until the end, and are never unpacked."""

    def __init__(self) -> None:
        self._open = ExitStack()

    def __enter__(self) -> Media:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def files(self, paths: Iterable[Path]) -> Iterator[Found]:
        """Everything below the paths, in a stable order."""
        for path in paths:
            yield from self._folder(path) if path.is_dir() else self._file(path, told=True)

    def _folder(self, folder: Path) -> Iterator[Found]:
        """The files below a folder, each once; symbolic links to folders are not followed."""
        closed: list[OSError] = []
        for root, folders, names in os.walk(folder, onerror=closed.append):
            folders.sort()
            for name in sorted(names):
                yield from self._file(Path(root, name), told=False)
        for error in closed:
            yield Refusal(name=str(error.filename), reason="the folder cannot be opened")

    def _file(self, path: Path, *, told: bool) -> Iterator[Found]:
        """One file, or what it stands for; a DICOMDIR that was `told` stands for what it names."""
        if not path.is_file():
            yield Refusal(name=str(path), reason="it is not a regular file or folder")
        elif not os.access(path, os.R_OK):
            yield Refusal(name=str(path), reason="it may not be read by this user")
        elif path.name.upper().startswith("DICOMDIR") and is_directory(path):
            yield from directory(path, missing_only=not told)
        elif path.suffix.lower() == ".zip" or (told and zipfile.is_zipfile(path)):
            yield from self._zip(path)
        else:
            yield Source(name=str(path), open=lambda: path.open("rb"))

    def _zip(self, path: Path) -> Iterator[Found]:
        try:
            archive = self._open.enter_context(zipfile.ZipFile(path))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            yield Refusal(name=str(path), reason="it is a damaged zip file")
            return
        members = [info for info in archive.infolist() if not info.is_dir()]
        reason = _excess(members, path.stat().st_size)
        if reason:
            yield Refusal(name=str(path), reason=reason)
            return
        for info in members:
            yield _member(archive, info, path)


def _excess(members: list[zipfile.ZipInfo], size: int) -> str | None:
    """Why a zip file is not read at all: it claims more than a file of its size can hold."""
    if len(members) > MAX_MEMBERS:
        return f"it holds more than {MAX_MEMBERS} files"
    if sum(info.compress_size for info in members) > size:
        return "its files overlap each other, as in a decompression bomb"
    return None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Found:
    name = f"{path}:{info.filename}"
    if info.flag_bits & 1:
        return Refusal(name=name, reason="it is encrypted")
    if info.file_size > MAX_MEMBER:
        return Refusal(name=name, reason="it is larger than 64 GiB")
    if info.file_size > max(FREE, MAX_RATIO * info.compress_size):
        return Refusal(name=name, reason="it is compressed more than any image can be")
    return Source(name=name, open=lambda: archive.open(info))


def is_directory(path: Path) -> bool:
    """Whether the file is the directory of a medium (PS3.10 8.6), not an image that is called so."""
    with path.open("rb") as file:
        head = file.read(1024)
    return head[128:132] == b"DICM" and MediaStorageDirectoryStorage.encode() in head


def directory(path: Path, *, missing_only: bool) -> Iterator[Found]:
    """The files that a DICOMDIR names (PS3.3 F.3.2); or only those that are not on the medium."""
    try:
        names = list(_referenced(path))
    except Exception:  # whatever a damaged directory makes of itself
        yield Refusal(name=str(path), reason="it is a damaged DICOMDIR; import the folder instead")
        return
    for components in names:
        file = locate(path.parent, components)
        if file is None:
            name = str(path.parent.joinpath(*components)) if all(map(_plain, components)) else str(path)
            yield Refusal(name=name, reason="the DICOMDIR names it, but it is not on the medium")
        elif not missing_only:
            yield Source(
                name=str(file), open=cast("Callable[[], BinaryIO]", lambda file=file: file.open("rb"))
            )


def _referenced(path: Path) -> Iterator[list[str]]:
    for record in dcmread(path).DirectoryRecordSequence:
        value = record.get("ReferencedFileID")
        if value:
            yield [value] if isinstance(value, str) else [str(part) for part in value]


def _plain(component: str) -> bool:
    return (
        component not in ("", ".", "..")
        and "/" not in component
        and "\\" not in component
        and "\0" not in component
    )


def locate(root: Path, components: list[str]) -> Path | None:
    """The file of that File ID below `root`, whatever case the medium was mounted with; None if not there."""
    place = root
    for component in components:
        if not _plain(component) or not place.is_dir():
            return None
        exact = place / component
        wanted = component.lower()
        found = exact if exact.exists() else _alike(place, wanted)
        if found is None:
            return None
        place = found
    return place if place.is_file() and place.resolve().is_relative_to(root.resolve()) else None


def _alike(folder: Path, wanted: str) -> Path | None:
    """An entry that differs in case or carries the `;1` of ISO 9660."""
    return next(
        (path for path in folder.iterdir() if path.name.lower().partition(";")[0].rstrip(".") == wanted), None
    )
