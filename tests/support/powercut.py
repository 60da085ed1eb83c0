"""A disk with a power switch: a FUSE file system that knows what a power cut would leave.

Nothing is durable until it is synced, and the model is the strictest one that POSIX allows:

* bytes of a file are durable after `fsync` or `fdatasync` of that file;
* a name (created, renamed, linked, removed) is durable after `fsync` of the folder it is in;
* syncing a file says nothing about its name, syncing a folder nothing about the files in it.

`cut` writes the image that a power cut would leave now, in one of two modes, and from then on refuses
every change with EIO, so that nothing can be acknowledged afterwards:

* `drop`: all that was not synced is gone;
* `torn`: of what was not synced, a random part arrived: pages, lengths and names one by one.

`arm` makes the n-th changing call from now fail. A failed `fsync` forgets that its pages were dirty, as Linux
does: they look written, and a later `fsync` that succeeds does not write them.

Run as `python -m tests.support.powercut MOUNT [SOURCE]`; `tests.support.disks` holds the switch.
"""

from __future__ import annotations

import errno
import json
import os
import random
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import mfusepy

PAGE = 4096
HIDDEN = ".fuse_hidden"
"""Names that libfuse gives to files which were unlinked while open."""


class Node:
    """What files and folders have in common; rights are durable at once."""

    numbers = iter(range(2, sys.maxsize))

    def __init__(self, mode: int) -> None:
        self.number = next(self.numbers)
        self.mode = mode
        self.changed = time.time_ns()
        self.links = 1


