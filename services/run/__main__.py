"""One process of a node: `python -m services.run NAME DIR`, as the supervisor starts it."""

from __future__ import annotations

import sys
from importlib import import_module

from services.run.child import main

if __name__ == "__main__":
    name, directory = sys.argv[1:]
    sys.exit(main(name, import_module(f"services.run.{name}").work, directory))
