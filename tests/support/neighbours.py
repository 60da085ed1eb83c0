"""Sites in folders, whose doors for other nodes are open on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.settings.kinds import Raw
from node.wiring import Site, open_site
from services.cli.site import make
from services.https.server import Server
from services.run.nodes import application, contexts
from tests.support.peers import free_port


def made(folder: Path, name: str) -> Path:
    """A site whose door for other nodes is on this machine."""
    port = free_port()
    chosen: dict[str, Raw] = {
        "site.name": name,
        "dicom.ae_title": name.upper(),
        "node.port": port,
        "node.url": f"https://127.0.0.1:{port}",
    }
    make(folder / name, chosen)
    return folder / name


@contextmanager
def serving(directory: Path) -> Iterator[Site]:
    """The site with its door for other nodes open."""
    with open_site(directory) as site:
        server = Server(application(site), ("127.0.0.1", site.settings.node.port), contexts(site))
        server.start()
        try:
            yield site
        finally:
            server.stop()