class File(Node):
    """Bytes as the programs see them, bytes as the platter holds them, and the pages in which they differ."""

    def __init__(self, mode: int, content: bytes = b"") -> None:
        super().__init__(stat.S_IFREG | mode)
        self.live = bytearray(content)
        self.durable = bytearray(content)
        self.dirty: set[int] = set()

    def write(self, data: bytes, offset: int) -> int:
        """Write as pwrite(2) does."""
        if len(self.live) < offset:
            self.resize(offset)
        self.live[offset : offset + len(data)] = data
        self.dirty.update(range(offset // PAGE, (offset + len(data) - 1) // PAGE + 1))
        self.changed = time.time_ns()
        return len(data)

    def resize(self, length: int) -> None:
        """Cut off or fill with zeros, as ftruncate(2) does."""
        longest = max(length, len(self.live))
        self.dirty.update(range(length // PAGE, longest // PAGE + 1))
        self.dirty.update(range(len(self.live) // PAGE, longest // PAGE + 1))
        del self.live[length:]
        self.live.extend(bytes(length - len(self.live)))
        self.changed = time.time_ns()

    def sync(self) -> None:
        """Make every byte durable."""
        _resize(self.durable, len(self.live))
        for page in self.dirty:
            self.durable[page * PAGE : (page + 1) * PAGE] = self.live[page * PAGE : (page + 1) * PAGE]
        self.dirty.clear()

    def lose(self) -> None:
        """Forget which pages are dirty, as Linux does when writing them back has failed."""
        self.dirty.clear()

    def left(self, chance: random.Random | None) -> bytes:
        """What a power cut leaves; with `chance`, torn."""
        if chance is None or not (self.dirty or len(self.live) != len(self.durable)):
            return bytes(self.durable)
        torn = bytearray(self.durable)
        _resize(torn, chance.choice((len(self.durable), len(self.live))))
        for page in sorted(self.dirty):
            if chance.random() < 0.5:
                start, end = page * PAGE, min((page + 1) * PAGE, len(torn))
                torn[start:end] = self.live[start:end].ljust(max(0, end - start), b"\0")
        return bytes(torn)


class Folder(Node):
    """Names as the programs see them, and names as the platter holds them."""

    def __init__(self, mode: int) -> None:
        super().__init__(stat.S_IFDIR | mode)
        self.live: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}

    def sync(self) -> None:
        """Make every name durable."""
        self.durable = dict(self.live)

    def left(self, chance: random.Random | None) -> dict[str, Node]:
        """The names that a power cut leaves; with `chance`, each unsynced one is the old or the new."""
        names = dict(self.durable)
        for name in sorted({*self.live, *self.durable}) if chance else ():
            if self.live.get(name) is not self.durable.get(name) and chance.random() < 0.5:
                names.pop(name, None)
                names.update({name: self.live[name]} if name in self.live else {})
        return {name: node for name, node in names.items() if not name.startswith(HIDDEN)}


class Fault:
    """The n-th changing call from now fails."""

    def __init__(self, *, calls: list[str], after: int, error: str, once: bool = True) -> None:
        self.calls = calls
        self.left = after
        self.error = error
        self.once = once
        self.struck = False

    def strikes(self, call: str) -> bool:
        """Count a call; say whether it is to fail."""
        if (self.calls and call not in self.calls) or (self.struck and self.once):
            return False
        self.left -= 1
        strikes = self.left < 0
        self.struck |= strikes
        return strikes


class Disk(mfusepy.Operations):  # type: ignore[misc]
    """The file system; its control is `setxattr` of `user.powercut` on the root, as JSON."""

    use_ns = True

    def __init__(self) -> None:
        self.root = Folder(0o755)
        self.open_nodes: dict[int, Node] = {}
        self.handles = iter(range(1, sys.maxsize))
        self.dead = False
        self.fault: Fault | None = None

    # finding things

    def node(self, path: str) -> Node:
        """The node that a path leads to."""
        node: Node = self.root
        for name in path.strip("/").split("/") if path != "/" else ():
            if not isinstance(node, Folder):
                raise mfusepy.FuseOSError(errno.ENOTDIR)
            if name not in node.live:
                raise mfusepy.FuseOSError(errno.ENOENT)
            node = node.live[name]
        return node

    def place(self, path: str) -> tuple[Folder, str]:
        """The folder of a path, and the name in it."""
        parent, _, name = path.rpartition("/")
        return cast(Folder, self.node(parent or "/")), name

    def handle(self, node: Node) -> int:
        """A new handle on the node."""
        number = next(self.handles)
        self.open_nodes[number] = node
        return number

    def changing(self, call: str) -> None:
        """Refuse a change when the power is off, or when this is the call that was to fail."""
        if self.dead:
            raise mfusepy.FuseOSError(errno.EIO)
        if self.fault and self.fault.error != "short" and self.fault.strikes(call):
            raise mfusepy.FuseOSError(getattr(errno, self.fault.error))

    # names

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        node = self.open_nodes[fh] if fh in self.open_nodes else self.node(path)
        size = len(node.live) if isinstance(node, File) else PAGE
        return {
            "st_mode": node.mode, "st_ino": node.number, "st_nlink": node.links, "st_size": size,
            "st_blocks": -(-size // 512), "st_mtime": node.changed, "st_ctime": node.changed,
            "st_uid": os.getuid(), "st_gid": os.getgid(),
        }  # fmt: skip

    def readdir(self, path: str, fh: int) -> Iterator[tuple[str, dict[str, int], int]]:
        del fh
        folder = cast(Folder, self.node(path))
        shown = {name: node for name, node in folder.live.items() if not name.startswith(HIDDEN)}
        for name, node in ({".": folder, "..": folder} | shown).items():
            yield name, {"st_ino": node.number, "st_mode": node.mode}, 0

    def _add(self, path: str, node: Node) -> None:
        folder, name = self.place(path)
        folder.live[name] = node

    def mkdir(self, path: str, mode: int) -> int:
        self.changing("mkdir")
        self._add(path, Folder(stat.S_IMODE(mode)))
        return 0

    def create(self, path: str, mode: int, flags: int) -> int:
        del flags
        self.changing("create")
        file = File(stat.S_IMODE(mode))
        self._add(path, file)
        return self.handle(file)

    def link(self, target: str, source: str) -> int:
        self.changing("link")
        node = self.node(source)
        node.links += 1
        self._add(target, node)
        return 0

    def rename(self, old: str, new: str) -> int:
        self.changing("rename")
        (folder, name), (other, becomes) = self.place(old), self.place(new)
        other.live[becomes] = folder.live.pop(name)
        return 0

    def unlink(self, path: str) -> int:
        self.changing("unlink")
        folder, name = self.place(path)
        folder.live.pop(name).links -= 1
        return 0

    def rmdir(self, path: str) -> int:
        self.changing("rmdir")
        if cast(Folder, self.node(path)).live:
            raise mfusepy.FuseOSError(errno.ENOTEMPTY)
        folder, name = self.place(path)
        del folder.live[name]
        return 0

    def chmod(self, path: str, mode: int) -> int:
        node = self.node(path)
        node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        del path, uid, gid
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        self.node(path).changed = times[1] if times else time.time_ns()
        return 0

    # bytes

    def open(self, path: str, flags: int) -> int:
        del flags
        return self.handle(self.node(path))

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        del path
        return bytes(cast(File, self.open_nodes[fh]).live[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        del path
        self.changing("write")
        if self.fault and self.fault.error == "short" and len(data) > 1 and self.fault.strikes("write"):
            data = data[: len(data) // 2]
        return cast(File, self.open_nodes[fh]).write(data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        self.changing("truncate")
        node = self.open_nodes[fh] if fh in self.open_nodes else self.node(path)
        cast(File, node).resize(length)
        return 0

    def fallocate(self, path: str, mode: int, offset: int, size: int, fh: int) -> int:
        del path
        self.changing("fallocate")
        if mode:
            raise mfusepy.FuseOSError(errno.EOPNOTSUPP)
        file = cast(File, self.open_nodes[fh])
        file.resize(max(len(file.live), offset + size))
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        del path, datasync
        file = cast(File, self.open_nodes[fh])
        try:
            self.changing("fsync")
        except OSError:
            file.lose()
            raise
        file.sync()
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        del datasync, fh
        self.changing("fsyncdir")
        cast(Folder, self.node(path)).sync()
        return 0

    def flush(self, path: str, fh: int) -> int:
        del path, fh
        return 0

    def release(self, path: str, fh: int) -> int:
        del path
        self.open_nodes.pop(fh, None)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        del path
        plenty = 1 << 22
        return {
            "f_bsize": PAGE, "f_frsize": PAGE, "f_blocks": plenty, "f_bfree": plenty, "f_bavail": plenty,
            "f_files": plenty, "f_ffree": plenty, "f_favail": plenty, "f_namemax": 255,
        }  # fmt: skip

    # the switch

    def setxattr(self, path: str, name: str, value: bytes, options: int, position: int = 0) -> int:
        del path, options, position
        if name != "user.powercut":
            raise mfusepy.FuseOSError(errno.ENOTSUP)
        order = json.loads(value)
        getattr(self, f"order_{order.pop('order')}")(**order)
        return 0

    def order_cut(self, *, mode: str, seed: int, image: str, only_look: bool) -> None:
        """Switch the power off and write what is left; or write it and go on."""
        self.dead |= not only_look
        chance = random.Random(seed) if mode == "torn" else None
        _write_folder(self.root, Path(image), chance)

    def order_sync(self) -> None:
        """Make everything durable, as sync(1) does."""
        nodes: list[Node] = [self.root]
        while nodes:
            node = nodes.pop()
            cast(File | Folder, node).sync()
            nodes += node.live.values() if isinstance(node, Folder) else ()

    def order_arm(self, **fault: Any) -> None:
        """Make a call to come fail."""
        self.fault = Fault(**fault)

    def order_disarm(self) -> None:
        """Let every call work again; ENODATA says that none had failed."""
        fault, self.fault = self.fault, None
        if fault is None or not fault.struck:
            raise mfusepy.FuseOSError(errno.ENODATA)


def _resize(content: bytearray, length: int) -> None:
    del content[length:]
    content.extend(bytes(length - len(content)))


def _write_folder(folder: Folder, path: Path, chance: random.Random | None) -> None:
    """Write the image of a folder and of all that is left in it."""
    path.mkdir(exist_ok=True)
    for name, node in folder.left(chance).items():
        if isinstance(node, Folder):
            _write_folder(node, path / name, chance)
        else:
            (path / name).write_bytes(cast(File, node).left(chance))
        (path / name).chmod(stat.S_IMODE(node.mode))


def _read_folder(path: Path) -> Folder:
    """A folder that holds, durably, what is at the path."""
    folder = Folder(stat.S_IMODE(path.stat().st_mode))
    for entry in path.iterdir():
        mode = stat.S_IMODE(entry.stat().st_mode)
        folder.live[entry.name] = _read_folder(entry) if entry.is_dir() else File(mode, entry.read_bytes())
    folder.sync()
    return folder


def main(mount: str, source: str | None = None) -> None:
    """Mount the disk and serve it until it is unmounted."""
    disk = Disk()
    if source:
        disk.root = _read_folder(Path(source))
    large_writes = {"big_writes": True} if mfusepy.fuse_version_major == 2 else {}
    mfusepy.FUSE(
        disk, mount, foreground=True, nothreads=True, use_ino=True, fsname="powercut", **large_writes
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
