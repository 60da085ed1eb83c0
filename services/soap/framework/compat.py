"""spyne 2.14 on Pythons that came after it; import this before spyne.

spyne carries a copy of `six` whose importer knows only `find_module` (gone in 3.12), and asks for the
module `cgi` (gone in 3.13). A finder answers for the first out of the copy's own table; a module with
the one function that is asked for stands in for the second.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import warnings
from collections.abc import Sequence
from email.message import Message
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

SIX = "spyne.util.six"
MOVES = f"{SIX}.moves"
PACKAGES = frozenset({MOVES, f"{MOVES}.urllib"})


class Moves(MetaPathFinder, Loader):
    """Finds the modules that spyne's copy of `six` has under new names."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for `spyne.util.six.moves` and what is below it, and for nothing else."""
        if name == MOVES or name.startswith(f"{MOVES}."):
            return ModuleSpec(name, self, is_package=name in PACKAGES)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Take the module out of the table of the copy."""
        known = sys.modules[SIX]._importer.known_modules
        if spec.name not in known:
            raise ModuleNotFoundError(f"No module named {spec.name!r}", name=spec.name)
        entry = known[spec.name]
        module: ModuleType = entry._resolve() if hasattr(entry, "_resolve") else entry
        self._specs[spec.name] = getattr(module, "__spec__", None)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as it was: it has its own name and origin in the standard library."""
        spec = module.__spec__
        if spec is not None and self._specs.get(spec.name) is not None:
            module.__spec__ = self._specs[spec.name]


def parse_header(line: str) -> tuple[str, dict[str, str]]:
    """A header line as its value and parameters, as `cgi.parse_header` gave them."""
    message = Message()
    message["content-type"] = line
    pairs = message.get_params() or [("", "")]
    return pairs[0][0], {name.lower(): value for name, value in pairs[1:]}


def install() -> None:
    """Make spyne importable; once is enough, twice does no harm."""
    if not any(isinstance(finder, Moves) for finder in sys.meta_path):
        sys.meta_path.insert(0, Moves())
    if "cgi" not in sys.modules and importlib.util.find_spec("cgi") is None:
        cgi = ModuleType("cgi", "Stands in for the module that left the standard library.")
        cgi.__spec__ = ModuleSpec("cgi", None)
        cgi.parse_header = parse_header  # type: ignore[attr-defined]
        sys.modules["cgi"] = cgi
    logging.getLogger("spyne").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("spyne")


install()
