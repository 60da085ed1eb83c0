"""The worker keeps identity providers up to date, and reads large metadata in a process of its own."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import pytest

from node.catalog.providers import Source
from node.domain.alert import DAY, SECOND
from node.domain.errors import BadSetting, BadSignature, MalformedMetadata, PeerUnreachable
from node.identity.providers.aggregate import Wanted
from node.identity.providers.discovery import AGGREGATE, SINGLE
from node.identity.saml.keys import make as make_login_key
from node.wiring import Site, open_site
from services.run import providers as running
from services.run.providers import Refresher, about_of, providers_of, read, read_apart, sources_of, sp_of
from services.run.watch import eye_of
from tests.support.metadata_lab import BRNO_IDP, NOW, aggregate, inner, key_of, one, signed
from tests.unit.test_cli import done

FEDERATION = key_of("federation")
FEED = "https://metadata.federation.test/idp"
WANTED = Wanted(kind=AGGREGATE, pins=(FEDERATION.certificate.pem,), now=NOW)


class World:
    """A clock and a federation."""

    def __init__(self) -> None:
        self.now = NOW
        self.fetched = 0
        self.document: bytes | None = None

    def clock(self) -> int:
        return self.now

    def fetch(self, url: str, into: BinaryIO, *, etag: str, most: int) -> str:
        self.fetched += 1
        if self.document is None:
            raise PeerUnreachable("metadata.federation.test", "it takes too long")
        into.write(self.document)
        return ""


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def site(tmp_path: Path, world: World) -> Iterator[Site]:
    done("init", tmp_path / "brno", "--site", "brno")
    with open_site(tmp_path / "brno", clock=world.clock) as site:
        yield site


def test_an_aggregate_is_read_in_a_process_of_its_own(site, world):
    world.document = signed(aggregate([inner()]), FEDERATION)
    sources = sources_of(site, world.fetch)
    sources.add(
        site.operator(), Source(name="fed", kind=AGGREGATE, url=FEED, pins=(FEDERATION.certificate.pem,))
    )
    assert providers_of(site).find(BRNO_IDP).name("cs") == "Nemocnice Brno"


@pytest.mark.parametrize(
    ("document", "error"), [(aggregate([inner()]).encode(), BadSignature), (b"nothing", MalformedMetadata)]
)
def test_what_that_process_refuses_is_refused_here(document, error):
    with pytest.raises(error):
        list(read_apart(io.BytesIO(document), WANTED))


def test_a_process_that_ends_early_is_no_answer(monkeypatch):
    monkeypatch.setattr(running, "_READER", "node.identity.providers.none")
    with pytest.raises(MalformedMetadata, match="could not be read"):
        list(read_apart(io.BytesIO(b"nothing"), WANTED))


def test_a_single_identity_provider_is_read_here(monkeypatch):
    monkeypatch.setattr(running, "_READER", "node.identity.providers.none")
    wanted = Wanted(kind=SINGLE, pins=(key_of("idp-brno").certificate.fingerprint,), now=NOW)
    assert len(list(read(io.BytesIO(one().encode()), wanted))) == 3


def test_a_source_that_fails_is_tried_again_later_and_later(site, world):
    world.document = one(until=None).encode()
    sources = sources_of(site, world.fetch)
    pin = key_of("idp-brno").certificate.fingerprint
    sources.add(site.operator(), Source(name="hospital", kind=SINGLE, url=FEED, pins=(pin,)))
    refresher, stop = Refresher(site, sources), threading.Event()
    refresher.round(stop)
    assert world.fetched == 1
    world.now += 3600 * SECOND
    world.document, tried = None, []
    for _ in range(600):
        before = world.fetched
        refresher.round(stop)
        if world.fetched > before:
            tried.append((world.now - NOW) // (60 * SECOND) - 60)
        world.now += 60 * SECOND
    assert tried[:7] == [0, 1, 3, 7, 15, 31, 63]
    assert {later - earlier for earlier, later in pairwise(tried[6:])} == {60}
    world.document = one(until=None).encode()
    world.now += DAY
    refresher.round(stop)
    assert sources.find("hospital").failed_at == 0


def test_the_watch_sees_how_long_certificates_last_and_what_fails(site, world):
    world.document = one(until=None).encode()
    sources = sources_of(site, world.fetch)
    pin = key_of("idp-brno").certificate.fingerprint
    sources.add(site.operator(), Source(name="hospital", kind=SINGLE, url=FEED, pins=(pin,)))
    world.document = None
    with pytest.raises(PeerUnreachable):
        sources.refresh("hospital")
    make_login_key(site.home.key_folder, name="brno", now=NOW - 5 * 365 * DAY + 40 * DAY)
    with site.catalog.reading() as unit:
        seen = eye_of(site).look(unit).seen
    (feed,) = seen.feeds
    assert (feed.failed_at, feed.certificate_days) == (NOW, {"Brno Hospital": 365})
    assert seen.login_days == 40


def test_a_refresher_ends_when_it_is_told_to(site, world):
    stop = threading.Event()
    thread = threading.Thread(target=Refresher(site, sources_of(site, world.fetch)).run, args=(stop,))
    thread.start()
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_site_is_known_to_identity_providers_by_the_address_of_its_portal(tmp_path):
    done("init", tmp_path / "brno", "--site", "brno")
    settings = (tmp_path / "brno" / "site.toml").read_text()
    (tmp_path / "brno" / "site.toml").write_text(
        settings + '\n[web]\nurl = "https://images.hospital-brno.test"\n'
        '[login]\norganization = "Nemocnice Brno"\nsupport = "Ask help@hospital-brno.test"\n'
        if "[web]" not in settings
        else settings.replace("[web]", '[web]\nurl = "https://images.hospital-brno.test"', 1)
    )
    with open_site(tmp_path / "brno") as site:
        sp = sp_of(site)
        assert sp.entity_id == "https://images.hospital-brno.test/saml/metadata"
        assert sp.acs == "https://images.hospital-brno.test/saml/acs"
        assert sp.keys.current().certificate.name == "images.hospital-brno.test"
        assert about_of(site).organization


def test_a_site_without_a_portal_is_known_to_nobody(tmp_path):
    done("init", tmp_path / "brno", "--site", "brno", "--web-port", 0)
    with open_site(tmp_path / "brno") as site, pytest.raises(BadSetting, match=r"web\.port"):
        sp_of(site)
