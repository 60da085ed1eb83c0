"""Messages that others have published as test vectors: fetched when they are wanted, and not kept here."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

from tests.support.peers import BESIDE, missing

PACKAGE, FILE = "signxml==5.2.0", "signxml-5.2.0.tar.gz"
"""The source package on PyPI with the interoperability vectors of XML Signature (Merlin, Phaos, W3C), signed
messages of SAML and WS-Security, and attacks on parsers."""
_KINDS = (".xml", ".txt")
_LARGEST = 1 << 20
_PATIENCE = 240.0


def published() -> dict[str, bytes]:
    """The vectors by name, or the end of the test by naming what is missing."""
    found: dict[str, bytes] = {}
    with tarfile.open(_fetched(BESIDE / "vectors")) as package:
        for member in package:
            if member.isfile() and member.size <= _LARGEST and member.name.endswith(_KINDS):
                read = package.extractfile(member)
                assert read is not None
                found[member.name] = read.read()
    return found


def _fetched(folder: Path) -> Path:
    words = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), PACKAGE]
    if not (folder / FILE).exists():
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [sys.executable, "-m", "pip", *words], capture_output=True, check=False, timeout=_PATIENCE
            )
    if not (folder / FILE).exists():
        missing(f"{FILE} (pip {' '.join(words)})")
    return folder / FILE
