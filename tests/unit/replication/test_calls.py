"""Calls under way are bounded, for each site and in all; those nobody waits for are counted."""

from __future__ import annotations

import threading

import pytest

from node.domain.errors import TooBusy
from node.domain.ids import SiteId
from node.replication.calls import Calls

PRAGUE, WIEN = SiteId("prague"), SiteId("wien")


@pytest.fixture
def hung():
    """Work that hangs until the test is over."""
    released = threading.Event()
    yield released.wait
    released.set()


def test_a_site_has_so_many_calls_and_others_have_theirs(hung):
    calls = Calls(most=10, each=2)
    for _ in range(2):
        calls.start(PRAGUE, hung)
    with pytest.raises(TooBusy):
        calls.start(PRAGUE, hung)
    calls.start(WIEN, hung)


def test_all_sites_together_have_so_many(hung):
    calls = Calls(most=2, each=2)
    calls.start(PRAGUE, hung)
    calls.start(WIEN, hung)
    with pytest.raises(TooBusy):
        calls.start(SiteId("brno"), hung)


def test_a_call_that_ends_makes_room():
    calls, over = Calls(each=1), threading.Event()
    for _ in range(5):
        over.clear()
        call = calls.start(PRAGUE, over.set)
        assert over.wait(10)
        while not call.is_over:
            over.wait(0.001)


def test_calls_that_nobody_waits_for_are_counted_until_they_end():
    calls, released = Calls(), threading.Event()
    call = calls.start(PRAGUE, released.wait)
    assert calls.left_behind == {}
    call.leave()
    call.leave()
    assert calls.left_behind == {PRAGUE: 1}
    released.set()
    while not call.is_over:
        released.wait(0.001)
    call.leave()
    assert calls.left_behind == {}


def test_a_machine_without_threads_to_spare_is_busy(monkeypatch):
    def none(self) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    calls = Calls(each=1)
    for _ in range(3):
        with pytest.raises(TooBusy, match="no thread"):
            calls.start(PRAGUE, lambda: None)
