"""One node per site folder."""

from __future__ import annotations

import subprocess
import sys

import pytest

from node.domain.errors import AlreadyRunning, NotASite
from node.settings import FILE
from services.run.lock import hold, running


@pytest.fixture
def site(tmp_path):
    (tmp_path / FILE).touch()
    return tmp_path


def test_nobody_holds_a_new_site(site):
    assert running(site) is None


def test_who_holds_a_site_is_known_until_it_lets_go(site):
    import os

    with hold(site):
        assert running(site) == os.getpid()
    assert running(site) is None


def test_a_second_node_is_refused_and_told_who_has_the_first(site):
    import os

    with hold(site), pytest.raises(AlreadyRunning, match=str(os.getpid())), hold(site):
        pass


def test_what_a_dead_node_started_still_holds_the_site(site):
    with hold(site) as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=(lock,)
        )
    assert running(site) is not None
    with pytest.raises(AlreadyRunning), hold(site, patience=0):
        pass
    child.communicate()
    with hold(site, patience=0):
        pass


def test_a_new_node_waits_for_what_a_dead_one_started(site):
    with hold(site) as lock:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)"], pass_fds=(lock,))
    with hold(site, patience=60):
        pass


def test_a_folder_that_is_no_site_cannot_be_held(tmp_path):
    with pytest.raises(NotASite), hold(tmp_path):
        pass
    with pytest.raises(NotASite):
        running(tmp_path)
