"""Where exported files go: a folder or a zip file; nothing half-written ever carries a final name."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol, Self

import click

from node.domain.errors import DigestMismatch
from node.domain.ids import Digest

CHUNK = 1024 * 1024


class Stored(Protocol):
    """A stored Part 10 file, open for reading."""

    @property
    def fd(self) -> int:
        """Its descriptor."""

    @property
    def size(self) -> int:
        """Its length in bytes."""


class OccupiedError(Exception):
    """Another file has the name."""


class Target(Protocol):
    """A place for files with names of their own below it."""

    def put(self, name: str, digest: Digest, stored: Stored) -> bool:
        """Keep a copy of the stored file; False if it was there already.

        Raises:
            OccupiedError: another file has that name.
            DigestMismatch: what is stored is not what the digest names.
        """

    def write(self, name: str, content: bytes) -> None:
        """Keep a new file of that content."""


class Folder:
    """Files in a folder, which may hold others."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        if fresh and path.exists() and any(path.iterdir()):
            raise click.UsageError(f"{path} is not empty; a DICOMDIR medium wants a new or empty folder.")
        self._path = path

    def __enter__(self) -> Self:
        self._path.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def put(self, name: str, digest: Digest, stored: Stored) -> bool:
        """Keep a copy of the stored file; False if it was there already."""
        path = self._path / name
        if path.exists():
            if digest_of(path) != digest:
                raise OccupiedError
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        try:
            with part.open("wb") as file:
                copy(stored, file, digest)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        return True

    def write(self, name: str, content: bytes) -> None:
        """Keep a new file of that content."""
        with (self._path / name).open("xb") as file:
            file.write(content)


class ZipFile:
    """Files in a new zip file; without compression, which images seldom need."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise click.UsageError(f"{path} is there already.")
        self._path = path
        self._part = path.with_name(f".{path.name}.part")

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._zip = zipfile.ZipFile(self._part, "w", zipfile.ZIP_STORED, allowZip64=True)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._zip.close()
        if kind is None:
            self._part.rename(self._path)
        with suppress(FileNotFoundError):
            self._part.unlink()

    def put(self, name: str, digest: Digest, stored: Stored) -> bool:
        """Keep a copy of the stored file, after it was proved: a member cannot be taken back."""
        copy(stored, None, digest)
        with self._zip.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:
            copy(stored, file, digest)
        return True

    def write(self, name: str, content: bytes) -> None:
        """Keep a new file of that content."""
        self._zip.writestr(zipfile.ZipInfo(name), content)


def copy(stored: Stored, file: IO[bytes] | None, digest: Digest) -> None:
    """Copy the stored file (or only read it) and prove that it has that digest.

    Raises:
        DigestMismatch: it has another.
    """
    proof = hashlib.sha256()
    for chunk in _chunks(stored):
        proof.update(chunk)
        if file:
            file.write(chunk)
    if proof.hexdigest() != digest:
        raise DigestMismatch(digest, proof.hexdigest())


def _chunks(stored: Stored) -> Iterator[bytes]:
    at = 0
    while chunk := os.pread(stored.fd, CHUNK, at):
        at += len(chunk)
        yield chunk


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
