"""`python -m services.cli.demo.idp FOLDER`: serve the identity providers of a folder until SIGTERM."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from services.cli.demo.idp.houses import found
from services.cli.demo.idp.running import held
from services.cli.demo.idp.server import serve


def main() -> int:
    """Serve; says `open` on standard output once it does."""
    folder, stop = Path(sys.argv[1]), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with held(folder):
        serve(found(folder), lambda: print("open", flush=True), stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
