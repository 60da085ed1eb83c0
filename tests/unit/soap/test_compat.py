"""spyne imports on every Python that the node runs on, and leaves the standard library as it was."""

from __future__ import annotations

import subprocess
import sys

import pytest

from services.soap.framework import compat


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_spyne_imports_without_a_warning_of_the_import_system():
    assert run("import services.soap.framework.compat, spyne; print(spyne.__version__)") == "2.14.0"


def test_modules_of_the_standard_library_keep_their_origin():
    program = (
        "import http.client, urllib.parse, services.soap.framework.compat\n"
        "from spyne.util.six.moves.http_client import HTTPConnection\n"
        "from spyne.util.six.moves.urllib.parse import quote\n"
        "same = HTTPConnection is http.client.HTTPConnection\n"
        "print(http.client.__spec__.name, urllib.parse.__spec__.name, same)"
    )
    assert run(program) == "http.client urllib.parse True"


def test_installing_twice_does_no_harm():
    compat.install()
    assert sum(isinstance(finder, compat.Moves) for finder in sys.meta_path) == 1


def test_a_move_that_does_not_exist_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        __import__("spyne.util.six.moves.nowhere")


def test_a_header_is_taken_apart_as_before():
    assert compat.parse_header('text/xml; Charset="utf-8"') == ("text/xml", {"charset": "utf-8"})
