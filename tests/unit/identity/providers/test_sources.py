"""Sources of identity providers: believed once their signature holds, and for as long as they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from node.audit.record import Event
from node.catalog.catalog import Catalog
from node.catalog.providers import FOREVER, Source
from node.catalog.sessions import SessionRow
from node.domain.alert import DAY, SECOND
from node.domain.errors import (
    Forbidden,
    MetadataRefused,
    PeerUnreachable,
    Rejected,
    UnknownProvider,
)
from node.domain.principal import Kind, Principal
from node.identity.providers import aggregate as reading
from node.identity.providers.discovery import AGGREGATE, MDQ, SINGLE, Providers
from node.identity.providers.mdq import QUIET, address
from node.identity.providers.refresh import Sources
from tests.support.metadata_lab import BRNO_IDP, NOW, PRAGUE_IDP, aggregate, inner, key_of, one, signed
from tests.support.sites import BRNO

FEDERATION = key_of("federation")
IDP = key_of("idp-brno").certificate
FEED = "https://metadata.federation.test/idp"
OPERATOR = Principal(kind=Kind.OPERATOR, name="root", site=BRNO)


class World:
    """A clock, and what is published where."""

    def __init__(self) -> None:
        self.now = NOW
        self.published: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.down = False

    def clock(self) -> int:
        return self.now

    def fetch(self, url: str, into: BinaryIO, *, etag: str, most: int) -> str | None:
        self.fetched.append(url)
        if self.down:
            raise PeerUnreachable("metadata.federation.test", "it takes too long")
        if url not in self.published:
            raise UnknownProvider(url)
        new = f'"{hash(self.published[url])}"'
        if etag == new:
            return None
        into.write(self.published[url])
        return new

    def publish(self, *entities: str, until: int | None = None, published: int | None = None) -> None:
        """Publish an aggregate, signed and valid for ten days."""
        text = aggregate(entities, until=until or self.now + 10 * DAY, published=published)
        self.published[FEED] = signed(text, FEDERATION)

    def answer(self, entity: str, **changes: Any) -> None:
        """Let the query service know an identity provider."""
        document = one(entity, until=self.now + 5 * DAY, **changes)
        self.published[address(FEED, entity)] = signed(document, FEDERATION)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def catalog(tmp_path: Path, world: World) -> Iterator[Catalog]:
    catalog = Catalog(tmp_path / "catalog.db", origin=BRNO, clock=world.clock)
    yield catalog
    catalog.close()


@pytest.fixture
def sources(catalog: Catalog, world: World) -> Sources:
    return Sources(
        catalog, world.clock, fetch=world.fetch, read=lambda file, wanted: reading.read(file.read(), wanted)
    )


@pytest.fixture
def providers(catalog: Catalog, world: World, sources: Sources) -> Providers:
    return Providers(catalog, world.clock, ask=sources.ask)


def feed(**what: Any) -> Source:
    return Source(
        **{"name": "fed", "kind": AGGREGATE, "url": FEED, "pins": (FEDERATION.certificate.pem,), **what}
    )


def single(**what: Any) -> Source:
    return feed(**{"name": "hospital", "kind": SINGLE, "pins": (IDP.fingerprint,), **what})


def service(*entities: str) -> Source:
    return feed(name="mdq", kind=MDQ, options={"entities": list(entities)})


def names(providers: Providers) -> list[str]:
    return [one.entity for one in providers.all()]


def test_a_federation_is_believed_once_it_is_added(world, sources, providers, catalog):
    world.publish(inner(), inner(PRAGUE_IDP, names={"en": "Prague Hospital"}))
    done = sources.add(OPERATOR, feed())
    assert (done.read, done.source.valid_until) == (2, NOW + 10 * DAY)
    assert providers.find(BRNO_IDP).source == "fed"
    assert names(providers) == [BRNO_IDP, PRAGUE_IDP]
    with catalog.reading() as unit:
        (record,) = unit.audit.after()
    assert Event.CONFIGURED in record.deed
    assert FEED in record.deed


def test_what_is_not_believed_is_not_added(world, sources):
    world.published[FEED] = aggregate([inner()]).encode()
    with pytest.raises(MetadataRefused, match=r"fed are not believed: it is not signed"):
        sources.add(OPERATOR, feed())
    world.publish(inner(sso="http://no.test"))
    with pytest.raises(MetadataRefused, match="no address for a login"):
        sources.add(OPERATOR, feed())
    world.published.clear()
    with pytest.raises(PeerUnreachable, match="nothing is published"):
        sources.add(OPERATOR, feed())
    assert sources.all() == []


def test_a_source_without_a_pin_is_not_added(sources):
    with pytest.raises(Rejected, match="--signed-by"):
        sources.add(OPERATOR, feed(pins=()))


def test_only_an_operator_adds_and_removes(world, sources):
    world.publish(inner())
    somebody = Principal(kind=Kind.PERSON, name="jana@hospital-brno.test", site=BRNO)
    with pytest.raises(Forbidden):
        sources.add(somebody, feed())
    sources.add(OPERATOR, feed())
    with pytest.raises(Forbidden):
        sources.remove(somebody, "fed")


def test_a_name_is_taken_over_only_on_purpose(world, sources, providers):
    world.publish(inner(), inner(PRAGUE_IDP))
    sources.add(OPERATOR, feed())
    with pytest.raises(Rejected, match="--replace"):
        sources.add(OPERATOR, feed())
    world.publish(inner(PRAGUE_IDP))
    sources.add(OPERATOR, feed(), again=True)
    assert names(providers) == [PRAGUE_IDP]


def test_what_is_withdrawn_is_gone_at_the_next_refresh(world, sources, providers):
    world.publish(inner(), inner(PRAGUE_IDP))
    sources.add(OPERATOR, feed())
    world.now += DAY
    world.publish(inner(names={"en": "Brno University Hospital"}))
    done = sources.refresh("fed")
    assert (done.read, done.changed, done.removed) == (1, 1, 1)
    assert providers.find(BRNO_IDP).name() == "Brno University Hospital"
    with pytest.raises(UnknownProvider):
        providers.find(PRAGUE_IDP)


def test_a_refresh_writes_only_what_has_changed(world, sources):
    world.publish(inner(), inner(PRAGUE_IDP))
    sources.add(OPERATOR, feed())
    world.now += DAY
    world.publish(inner(), inner(PRAGUE_IDP, contact="other@hospital-prague.test"))
    done = sources.refresh("fed")
    assert (done.changed, done.source.valid_until) == (1, world.now + 10 * DAY)


def test_the_same_document_is_not_read_again_and_holds_no_longer(world, sources):
    world.publish(inner())
    sources.add(OPERATOR, feed())
    world.now += DAY
    done = sources.refresh("fed")
    assert done.unchanged
    assert (done.source.fetched_at, done.source.valid_until) == (world.now, NOW + 10 * DAY)


@pytest.mark.parametrize("trouble", ["down", "forged", "gone", "empty"])
def test_the_last_good_metadata_hold_until_they_end_and_then_nobody_is_believed(
    world, sources, providers, trouble
):
    world.publish(inner())
    sources.add(OPERATOR, feed())
    world.now += DAY
    if trouble == "down":
        world.down = True
    elif trouble == "gone":
        world.published.clear()
    elif trouble == "empty":
        world.publish()
    else:
        world.published[FEED] = signed(aggregate([inner()]), key_of("other"))
    with pytest.raises((MetadataRefused, PeerUnreachable)):
        sources.refresh("fed")
    known = sources.find("fed")
    assert (known.failed_at, bool(known.error)) == (world.now, True)
    assert providers.find(BRNO_IDP)
    world.now = NOW + 10 * DAY - SECOND
    with pytest.raises((MetadataRefused, PeerUnreachable)):
        sources.refresh("fed")
    assert sources.find("fed").failed_at == NOW + DAY
    assert providers.find(BRNO_IDP)
    world.now += SECOND
    with pytest.raises(UnknownProvider):
        providers.find(BRNO_IDP)
    assert names(providers) == []
    assert providers.search("brno") == []


def test_an_entity_that_ends_before_its_aggregate_is_believed_no_longer(world, sources, providers):
    world.publish(inner(until=NOW + DAY), inner(PRAGUE_IDP))
    sources.add(OPERATOR, feed())
    world.now += DAY
    assert names(providers) == [PRAGUE_IDP]


def test_an_older_document_is_not_believed_after_a_newer_one(world, sources, providers):
    world.publish(inner(), inner(PRAGUE_IDP), published=NOW - DAY)
    old = world.published[FEED]
    world.publish(inner(), published=NOW)
    sources.add(OPERATOR, feed())
    world.published[FEED] = old
    with pytest.raises(MetadataRefused, match="older"):
        sources.refresh("fed")
    assert names(providers) == [BRNO_IDP]


def test_a_refresh_that_was_overtaken_by_another_pin_changes_nothing(world, catalog, providers):
    world.publish(inner())

    def read(file: BinaryIO, wanted: reading.Wanted) -> Iterator[reading.Part]:
        parts = list(reading.read(file.read(), wanted))
        if world.now > NOW:
            changed = feed(pins=(key_of("other").certificate.pem,))
            catalog.perform(lambda unit: unit.providers.put_source(changed))
        return iter(parts)

    sources = Sources(catalog, world.clock, fetch=world.fetch, read=read)
    sources.add(OPERATOR, feed())
    world.now += 1
    world.publish(inner(PRAGUE_IDP))
    with pytest.raises(MetadataRefused, match="changed meanwhile"):
        sources.refresh("fed")
    with pytest.raises(UnknownProvider):
        providers.find(PRAGUE_IDP)


def test_what_is_removed_is_forgotten(world, sources, providers):
    world.publish(inner())
    sources.add(OPERATOR, feed())
    sources.remove(OPERATOR, "fed")
    assert names(providers) == []
    for door in (sources.refresh, lambda name: sources.remove(OPERATOR, name)):
        with pytest.raises(UnknownProvider):
            door("fed")


def test_what_is_due_is_what_was_not_fetched_for_the_period(world, sources):
    world.publish(inner())
    sources.add(OPERATOR, feed())
    sources.add(OPERATOR, single(url=""), one(until=None).encode())
    assert sources.due(3600 * SECOND) == []
    world.now += 3600 * SECOND
    assert sources.due(3600 * SECOND) == ["fed"]


@pytest.mark.parametrize("how", ["withdrawn", "removed", "replaced"])
def test_whoever_was_vouched_for_by_one_that_is_gone_is_logged_out(world, sources, catalog, how):
    def session(issuer: str) -> SessionRow:
        texts = {one.name: "" for one in fields(SessionRow)}
        times = {"since_at": NOW, "seen_at": NOW, "until_at": NOW + DAY}
        return SessionRow(**{**texts, **times, "id": issuer, "issuer": issuer, "name": "jana"})

    world.publish(inner(), inner(PRAGUE_IDP))
    sources.add(OPERATOR, feed())
    sources.add(OPERATOR, single(url=""), one(until=None).encode())
    for issuer in (BRNO_IDP, PRAGUE_IDP, "local"):
        row = session(issuer)
        catalog.perform(lambda unit, row=row: unit.sessions.add(row))
    world.publish(inner("https://other.test/"))
    if how == "removed":
        sources.remove(OPERATOR, "fed")
    elif how == "replaced":
        sources.add(OPERATOR, feed(), again=True)
    else:
        sources.refresh("fed")
    with catalog.reading() as unit:
        open_ = [name for name in (BRNO_IDP, PRAGUE_IDP, "local") if unit.sessions.find(name)]
    assert open_ == [BRNO_IDP, "local"], "Brno is vouched for by the administrator still"


# one identity provider


def test_a_file_is_believed_until_it_is_removed(world, sources, providers):
    sources.add(OPERATOR, single(url=""), one(until=None).encode())
    world.now += 1000 * DAY
    assert providers.find(BRNO_IDP).valid_until == FOREVER
    assert sources.refresh("hospital").unchanged


def test_an_address_that_says_no_end_is_believed_for_thirty_days_after_the_last_fetch(
    world, sources, providers
):
    world.published[FEED] = one(until=None).encode()
    sources.add(OPERATOR, single())
    world.now += 20 * DAY
    assert sources.refresh("hospital").unchanged
    world.down = True
    world.now += 30 * DAY - 1
    assert providers.find(BRNO_IDP)
    world.now += 1
    with pytest.raises(UnknownProvider):
        providers.find(BRNO_IDP)


def test_a_new_certificate_at_the_address_is_not_believed_until_it_is_pinned(world, sources, providers):
    world.published[FEED] = one(until=None).encode()
    sources.add(OPERATOR, single())
    world.published[FEED] = one(until=None, keys=["idp-brno", "idp-next"]).encode()
    sources.refresh("hospital")
    assert providers.find(BRNO_IDP).certificates == (IDP.pem,)
    world.published[FEED] = one(until=None, keys=["idp-next"]).encode()
    with pytest.raises(MetadataRefused, match=key_of("idp-next").certificate.fingerprint):
        sources.refresh("hospital")


def test_before_it_is_pinned_one_can_look_at_it(sources):
    (found,) = sources.look(single(url="", pins=()), one(until=None).encode())
    assert (found.entity, found.certificates) == (BRNO_IDP, (IDP.pem,))
    assert sources.all() == []


def test_a_demonstration_is_not_added_to_a_real_site(sources):
    labelled = one(until=None, attributes={"urn:konzilium:demonstration": ["true"]}).encode()
    with pytest.raises(MetadataRefused, match="this site is none"):
        sources.add(OPERATOR, single(url=""), labelled)


def test_a_demonstration_that_is_known_is_not_believed_when_the_site_becomes_a_real_one(
    world, catalog, providers
):
    labelled = one(until=None, attributes={"urn:konzilium:demonstration": ["true"]}).encode()
    Sources(
        catalog,
        world.clock,
        fetch=world.fetch,
        read=lambda file, wanted: reading.read(file.read(), wanted),
        demonstration=True,
    ).add(OPERATOR, single(url=""), labelled)
    assert Providers(catalog, world.clock, demonstration=True).find(BRNO_IDP).demonstration
    with pytest.raises(UnknownProvider):
        providers.find(BRNO_IDP)
    assert names(providers) == []


def test_one_that_the_administrator_vouches_for_counts_before_a_federation(world, sources, providers):
    world.publish(inner(scopes=[("federation.test", False)]))
    sources.add(OPERATOR, feed(name="a-federation"))
    sources.add(OPERATOR, single(url=""), one(until=None).encode())
    assert providers.find(BRNO_IDP).source == "hospital"
    sources.remove(OPERATOR, "hospital")
    assert providers.find(BRNO_IDP).source == "a-federation"


# a service that is asked for one at a time


def test_a_query_service_is_tried_with_the_ones_that_were_named(world, sources, providers):
    with pytest.raises(Rejected, match="--entity"):
        sources.add(OPERATOR, service())
    with pytest.raises(MetadataRefused):
        sources.add(OPERATOR, service(BRNO_IDP))
    world.answer(BRNO_IDP)
    assert sources.add(OPERATOR, service(BRNO_IDP)).read == 1
    assert providers.find(BRNO_IDP).valid_until == NOW + 5 * DAY


def test_who_is_not_known_is_asked_for_and_known_from_then_on(world, sources, providers):
    world.answer(BRNO_IDP)
    sources.add(OPERATOR, service(BRNO_IDP))
    world.answer(PRAGUE_IDP)
    assert not providers.knows(PRAGUE_IDP)
    assert providers.find(PRAGUE_IDP).source == "mdq"
    world.down = True
    assert providers.find(PRAGUE_IDP)
    world.now += 5 * DAY
    with pytest.raises(UnknownProvider):
        providers.find(PRAGUE_IDP)


def test_a_name_that_nobody_has_is_asked_for_now_and_then_only(world, sources, providers):
    world.answer(BRNO_IDP)
    sources.add(OPERATOR, service(BRNO_IDP))
    world.fetched.clear()
    for _ in range(3):
        with pytest.raises(UnknownProvider):
            providers.find("https://nobody.test/")
    assert len(world.fetched) == 1
    world.now += QUIET
    with pytest.raises(UnknownProvider):
        providers.find("https://nobody.test/")
    assert len(world.fetched) == 2


@pytest.mark.parametrize(
    "name", ["", "x", "ftp://a.test", "https://a.test/ b", "https://a.test/\n", "https://" + "a" * 1024]
)
def test_what_is_no_entity_id_is_not_asked_for(world, sources, providers, name):
    world.answer(BRNO_IDP)
    sources.add(OPERATOR, service(BRNO_IDP))
    world.fetched.clear()
    with pytest.raises(UnknownProvider):
        providers.find(name)
    assert world.fetched == []


def test_an_answer_about_somebody_else_is_not_believed(world, sources, providers):
    world.answer(BRNO_IDP)
    sources.add(OPERATOR, service(BRNO_IDP))
    world.published[address(FEED, PRAGUE_IDP)] = world.published[address(FEED, BRNO_IDP)]
    with pytest.raises(UnknownProvider):
        providers.find(PRAGUE_IDP)


def test_what_a_query_service_knows_no_longer_is_gone_and_what_it_cannot_answer_stays(
    world, sources, providers
):
    for entity in (BRNO_IDP, PRAGUE_IDP):
        world.answer(entity)
    sources.add(OPERATOR, service(BRNO_IDP, PRAGUE_IDP))
    world.down = True
    with pytest.raises(PeerUnreachable):
        sources.refresh("mdq")
    assert names(providers) == [BRNO_IDP, PRAGUE_IDP]
    world.down = False
    del world.published[address(FEED, PRAGUE_IDP)]
    assert sources.refresh("mdq").removed == 1
    assert names(providers) == [BRNO_IDP]


# found by people


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["brno", "clinic", "prague"]),
        ("nemocnice", ["brno", "prague"]),
        ("NEMOCNICE brno", ["brno"]),
        ("ocni klinika", ["clinic"]),
        ("hospital-prague.test", ["prague"]),
        ("100%", []),
        ("_", []),
        ("nothing", []),
    ],
)
def test_people_find_theirs_by_words_without_case_and_accents(world, sources, providers, text, found):
    known = {
        "brno": inner(names={"cs": "Nemocnice Brno", "en": "Brno Hospital"}),
        "prague": inner(
            PRAGUE_IDP,
            names={"cs": "Fakultní nemocnice Praha", "en": "Prague Hospital"},
            scopes=[("hospital-prague.test", False)],
        ),
        "clinic": inner("https://idp.eye.test/", names={"cs": "Oční klinika", "en": "Eye Clinic"}),
        "hidden": inner(
            "https://hidden.test/",
            names={"cs": "Nemocnice Tajná"},
            attributes={
                "http://macedir.org/entity-category": ["http://refeds.org/category/hide-from-discovery"]
            },
        ),
    }
    world.publish(*known.values())
    sources.add(OPERATOR, feed())
    entities = {"brno": BRNO_IDP, "prague": PRAGUE_IDP, "clinic": "https://idp.eye.test/"}
    assert [one.entity for one in providers.search(text)] == [entities[name] for name in found]
    assert [one.entity for one in providers.search("https://hidden.test/")] == ["https://hidden.test/"]


def test_those_that_begin_with_what_was_typed_come_first_in_the_language_of_the_reader(
    world, sources, providers
):
    world.publish(
        inner(names={"cs": "Brno, nemocnice", "en": "Hospital in Brno"}),
        inner(PRAGUE_IDP, names={"cs": "Nemocnice Praha a Brno", "en": "Brno and Prague Hospital"}),
    )
    sources.add(OPERATOR, feed())
    assert [one.entity for one in providers.search("brno", "cs")] == [BRNO_IDP, PRAGUE_IDP]
    assert [one.entity for one in providers.search("brno", "en")] == [PRAGUE_IDP, BRNO_IDP]
    assert len(providers.search("brno", "en", 1)) == 1


def test_every_word_counts_among_many(world, sources, providers):
    many = [inner(f"https://u{at}.test/", names={"en": f"University {at}"}, scopes=[]) for at in range(620)]
    world.publish(*many)
    sources.add(OPERATOR, feed())
    assert [one.name() for one in providers.search("university 619")] == ["University 619"]
    assert providers.search("619 university x y z") == []
    assert len(providers.search("university")) == 50
