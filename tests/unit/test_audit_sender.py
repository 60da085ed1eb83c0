"""The audit record on its way to a repository outside, by syslog over TLS (RFC 5424, RFC 5425)."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from node.audit.message import schema
from node.audit.participants import Source
from node.audit.record import Deed, Event, Record, written
from node.audit.syslog import LARGEST_SEQUENCE, frame, line
from node.domain.errors import PeerUnreachable
from node.settings import AuditSettings
from node.watch.look import Eye, Place
from node.wiring import Site, open_site
from services.run import audit_sender
from services.run.audit_sender import AuditSender, TlsRepository, repository_of
from tests.support.certificates import Identity, identity
from tests.support.neighbours import made
from tests.support.serving import eventually
from tests.support.syslog import Line, Receiver, lines_of, rsyslog

REFUSED = Deed(event=Event.REFUSED, who="device:CT1@brno", what="store", refused=True)
SEARCHED = Deed(event=Event.QUERY, who="device:CT1@brno", what="STUDY 00100010=NOVÁK*\n<&>")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made(tmp_path, "brno")
    with open_site(tmp_path / "brno") as opened:
        yield opened


@pytest.fixture
def authority(tmp_path: Path) -> Identity:
    return identity(tmp_path, "authority", ca=True)


@pytest.fixture
def shown(tmp_path: Path, authority: Identity) -> Identity:
    """What the repository shows."""
    return identity(tmp_path, "repository", authority)


def happen(site: Site, *deeds: Deed) -> None:
    site.catalog.perform(lambda unit: [unit.audit.append(deed) for deed in deeds])


def end(site: Site) -> int:
    with site.catalog.reading() as unit:
        return unit.audit.head().seq


def sent(site: Site, name: str):
    with site.catalog.reading() as unit:
        return unit.audit_sent.of(name)


def repository(site: Site, port: int, authority: Identity) -> TlsRepository:
    settings = AuditSettings(syslog_host="localhost", syslog_port=port, syslog_ca=authority.certificate)
    made = repository_of(settings, site.home)
    assert made is not None
    return replace(made, patience=5.0)


def received(receiver: Receiver) -> list[Line]:
    return lines_of("\n".join(text.decode() for text in receiver.lines))


class Memory:
    """A repository that keeps what it gets, or breaks off in the midst."""

    name = "memory"

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.is_up = True

    def deliver(self, frames: Iterable[bytes]) -> None:
        for one in frames:
            self.frames.append(one)
            if not self.is_up:
                raise PeerUnreachable(self.name, "gone")


def test_a_line_carries_what_rfc_5424_asks_for():
    record = Record(
        seq=LARGEST_SEQUENCE + 2, at=1_700_000_000_000_001, deed=written(REFUSED), previous="", hash=""
    )
    text = line(record, Source(site="brno", ae_title="BRNO"), host="kůň brno\n", version="1.0")
    head = b'<83>1 2023-11-14T22:13:20.000001Z kbrno konzilium - DICOM+RFC3881 [meta sequenceId="2"]'
    assert text.startswith(head + b'[origin software="konzilium" swVersion="1.0"] \xef\xbb\xbf<AuditMessage>')
    assert frame(text) == str(len(text)).encode() + b" " + text


def test_a_site_without_a_repository_sends_nothing(site):
    assert repository_of(site.settings.audit, site.home) is None
    sender = AuditSender(site)
    sender.run(threading.Event())
    assert sender.round() == 0


def test_records_arrive_in_order_and_once_while_all_goes_well(site, authority, shown):
    happen(site, REFUSED, SEARCHED)
    with Receiver(shown) as receiver:
        sender = AuditSender(site, repository(site, receiver.port, authority))
        first = sender.round()
        happen(site, SEARCHED)
        assert (first, sender.round(), sender.round()) == (end(site) - 1, 1, 0)
    lines = received(receiver)
    assert [one.seq for one in lines] == list(range(1, end(site) + 1))
    assert receiver.connections == 2, "none is made for nothing"
    for one in lines:
        schema().assertValid(etree.fromstring(one.message))
    assert sent(site, f"localhost:{receiver.port}").seq == end(site)


def test_what_was_on_its_way_when_the_repository_went_is_sent_again(site, authority, shown):
    happen(site, *[SEARCHED] * 5)
    many = end(site)
    with Receiver(shown, breaks_after=2) as receiver:
        to = repository(site, receiver.port, authority)
        with pytest.raises(PeerUnreachable):
            AuditSender(site, to).round()
        state = sent(site, to.name)
        assert (state.seq, state.error != "", state.failed_at > 0) == (0, True, True)
        receiver.breaks_after = None
        AuditSender(site, to).round()
    assert [one.seq for one in received(receiver)] == [1, 2, *range(1, many + 1)]
    state = sent(site, to.name)
    assert (state.seq, state.error, state.failed_at) == (many, "", 0)


def test_a_repository_that_ends_politely_what_it_has_not_read_has_got_nothing(site, authority, shown):
    happen(site, *[SEARCHED] * 5)
    with Receiver(shown, turns_away=True) as receiver:
        to = repository(site, receiver.port, authority)
        for _ in range(10):
            with pytest.raises(PeerUnreachable):
                AuditSender(site, to).round()
    assert (sent(site, to.name).seq, receiver.connections) == (0, 10)


def test_a_repository_whose_certificate_is_of_another_authority_gets_nothing(
    site, authority, shown, tmp_path
):
    happen(site, SEARCHED)
    other = identity(tmp_path, "other", ca=True)
    with Receiver(shown) as receiver:
        with pytest.raises(PeerUnreachable, match="its certificate"):
            AuditSender(site, repository(site, receiver.port, other)).round()
        by_address = replace(repository(site, receiver.port, authority), host="127.0.0.1")
        with pytest.raises(PeerUnreachable, match="its certificate"):
            AuditSender(site, by_address).round()
    assert receiver.lines == []


def test_nobody_there_is_remembered_since_when_and_over_when_it_is_back(site):
    memory = Memory()
    sender = AuditSender(site, memory)
    happen(site, SEARCHED)
    memory.is_up = False
    for _ in range(2):
        with pytest.raises(PeerUnreachable):
            sender.round()
    since = sent(site, "memory").failed_at
    watched = replace(site.settings, audit=AuditSettings(syslog_host="memory", syslog_port=1))
    eye = Eye(Place(settings=watched, home=site.home))
    site.catalog.perform(lambda unit: unit.audit_sent.failed("memory:1", "gone"))
    with site.catalog.reading() as unit:
        seen = eye.look(unit).seen
    assert (seen.repository, seen.repository_failed_at > 0, seen.repository_error) == (
        "memory:1",
        True,
        "gone",
    )
    with pytest.raises(PeerUnreachable):
        sender.round()
    assert sent(site, "memory").failed_at == since > 0
    memory.is_up = True
    sender.round()
    assert sent(site, "memory").failed_at == 0


def test_the_thread_outlives_whatever_a_repository_does(site, monkeypatch):
    memory = Memory()
    failures = [RuntimeError("nobody expected that"), PeerUnreachable("memory", "gone")]
    deliver = memory.deliver

    def shaky(frames: Iterable[bytes]) -> None:
        if failures:
            raise failures.pop()
        deliver(frames)

    memory.deliver = shaky
    monkeypatch.setattr(audit_sender, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(audit_sender, "MANY", 2)
    happen(site, *[SEARCHED] * 5)
    stop = threading.Event()
    thread = threading.Thread(target=AuditSender(site, memory, pause=0.01).run, args=(stop,), daemon=True)
    thread.start()
    eventually(lambda: len(memory.frames) == end(site), "everything is sent")
    stop.set()
    thread.join(20.0)
    assert not thread.is_alive()


@pytest.mark.peer
def test_rsyslog_gets_the_record_and_knows_the_node_by_its_certificate(site, authority, shown, tmp_path):
    happen(site, REFUSED, SEARCHED, replace(SEARCHED, what="x" * 20_000))
    folder = tmp_path / "rsyslog"
    folder.mkdir()
    with rsyslog(folder, shown, [authority.pem, site.home.key().pem]) as (port, kept):
        to = repository(site, port, authority)
        assert AuditSender(site, to).round() == end(site)
        happen(site, SEARCHED)
        assert AuditSender(site, to).round() == 1
        eventually(lambda: kept.exists() and kept.read_bytes().count(b"\n") == end(site), "all is written")
    lines = lines_of(kept.read_text("utf-8"))
    assert [one.seq for one in lines] == list(range(1, end(site) + 1))
    assert 83 in {one.priority for one in lines}, "a refusal is an error of the security facility"
    for one in lines:
        schema().assertValid(etree.fromstring(one.message))


@pytest.mark.peer
def test_rsyslog_that_does_not_know_the_node_gets_nothing(site, authority, shown, tmp_path):
    happen(site, SEARCHED)
    folder = tmp_path / "rsyslog"
    folder.mkdir()
    with rsyslog(folder, shown, [authority.pem]) as (port, kept):
        to = repository(site, port, authority)
        with pytest.raises(PeerUnreachable):
            AuditSender(site, to).round()
    assert sent(site, to.name).seq == 0
    assert not kept.exists()
