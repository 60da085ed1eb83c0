"""The published documents: `python -m services.soap.wsdl --write` writes them from the declarations.

A test holds `wsdl/` equal to what the declarations say; this is how it is made equal again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lxml import etree

import wsdl
from services.soap.framework.contract import contract_of
from services.soap.framework.document import write
from services.soap.framework.document import wsdl as describe
from services.soap.framework.service import Service
from services.soap.services import SERVICES

FOLDER = Path(wsdl.__file__).parent
HOST = "https://node.example"
"""Stands in published documents for a node; a served document names the node that serves it."""


def name_of(service: type[Service]) -> str:
    """The name of the file of a service."""
    return f"{service.path}-{service.version}.wsdl"


def published(service: type[Service]) -> bytes:
    """The document of a service as it is published."""
    return write(describe(contract_of(service), f"{HOST}/soap/{service.path}/{service.version}"))


def canonical(document: bytes) -> bytes:
    """A document in its canonical form (C14N 2.0), for comparing."""
    text: str = etree.canonicalize(document.decode(), strip_text=True)
    return text.encode()


def drift(services: Sequence[type[Service]] = SERVICES, folder: Path = FOLDER) -> list[str]:
    """The files that are not what the declarations say: missing, different, or of no service."""
    expected = {name_of(service): published(service) for service in services}
    found = {path.name: path.read_bytes() for path in folder.glob("*.wsdl")}
    same = {
        name for name in expected.keys() & found.keys() if canonical(expected[name]) == canonical(found[name])
    }
    return sorted((expected.keys() | found.keys()) - same)


def regenerate(services: Sequence[type[Service]] = SERVICES, folder: Path = FOLDER) -> list[str]:
    """Make the files what the declarations say; returns those that were not."""
    names = drift(services, folder)
    expected = {name_of(service): service for service in services}
    for name in names:
        if name in expected:
            (folder / name).write_bytes(published(expected[name]))
        else:
            (folder / name).unlink()
    return names


def main(arguments: Sequence[str]) -> int:
    """Write the documents, or say which would be written."""
    names = regenerate() if "--write" in arguments else drift()
    sys.stdout.writelines(f"{name}\n" for name in names)
    return 0 if "--write" in arguments or not names else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
