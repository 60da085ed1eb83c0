"""Blobs as files on a local file system.

```
writer ── write ──▶ incoming/<store>-<number>        nobody sees it; locked while its writer lives
   │                     │ fdatasync                 bytes durable
   │ keep                │ rename                    ab/<digest>
   ▼                     │ fsync of ab/              name durable
 digest ◀────────────────┘
```

Several writers are kept at once by the same steps, each taken for all of them before the next: the disk works
on the bytes of all together, and a folder is synced once.

A blob that is put again is renamed over the old one: same content, and a rotten copy is healed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import mmap
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, Self, cast

from node.blobs.seen import Seen
from node.blobs.store import PREFIXES, BlobWriter, Pace, at_once, put
from node.domain.errors import (
    BlobMissing,
    BlobUnreadable,
    DigestMismatch,
    NodeError,
    StoreFailing,
    StoreFull,
)
from node.domain.ids import Digest
from node.domain.instance import Chunk

INCOMING = "incoming"
EVIDENCE = "evidence"
"""The folder of damaged bytes that were replaced, or that belong to nothing."""
READ_SIZE = 1 << 18
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BAD_SECTOR = {errno.EIO, errno.EBADMSG, errno.EUCLEAN}
"""What a disk or a file system says of a file that it cannot read any more; others may be whole."""


class _StorageErrors:
    """Says what the operating system said in the node's own words; a context manager without state."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translate an OSError.

        Raises:
            StoreFull: there is no room.
            StoreFailing: any other OSError.
        """
        if isinstance(error, OSError):
            raise _said(error) from error


def _said(error: OSError) -> NodeError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StoreFull(reason) if error.errno in _NO_ROOM else StoreFailing(reason)


def _said_of(digest: Digest, error: OSError) -> NodeError:
    """What the operating system says of one blob."""
    if error.errno in _BAD_SECTOR:
        return BlobUnreadable(digest, os.strerror(error.errno))
    return _said(error)


storage_errors = _StorageErrors()


class FilesystemStore:
    """A `BlobStore` in a folder: 256 subfolders by the first two digits of the digest."""

    def __init__(self, root: Path, *, reserve: int = 0) -> None:
        """Open the store, making its folders where they are missing.

        Args:
            root: the folder.
            reserve: bytes of the file system that stay free; writers get `StoreFull` before.
        """
        self._root = str(root)
        self._reserve = reserve
        self._name = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._seen = Seen()
        with storage_errors:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            held = {path.name for path in root.iterdir()}
            for name in {INCOMING, EVIDENCE, *PREFIXES} - held:
                (root / name).mkdir(exist_ok=True, mode=0o700)
            # Folders that are there may have been made by a process that did not live to sync their names.
            _sync(root.parent)
            _sync(root)
            self._place = _place(self._root)

    def writer(self) -> _Writer:
        """Begin to write a blob (see `BlobStore.writer`)."""
        if self.free() <= 0:
            raise StoreFull("less than the reserve is free")
        return _Writer(self, f"{self._root}/{INCOMING}/{self._name}-{next(self._numbers)}")

    def put(self, chunks: Iterable[Chunk]) -> Digest:
        """Keep the bytes durably and return their name (see `BlobStore.put`)."""
        return put(self, chunks)

    def keep_all(self, writers: Sequence[BlobWriter]) -> list[Digest]:
        """Keep what several writers have written, at the cost of about one (see `BlobStore.keep_all`)."""
        own = cast(Sequence[_Writer], writers)
        digests = [writer.finish() for writer in own]
        self._keep(own, digests)
        return digests

    def open(self, digest: Digest) -> BinaryIO:
        """A file to read (see `BlobStore.open`)."""
        try:
            return open(self._path(digest), "rb", buffering=0)  # noqa: PTH123 - the caller closes it
        except FileNotFoundError:
            self._demand_present()
            raise BlobMissing(digest) from None
        except OSError as error:
            raise _said_of(digest, error) from error

    @contextmanager
    def mapped(self, digest: Digest) -> Iterator[memoryview]:
        """Look at all bytes of a blob through a map of the file."""
        with self.open(digest) as file, _map(file.fileno()) as view:
            yield view

    def size(self, digest: Digest) -> int | None:
        """Bytes of the blob, or None where it is not held."""
        try:
            return os.stat(self._path(digest)).st_size  # noqa: PTH116
        except FileNotFoundError:
            self._demand_present()
            return None
        except OSError as error:
            raise _said(error) from error

    def verify(self, digest: Digest, *, pace: Pace = at_once) -> None:
        """Read the blob back, past the page cache where the system allows it (see `BlobStore.verify`)."""
        with self.open(digest) as file, storage_errors:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            found = _digest(digest, file, pace)
        if found != digest:
            raise DigestMismatch(digest, found)

    def open_whole(self, digest: Digest) -> BinaryIO:
        """A file to read whose bytes are what its name says (see `BlobStore.open_whole`)."""
        file = self.open(digest)
        try:
            status = os.fstat(file.fileno())
            if not self._seen.has(status):
                with storage_errors:
                    found = _digest(digest, file, at_once)
                    file.seek(0)
                if found != digest:
                    raise DigestMismatch(digest, found)
                self._seen.add(status)
        except BaseException:
            file.close()
            raise
        return file

    def set_aside(self, digest: Digest) -> bool:
        """Keep the present bytes under a second name, as evidence (see `BlobStore.set_aside`)."""
        path = self._path(digest)
        try:
            found = os.stat(path)  # noqa: PTH116
        except FileNotFoundError:
            return False
        with storage_errors:
            with suppress(FileExistsError):
                os.link(path, f"{self._root}/{EVIDENCE}/{digest}-{found.st_mtime_ns}-{found.st_ino}")
            _sync(f"{self._root}/{EVIDENCE}")
        return True

    def listing(self, prefix: str) -> dict[Digest, int]:
        """Names and sizes of the blobs whose names begin with two hexadecimal digits."""
        found: dict[Digest, int] = {}
        with storage_errors:
            try:
                entries = os.scandir(f"{self._root}/{prefix}")
            except FileNotFoundError:
                self._demand_present()
                return found
            with entries:
                for entry in entries:
                    if Digest.form.fullmatch(entry.name):
                        with suppress(FileNotFoundError):
                            found[Digest.trusted(entry.name)] = entry.stat().st_size
        return found

    def remove(self, digest: Digest) -> None:
        """Forget the blob durably."""
        with storage_errors:
            Path(self._path(digest)).unlink(missing_ok=True)
            _sync(f"{self._root}/{digest[:2]}")

    def digests(self) -> Iterator[Digest]:
        """Names of all blobs held."""
        for folder in PREFIXES:
            with storage_errors, os.scandir(f"{self._root}/{folder}") as entries:
                yield from (Digest(entry.name) for entry in entries if Digest.form.fullmatch(entry.name))

    def free(self) -> int:
        """Bytes that can still be written before the store says `StoreFull`."""
        with storage_errors:
            self._demand_present()
            status = os.statvfs(self._root)
        return status.f_bavail * status.f_frsize - self._reserve

    def sweep(self) -> int:
        """Remove what writers that are gone have left aside; return how many files."""
        return sum(_is_swept(path) for path in Path(self._root, INCOMING).iterdir())

    def _path(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest}"

    def _keep(self, writers: Sequence[_Writer], digests: Sequence[Digest]) -> None:
        """Make bytes durable, then give them their names, then make the names durable."""
        with storage_errors:
            for writer in writers:
                os.fdatasync(writer.descriptor)
            for writer, digest in zip(writers, digests, strict=True):
                self._name_it(writer.path, digest)
            self._sync_names(digests)
            for writer in writers:
                writer.close()

    def _name_it(self, path: str, digest: Digest) -> None:
        """Give a file the name of its bytes; a folder that somebody has removed is made again."""
        try:
            os.rename(path, self._path(digest))  # noqa: PTH104
        except FileNotFoundError:
            self._demand_present()
            with suppress(FileExistsError):
                os.mkdir(f"{self._root}/{digest[:2]}", 0o700)  # noqa: PTH102
                _sync(self._root)
            os.rename(path, self._path(digest))  # noqa: PTH104

    def _demand_present(self) -> None:
        """See that what is missing is missing in the store, not the store itself.

        Raises:
            StoreFailing: its folder is gone or another one, as when its disk is not mounted.
        """
        with storage_errors:
            if _place(self._root) != self._place:
                raise StoreFailing("another folder is in its place; is its disk mounted?")

    def _sync_names(self, digests: Iterable[Digest]) -> None:
        """Make the names of blobs durable."""
        for folder in {digest[:2] for digest in digests}:
            _sync(f"{self._root}/{folder}")


class _Writer:
    """A `BlobWriter` into a file aside."""

    def __init__(self, store: FilesystemStore, path: str) -> None:
        self.size = 0
        self._store = store
        self.path = path
        self._hash = hashlib.sha256()
        self.descriptor = -1

    def __enter__(self) -> Self:
        with storage_errors:
            while not self._open():
                self.path += "-again"
        return self

    def _open(self) -> bool:
        """Make the file and lock it; False where a sweep of another process came between the two."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self.descriptor = os.open(self.path, flags, 0o600)
        with suppress(BlockingIOError):
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self.descriptor).st_nlink:
                return True
        self.close()
        return False

    def __exit__(self, *exc_info: object) -> None:
        if self.descriptor >= 0:
            with suppress(OSError):  # what cannot be removed now is swept when the node starts
                self.close()
            with suppress(OSError):
                os.unlink(self.path)  # noqa: PTH108

    def write(self, chunk: Chunk) -> None:
        """Append a chunk."""
        rest = memoryview(chunk)
        self._hash.update(rest)
        self.size += rest.nbytes
        with storage_errors:
            while rest.nbytes:
                rest = rest[os.write(self.descriptor, rest) :]

    def view(self) -> AbstractContextManager[memoryview]:
        """Look at all bytes written so far through a map of the file."""
        return _map(self.descriptor) if self.size else nullcontext(memoryview(b""))

    def finish(self) -> Digest:
        """Let the disk begin; the name that the bytes will have."""
        with storage_errors:
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return Digest.trusted(self._hash.hexdigest())

    def keep(self) -> Digest:
        """Make the bytes durable and return their name."""
        digest = Digest.trusted(self._hash.hexdigest())
        self._store._keep([self], [digest])
        return digest

    def close(self) -> None:
        """Close the file once, also where closing fails: its number may be another file's by then."""
        descriptor, self.descriptor = self.descriptor, -1
        os.close(descriptor)


def _digest(digest: Digest, file: BinaryIO, pace: Pace) -> str:
    """The digest of the bytes that are in the file of a blob.

    Raises:
        BlobUnreadable: the disk cannot read them.
        StoreFailing: the store cannot be read at all.
    """
    hashed, buffer = hashlib.sha256(), memoryview(bytearray(READ_SIZE))
    try:
        while count := os.readv(file.fileno(), [buffer]):
            hashed.update(buffer[:count])
            pace(count)
    except OSError as error:
        raise _said_of(digest, error) from error
    return hashed.hexdigest()


@contextmanager
def _map(descriptor: int) -> Iterator[memoryview]:
    with storage_errors:
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    # The map is not closed here: whoever handles an error may still hold a slice of it, and its end is soon.
    with memoryview(mapped) as view:
        yield view


def _is_swept(path: Path) -> bool:
    """Remove a file aside unless its writer lives, which holds a lock on it."""
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    return False


def _place(folder: str) -> tuple[int, int]:
    """What tells a folder from one that is mounted there, or moved there, later."""
    found = os.stat(folder)  # noqa: PTH116
    return found.st_dev, found.st_ino


def _sync(folder: Path | str) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
