"""Disks that fail: one with a power switch, and one that is too small."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.support.peers import requires_fuse, requires_root

ROOT = Path(__file__).parents[2]


class PowerCutDisk:
    """A mounted `tests.support.powercut` file system, with its switch.

    Args:
        folder: where it is mounted; made when absent. After `cut` the image lies there as a plain folder.
        source: a folder whose content it begins with, all of it durable.
    """

    def __init__(self, folder: Path, *, source: Path | None = None) -> None:
        requires_fuse()
        self.folder = folder
        self.source = source
        self._server: subprocess.Popen[bytes] | None = None

    def mount(self) -> Self:
        """Mount it and return when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.support.powercut", str(self.folder)]
        self._server = subprocess.Popen(command + ([str(self.source)] if self.source else []), cwd=ROOT)
        until = time.monotonic() + 30
        while not os.path.ismount(self.folder):
            assert self._server.poll() is None, "the file system ended instead of serving"
            assert time.monotonic() < until, "the file system was not mounted"
            time.sleep(0.01)
        return self

    def sync(self) -> None:
        """Make everything durable."""
        self._order(order="sync")

    def arm(self, error: str, *, after: int = 0, calls: tuple[str, ...] = (), once: bool = True) -> None:
        """Let a changing call fail.

        Args:
            error: EIO, ENOSPC, or `short` for a write that takes half of its bytes.
            after: how many calls still work.
            calls: the calls that are counted and can fail; all that change something when empty.
            once: whether the calls after it work again.
        """
        self._order(order="arm", error=error, after=after, calls=calls, once=once)

    def disarm(self) -> bool:
        """Let every call work again; return whether one had failed."""
        try:
            self._order(order="disarm")
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            return False
        return True

    def cut(self, mode: str = "drop", seed: int = 0) -> None:
        """Switch the power off; from now on nothing can be changed on the mounted disk."""
        self._order(order="cut", mode=mode, seed=seed, image=str(self.image), only_look=False)

    def glance(self, image: Path, mode: str = "drop", seed: int = 0) -> Path:
        """Write what a power cut would leave now into a new folder, and go on."""
        self._order(order="cut", mode=mode, seed=seed, image=str(image), only_look=True)
        return image

    @property
    def image(self) -> Path:
        """Where `cut` writes what is left."""
        return self.folder.with_name(f"{self.folder.name}.image")

    def replace(self) -> None:
        """Unmount, and put the image of the cut in the place of the mounted disk."""
        self.unmount()
        self.folder.rmdir()
        self.image.rename(self.folder)

    def unmount(self) -> None:
        """Unmount it, whoever still uses it."""
        if self._server is None:
            return
        server, self._server = self._server, None
        subprocess.run(["umount", "-l", str(self.folder)], check=False, capture_output=True)
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def _order(self, **order: object) -> None:
        os.setxattr(self.folder, "user.powercut", json.dumps(order).encode())

    def __enter__(self) -> Self:
        return self.mount()

    def __exit__(self, *_: object) -> None:
        self.unmount()


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system in memory that holds no more than `size` bytes."""
    requires_root("to mount a small disk")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def enlarge(folder: Path, size: int) -> None:
    """Give a small disk more room."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Fill the disk of a folder until `leave` bytes are free; return the file that fills it."""
    ballast = folder / "ballast"
    free = shutil.disk_usage(folder).free
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - leave))
    return ballast
