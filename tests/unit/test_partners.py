"""The thread of the worker that keeps backups at foreign archives in step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from node.domain.ids import AETitle
from node.domain.partner import Partner, Role
from node.domain.principal import Device
from node.partners.book import PartnerBook
from node.wiring import Site, open_site
from services.run import partners
from services.run.partners import Partners, exclusively
from tests.support import synthetic
from tests.support.foreign import Away, FakeForeign
from tests.support.neighbours import made
from tests.support.serving import eventually

PACS = AETitle("PACS")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made(tmp_path, "brno")
    with open_site(tmp_path / "brno") as opened:
        opened.devices.add(opened.operator(), Device(ae_title=PACS, host="192.0.2.9", port=104))
        yield opened


@pytest.fixture
def foreign(monkeypatch) -> FakeForeign:
    fake = FakeForeign()
    monkeypatch.setattr(partners, "foreign_of", lambda site, partner: fake)
    monkeypatch.setattr(partners, "SOON", 0.05)
    monkeypatch.setattr(partners, "LOOK", 0.05)
    monkeypatch.setattr(partners, "LONGEST_PAUSE", 0.05)
    return fake


@contextmanager
def at_work(site: Site) -> Iterator[Partners]:
    """The thread, which has to stop when it is told."""
    stop, keeper = threading.Event(), Partners(site)
    thread = threading.Thread(target=keeper.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield keeper
    finally:
        stop.set()
        thread.join(20.0)
        assert not thread.is_alive()


def admit(site: Site, number: int) -> None:
    offer, data = synthetic.instance(number=number)
    site.archive.admit(site.operator(), offer, [data])


def add(site: Site, **options: object) -> None:
    new = Partner(ae_title=PACS, roles=frozenset({Role.BACKUP}), **options)  # type: ignore[arg-type]
    PartnerBook(site.catalog).add(site.operator(), new, replace_=True)


def told(site: Site) -> Partner:
    return PartnerBook(site.catalog).find(PACS)


def holds(foreign: FakeForeign, many: int) -> Callable[[], bool]:
    return lambda: len(foreign.kept) == many


def test_what_is_here_and_what_arrives_goes_to_a_partner_as_soon_as_it_is_one(site, foreign):
    admit(site, 1)
    with at_work(site):
        add(site)
        eventually(holds(foreign, 1), "what was here is there")
        admit(site, 2)
        eventually(holds(foreign, 2), "what has arrived is there")
        eventually(lambda: told(site).looked_at > 0, "everything was compared")


def test_trouble_is_written_down_and_forgotten_when_it_is_over(site, foreign):
    admit(site, 1)
    foreign.trouble = Away(*range(1, 10_000))
    with at_work(site):
        add(site)
        eventually(lambda: "the line was cut" in told(site).error, "the trouble is told")
        foreign.trouble = lambda call: None
        eventually(lambda: not told(site).error, "the trouble is over")
        eventually(holds(foreign, 1), "it was sent in the end")


def test_an_error_that_nobody_expected_does_not_end_it(site, foreign):
    admit(site, 1)
    failed: list[str] = []

    def fail(call: str) -> None:
        if not failed:
            failed.append(call)
            raise RuntimeError("nobody expected this")

    foreign.trouble = fail
    with at_work(site):
        add(site)
        eventually(holds(foreign, 1), "it was sent in the end")


def test_a_partner_is_left_alone_outside_of_its_hours(site, foreign):
    admit(site, 1)
    now = datetime.now().astimezone()
    begin, end = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (2, 4))
    with at_work(site):
        add(site, hours=f"{begin}-{end}")
        threading.Event().wait(0.5)
        assert foreign.calls == []
        add(site)
        eventually(holds(foreign, 1), "it goes at any time now")


def test_a_partner_that_somebody_works_with_already_is_left_to_them(site, foreign):
    admit(site, 1)
    with at_work(site):
        with exclusively(site.directory, PACS, wait=True):
            add(site)
            threading.Event().wait(0.5)
            assert foreign.calls == []
        eventually(holds(foreign, 1), "it goes when they have finished")


def test_a_thread_ends_with_its_partner(site, foreign):
    with at_work(site) as keeper:
        add(site)
        eventually(lambda: PACS in keeper._threads, "there is a thread")
        PartnerBook(site.catalog).remove(site.operator(), PACS)
        eventually(lambda: PACS not in keeper._threads, "there is none")
