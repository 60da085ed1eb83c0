"""`python -m tests.support.peers` brings what is missing, or names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import peers

APT_GET = """#!/bin/sh
echo "$@" >> {folder}/asked
test -e {policy} && echo held back >> {folder}/asked
test "$2" = download && echo > $3.deb
test "$2" = install || exit 0
cd {folder}
for tool in {tools}; do echo > $tool; ./chmod +x $tool; done
for file in {files}; do ./mkdir -p ${{file%/*}}; echo > $file; done
"""
DPKG_DEB = """#!/bin/sh
echo "dpkg-deb $1 $3" >> {folder}/asked
{folder}/mkdir -p $3/usr/share/simplesamlphp/www
"""

ALL = sorted({*peers.PACKAGES.values(), *peers.FILES.values()})


@pytest.fixture
def bare(tmp_path, monkeypatch) -> Path:
    """A folder of programs in which there is none of the peers; an administrator looks no further."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(peers, "ADMINISTRATION", str(tmp_path))
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    monkeypatch.setattr(peers, "BESIDE", tmp_path / "beside")
    monkeypatch.setattr(peers, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(peers, "SYSTEMD", tmp_path / "no-systemd")
    monkeypatch.delenv("CI", raising=False)
    return tmp_path


@pytest.fixture
def apt_get(bare) -> Path:
    """An apt-get that notes what it is asked and brings every program; returns where it notes."""
    for tool in ("chmod", "mkdir"):
        (bare / tool).symlink_to(f"/bin/{tool}")
    script = bare / "apt-get"
    files = [pattern.replace("*", "any") for pattern in peers.FILES]
    words = {"tools": " ".join(peers.PACKAGES), "files": " ".join(files)}
    script.write_text(APT_GET.format(folder=bare, policy=bare / "policy-rc.d", **words))
    unpacker = bare / "dpkg-deb"
    unpacker.write_text(DPKG_DEB.format(folder=bare))
    for program in (script, unpacker):
        program.chmod(0o755)
    return bare / "asked"


def test_without_rights_it_names_the_packages_and_goes_on(bare, capsys):
    assert peers.main() == 0
    said = capsys.readouterr().out
    assert f"Missing peers: {', '.join([*ALL, 'simplesamlphp'])}. Tests that need them are skipped." in said


def test_in_ci_a_missing_peer_is_a_failure(bare, monkeypatch, capsys):
    monkeypatch.setenv("CI", "true")
    assert peers.main() == 1
    assert "Tests that need them fail." in capsys.readouterr().out


def test_an_administrator_gets_what_is_missing_with_its_services_held_back(apt_get, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert peers.main() == 0
    assert apt_get.read_text().splitlines() == [
        "-q update",
        "held back",
        f"-q install -y --no-install-recommends {' '.join(ALL)}",
        "held back",
        "-q download simplesamlphp",
        f"dpkg-deb -x {peers.BESIDE}/simplesamlphp",
    ]
    assert not peers.POLICY.exists()


def test_a_file_that_is_missing_names_its_package(apt_get, bare, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    peers.main()
    assert peers.lacking() == []
    (bare / "usr" / "include" / "stdsoap2.h").unlink()
    assert peers.lacking() == ["libgsoap-dev"]
    with pytest.raises(pytest.skip.Exception, match="libgsoap-dev"):
        peers.requires_file("usr/include/stdsoap2.h")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="libgsoap-dev"):
        peers.requires_file("usr/include/stdsoap2.h")


def test_what_is_only_unpacked_is_asked_for_once(apt_get, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(pytest.skip.Exception, match="simplesamlphp"):
        peers.unpacked("simplesamlphp")
    peers.main()
    apt_get.unlink()
    peers.main()
    assert not apt_get.exists()
    assert peers.unpacked("simplesamlphp") == peers.BESIDE / "simplesamlphp"


def test_nobody_else_is_asked_to_install(apt_get, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert peers.main() == 0
    assert [line.split()[1] for line in apt_get.read_text().splitlines()] == ["download", "-x"]


def test_a_policy_that_is_there_already_stays(apt_get, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    peers.POLICY.write_text("of the administrator")
    peers.main()
    assert peers.POLICY.read_text() == "of the administrator"


def test_it_needs_nothing_but_python(tmp_path):
    """It runs before anything is known to be installed, so it may not import pytest."""
    code = "import sys; sys.modules['pytest'] = None; import runpy; runpy.run_module('tests.support.peers')"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, timeout=60)
