"""The watch of a running node outlives what nobody expected, tells by every sink, ends with the process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from node.domain.alert import Notice, Severity, Step
from node.domain.errors import NoticeUntold
from node.domain.job import Task
from node.wiring import Site, open_site
from services.run.watch import Watcher
from tests.support.sites import Clock, fast_folder


class Ear:
    """A sink that hands on what it hears."""

    least = Severity.WARNING

    def __init__(self, name: str, fails: list[Exception] | None = None) -> None:
        self.name = name
        self.fails = fails or []
        self.heard: SimpleQueue[Notice] = SimpleQueue()

    def tell(self, notice: Notice) -> None:
        if self.fails:
            raise self.fails.pop(0)
        if notice.key == "jobs-late":
            self.heard.put(notice)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(clock) -> Iterator[Site]:
    """A site where something has been owed for two days."""
    with fast_folder() as folder:
        (Path(folder) / "keys").mkdir()
        for name in ("site.crt", "site.key"):
            (Path(folder) / "keys" / name).write_text("none")
            (Path(folder) / "keys" / name).chmod(0o600)
        (Path(folder) / "site.toml").write_text('[site]\nname = "brno"\n')
        with open_site(Path(folder), clock=clock) as opened:
            opened.catalog.perform(lambda unit: unit.jobs.add(Task.COMPARE, "a"))
            clock.forward(2 * 86400)
            yield opened


@pytest.fixture
def watched(site):
    """Runs the watch with these sinks until the test is over."""
    stop, threads = threading.Event(), []

    def run(*sinks: Ear) -> None:
        watcher = Watcher(site, sinks, look=0.02, tell=0.02)
        threads.append(threading.Thread(target=watcher.run, args=(stop,)))
        threads[-1].start()

    yield run
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_every_sink_hears_of_the_beginning_and_of_the_end(site, clock, watched):
    one, other = Ear("one"), Ear("other")
    watched(one, other)
    assert one.heard.get(timeout=30).step is other.heard.get(timeout=30).step is Step.RAISED
    site.catalog.perform(lambda unit: unit.jobs.done(Task.COMPARE, "a"))
    while one.heard.empty():
        clock.forward(100)
        threading.Event().wait(0.02)
    assert one.heard.get(timeout=30).step is other.heard.get(timeout=30).step is Step.OVER
    assert one.heard.empty()


def test_a_sink_that_fails_is_tried_again_and_holds_up_no_other(clock, watched):
    bad = Ear("bad", [NoticeUntold("bad", "away"), RuntimeError("what nobody expected")])
    good = Ear("good")
    watched(bad, good)
    assert good.heard.get(timeout=30).step is Step.RAISED
    while bad.heard.empty():
        clock.forward(100)
        threading.Event().wait(0.02)
    assert bad.heard.get(timeout=30).step is Step.RAISED


def test_the_watch_goes_on_after_an_error_that_nobody_expected(site, watched, monkeypatch):
    looked = threading.Semaphore(0)
    real = type(site.blobs).writer

    def odd(store):
        looked.release()
        monkeypatch.setattr(type(site.blobs), "writer", real)
        raise RuntimeError("what nobody expected")

    monkeypatch.setattr(type(site.blobs), "writer", odd)
    ear = Ear("ear")
    watched(ear)
    assert looked.acquire(timeout=30)
    assert ear.heard.get(timeout=30).step is Step.RAISED
