"""Peers and tools from outside: needed in CI, named when they are missing elsewhere.

`python -m tests.support.peers` brings them from Debian where it may, and names them where it may not.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

PACKAGES = {
    "strace": "strace",
    "fusermount3": "fuse3",
    "Orthanc": "orthanc",
    "storescu": "dcmtk",
    "node": "nodejs",
    "npm": "npm",
    "rsync": "rsync",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "php": "php-cli",
    "wsdl2h": "gsoap",
    "soapcpp2": "gsoap",
    "cc": "gcc",
    "rsyslogd": "rsyslog",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
}
"""Programs, and the Debian packages that bring them."""
FILES = {
    "usr/lib/php/*/soap.so": "php-soap",
    "usr/lib/*/rsyslog/lmnsd_ossl.so": "rsyslog-openssl",
    "usr/lib/php/*/dom.so": "php-xml",
    "usr/lib/php/*/mbstring.so": "php-mbstring",
    "usr/lib/php/*/pdo_sqlite.so": "php-sqlite3",
    "usr/include/stdsoap2.h": "libgsoap-dev",
    "usr/include/stdio.h": "libc6-dev",
}
"""Files that are no programs, and the Debian packages that bring them."""
UNPACKED = {"simplesamlphp": "usr/share/simplesamlphp/www"}
"""Debian packages that are unpacked, as installed they would bring a web server, and what is in them."""
BESIDE = Path(sys.prefix, "share", "peers")
"""Where they are unpacked: in the virtual environment."""
ROOT = Path("/")
POLICY = Path("/usr/sbin/policy-rc.d")
"""What Debian's installer asks before it starts a service: exit code 101 is no (invoke-rc.d(8))."""
SYSTEMD = Path("/run/systemd/system")
ADMINISTRATION = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where Debian keeps Orthanc; not everybody's PATH has it."""


def which(tool: str) -> str | None:
    """Return the path of a program, if there is one.

    Programs of the virtual environment do not count: pynetdicom brings its own `storescp` and `findscu`.
    """
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    others = [folder for folder in folders if Path(folder) != Path(sys.prefix, "bin")]
    return shutil.which(tool, path=os.pathsep.join([*others, ADMINISTRATION]))


def in_ci() -> bool:
    """Whether a missing peer is a failure."""
    return os.environ.get("CI", "").lower() == "true"


def missing(what: str) -> NoReturn:
    """End the test because `what` is not there: a failure in CI, otherwise a skip that names it."""
    import pytest

    if in_ci():
        pytest.fail(f"missing: {what}", pytrace=False)
    pytest.skip(f"missing: {what}")


def requires(tool: str) -> str:
    """Return the path of a program, or end the test by naming what would bring it."""
    found = which(tool)
    if found is None:
        missing(f"{tool} (Debian package {PACKAGES.get(tool, 'dcmtk')})")
    return found


def requires_file(pattern: str) -> None:
    """End the test unless one of `FILES` is there, by naming what would bring it."""
    if not any(ROOT.glob(pattern)):
        missing(f"/{pattern} (Debian package {FILES[pattern]})")


def unpacked(package: str) -> Path:
    """Return the folder into which a package was unpacked, or end the test by naming it."""
    if not (BESIDE / package / UNPACKED[package]).exists():
        missing(f"the files of the Debian package {package} (unpacked by python -m tests.support.peers)")
    return BESIDE / package


def requires_root(why: str) -> None:
    """End the test unless it runs as root."""
    if os.geteuid() != 0:
        missing(f"root, {why}")


def requires_fuse() -> None:
    """End the test unless a file system can be mounted from user space."""
    requires("fusermount3")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        missing("/dev/fuse, readable and writable")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on.

    It lies below the ports that the system gives to whoever connects, so that nobody gets it by chance
    before it is used; two test runs at once rarely choose the same.
    """
    while True:
        port = random.SystemRandom().randrange(12000, 32000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def environment() -> dict[str, str]:
    """Return the environment of peers: Nagle's algorithm off, as on a sane network."""
    return os.environ | {"TCP_NODELAY": "1"}


def run(
    tool: str, *arguments: object, cwd: Path | None = None, check: bool = True, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a peer's program to its end, with Nagle's algorithm off as on a sane network.

    Args:
        tool: its name; missing programs end the test as `requires` says.
        *arguments: put into words with `str`.
        cwd: where it runs.
        check: whether an exit code other than 0 is an error, shown with what the program said.
        timeout: seconds after which it is killed.
    """
    command = [requires(tool), *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        said = f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}"
        raise AssertionError(said.encode("utf-8", "replace").decode())
    return done


def main() -> int:
    """Install the peers that are missing, or name them; return the exit code."""
    if lacking() and os.geteuid() == 0 and shutil.which("apt-get"):
        install(lacking())
    for package in not_unpacked() if which("apt-get") and which("dpkg-deb") else ():
        unpack(package)
    left = [*lacking(), *not_unpacked()]
    if left:
        outcome = "fail" if in_ci() else "are skipped"
        print(f"Missing peers: {', '.join(left)}. Tests that need them {outcome}.")
    if lacking():
        print(f"On Debian: apt-get install --no-install-recommends {' '.join(lacking())}")
    return 1 if left and in_ci() else 0


def lacking() -> list[str]:
    """Debian packages of which something is missing."""
    programs = {package for tool, package in PACKAGES.items() if which(tool) is None}
    return sorted(programs | {package for pattern, package in FILES.items() if not any(ROOT.glob(pattern))})


def not_unpacked() -> list[str]:
    """Debian packages that were not unpacked yet."""
    return sorted(name for name, part in UNPACKED.items() if not (BESIDE / name / part).exists())


def unpack(package: str) -> None:
    """Fetch a Debian package and unpack it, so that nothing of it runs; a failure is told, not raised."""
    print(f"Unpacking {package} from Debian ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if not _apt("download", package, cwd=folder) and _apt("update"):
            _apt("download", package, cwd=folder)
        for file in Path(folder).glob("*.deb"):
            BESIDE.mkdir(parents=True, exist_ok=True)
            done = subprocess.run(
                ["dpkg-deb", "-x", file, BESIDE / package], capture_output=True, check=False
            )
            if done.returncode:
                print(f"dpkg-deb -x {file.name}: exit code {done.returncode}")


def install(packages: Sequence[str]) -> None:
    """Install Debian packages and let none of their services run; a failure is told, not raised."""
    print(f"Installing {', '.join(packages)} from Debian ...", flush=True)
    with services_held_back(packages):
        for words in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            _apt(*words)


def _apt(*words: str, cwd: str | None = None) -> bool:
    """Run apt-get; whether it went well. What it says is shown if it did not."""
    done = subprocess.run(
        ["apt-get", "-q", *words],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=cwd,
    )  # fmt: skip
    if done.returncode:
        print(f"apt-get {words[0]}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")
    return not done.returncode


@contextmanager
def services_held_back(packages: Sequence[str]) -> Iterator[None]:
    """Keep Debian's installer from starting services, now and at the next boot."""
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink()
    for service in {"orthanc", "rsyslog"}.intersection(packages) if SYSTEMD.exists() else ():
        subprocess.run(["systemctl", "disable", "--now", service], capture_output=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
